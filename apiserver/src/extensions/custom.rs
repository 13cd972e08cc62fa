//! A version of a definition, compiled: everything that serving it needs.

use super::scale::Scale;
use crate::FieldError;
use crate::registry::fields::{at, flag, list, name, number, text};
use crate::registry::strategy::{Subresource as Kind, copy_field, keep_all_but, remove};
use crate::registry::table::{AGE, NAME, age, since};
use crate::registry::{
    Cells, Column, Conversion, RequestContext, SelectableField, Served, Strategy, selectable_fields,
};
use crate::request_info::group_resource;
use api::Gvk;
use api::resources::{Resource, Subresource};
use api::structural::path::Path;
use api::structural::{self, Fault, Node, Problem};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use storage::Collection;
use tokio_util::sync::CancellationToken;

/// Which state of a definition something was compiled from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Origin {
    pub name: String,
    pub uid: String,
    pub generation: i64,
    pub accepted: Value,
}

impl Origin {
    pub(super) fn of(definition: &Value) -> Origin {
        Origin {
            name: name(definition).to_owned(),
            uid: text(definition, "metadata.uid").to_owned(),
            generation: number(definition, "metadata.generation"),
            accepted: at(definition, "status.acceptedNames").cloned().unwrap_or_default(),
        }
    }
}

/// See the module.
pub struct Custom {
    pub(super) origin: Origin,
    gvk: Gvk,
    node: Node,
    registry: api::Registry,
    /// The schema as the definition has it, for documents.
    raw: Option<Value>,
    stored: bool,
    /// Objects of other versions have to be converted by somebody else.
    foreign: bool,
    columns: Vec<Column>,
    cells: Vec<(Path, String)>,
    /// Of all versions, because they share the objects.
    fields: Vec<SelectableField>,
    own_fields: Vec<String>,
    status: bool,
    scale: Option<Scale>,
    deprecation: Option<String>,
}

impl Custom {
    /// The schema that rules its objects.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The same for server-side apply.
    pub fn schema(&self) -> Option<api::Schema<'_>> {
        self.registry.schema(&self.gvk)
    }

    /// The schema as it was given.
    pub fn raw(&self) -> Option<&Value> {
        self.raw.as_ref()
    }

    /// Whether objects are stored in this version.
    pub fn is_stored(&self) -> bool {
        self.stored
    }

    /// Whether its objects cannot be served for want of conversion.
    pub fn needs_webhook(&self) -> bool {
        self.foreign && !self.stored
    }

    /// Whether this version's objects may be selected by a field.
    pub fn selects_by(&self, path: &str) -> bool {
        self.own_fields.iter().any(|field| field == path)
    }

    /// What users of a deprecated version are told.
    pub fn deprecation(&self) -> Option<&str> {
        self.deprecation.as_deref()
    }

    /// The name of its definition.
    pub fn definition(&self) -> &str {
        &self.origin.name
    }

    /// The uid of its definition.
    pub fn definition_uid(&self) -> &str {
        &self.origin.uid
    }
}

/// What is compiled of a definition: the served versions, and the stored one for whoever does not say a version.
pub(super) struct Compiled {
    pub served: Vec<Arc<Served>>,
    pub stored: Option<Arc<Served>>,
}

/// Compiles a definition that is established. A version whose schema cannot be read is left out and logged.
pub(super) fn compile(definition: &Value) -> Compiled {
    let versions = list(definition, "spec.versions");
    let mut compiled = Compiled {
        served: Vec::new(),
        stored: None,
    };
    for version in versions {
        if !flag(version, "served") && !flag(version, "storage") {
            continue;
        }
        match one(definition, version) {
            Ok(served) => {
                let served = Arc::new(served);
                if flag(version, "storage") {
                    compiled.stored = Some(served.clone());
                }
                if flag(version, "served") {
                    compiled.served.push(served);
                }
            }
            Err(reason) => {
                let (definition, version) = (name(definition), text(version, "name"));
                tracing::error!(
                    definition,
                    version,
                    reason,
                    "a version of a definition cannot be served"
                );
            }
        }
    }
    compiled.served.sort_by(|a, b| {
        let key = |served: &Arc<Served>| std::cmp::Reverse(priority(&served.info.version));
        key(a).cmp(&key(b)).then_with(|| a.info.version.cmp(&b.info.version))
    });
    compiled
}

/// What versions are ordered by, the best last: `v2` over `v1` over `v1beta2` over `v1alpha1` over anything else.
pub(crate) fn priority(version: &str) -> (u8, u64, u64) {
    let Some(rest) = version.strip_prefix('v') else {
        return (0, 0, 0);
    };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let Ok(major) = rest[..digits].parse::<u64>() else {
        return (0, 0, 0);
    };
    let (stage, minor) = match &rest[digits..] {
        "" => return (3, major, 0),
        rest if rest.starts_with("beta") => (2, &rest[4..]),
        rest if rest.starts_with("alpha") => (1, &rest[5..]),
        _ => return (0, 0, 0),
    };
    match minor.parse::<u64>() {
        Ok(minor) => (stage, major, minor),
        Err(_) => (0, 0, 0),
    }
}

fn one(definition: &Value, version: &Value) -> Result<Served, String> {
    // Ids of built-in resources are their places in a table that is much shorter.
    static IDS: AtomicU32 = AtomicU32::new(1 << 12);
    let info = resource(definition, version);
    let custom = Arc::new(custom(definition, version, &info)?);
    let (group, namespaced) = (text(definition, "spec.group"), info.namespaced);
    let strategy = Arc::new(CustomStrategy { custom: custom.clone() });
    let name = group_resource(group, &info.name);
    let stored_version = list(definition, "spec.versions")
        .iter()
        .find(|version| flag(version, "storage"))
        .map_or_else(
            || info.api_version(),
            |version| format!("{group}/{}", text(version, "name")),
        );
    // Objects that were written under another schema are shown by this one.
    let settled = list(definition, "spec.versions").len() == 1 && number(definition, "metadata.generation") == 1;
    let shown = Shown {
        custom: custom.clone(),
        stored_version,
    };
    Ok(Served {
        collection: Collection::custom(group, &info.name, namespaced, selectable_fields(&*strategy)),
        kind: group_resource(group, &info.kind),
        key: format!("{name}/{}", info.version),
        name,
        strategy,
        id: IDS.fetch_add(1, Ordering::Relaxed),
        conversion: (!settled).then(|| Box::new(shown) as Box<dyn Conversion>),
        custom: Some(custom),
        retired: CancellationToken::new(),
        info,
    })
}

/// Names and verbs.
fn resource(definition: &Value, version: &Value) -> Resource {
    let names = match at(definition, "status.acceptedNames") {
        Some(accepted) if !text(accepted, "plural").is_empty() => accepted,
        _ => &definition["spec"]["names"],
    };
    let owned = |key: &str| Cow::Owned(text(names, key).to_owned());
    let owned_list = |key: &str| {
        let list = list(names, key).iter().filter_map(Value::as_str);
        list.map(|name| Cow::Owned(name.to_owned())).collect()
    };
    let (group, version_name) = (text(definition, "spec.group"), text(version, "name"));
    let subresource = |name: &'static str, gvk: Gvk| Subresource {
        name: name.into(),
        group: gvk.group,
        version: gvk.version,
        kind: gvk.kind,
        verbs: &["get", "patch", "update"],
    };
    let mut subresources = Vec::new();
    if at(version, "subresources.scale").is_some() {
        subresources.push(subresource("scale", Gvk::of("autoscaling", "v1", "Scale")));
    }
    if at(version, "subresources.status").is_some() {
        subresources.push(subresource(
            "status",
            Gvk::new(group, version_name, text(names, "kind")),
        ));
    }
    Resource {
        group: group.to_owned().into(),
        version: version_name.to_owned().into(),
        name: owned("plural"),
        singular: owned("singular"),
        kind: owned("kind"),
        list_kind: owned("listKind"),
        namespaced: text(definition, "spec.scope") == "Namespaced",
        short_names: owned_list("shortNames"),
        categories: owned_list("categories"),
        verbs: api::STANDARD_VERBS,
        subresources,
    }
}

fn custom(definition: &Value, version: &Value, info: &Resource) -> Result<Custom, String> {
    let gvk = info.gvk();
    let raw = at(version, "schema.openAPIV3Schema").cloned();
    let node = match &raw {
        Some(schema) => Node::parse(schema)?,
        None => Node::open(),
    };
    let (columns, cells) = columns(version)?;
    let own_fields = fields_of(version);
    let mut all: Vec<String> = list(definition, "spec.versions").iter().flat_map(fields_of).collect();
    all.sort_unstable();
    all.dedup();
    Ok(Custom {
        origin: Origin::of(definition),
        registry: structural::registry::compile(&node, &gvk),
        deprecation: deprecation(definition, version, info),
        gvk,
        node,
        raw,
        stored: flag(version, "storage"),
        foreign: text(definition, "spec.conversion.strategy") == "Webhook",
        columns,
        cells,
        fields: all
            .into_iter()
            .map(|path| SelectableField {
                path: path.into(),
                missing: "",
            })
            .collect(),
        own_fields,
        status: info.subresource("status").is_some(),
        scale: at(version, "subresources.scale").map(Scale::of),
    })
}

/// The dotted paths of a version's selectable fields.
fn fields_of(version: &Value) -> Vec<String> {
    let fields = list(version, "selectableFields").iter();
    fields
        .filter_map(|field| Path::parse(text(field, "jsonPath")).ok()?.dotted())
        .collect()
}

fn deprecation(definition: &Value, version: &Value, info: &Resource) -> Option<String> {
    if !flag(version, "deprecated") {
        return None;
    }
    if let Some(own) = at(version, "deprecationWarning").and_then(Value::as_str) {
        return Some(own.to_owned());
    }
    let mut text = format!("{} {} is deprecated", info.api_version(), info.kind);
    let better = list(definition, "spec.versions").iter().filter(|other| {
        flag(other, "served")
            && !flag(other, "deprecated")
            && priority(self::text(other, "name")) > priority(&info.version)
    });
    if let Some(better) = better.max_by_key(|other| priority(self::text(other, "name"))) {
        text += &format!("; use {}/{} {}", info.group, self::text(better, "name"), info.kind);
    }
    Some(text)
}

type Columns = (Vec<Column>, Vec<(Path, String)>);

fn columns(version: &Value) -> Result<Columns, String> {
    let given = list(version, "additionalPrinterColumns");
    let mut columns = vec![NAME];
    let mut cells = Vec::new();
    if given.is_empty() {
        columns.push(Column {
            r#type: "date".into(),
            ..AGE.clone()
        });
        return Ok((columns, cells));
    }
    for column in given {
        let owned = |key: &str| Cow::Owned(text(column, key).to_owned());
        columns.push(Column {
            name: owned("name"),
            r#type: owned("type"),
            format: owned("format"),
            description: match text(column, "description") {
                "" => format!(
                    "Custom resource definition column (in JSONPath format): {}",
                    text(column, "jsonPath")
                )
                .into(),
                given => given.to_owned().into(),
            },
            priority: number(column, "priority") as i32,
        });
        cells.push((Path::parse(text(column, "jsonPath"))?, text(column, "type").to_owned()));
    }
    Ok((columns, cells))
}

/// What a custom resource does as its definition says.
struct CustomStrategy {
    custom: Arc<Custom>,
}

impl Strategy for CustomStrategy {
    fn unconditional_update(&self) -> bool {
        false
    }

    fn tracks_generation(&self) -> bool {
        true
    }

    fn prepare_for_create(&self, _context: &RequestContext, object: &mut Value) {
        if self.custom.status {
            remove(object, "status");
        }
    }

    fn prepare_for_update(&self, _context: &RequestContext, subresource: &str, old: &Value, new: &mut Value) {
        match subresource {
            "status" => keep_all_but(new, old, "status"),
            _ if self.custom.status => copy_field(new, old, "status"),
            _ => {}
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        self.custom.node.check(object, None).into_iter().map(problem).collect()
    }

    fn validate_update(&self, _subresource: &str, new: &Value, old: &Value) -> Vec<FieldError> {
        self.custom
            .node
            .check(new, Some(old))
            .into_iter()
            .map(problem)
            .collect()
    }

    fn columns(&self) -> &[Column] {
        &self.custom.columns
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Cells {
        let mut row: Cells = vec![json!(name(object))];
        if self.custom.cells.is_empty() {
            row.push(age(object, now));
        }
        let cells = self.custom.cells.iter();
        row.extend(cells.map(|(path, kind)| path.first(object).map_or(Value::Null, |value| cell(kind, value, now))));
        row
    }

    fn selectable_fields(&self) -> &[SelectableField] {
        &self.custom.fields
    }

    fn subresource(&self, name: &str) -> Option<Kind<'_>> {
        match name {
            "status" if self.custom.status => Some(Kind::Object),
            "scale" => self.custom.scale.as_ref().map(|scale| Kind::Projection(scale)),
            _ => None,
        }
    }
}

/// A value as its column prints it; nothing when it is of another type.
fn cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        ("string", Value::String(_)) => value.clone(),
        ("string", Value::Null) => Value::Null,
        ("string", other) => json!(other.to_string()),
        ("integer", Value::Number(n)) => n
            .as_i64()
            .or(n.as_f64().map(|n| n as i64))
            .map_or(Value::Null, Value::from),
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(_)) => since(value, now),
        _ => Value::Null,
    }
}

fn problem(problem: Problem) -> FieldError {
    // Upstream's name for the object as a whole, which people search for.
    let path = match problem.path.as_str() {
        "" => "<nil>",
        path => path,
    };
    match problem.fault {
        Fault::Required { detail } => FieldError::required(path, &detail),
        Fault::Type { found, detail } => FieldError::type_invalid(path, &found.into(), &detail),
        Fault::NotSupported { value, allowed } => {
            let allowed: Vec<String> = allowed
                .iter()
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                .collect();
            let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
            FieldError::not_supported(path, &value, &allowed)
        }
        Fault::TooLong { max } => FieldError::too_long(path, max as usize),
        Fault::TooMany { actual, max } => FieldError::too_many(path, actual, max as usize),
        Fault::Duplicate { value } => FieldError::duplicate(path, &value),
        Fault::Invalid { value, detail } => FieldError::invalid(path, &value, &detail),
    }
}

/// An object as one version shows it: what is stored, under this version's name and schema.
struct Shown {
    custom: Arc<Custom>,
    /// `example.com/v1`.
    stored_version: String,
}

impl Conversion for Shown {
    fn to_stored(&self, mut shown: Value) -> Value {
        shown["apiVersion"] = self.stored_version.as_str().into();
        shown
    }

    fn to_shown(&self, mut stored: Value) -> Value {
        stored["apiVersion"] = self.custom.gvk.api_version().into();
        self.custom.node.prune(&mut stored);
        self.custom.node.fill(&mut stored);
        stored
    }

    fn tables_are_shown(&self) -> bool {
        true
    }
}

/// The words of a definition that cannot be kept: said to whoever writes it.
pub(super) fn shortcomings(definition: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for version in list(definition, "spec.versions") {
        let rules = at(version, "schema.openAPIV3Schema").is_some_and(structural::has_rules);
        if rules {
            warnings.push(format!(
                "spec.versions[{}]: x-kubernetes-validations are stored, but this server does not enforce them",
                text(version, "name")
            ));
        }
    }
    if text(definition, "spec.conversion.strategy") == "Webhook" {
        let detail = "conversion by webhook is not supported: only the storage version is served with its objects";
        warnings.push(format!("spec.conversion.strategy: {detail}"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_clients_expect() {
        let mut versions = ["v1alpha1", "foo", "v1", "v2beta1", "v10", "v1beta2"];
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(versions, ["v10", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]);
    }

    #[test]
    fn cells_show_only_what_fits_their_column() {
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        for (kind, value, expected) in [
            ("string", json!("a"), json!("a")),
            ("string", json!(["a"]), json!("[\"a\"]")),
            ("integer", json!(3), json!(3)),
            ("integer", json!("3"), Value::Null),
            ("boolean", json!(true), json!(true)),
            ("date", json!("2026-01-01T00:00:00Z"), json!("10m")),
        ] {
            assert_eq!(cell(kind, &value, now), expected, "{kind} {value}");
        }
    }

    #[test]
    fn a_deprecated_version_names_a_better_one() {
        let definition = json!({"metadata": {"name": "foos.example.com"}, "spec": {"group": "example.com", "scope": "Cluster",
            "names": {"plural": "foos", "kind": "Foo"},
            "versions": [{"name": "v1alpha1", "served": true, "deprecated": true}, {"name": "v1", "served": true, "storage": true}]}});
        let compiled = compile(&definition);
        let names: Vec<&str> = compiled.served.iter().map(|served| &*served.info.version).collect();
        assert_eq!(names, ["v1", "v1alpha1"]);
        let custom = compiled.served[1].custom.as_ref().unwrap();
        assert_eq!(
            custom.deprecation(),
            Some("example.com/v1alpha1 Foo is deprecated; use example.com/v1 Foo")
        );
    }
}
