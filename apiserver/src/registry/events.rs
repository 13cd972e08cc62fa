//! Events: what happened to an object, kept for an hour. One object under two groups, stored in core's form.

use super::RequestContext;
use super::check::Errors;
use super::fields::{at, number, text};
use super::strategy::*;
use super::table::{column, name, since, wide};
use crate::FieldError;
use serde_json::{Value, json};
use std::borrow::Cow;

/// The strategy of `events`, in the core group and in `events.k8s.io`.
pub struct Events;

const COLUMNS: &[Column] = &[
    column("Last Seen", "string", "Time since it was last seen."),
    column("Type", "string", "Normal or Warning."),
    column("Reason", "string", "One word for what happened."),
    column("Object", "string", "What it happened to."),
    wide("Subobject", "string", "The part of the object, such as a container."),
    wide("Source", "string", "Who reports it, and from where."),
    column("Message", "string", "What happened, in words."),
    wide("First Seen", "string", "Time since it was first seen."),
    wide("Count", "string", "How often it was seen."),
    WIDE_NAME,
];

const WIDE_NAME: Column = Column {
    name: Cow::Borrowed("Name"),
    r#type: Cow::Borrowed("string"),
    format: Cow::Borrowed("name"),
    description: Cow::Borrowed("Identifies the event."),
    priority: 1,
};

const FIELDS: &[SelectableField] = &[
    SelectableField::text("involvedObject.kind"),
    SelectableField::text("involvedObject.namespace"),
    SelectableField::text("involvedObject.name"),
    SelectableField::text("involvedObject.uid"),
    SelectableField::text("involvedObject.apiVersion"),
    SelectableField::text("involvedObject.resourceVersion"),
    SelectableField::text("involvedObject.fieldPath"),
    SelectableField::text("reason"),
    SelectableField::text("reportingComponent"),
    SelectableField::text("source.component"),
    SelectableField::text("type"),
];

#[async_trait::async_trait]
impl Strategy for Events {
    fn create_on_update(&self) -> bool {
        true
    }

    fn prepare_for_create(&self, _context: &RequestContext, event: &mut Value) {
        *event = api::events::to_core(event.take());
    }

    fn validate(&self, event: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let (own, about) = (
            text(event, "metadata.namespace"),
            text(event, "involvedObject.namespace"),
        );
        let cluster_wide = about.is_empty() && matches!(own, "" | "default" | "kube-system");
        if own != about && !cluster_wide {
            let detail = "does not match event.namespace";
            errors.push(FieldError::invalid("involvedObject.namespace", &json!(about), detail));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, event: &Value, now: jiff::Timestamp) -> Cells {
        let first = time(event, &["firstTimestamp", "eventTime"]);
        let last = time(
            event,
            &[
                "series.lastObservedTime",
                "lastTimestamp",
                "firstTimestamp",
                "eventTime",
            ],
        );
        let object = format!(
            "{}/{}",
            text(event, "involvedObject.kind").to_lowercase(),
            text(event, "involvedObject.name")
        );
        let count = at(event, "series.count")
            .and_then(Value::as_i64)
            .unwrap_or(number(event, "count").max(1));
        vec![
            since(last, now),
            json!(text(event, "type")),
            json!(text(event, "reason")),
            json!(object),
            json!(text(event, "involvedObject.fieldPath")),
            json!(source(event)),
            json!(text(event, "message").trim()),
            since(first, now),
            json!(count.to_string()),
            name(event),
        ]
    }

    fn selectable_fields(&self) -> &'static [SelectableField] {
        FIELDS
    }
}

/// The first of the fields that has a time.
fn time<'a>(event: &'a Value, fields: &[&str]) -> &'a Value {
    fields.iter().find_map(|field| at(event, field)).unwrap_or(&Value::Null)
}

fn source(event: &Value) -> String {
    let pick = |old: &str, new: &str| {
        let old = text(event, old);
        if old.is_empty() {
            text(event, new).to_owned()
        } else {
            old.to_owned()
        }
    };
    let (component, host) = (
        pick("source.component", "reportingComponent"),
        pick("source.host", "reportingInstance"),
    );
    if host.is_empty() {
        component
    } else {
        format!("{component}, {host}")
    }
}
