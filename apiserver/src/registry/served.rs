//! A resource as it is served: its row of the API table, its strategy, and where its objects live.

use super::strategy::{Plain, SelectableField, Strategy};
use crate::ApiError;
use crate::request_info::group_resource;
use api::resources::Resource;
use bytes::Bytes;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use storage::{Collection, Fields};

/// See the module.
pub struct Served {
    pub info: &'static Resource,
    pub strategy: Arc<dyn Strategy>,
    pub collection: Collection,
    /// `deployments.apps`.
    pub name: String,
    /// `Deployment.apps`, as validation errors spell it.
    pub kind: String,
    /// Distinguishes watch frames of different encodings of this resource.
    pub id: u32,
    /// Set when objects are stored in another form than this resource shows.
    pub conversion: Option<Conversion>,
}

/// Between the form that is stored and the one that a resource shows.
#[derive(Clone, Copy)]
pub struct Conversion {
    pub to_stored: fn(Value) -> Value,
    pub to_shown: fn(Value) -> Value,
    /// `(shown, stored)` paths of selectable fields, as prefixes.
    pub fields: &'static [(&'static str, &'static str)],
}

/// Events of both groups are the same objects, kept in core's form.
const EVENTS: Conversion = Conversion {
    to_stored: api::events::to_core,
    to_shown: api::events::to_events_group,
    fields: &[
        ("regarding.", "involvedObject."),
        ("reportingController", "reportingComponent"),
    ],
};

impl Served {
    /// The index of a selectable field in the parsed metadata.
    pub fn selectable(&self, path: &str) -> Option<usize> {
        let renames = self.conversion.map_or(&[][..], |conversion| conversion.fields);
        let stored = renames
            .iter()
            .find_map(|(shown, stored)| path.strip_prefix(shown).map(|rest| format!("{stored}{rest}")));
        let path = stored.as_deref().unwrap_or(path);
        self.strategy
            .selectable_fields()
            .iter()
            .position(|field| field.path == path)
    }

    /// The object in the form that is stored.
    pub fn to_stored(&self, object: Value) -> Value {
        match self.conversion {
            Some(conversion) => (conversion.to_stored)(object),
            None => object,
        }
    }

    /// The object in the form that this resource shows.
    pub fn to_shown(&self, object: Value) -> Value {
        match self.conversion {
            Some(conversion) => (conversion.to_shown)(object),
            None => object,
        }
    }

    /// The bytes of a stored object (resourceVersion included) as this resource shows it; mostly the very same.
    pub fn show(&self, json: Bytes) -> Result<Bytes, ApiError> {
        match self.conversion {
            None => Ok(json),
            Some(conversion) => {
                let object = serde_json::from_slice(&json).map_err(ApiError::internal)?;
                Ok((conversion.to_shown)(object).to_string().into())
            }
        }
    }

    /// A 404 about an object of this resource.
    pub fn not_found(&self, name: &str) -> ApiError {
        ApiError::not_found(&self.name, name)
    }
}

/// Every resource served, by how requests and code name it.
pub(super) struct Resources {
    by_path: HashMap<(&'static str, &'static str, &'static str), Arc<Served>>,
    by_name: HashMap<String, Arc<Served>>,
}

impl Resources {
    /// Joins the API table with the strategies. A strategy without a row is a mistake that shows at the first start.
    pub(super) fn build(strategies: Vec<(&'static str, Box<dyn Strategy>)>) -> Resources {
        let mut special: HashMap<&str, Arc<dyn Strategy>> = strategies
            .into_iter()
            .map(|(name, strategy)| (name, Arc::from(strategy)))
            .collect();
        let mut resources = Resources {
            by_path: HashMap::new(),
            by_name: HashMap::new(),
        };
        for (id, info) in api::resources::resources().iter().enumerate() {
            let name = group_resource(info.group, info.name);
            let strategy = special.remove(name.as_str()).unwrap_or_else(|| plain(info));
            let served = Arc::new(serve(info, strategy, name, id as u32));
            resources
                .by_path
                .insert((info.group, info.version, info.name), served.clone());
            resources.by_name.entry(served.name.clone()).or_insert(served);
        }
        for name in special.keys() {
            tracing::debug!(name, "a strategy for a resource that the API table does not list");
        }
        resources
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Arc<Served>> {
        self.by_name.get(name)
    }

    pub(super) fn by_path(&self, group: &str, version: &str, resource: &str) -> Option<&Arc<Served>> {
        // The key borrows 'static text; looking up needs the row's own text, which the API table hands out.
        let info = api::resources::resource(group, version, resource)?;
        self.by_path.get(&(info.group, info.version, info.name))
    }
}

fn plain(info: &Resource) -> Arc<dyn Strategy> {
    Arc::new(Plain {
        status: info.subresource("status").is_some(),
    })
}

fn serve(info: &'static Resource, strategy: Arc<dyn Strategy>, name: String, id: u32) -> Served {
    let fields: Vec<SelectableField> = strategy.selectable_fields().to_vec();
    let fields = Fields::new(fields.iter().map(|field| (field.path, field.missing)));
    Served {
        info,
        collection: Collection::builtin(info.name, info.namespaced, fields),
        kind: group_resource(info.group, info.kind),
        strategy,
        conversion: (info.group == "events.k8s.io" && info.name == "events").then_some(EVENTS),
        name,
        id,
    }
}
