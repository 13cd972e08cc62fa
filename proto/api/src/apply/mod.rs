//! Server-side apply: who set which field, and what an applied configuration changes.
//!
//! # Theory
//! Every writer (*manager*) owns a set of field paths, kept in `metadata.managedFields`. A configuration that is applied
//! is the complete opinion of its manager: what is in it is merged into the object and owned, what the manager owned before
//! and no longer says is removed unless somebody else owns it too. A value that differs from one that another manager
//! owns is a conflict; with *force* it is taken over. Any other write (create, update, patch) owns what it changed.
//!
//! All of it is one walk over the schema each: [`walk::paths`] (which fields a value has), [`walk::compare`] (what two values
//! differ in), [`walk::merge`] and [`walk::remove`]. List types and keys decide whether the elements of a list are owned one by
//! one or the list as a whole.
//!
//! # Left out
//! Conversion between versions of a kind: the sets of a manager that wrote through another version are taken as they are.

mod managed;
mod set;
mod walk;

#[cfg(test)]
mod tests;

pub use managed::{Entry, Managed, Operation};
pub use set::Set;

use crate::schema::Schema;
use serde_json::Value;

/// The manager of what an object held before anything was applied to it, when nobody kept record.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// `kubectl apply` without and with `--server-side`.
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The manager's name.
    pub manager: &'a str,
    /// The version it writes through: `apps/v1`.
    pub api_version: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// RFC 3339.
    pub now: &'a str,
}

/// A field that somebody else owns with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who, as messages print it: `"kubectl" using apps/v1 at ...`.
    pub manager: String,
    /// `.spec.replicas`.
    pub path: String,
}

/// An object after an apply.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Without `metadata.managedFields`.
    pub object: Value,
    /// What belongs there.
    pub managed: Managed,
}

/// Records a create (`old` is null) or an update: the writer owns what it changed, and nobody owns what is gone.
pub fn record(schema: Schema<'_>, old: &Value, new: &Value, mut managed: Managed, writer: Writer<'_>) -> Managed {
    let changes = differences(schema, old, new);
    let written = changes.written();
    if written.is_empty() && changes.removed.is_empty() {
        return managed;
    }
    for entry in &mut managed.entries {
        entry.set.subtract(&written);
        entry.set.subtract(&changes.removed);
    }
    let own = managed.entry(writer, Operation::Update);
    own.set.unite(&written);
    let gained = !written.is_empty();
    managed.tidy();
    if gained {
        managed.touch(writer, Operation::Update);
    }
    managed.cap();
    managed
}

/// Applies a configuration to an object; `live` is null when there is none. Both without `managedFields`. `force` takes
/// conflicting fields over.
pub fn apply(
    schema: Schema<'_>,
    live: &Value,
    config: &Value,
    managed: Managed,
    writer: Writer<'_>,
    force: bool,
) -> Result<Applied, Vec<Conflict>> {
    let managed = match managed.entries.is_empty() && !live.is_null() {
        true => {
            let before = Writer {
                manager: BEFORE_FIRST_APPLY,
                subresource: "",
                ..writer
            };
            record(schema, &Value::Null, live, managed, before)
        }
        false => managed,
    };
    let conflicts = match attempt(schema, live, config, managed.clone(), writer, force) {
        Err(conflicts) if writer.manager == KUBECTL => conflicts,
        result => return result,
    };
    // Who goes from client-side to server-side apply conflicts with nobody but itself.
    let allowed = last_applied(schema, live);
    let foreign: Vec<Conflict> = conflicts
        .into_iter()
        .filter(|conflict| !allowed.printed().contains(&conflict.path))
        .collect();
    match foreign.is_empty() {
        true => attempt(schema, live, config, managed, writer, true),
        false => Err(foreign),
    }
}

/// What two objects differ in, but for what nobody owns.
fn differences(schema: Schema<'_>, old: &Value, new: &Value) -> walk::Changes {
    let mut changes = walk::compare(schema, old, new);
    for set in [&mut changes.added, &mut changes.modified, &mut changes.removed] {
        set.subtract(&managed::NOBODYS);
    }
    changes
}

fn attempt(
    schema: Schema<'_>,
    live: &Value,
    config: &Value,
    mut managed: Managed,
    writer: Writer<'_>,
    force: bool,
) -> Result<Applied, Vec<Conflict>> {
    let before = managed.clone();
    let merged = walk::merge(schema, live, config);
    let own = managed.entry(writer, Operation::Apply);
    let last = std::mem::replace(&mut own.set, walk::paths(schema, config));
    let object = prune(schema, merged, &managed, &last);
    let changes = differences(schema, live, &object);
    let written = changes.written();
    let position = managed.position(writer, Operation::Apply);
    let mut conflicts = Vec::new();
    for (index, entry) in managed.entries.iter_mut().enumerate() {
        if Some(index) == position {
            continue;
        }
        let taken = entry.set.intersection(&written);
        if !force && !taken.is_empty() {
            let manager = entry.printed();
            conflicts.extend(taken.printed().into_iter().map(|path| Conflict {
                manager: manager.clone(),
                path,
            }));
        }
        entry.set.subtract(&taken);
        entry.set.subtract(&changes.removed);
    }
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    managed.tidy();
    if !changes.is_empty() || managed.sets_differ(&before) {
        managed.touch(writer, Operation::Apply);
    } else {
        managed = before;
    }
    Ok(Applied { object, managed })
}

/// Removes what the applier owned, no longer says, and nobody else owns.
fn prune(schema: Schema<'_>, merged: Value, managed: &Managed, last: &Set) -> Value {
    if last.is_empty() {
        return merged;
    }
    let all = walk::with_containers(schema, &walk::paths(schema, &merged));
    let last = walk::with_containers(schema, last);
    let pruned = walk::remove(schema, &merged, &last);
    let mut owned = Set::default();
    for entry in &managed.entries {
        owned.unite(&entry.set);
    }
    // A removal takes everything below with it; what others own there, and what nobody ever applied, comes back.
    let mut gone = all.clone();
    gone.subtract(&walk::with_containers(schema, &walk::paths(schema, &pruned)));
    gone.subtract(&walk::with_containers(schema, &owned));
    let pruned = walk::remove(schema, &merged, &gone);
    let mut gone = all;
    gone.subtract(&walk::with_containers(schema, &walk::paths(schema, &pruned)));
    walk::remove(schema, &merged, &gone.intersection(&last))
}

/// The fields that client-side apply left in its annotation.
fn last_applied(schema: Schema<'_>, live: &Value) -> Set {
    let annotation = live
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"))
        .and_then(|annotations| annotations.get(LAST_APPLIED))
        .and_then(Value::as_str);
    let applied = annotation.and_then(|text| serde_json::from_str(text).ok());
    applied.map_or_else(Set::default, |applied: Value| walk::paths(schema, &applied))
}
