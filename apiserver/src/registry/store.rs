//! The generic store: the state every write goes through, whatever the resource.

use super::reader::{Reader, value_of};
use super::recount::Marks;
use super::served::{Resources, Served};
use super::{RequestContext, strategies};
use crate::admission::{self, Admission, AdmissionRequest, Operation};
use crate::authn::Bearers;
use crate::authz::Authorizer;
use crate::config::Config;
use crate::{ApiError, FieldError};
use bytes::Bytes;
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use storage::{Item, Storage};

/// See the module. Reads are [`Registry::reader`]'s.
pub struct Registry {
    reader: Reader,
    config: Config,
    plugins: OnceLock<Vec<Arc<dyn Admission>>>,
    /// Where quotas are to be counted.
    pub(super) marks: Arc<Marks>,
    access: OnceLock<Access>,
}

/// Who may do what, for the reviews that answer such questions.
pub struct Access {
    pub bearers: Arc<Bearers>,
    pub authorizer: Arc<dyn Authorizer>,
}

/// The object a write left behind.
#[derive(Clone, Debug)]
pub enum Written {
    Stored(Item),
    /// What would have been stored, or what is not stored at all.
    Shown(Value),
}

impl Written {
    /// The object, with the resourceVersion of the write if there was one.
    pub fn value(&self) -> Result<Value, ApiError> {
        match self {
            Written::Stored(item) => value_of(item),
            Written::Shown(value) => Ok(value.clone()),
        }
    }

    /// The object as JSON.
    pub fn json(&self) -> Bytes {
        match self {
            Written::Stored(item) => item.json(),
            Written::Shown(value) => value.to_string().into(),
        }
    }
}

impl Registry {
    /// A registry over a store. Admission is ready at once; [`Registry::set_access`] completes it for reviews.
    pub fn new(storage: Storage, config: &Config) -> Arc<Registry> {
        let reader = Reader::new(storage, Resources::build(strategies(config)));
        let registry = Arc::new(Registry {
            reader,
            config: config.clone(),
            plugins: OnceLock::new(),
            marks: Arc::default(),
            access: OnceLock::new(),
        });
        let _ = registry.plugins.set(admission::plugins(&registry));
        registry
    }

    /// The read half.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What the binary configured.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Called once, by the server that owns both.
    pub(crate) fn set_access(&self, bearers: Arc<Bearers>, authorizer: Arc<dyn Authorizer>) {
        let _ = self.access.set(Access { bearers, authorizer });
    }

    /// Authentication and authorization, for reviews.
    pub fn access(&self) -> Result<&Access, ApiError> {
        self.access
            .get()
            .ok_or_else(|| ApiError::unavailable("the server is still starting"))
    }

    /// Runs the mutating half of admission.
    pub(super) async fn mutate(
        &self,
        target: &Target<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        let mut warnings = Vec::new();
        let mut request = target.request(object, old, &mut warnings);
        for plugin in self.plugins.get().into_iter().flatten() {
            plugin.mutate(&mut request).await?;
        }
        target.warn(warnings);
        Ok(())
    }

    /// Runs the validating half of admission. `object` is a copy's borrow only because both halves share a request type.
    pub(super) async fn admit(
        &self,
        target: &Target<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        let mut warnings = Vec::new();
        let mut request = target.request(object, old, &mut warnings);
        for plugin in self.plugins.get().into_iter().flatten() {
            plugin.validate(&mut request).await?;
        }
        target.warn(warnings);
        Ok(())
    }

    /// Both halves, for what is not stored (actions and connects).
    pub(crate) async fn admit_action(&self, target: &Target<'_>, object: &mut Value) -> Result<(), ApiError> {
        self.mutate(target, object, None).await?;
        self.admit(target, object, None).await
    }
}

/// What a write is about.
pub(crate) struct Target<'a> {
    pub context: &'a RequestContext,
    pub served: &'a Served,
    pub operation: Operation,
    pub subresource: &'a str,
    pub namespace: &'a str,
    /// Empty while a name is still to be generated.
    pub name: &'a str,
}

impl<'a> Target<'a> {
    fn request<'r>(
        &'r self,
        object: &'r mut Value,
        old: Option<&'r Value>,
        warnings: &'r mut Vec<String>,
    ) -> AdmissionRequest<'r>
    where
        'a: 'r,
    {
        let info = &self.served.info;
        let (kind_group, kind_version, kind) = match info.subresource(self.subresource) {
            Some(subresource) => (&subresource.group, &subresource.version, &subresource.kind),
            None => (&info.group, &info.version, &info.kind),
        };
        AdmissionRequest {
            operation: self.operation,
            group: &info.group,
            version: &info.version,
            kind,
            kind_group,
            kind_version,
            served: self.served,
            resource: &info.name,
            subresource: self.subresource,
            namespace: self.namespace,
            name: self.name,
            object,
            old,
            user: &self.context.user,
            dry_run: self.context.dry_run,
            warnings,
        }
    }

    fn warn(&self, warnings: Vec<String>) {
        warnings.into_iter().for_each(|warning| self.context.warn(warning));
    }

    /// 422 if there are problems.
    pub(super) fn check(&self, name: &str, problems: Vec<FieldError>) -> Result<(), ApiError> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ApiError::invalid(&self.served.kind, name, problems))
        }
    }
}
