//! Label and field selectors -> what storage compares with the parsed metadata of each object.

use super::query::Query;
use crate::ApiError;
use crate::registry::Served;
use api::{FieldSelector, LabelSelector};
use std::sync::Arc;
use storage::{Matcher, Meta};

/// What a list or watch is about.
pub(super) struct Selection {
    pub namespace: String,
    /// Only this name can match.
    pub name: Option<String>,
    pub matcher: Option<Matcher>,
}

/// A field requirement, resolved to where its value is.
struct Condition {
    place: Place,
    equal: bool,
    value: String,
}

#[derive(Clone, Copy)]
enum Place {
    Name,
    Namespace,
    /// Index into the collection's selectable fields.
    Field(usize),
}

pub(super) fn parse(served: &Served, namespace: &str, query: &Query) -> Result<Selection, ApiError> {
    let bad = |error: api::SelectorError| ApiError::bad_request(error.to_string());
    let labels = LabelSelector::parse(query.text("labelSelector")).map_err(bad)?;
    let fields = FieldSelector::parse(query.text("fieldSelector")).map_err(bad)?;
    let conditions: Result<Vec<Condition>, ApiError> = fields
        .requirements()
        .iter()
        .map(|requirement| condition(served, requirement))
        .collect();
    let conditions = conditions?;
    let name = fields.exact("metadata.name").map(str::to_string);
    let within = fields
        .exact("metadata.namespace")
        .filter(|_| namespace.is_empty() && served.info.namespaced);
    let namespace = within.unwrap_or(namespace).to_string();
    let matcher: Option<Matcher> = match labels.is_everything() && conditions.is_empty() {
        true => None,
        false => Some(Arc::new(move |meta: &Meta| {
            conditions.iter().all(|condition| condition.holds(meta)) && labels.matches_pairs(|key| meta.label(key))
        })),
    };
    Ok(Selection {
        namespace,
        name,
        matcher,
    })
}

fn condition(served: &Served, requirement: &api::FieldRequirement) -> Result<Condition, ApiError> {
    let place = match requirement.field.as_str() {
        "metadata.name" => Place::Name,
        "metadata.namespace" if served.info.namespaced => Place::Namespace,
        path => Place::Field(
            served
                .selectable(path)
                .ok_or_else(|| ApiError::bad_request(format!("field label not supported: {path}")))?,
        ),
    };
    Ok(Condition {
        place,
        equal: requirement.equal,
        value: requirement.value.clone(),
    })
}

impl Condition {
    fn holds(&self, meta: &Meta) -> bool {
        let found = match self.place {
            Place::Name => &*meta.name,
            Place::Namespace => &*meta.namespace,
            Place::Field(index) => meta.fields.get(index).map_or("", |field| field),
        };
        (found == self.value) == self.equal
    }
}
