//! `metadata.managedFields` of every write: who owns which field. The rules are `api::apply`'s; here is when they run.
//!
//! A create or an update owns what it changed. What an apply changed was worked out before ([`RequestContext::applied`]). A client
//! may write the records themselves, but only of the object as a whole; one empty entry drops them all. An object without a
//! record (older than the records) gets none until something is applied to it.

use super::fields::{at, rfc3339};
use super::metadata::metadata;
use super::strategy::remove;
use super::{RequestContext, Served};
use api::apply::{self, Managed, Writer};
use serde_json::Value;

/// A manager's name is cut to this many characters.
const MANAGER_CHARS_MAX: usize = 128;
const FIELD: &str = "managedFields";

/// The manager that a program's `User-Agent` stands for: what is before the first slash.
pub(crate) fn manager_of(user_agent: &str) -> String {
    let name = user_agent.split('/').next().unwrap_or_default();
    name.chars()
        .filter(|c| !c.is_control())
        .take(MANAGER_CHARS_MAX)
        .collect()
}

/// Takes the records out of an object.
pub(crate) fn take(object: &mut Value) -> Option<Value> {
    metadata(object).remove(FIELD)
}

/// Puts records into an object.
pub(crate) fn put(object: &mut Value, records: Option<Value>) {
    match records {
        Some(records) => drop(metadata(object).insert(FIELD.into(), records)),
        None => drop(metadata(object).remove(FIELD)),
    }
}

/// The records of a new object, as the client sent it.
pub(super) fn created(context: &RequestContext, served: &Served, object: &mut Value) -> Option<Value> {
    let given = take(object);
    if context.applied {
        return given;
    }
    if !served.strategy.has_status() {
        return settle(context, served, "", &Value::Null, object, Managed::default());
    }
    // The server drops it.
    let status = object.get("status").cloned();
    remove(object, "status");
    let records = settle(context, served, "", &Value::Null, object, Managed::default());
    if let Some(status) = status {
        object["status"] = status;
    }
    records
}

/// The records of a changed object. `given` is what the client wants them to be.
pub(super) fn updated(
    context: &RequestContext,
    served: &Served,
    subresource: &str,
    old: &Value,
    new: &Value,
    given: Option<Value>,
) -> Option<Value> {
    if context.applied {
        return given;
    }
    let before = at(old, "metadata.managedFields");
    let wanted = given.as_ref().filter(|_| subresource.is_empty());
    let reset = Managed::is_reset(wanted);
    let managed = match Managed::parse(wanted) {
        _ if reset => Managed::default(),
        Some(managed) if !managed.is_empty() => managed,
        _ => Managed::parse(before).unwrap_or_default(),
    };
    // Nobody kept record from the start, so a record from here on would be wrong about everything before.
    if managed.is_empty() && !reset {
        return None;
    }
    settle(context, served, subresource, old, new, managed)
}

fn settle(
    context: &RequestContext,
    served: &Served,
    subresource: &str,
    old: &Value,
    new: &Value,
    managed: Managed,
) -> Option<Value> {
    let schema = served.schema_of(new)?;
    let manager = match context.field_manager.as_str() {
        "" => context.user.name.rsplit(':').next().unwrap_or_default(),
        manager => manager,
    };
    let now = rfc3339(jiff::Timestamp::now());
    let writer = Writer {
        manager,
        api_version: &served.api_version_of(new),
        subresource,
        now: &now,
    };
    apply::record(schema, old, new, managed, writer).render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_the_first_part_of_its_name() {
        assert_eq!(
            manager_of("kubectl/v1.32.4 (linux/amd64) kubernetes/59526cd"),
            "kubectl"
        );
        assert_eq!(manager_of("Mozilla"), "Mozilla");
        assert_eq!(manager_of(&"x".repeat(500)).len(), 128);
    }
}
