//! Create.

use super::metadata;
use super::store::{Target, Written};
use super::{Registry, RequestContext, home, ownership, quota};
use crate::admission::Operation;
use crate::extensions;
use crate::status::from_storage;
use crate::{ApiError, limits};
use serde_json::Value;
use std::sync::Arc;
use storage::Freshness;

impl Registry {
    /// Creates an object: mutating admission, strategy, validation, validating admission, allocation, the write. The object is
    /// decoded and defaulted by the caller.
    pub async fn create(
        self: &Arc<Registry>,
        context: &RequestContext,
        resource: &str,
        namespace: &str,
        object: Value,
    ) -> Result<Value, ApiError> {
        self.create_written(context, resource, namespace, object).await?.value()
    }

    /// [`Registry::create`], without turning the stored bytes into an object again.
    pub async fn create_written(
        self: &Arc<Registry>,
        context: &RequestContext,
        resource: &str,
        namespace: &str,
        mut object: Value,
    ) -> Result<Written, ApiError> {
        let served = self.reader().served(resource)?;
        metadata::place(&served, namespace, &mut object)?;
        if super::fields::at(&object, "metadata.resourceVersion").is_some_and(|version| version != "") {
            return Err(ApiError::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let generated = metadata::wants_name(&object);
        if generated {
            metadata::generate_name(&mut object);
        }
        let name = super::fields::name(&object).to_string();
        let target = Target {
            context,
            served: &served,
            operation: Operation::Create,
            subresource: "",
            namespace,
            name: &name,
        };
        let records = ownership::created(context, &served, &mut object);
        self.mutate(&target, &mut object, None).await?;
        self.complete(&target, &mut object)?;
        ownership::put(&mut object, records);
        self.admit(&target, &mut object, None).await?;
        served.strategy.begin_create(self, context, &mut object).await?;
        let written = self.write_new(&target, &mut object, generated).await;
        match &written {
            Err(error) if had_no_effect(error) => served.strategy.abort_create(self, context, &object).await,
            // It may be stored: what it took stays taken, and the repair gives back what nothing uses.
            Err(_) => {}
            Ok(_) if context.dry_run => served.strategy.abort_create(self, context, &object).await,
            Ok(written) => {
                served.strategy.after_create(self, context, &written.value()?).await;
                if served.name == quota::QUOTAS {
                    self.recount(namespace).await;
                }
            }
        }
        written
    }

    /// What the strategy and the server set, and whether the result may be stored.
    fn complete(&self, target: &Target<'_>, object: &mut Value) -> Result<(), ApiError> {
        let strategy = &target.served.strategy;
        metadata::stamp(object, jiff::Timestamp::now());
        strategy.prepare_for_create(target.context, object);
        if strategy.tracks_generation() {
            metadata::metadata(object).insert("generation".into(), 1.into());
        }
        let mut problems = metadata::validate(target.served, object);
        problems.extend(strategy.validate(object));
        target.check(super::fields::name(object), problems)?;
        strategy
            .warnings(object)
            .into_iter()
            .for_each(|warning| target.context.warn(warning));
        Ok(())
    }

    async fn write_new(&self, target: &Target<'_>, object: &mut Value, generated: bool) -> Result<Written, ApiError> {
        let attempts = if generated { limits::GENERATED_NAME_ATTEMPTS } else { 1 };
        for attempt in 1..=attempts {
            match self.try_write_new(target, object).await {
                // A random suffix that is taken: roll again. Nothing but the name depends on it.
                Err(error) if error.reason == "AlreadyExists" && attempt < attempts => metadata::generate_name(object),
                result => return result,
            }
        }
        Err(ApiError::already_exists(
            &target.served.name,
            super::fields::name(object),
        ))
    }

    async fn try_write_new(&self, target: &Target<'_>, object: &Value) -> Result<Written, ApiError> {
        let (served, name) = (target.served, super::fields::name(object));
        let mut freshness = Freshness::Any;
        for _ in 0..limits::MOVED_GUARD_ATTEMPTS {
            let mut guards = quota::charge(self.reader(), served, target.namespace, object, None).await?;
            if target.context.dry_run {
                return self.try_dry(target, object).await;
            }
            guards.extend(extensions::guard(self.reader(), served, freshness).await?);
            guards.extend(home::guard(self.reader(), served, target.namespace, name, freshness).await?);
            let storage = self.reader().storage();
            let fence = target.context.fence.as_ref();
            match storage
                .create_guarded(&served.collection, target.namespace, name, object, fence, &guards)
                .await
            {
                Ok(item) => return Ok(Written::Stored(item)),
                // Only a fresh look tells whether the namespace is going away or got a label, and what is left of a quota.
                Err(storage::Error::Moved { .. }) => freshness = Freshness::Latest,
                Err(error) => return Err(from_storage(error, &served.name, name)),
            }
        }
        let why = format!("namespace {} or a quota in it keeps changing", target.namespace);
        Err(ApiError::conflict(&served.name, name, &why))
    }

    async fn try_dry(&self, target: &Target<'_>, object: &Value) -> Result<Written, ApiError> {
        let (served, name) = (target.served, super::fields::name(object));
        let existing = self
            .reader()
            .item(&served.name, target.namespace, name, Freshness::Latest)
            .await;
        match existing {
            Ok(_) => Err(ApiError::already_exists(&served.name, name)),
            Err(error) if error.is_not_found() => Ok(Written::Shown(object.clone())),
            Err(error) => Err(error),
        }
    }
}

/// Whether a failed create certainly stored nothing: it was refused, rather than lost on its way.
fn had_no_effect(error: &ApiError) -> bool {
    (400..500).contains(&error.code) && error.code != 408
}
