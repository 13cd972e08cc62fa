//! What may differ between resources. Every method has the default that most resources want.
//!
//! Order on create: mutating admission -> `prepare_for_create` -> `validate` -> validating admission -> `begin_create` (allocations)
//! -> the write -> `after_create`. On update the same with `prepare_for_update`, `validate_update`, `begin_update`, `after_update`.
//! Preparing comes after mutation, so that no plugin can set what only the server may set, and derived fields see the final object.
//! `prepare_*` clears what a client may not set and must be idempotent: an update that lost its race runs again.

use super::{Registry, RequestContext};
use crate::{ApiError, Body, FieldError, RequestInfo};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// A column of the Table output, as `kubectl get` prints it.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub r#type: Cow<'static, str>,
    /// `name` for the column that identifies the row; mostly empty.
    pub format: Cow<'static, str>,
    pub description: Cow<'static, str>,
    /// 0 is always shown, anything above only with `-o wide`.
    pub priority: i32,
}

/// One row, a value per [`Column`].
pub type Cells = Vec<Value>;

/// A field selectors may use besides `metadata.name` and `metadata.namespace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectableField {
    /// Dotted path, e.g. `spec.nodeName`.
    pub path: Cow<'static, str>,
    /// What an object without the field counts as: mostly `""`, `false` for booleans.
    pub missing: &'static str,
}

impl SelectableField {
    /// A field that counts as empty when absent.
    pub const fn text(path: &'static str) -> SelectableField {
        SelectableField::of(path, "")
    }

    /// A field that counts as something else when absent.
    pub const fn of(path: &'static str, missing: &'static str) -> SelectableField {
        SelectableField {
            path: Cow::Borrowed(path),
            missing,
        }
    }
}

/// How the name of an object is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// DNS subdomain (most resources).
    Subdomain,
    /// DNS label, at most 63 (namespaces, services in 1035 form start with a letter).
    Label,
    /// DNS label starting with a letter (services).
    Label1035,
    /// Anything that fits one path segment (RBAC).
    PathSegment,
}

/// The body or query of a delete.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    /// `Orphan`, `Background`, `Foreground`.
    pub propagation_policy: Option<String>,
    pub precondition_uid: Option<String>,
    pub precondition_resource_version: Option<String>,
    /// Remove an object whose stored value cannot be read, without admission, finalizers or grace.
    pub ignore_store_read_error: bool,
}

/// How a delete begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Remove now (finalizers still hold it back).
    Now,
    /// Mark with `deletionTimestamp` and `deletionGracePeriodSeconds`; someone deletes again with 0 later.
    Graceful { seconds: i64 },
    /// Mark with `deletionTimestamp`; [`Strategy::may_be_removed`] decides at each later update when it goes.
    Hold,
}

/// What a subresource is.
#[derive(Clone, Copy)]
pub enum Subresource<'a> {
    /// get, update and patch of the object itself under other rules (status, finalize, approval, ephemeralcontainers, resize).
    Object,
    /// get, update and patch of another view of the object (scale).
    Projection(&'a dyn Projection),
    /// create of an object that makes something happen (binding, eviction, token): [`Strategy::act`].
    Action,
    /// A raw request and response (log, exec, attach, portforward, proxy): [`Strategy::connect`].
    Stream,
}

/// A subresource with its own kind that is a view of the object.
pub trait Projection: Send + Sync {
    /// The view, complete with `apiVersion`, `kind` and `metadata` (resourceVersion included).
    fn read(&self, object: &Value) -> Value;
    /// Checks the view as the user wrote it.
    fn validate(&self, projected: &Value) -> Vec<FieldError>;
    /// Applies what may be changed.
    fn write(&self, projected: &Value, object: &mut Value);
}

/// A create on an action subresource, or of a resource that is not stored (reviews). For the latter `subresource` is empty.
pub struct Action<'a> {
    pub registry: &'a Arc<Registry>,
    pub context: &'a RequestContext,
    pub namespace: &'a str,
    pub name: &'a str,
    pub subresource: &'a str,
    /// Decoded, defaulted and admitted; a bare object of the subresource's kind.
    pub object: Value,
}

/// A raw request for a stream subresource. The upgrade, if any, is in the request's extensions.
pub struct Connect<'a> {
    pub registry: &'a Arc<Registry>,
    pub context: &'a RequestContext,
    pub info: &'a RequestInfo,
    pub request: http::Request<Body>,
}

/// The answer of an [`Action`].
pub struct Reply {
    pub code: u16,
    pub object: Value,
}

impl Reply {
    /// 201 with an object.
    pub fn created(object: Value) -> Reply {
        Reply { code: 201, object }
    }
}

/// See the module.
#[async_trait::async_trait]
pub trait Strategy: Send + Sync {
    /// False for reviews and the like: create calls [`Strategy::act`] and nothing else is served.
    fn stored(&self) -> bool {
        true
    }
    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }
    /// Whether PUT to a missing name creates it.
    fn create_on_update(&self) -> bool {
        false
    }
    /// Whether PUT without a resourceVersion is allowed.
    fn unconditional_update(&self) -> bool {
        true
    }
    /// Whether `metadata.generation` counts changes of everything but metadata and status.
    fn tracks_generation(&self) -> bool {
        false
    }
    /// Whether the object has a `status` that only the `status` subresource may change.
    fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// Clears and sets fields before admission. The default of resources with a status is to drop it.
    fn prepare_for_create(&self, _context: &RequestContext, object: &mut Value) {
        if self.has_status() {
            remove(object, "status");
        }
    }
    /// Keeps what this request may not change. `subresource` is empty for the object itself. The default lets the object change
    /// everything but status, and `status` nothing but status.
    fn prepare_for_update(&self, _context: &RequestContext, subresource: &str, old: &Value, new: &mut Value) {
        match subresource {
            "status" => keep_all_but(new, old, "status"),
            _ if self.has_status() => copy_field(new, old, "status"),
            _ => {}
        }
    }
    fn validate(&self, _object: &Value) -> Vec<FieldError> {
        Vec::new()
    }
    /// `validate` is not called for updates: call it here when it applies (the default does, for the object itself).
    fn validate_update(&self, subresource: &str, new: &Value, _old: &Value) -> Vec<FieldError> {
        if subresource.is_empty() {
            self.validate(new)
        } else {
            Vec::new()
        }
    }
    /// Warnings for the user about what is stored.
    fn warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    fn columns(&self) -> &[Column] {
        super::table::DEFAULT_COLUMNS
    }
    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Cells {
        super::table::default_cells(object, now)
    }
    fn selectable_fields(&self) -> &[SelectableField] {
        &[]
    }

    fn begin_delete(&self, _object: &mut Value, _options: &DeleteOptions) -> Deletion {
        Deletion::Now
    }
    /// Asked of an object with a `deletionTimestamp`, without finalizers and without a remaining grace period.
    fn may_be_removed(&self, _object: &Value) -> bool {
        true
    }
    /// Finalizers to add when the delete did not say a propagation policy (`Some(true)` orphans dependents by default).
    fn orphans_by_default(&self) -> bool {
        false
    }

    /// Allocations and reads that need I/O, after validation and before the write. Not undone here when the write fails: see
    /// [`Strategy::abort_create`].
    async fn begin_create(
        &self,
        _registry: &Arc<Registry>,
        _context: &RequestContext,
        _object: &mut Value,
    ) -> Result<(), ApiError> {
        Ok(())
    }
    /// The write after `begin_create` failed: give back what was allocated.
    async fn abort_create(&self, _registry: &Arc<Registry>, _context: &RequestContext, _object: &Value) {}
    /// The same for updates; called on every attempt, inside the retry loop.
    async fn begin_update(
        &self,
        _registry: &Arc<Registry>,
        _context: &RequestContext,
        _subresource: &str,
        _old: &Value,
        _new: &mut Value,
    ) -> Result<(), ApiError> {
        Ok(())
    }
    /// After the write (not on dry runs). A failure here is logged, not reported: the object exists.
    async fn after_create(&self, _registry: &Arc<Registry>, _context: &RequestContext, _object: &Value) {}
    async fn after_update(&self, _registry: &Arc<Registry>, _context: &RequestContext, _old: &Value, _new: &Value) {}
    async fn after_delete(&self, _registry: &Arc<Registry>, _context: &RequestContext, _object: &Value) {}

    fn subresource(&self, _name: &str) -> Option<Subresource<'_>> {
        None
    }
    async fn act(&self, action: Action<'_>) -> Result<Reply, ApiError> {
        let _ = action;
        Err(ApiError::no_such_path())
    }
    async fn connect(&self, connect: Connect<'_>) -> Result<http::Response<Body>, ApiError> {
        let _ = connect;
        Err(ApiError::no_such_path())
    }
}

/// The strategy of a resource that has nothing special: the schema says it all.
pub struct Plain {
    pub status: bool,
}

impl Strategy for Plain {
    fn subresource(&self, name: &str) -> Option<Subresource<'_>> {
        (self.status && name == "status").then_some(Subresource::Object)
    }
}

/// Drops a top-level field.
pub fn remove(object: &mut Value, field: &str) {
    if let Value::Object(map) = object {
        map.remove(field);
    }
}

/// Makes `new[field]` what it is in `old`, absent included.
pub fn copy_field(new: &mut Value, old: &Value, field: &str) {
    let Value::Object(map) = new else { return };
    match old.get(field) {
        Some(value) => map.insert(field.to_string(), value.clone()),
        None => map.remove(field),
    };
}

/// Makes `new` equal to `old` but for one top-level field; metadata may change only its `managedFields` and `resourceVersion`.
pub fn keep_all_but(new: &mut Value, old: &Value, field: &str) {
    let Value::Object(map) = new else { return };
    let mut kept: Map<String, Value> = old.as_object().cloned().unwrap_or_default();
    let version = map.get("metadata").and_then(|m| m.get("resourceVersion")).cloned();
    if let (Some(version), Some(Value::Object(metadata))) = (version, kept.get_mut("metadata")) {
        metadata.insert("resourceVersion".into(), version);
    }
    match map.remove(field) {
        Some(value) => kept.insert(field.to_string(), value),
        None => kept.remove(field),
    };
    *map = kept;
}
