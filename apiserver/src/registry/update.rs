//! Update: read, change, check, compare-and-put; again when somebody else was faster.

use super::fields::{at, list, number, text};
use super::metadata;
use super::race::{Race, Step};
use super::reader::value_of;
use super::served::Served;
use super::store::{Target, Written};
use super::{Registry, RequestContext, ownership, quota};
use crate::admission::Operation;
use crate::status::from_storage;
use crate::{ApiError, FieldError};
use serde_json::Value;
use std::sync::Arc;
use storage::{Attempt, Current};

/// What an update came to.
pub(crate) enum Updated {
    Changed(Written),
    /// PUT to a name that did not exist, where the strategy allows it.
    Created(Written),
}

impl Updated {
    pub(crate) fn written(self) -> Written {
        match self {
            Updated::Changed(written) | Updated::Created(written) => written,
        }
    }
}

impl Registry {
    /// Changes an object with a function, as often as it takes. `subresource` is empty for the object itself, else what strategy and
    /// admission shall take the change for.
    pub async fn update(
        self: &Arc<Registry>,
        context: &RequestContext,
        resource: &str,
        subresource: &str,
        namespace: &str,
        name: &str,
        change: impl Fn(&mut Value) -> Result<(), ApiError> + Send + Sync,
    ) -> Result<Value, ApiError> {
        let transform = |old: &Value| {
            let mut new = old.clone();
            change(&mut new).map(|()| new)
        };
        self.update_written(context, resource, subresource, namespace, name, &transform)
            .await?
            .written()
            .value()
    }

    /// [`Registry::update`] with a function from the current object to the wanted one.
    pub(crate) async fn update_written(
        self: &Arc<Registry>,
        context: &RequestContext,
        resource: &str,
        subresource: &str,
        namespace: &str,
        name: &str,
        transform: &(dyn Fn(&Value) -> Result<Value, ApiError> + Send + Sync),
    ) -> Result<Updated, ApiError> {
        let served = self.reader().served(resource)?;
        let target = Target {
            context,
            served: &served,
            operation: Operation::Update,
            subresource,
            namespace,
            name,
        };
        let mut race = match Race::begin(self, &target).await {
            Ok(race) => race,
            Err(storage::Error::NotFound { .. })
                if subresource.is_empty() && context.may_create && served.strategy.create_on_update() =>
            {
                let object = as_new(&served, name, transform(&Value::Null)?)?;
                return self
                    .create_written(context, resource, namespace, object)
                    .await
                    .map(Updated::Created);
            }
            Err(error) => return Err(from_storage(error, &served.name, name)),
        };
        loop {
            let step = self.attempt(&target, race.current(), transform).await;
            if let Some(end) = race.settle(step).await {
                return end.map(Updated::Changed);
            }
        }
    }

    async fn attempt(
        self: &Arc<Registry>,
        target: &Target<'_>,
        current: &Current,
        transform: &(dyn Fn(&Value) -> Result<Value, ApiError> + Send + Sync),
    ) -> Result<Step<Written>, ApiError> {
        let old = value_of(&current.item)?;
        let mut new = transform(&old)?;
        let given = ownership::take(&mut new);
        let strategy = &target.served.strategy;
        preconditions(target, &mut new, &old)?;
        self.mutate(target, &mut new, Some(&old)).await?;
        metadata::carry_over(&mut new, &old);
        strategy.prepare_for_update(target.context, target.subresource, &old, &mut new);
        if strategy.tracks_generation() {
            metadata::bump_generation(&mut new, &old, strategy.has_status());
        }
        let mut problems = metadata::validate_update(target.served, &new, &old);
        problems.extend(strategy.validate_update(target.subresource, &new, &old));
        target.check(target.name, problems)?;
        strategy
            .warnings(&new)
            .into_iter()
            .for_each(|warning| target.context.warn(warning));
        self.admit(target, &mut new, Some(&old)).await?;
        strategy
            .begin_update(self, target.context, target.subresource, &old, &mut new)
            .await?;
        ownership::take(&mut new);
        let records = ownership::updated(target.context, target.served, target.subresource, &old, &new, given);
        ownership::put(&mut new, records);
        // A write that failed may have happened all the same; only the client can decide to repeat it.
        let stored = self.store_update(target, current, &old, new).await;
        Ok(stored.unwrap_or_else(Step::Failed))
    }

    async fn store_update(
        self: &Arc<Registry>,
        target: &Target<'_>,
        current: &Current,
        old: &Value,
        new: Value,
    ) -> Result<Step<Written>, ApiError> {
        let (served, context) = (target.served, target.context);
        let guards = quota::charge(self.reader(), served, target.namespace, &new, Some(old)).await?;
        if context.dry_run {
            return Ok(Step::Done(Written::Shown(new)));
        }
        let storage = self.reader().storage();
        let fence = context.fence.as_ref();
        let gone = is_finished(served, &new);
        let (namespace, name) = (target.namespace, target.name);
        let attempt = match gone {
            true => {
                storage
                    .remove(&served.collection, namespace, name, current, fence)
                    .await
            }
            false => {
                storage
                    .replace_guarded(&served.collection, namespace, name, current, &new, fence, &guards)
                    .await
            }
        };
        // A quota changed meanwhile: count again.
        if let Err(storage::Error::Moved { .. }) = attempt {
            return Ok(Step::Again(None));
        }
        match attempt.map_err(|error| from_storage(error, &served.name, name))? {
            Attempt::Written(_) if gone => {
                self.recount(namespace).await;
                served.strategy.after_delete(self, context, &new).await;
                Ok(Step::Done(Written::Shown(new)))
            }
            Attempt::Written(item) => {
                let other = || served.name == quota::QUOTAS || quota::uses_other(served, old, &new);
                self.recount_if(namespace, other).await;
                let written = Written::Stored(item);
                served
                    .strategy
                    .after_update(self, context, old, &written.value()?)
                    .await;
                Ok(Step::Done(written))
            }
            Attempt::Lost(Some(now)) => Ok(Step::Again(Some(now))),
            Attempt::Lost(None) => Err(served.not_found(name)),
        }
    }
}

/// An update of an object that does not exist becomes a create, unless the client means one that it has seen.
fn as_new(served: &Served, name: &str, mut object: Value) -> Result<Value, ApiError> {
    let uid = text(&object, "metadata.uid");
    if !uid.is_empty() {
        return Err(ApiError::other_uid(&served.name, name, uid, ""));
    }
    metadata::metadata(&mut object).remove("resourceVersion");
    metadata::metadata(&mut object).entry("name").or_insert(name.into());
    Ok(object)
}

/// Whether the last thing that held a deleted object back is gone.
pub(super) fn is_finished(served: &Served, object: &Value) -> bool {
    at(object, "metadata.deletionTimestamp").is_some()
        && number(object, "metadata.deletionGracePeriodSeconds") == 0
        && list(object, "metadata.finalizers").is_empty()
        && served.strategy.may_be_removed(object)
}

/// What the client says about the object it means: name, namespace, uid, resourceVersion.
fn preconditions(target: &Target<'_>, new: &mut Value, old: &Value) -> Result<(), ApiError> {
    let served = target.served;
    let name = text(new, "metadata.name");
    if name.is_empty() {
        metadata::metadata(new).insert("name".into(), target.name.into());
    } else if name != target.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    metadata::place(served, target.namespace, new)?;
    let (wanted, uid) = (text(new, "metadata.uid"), text(old, "metadata.uid"));
    if !wanted.is_empty() && wanted != uid {
        return Err(ApiError::other_uid(&served.name, target.name, wanted, uid));
    }
    let version = text(new, "metadata.resourceVersion");
    if version.is_empty() || version == "0" {
        if !served.strategy.unconditional_update() && target.subresource.is_empty() {
            let problem = FieldError::invalid(
                "metadata.resourceVersion",
                &Value::from(0),
                "must be specified for an update",
            );
            return Err(ApiError::invalid(&served.kind, target.name, vec![problem]));
        }
    } else if version.parse::<u64>().is_err() {
        let problem = FieldError::invalid("metadata.resourceVersion", &Value::from(version), "must be a number");
        return Err(ApiError::invalid(&served.kind, target.name, vec![problem]));
    } else if version != text(old, "metadata.resourceVersion") {
        return Err(ApiError::modified(&served.name, target.name));
    }
    Ok(())
}
