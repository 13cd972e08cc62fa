//! Delete: now, gracefully, or held back by finalizers.

use super::fields::{list, number, rfc3339, text};
use super::metadata;
use super::race::{Race, Step};
use super::reader::value_of;
use super::store::Target;
use super::strategy::{DeleteOptions, Deletion};
use super::update::is_finished;
use super::{Registry, RequestContext, Served, Written};
use crate::admission::Operation;
use crate::status::from_storage;
use crate::{ApiError, FieldError};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use storage::{Attempt, Current};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What a delete came to.
#[derive(Debug)]
pub enum Deleted {
    /// The object is gone; this is its last state.
    Gone(Value),
    /// The object is on its way out.
    Marked(Written),
}

impl Registry {
    /// Deletes an object.
    pub async fn delete(
        self: &Arc<Registry>,
        context: &RequestContext,
        resource: &str,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        let served = self.reader().served(resource)?;
        check_options(options)?;
        let target = Target {
            context,
            served: &served,
            operation: Operation::Delete,
            subresource: "",
            namespace,
            name,
        };
        let mut race = match Race::begin(self, &target).await {
            Err(storage::Error::Corrupt { .. }) if options.ignore_store_read_error => return self.purge(&target).await,
            begun => begun.map_err(|error| from_storage(error, &served.name, name))?,
        };
        loop {
            let step = self.attempt_delete(&target, race.current(), options).await;
            if let Some(end) = race.settle(step).await {
                return end;
            }
        }
    }

    /// Removes an object that nobody can read. Nothing can be said of it but its name.
    async fn purge(&self, target: &Target<'_>) -> Result<Deleted, ApiError> {
        let (served, namespace, name) = (target.served, target.namespace, target.name);
        let last = json!({"metadata": {"namespace": namespace, "name": name}});
        if target.context.dry_run {
            return Ok(Deleted::Gone(last));
        }
        let storage = self.reader().storage();
        let purged = storage
            .purge(&served.collection, namespace, name, target.context.fence.as_ref())
            .await
            .map_err(|error| from_storage(error, &served.name, name))?;
        tracing::warn!(
            user = target.context.user.name,
            resource = served.name,
            namespace,
            name,
            "removed unread"
        );
        match purged {
            true => Ok(Deleted::Gone(last)),
            false => Err(ApiError::modified(&served.name, name)),
        }
    }

    async fn attempt_delete(
        self: &Arc<Registry>,
        target: &Target<'_>,
        current: &Current,
        options: &DeleteOptions,
    ) -> Result<Step<Deleted>, ApiError> {
        let old = value_of(&current.item)?;
        preconditions(target, &old, options)?;
        self.mutate(target, &mut Value::Null, Some(&old)).await?;
        self.admit(target, &mut Value::Null, Some(&old)).await?;
        let mut new = old.clone();
        propagate(target.served, &mut new, options);
        let deletion = target.served.strategy.begin_delete(&mut new, options);
        let written = match decide(target.served, &mut new, &old, deletion, Timestamp::now()) {
            Verdict::Unchanged => Ok(Step::Done(Deleted::Marked(Written::Stored(current.item.clone())))),
            Verdict::Mark => self.mark(target, current, new).await,
            Verdict::Remove => self.remove(target, current, new).await,
        };
        // A write that failed may have happened all the same; only the client can decide to repeat it.
        Ok(written.unwrap_or_else(Step::Failed))
    }

    async fn mark(
        self: &Arc<Registry>,
        target: &Target<'_>,
        current: &Current,
        new: Value,
    ) -> Result<Step<Deleted>, ApiError> {
        let (served, context) = (target.served, target.context);
        if context.dry_run {
            return Ok(Step::Done(Deleted::Marked(Written::Shown(new))));
        }
        let storage = self.reader().storage();
        let fence = context.fence.as_ref();
        let attempt = storage
            .replace(&served.collection, target.namespace, target.name, current, &new, fence)
            .await;
        match attempt.map_err(|error| from_storage(error, &served.name, target.name))? {
            Attempt::Written(item) => Ok(Step::Done(Deleted::Marked(Written::Stored(item)))),
            Attempt::Lost(Some(now)) => Ok(Step::Again(Some(now))),
            Attempt::Lost(None) => Err(served.not_found(target.name)),
        }
    }

    async fn remove(
        self: &Arc<Registry>,
        target: &Target<'_>,
        current: &Current,
        new: Value,
    ) -> Result<Step<Deleted>, ApiError> {
        let (served, context) = (target.served, target.context);
        if context.dry_run {
            return Ok(Step::Done(Deleted::Gone(new)));
        }
        let storage = self.reader().storage();
        let fence = context.fence.as_ref();
        let attempt = storage
            .remove(&served.collection, target.namespace, target.name, current, fence)
            .await;
        match attempt.map_err(|error| from_storage(error, &served.name, target.name))? {
            Attempt::Written(item) => {
                let last = value_of(&item)?;
                self.recount(target.namespace).await;
                served.strategy.after_delete(self, context, &last).await;
                Ok(Step::Done(Deleted::Gone(last)))
            }
            Attempt::Lost(Some(now)) => Ok(Step::Again(Some(now))),
            Attempt::Lost(None) => Err(served.not_found(target.name)),
        }
    }
}

fn check_options(options: &DeleteOptions) -> Result<(), ApiError> {
    let invalid = |problem| Err(ApiError::invalid("DeleteOptions.meta.k8s.io", "", vec![problem]));
    match options.propagation_policy.as_deref() {
        None | Some("Orphan" | "Background" | "Foreground") => {}
        Some(other) => {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            return invalid(FieldError::not_supported(
                "propagationPolicy",
                &json!(other),
                &supported,
            ));
        }
    }
    match options.grace_period_seconds {
        Some(seconds) if seconds < 0 => {
            let detail = "must be greater than or equal to 0";
            invalid(FieldError::invalid("gracePeriodSeconds", &json!(seconds), detail))
        }
        _ => Ok(()),
    }
}

fn preconditions(target: &Target<'_>, old: &Value, options: &DeleteOptions) -> Result<(), ApiError> {
    let (resource, name) = (&target.served.name, target.name);
    let uid = text(old, "metadata.uid");
    match options.precondition_uid.as_deref() {
        Some(wanted) if wanted != uid => return Err(ApiError::other_uid(resource, name, wanted, uid)),
        _ => {}
    }
    let version = text(old, "metadata.resourceVersion");
    match options.precondition_resource_version.as_deref() {
        Some(wanted) if wanted != version => {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {version}"
            );
            Err(ApiError::conflict(resource, name, &why))
        }
        _ => Ok(()),
    }
}

/// The propagation policy becomes finalizers, which the garbage collector acts on and removes.
fn propagate(served: &Served, object: &mut Value, options: &DeleteOptions) {
    let wanted = match options.propagation_policy.as_deref() {
        Some("Orphan") => Some(ORPHAN),
        Some("Foreground") => Some(FOREGROUND),
        Some(_) => None,
        // Without a policy, an object that already says how it wants to go keeps it.
        None if has(object, ORPHAN) || has(object, FOREGROUND) => return,
        None => served.strategy.orphans_by_default().then_some(ORPHAN),
    };
    let mut finalizers: Vec<Value> = list(object, "metadata.finalizers").to_vec();
    finalizers.retain(|finalizer| finalizer != ORPHAN && finalizer != FOREGROUND);
    finalizers.extend(wanted.map(Value::from));
    let metadata = metadata::metadata(object);
    match finalizers.is_empty() {
        true => drop(metadata.remove("finalizers")),
        false => drop(metadata.insert("finalizers".into(), finalizers.into())),
    }
}

fn has(object: &Value, finalizer: &str) -> bool {
    list(object, "metadata.finalizers").iter().any(|f| f == finalizer)
}

#[derive(Debug, PartialEq)]
enum Verdict {
    /// It is being deleted already, and nothing is new.
    Unchanged,
    Mark,
    Remove,
}

/// Marks `new` as far as needed and says what is to be done with it.
fn decide(served: &Served, new: &mut Value, old: &Value, deletion: Deletion, now: Timestamp) -> Verdict {
    let seconds = match deletion {
        Deletion::Graceful { seconds } => seconds.max(0),
        Deletion::Now | Deletion::Hold => 0,
    };
    let since = text(old, "metadata.deletionTimestamp").parse::<Timestamp>().ok();
    let pending = number(old, "metadata.deletionGracePeriodSeconds");
    let sooner = since.is_none() || seconds < pending;
    if sooner {
        mark(new, since, pending, seconds, now);
    }
    let held = deletion == Deletion::Hold && !served.strategy.may_be_removed(new);
    if !held && is_finished(served, new) {
        return Verdict::Remove;
    }
    if new == old { Verdict::Unchanged } else { Verdict::Mark }
}

/// The deletion time says when the grace period ends; a shorter grace moves it forward, measured from when deletion began.
fn mark(new: &mut Value, since: Option<Timestamp>, pending: i64, seconds: i64, now: Timestamp) {
    let began = since.map_or(now, |at| {
        at.checked_sub(SignedDuration::from_secs(pending)).unwrap_or(at)
    });
    let first = since.is_none();
    // However long a grace period asks for, it ends within what a timestamp can say.
    let ends = began
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX);
    let generation = number(new, "metadata.generation");
    let metadata = metadata::metadata(new);
    metadata.insert("deletionTimestamp".into(), rfc3339(ends).into());
    metadata.insert("deletionGracePeriodSeconds".into(), seconds.into());
    if first && generation > 0 {
        metadata.insert("generation".into(), (generation + 1).into());
    }
}
