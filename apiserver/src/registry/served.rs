//! A resource as it is served: its names and verbs, its strategy, and where its objects live.

use super::strategy::{Plain, Strategy};
use crate::ApiError;
use crate::extensions::Custom;
use crate::request_info::group_resource;
use api::resources::Resource;
use api::{DecodeError, FieldValidation, structural};
use arc_swap::ArcSwap;
use bytes::Bytes;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use storage::{Collection, Fields};
use tokio_util::sync::CancellationToken;

/// See the module.
pub struct Served {
    pub info: Resource,
    pub strategy: Arc<dyn Strategy>,
    pub collection: Collection,
    /// `deployments.apps`.
    pub name: String,
    /// What [`super::Reader::served`] finds it by: the name, and for further versions of a resource `name/version`.
    pub key: String,
    /// `Deployment.apps`, as validation errors spell it.
    pub kind: String,
    /// Distinguishes watch frames of different encodings of this resource.
    pub id: u32,
    /// Set when objects are stored in another form than this resource shows.
    pub conversion: Option<Box<dyn Conversion>>,
    /// Set when the resource is not built in.
    pub custom: Option<Arc<Custom>>,
    /// Cancelled when it is no longer served like this: watches end then, and come back to what it is.
    pub retired: CancellationToken,
}

/// Between the form that is stored and the one that a resource shows.
pub trait Conversion: Send + Sync {
    /// The object as it is stored.
    fn to_stored(&self, shown: Value) -> Value;
    /// The object as it is shown.
    fn to_shown(&self, stored: Value) -> Value;
    /// `(shown, stored)` paths of selectable fields, as prefixes.
    fn fields(&self) -> &[(&str, &str)] {
        &[]
    }
    /// Whether the strategy's columns are those of the shown form.
    fn tables_are_shown(&self) -> bool {
        false
    }
}

/// Events of both groups are the same objects, kept in core's form.
struct Events;

impl Conversion for Events {
    fn to_stored(&self, shown: Value) -> Value {
        api::events::to_core(shown)
    }

    fn to_shown(&self, stored: Value) -> Value {
        api::events::to_events_group(stored)
    }

    fn fields(&self) -> &[(&str, &str)] {
        &[
            ("regarding.", "involvedObject."),
            ("reportingController", "reportingComponent"),
        ]
    }
}

/// Autoscalers are kept in their second version.
struct Autoscalers;

impl Conversion for Autoscalers {
    fn to_stored(&self, shown: Value) -> Value {
        let mut stored = api::autoscaling::to_v2(shown);
        if let Some(gvk) = api::Gvk::from_object(&stored) {
            api::default_object(&gvk, &mut stored);
        }
        stored
    }

    fn to_shown(&self, stored: Value) -> Value {
        api::autoscaling::to_v1(stored)
    }
}

impl Served {
    /// The index of a selectable field in the parsed metadata.
    pub fn selectable(&self, path: &str) -> Option<usize> {
        let renames = self
            .conversion
            .as_ref()
            .map_or(&[][..], |conversion| conversion.fields());
        let stored = renames
            .iter()
            .find_map(|(shown, stored)| path.strip_prefix(shown).map(|rest| format!("{stored}{rest}")));
        let path = stored.as_deref().unwrap_or(path);
        if let Some(custom) = &self.custom
            && !custom.selects_by(path)
        {
            return None;
        }
        self.strategy
            .selectable_fields()
            .iter()
            .position(|field| field.path == path)
    }

    /// The object in the form that is stored.
    pub fn to_stored(&self, object: Value) -> Value {
        match &self.conversion {
            Some(conversion) => conversion.to_stored(object),
            None => object,
        }
    }

    /// The object in the form that this resource shows.
    pub fn to_shown(&self, object: Value) -> Value {
        match &self.conversion {
            Some(conversion) => conversion.to_shown(object),
            None => object,
        }
    }

    /// The bytes of a stored object (resourceVersion included) as this resource shows it; mostly the very same.
    pub fn show(&self, json: Bytes) -> Result<Bytes, ApiError> {
        match &self.conversion {
            None => Ok(json),
            Some(conversion) => {
                let object = serde_json::from_slice(&json).map_err(ApiError::internal)?;
                Ok(conversion.to_shown(object).to_string().into())
            }
        }
    }

    /// The bytes of a stored object in the form that the strategy's columns know.
    pub fn show_row(&self, json: Bytes) -> Result<Bytes, ApiError> {
        match &self.conversion {
            Some(conversion) if conversion.tables_are_shown() => self.show(json),
            _ => Ok(json),
        }
    }

    /// Brings an object into the form of one that was decoded, by the schema of this resource; yields it with warnings. Nothing is
    /// filled in: see [`Served::fill`].
    pub fn conform(&self, object: Value, validation: FieldValidation) -> Result<(Value, Vec<String>), DecodeError> {
        let gvk = self.info.gvk();
        match &self.custom {
            Some(custom) => structural::conform(object, &gvk, custom.node(), validation),
            None => match api::registry().schema(&gvk) {
                Some(schema) => api::conform(schema, object, validation),
                None => Ok((object, Vec::new())),
            },
        }
    }

    /// Fills in defaults.
    pub fn fill(&self, object: &mut Value) {
        match &self.custom {
            Some(custom) => custom.node().fill(object),
            None => api::default_object(&self.info.gvk(), object),
        }
    }

    /// The schema of what this resource shows.
    pub fn schema(&self) -> Option<api::Schema<'_>> {
        match &self.custom {
            Some(custom) => custom.schema(),
            None => api::registry().schema(&self.info.gvk()),
        }
    }

    /// The schema of an object of it, in the form in which it is stored.
    pub(super) fn schema_of(&self, object: &Value) -> Option<api::Schema<'_>> {
        match &self.custom {
            Some(custom) => custom.schema(),
            None => api::Gvk::from_object(object).and_then(|gvk| api::registry().schema(&gvk)),
        }
    }

    /// The version that an object of it is written through.
    pub(super) fn api_version_of<'o>(&self, object: &'o Value) -> Cow<'o, str> {
        match &self.custom {
            Some(_) => Cow::Owned(self.info.api_version()),
            None => Cow::Borrowed(super::fields::text(object, "apiVersion")),
        }
    }

    /// A 404 about an object of this resource.
    pub fn not_found(&self, name: &str) -> ApiError {
        ApiError::not_found(&self.name, name)
    }
}

/// The custom resources as of one state of their definitions.
#[derive(Default)]
pub(crate) struct Overlay {
    /// In the order of discovery.
    pub served: Vec<Arc<Served>>,
    /// Of each definition the stored version, served or not.
    pub stored: Vec<Arc<Served>>,
    /// The definitions as of this revision.
    pub revision: i64,
    by_path: HashMap<String, Arc<Served>>,
    by_key: HashMap<String, Arc<Served>>,
}

impl Overlay {
    /// Of two that have the same path or key the first counts.
    pub(crate) fn new(served: Vec<Arc<Served>>, stored: Vec<Arc<Served>>, revision: i64) -> Overlay {
        let mut overlay = Overlay {
            revision,
            ..Overlay::default()
        };
        for one in &served {
            let path = path(&one.info.group, &one.info.version, &one.info.name);
            overlay.by_path.entry(path).or_insert_with(|| one.clone());
            overlay.by_key.entry(one.key.clone()).or_insert_with(|| one.clone());
        }
        // What code means that does not say a version.
        for one in &stored {
            overlay.by_key.entry(one.name.clone()).or_insert_with(|| one.clone());
        }
        overlay.served = served;
        overlay.stored = stored;
        overlay
    }
}

fn path(group: &str, version: &str, resource: &str) -> String {
    format!("{group}/{version}/{resource}")
}

/// Every resource served, by how requests and code name it.
pub(super) struct Resources {
    by_path: HashMap<(&'static str, &'static str, &'static str), Arc<Served>>,
    by_key: HashMap<String, Arc<Served>>,
    overlay: ArcSwap<Overlay>,
}

impl Resources {
    /// Joins the API table with the strategies. A strategy without a row is a mistake that shows at the first start.
    pub(super) fn build(strategies: Vec<(&'static str, Box<dyn Strategy>)>) -> Resources {
        let special: HashMap<&str, Arc<dyn Strategy>> = strategies
            .into_iter()
            .map(|(name, strategy)| (name, Arc::from(strategy)))
            .collect();
        let mut resources = Resources {
            by_path: HashMap::new(),
            by_key: HashMap::new(),
            overlay: ArcSwap::default(),
        };
        for (id, info) in api::resources::resources().iter().enumerate() {
            let name = group_resource(&info.group, &info.name);
            let strategy = special.get(name.as_str()).cloned().unwrap_or_else(|| plain(info));
            let mut served = serve(info, strategy, name, id as u32);
            if resources.by_key.contains_key(&served.key) {
                served.key = format!("{}/{}", served.name, info.version);
            }
            let served = Arc::new(served);
            resources
                .by_path
                .insert((&info.group, &info.version, &info.name), served.clone());
            resources.by_key.entry(served.key.clone()).or_insert(served);
        }
        for name in special.keys().filter(|name| !resources.by_key.contains_key(**name)) {
            tracing::debug!(name, "a strategy for a resource that the API table does not list");
        }
        resources
    }

    pub(super) fn by_key(&self, key: &str) -> Option<Arc<Served>> {
        let built_in = self.by_key.get(key).cloned();
        built_in.or_else(|| self.overlay.load().by_key.get(key).cloned())
    }

    pub(super) fn by_path(&self, group: &str, version: &str, resource: &str) -> Option<Arc<Served>> {
        // The key borrows 'static text; looking up needs the row's own text, which the API table hands out.
        match api::resources::resource(group, version, resource) {
            Some(info) => self.by_path.get(&(&*info.group, &*info.version, &*info.name)).cloned(),
            None => self
                .overlay
                .load()
                .by_path
                .get(&path(group, version, resource))
                .cloned(),
        }
    }

    pub(super) fn overlay(&self) -> Arc<Overlay> {
        self.overlay.load_full()
    }

    /// Who is not in the new one ends its watches.
    pub(super) fn set_overlay(&self, overlay: Overlay) {
        let before = self.overlay.swap(Arc::new(overlay));
        let now = self.overlay.load();
        for old in &before.served {
            // Without this, a watch would go on showing objects in a form that is gone.
            if !now.served.iter().any(|new| Arc::ptr_eq(old, new)) {
                old.retired.cancel();
            }
        }
    }
}

fn plain(info: &Resource) -> Arc<dyn Strategy> {
    Arc::new(Plain {
        status: info.subresource("status").is_some(),
    })
}

fn serve(info: &'static Resource, strategy: Arc<dyn Strategy>, name: String, id: u32) -> Served {
    let collection = Collection::builtin(&info.name, info.namespaced, fields(&*strategy));
    let conversion: Option<Box<dyn Conversion>> = match (&*info.group, &*info.version, &*info.name) {
        ("events.k8s.io", _, "events") => Some(Box::new(Events)),
        ("autoscaling", "v1", "horizontalpodautoscalers") => Some(Box::new(Autoscalers)),
        _ => None,
    };
    Served {
        info: info.clone(),
        collection,
        kind: group_resource(&info.group, &info.kind),
        strategy,
        conversion,
        key: name.clone(),
        name,
        id,
        custom: None,
        retired: CancellationToken::new(),
    }
}

/// The selectable fields of a strategy, as storage takes them.
pub(crate) fn fields(strategy: &dyn Strategy) -> Fields {
    let fields = strategy.selectable_fields();
    Fields::new(fields.iter().map(|field| (&*field.path, field.missing)))
}
