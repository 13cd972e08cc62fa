//! What accompanies one request through the registry.

use crate::{FieldError, User};
use parking_lot::Mutex;
use std::sync::Arc;
use storage::Fence;

/// Who asks, under which fence, and how the write is to be done.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    pub user: User,
    /// Only in-process callers have one; storage compares it in the same transaction as the write.
    pub fence: Option<Fence>,
    /// `dryRun=All`: everything happens but the write.
    pub dry_run: bool,
    /// Who owns what is written: the query's `fieldManager`, or else the program that asks.
    pub field_manager: String,
    /// The object already carries its managed fields: it is the outcome of an apply.
    pub(crate) applied: bool,
    /// Whether an update of something missing may create it, where the resource allows that.
    pub(crate) may_create: bool,
    warnings: Arc<Mutex<Vec<String>>>,
}

/// What `dryRun` says in a query or a body: `All`, or nothing.
pub(crate) fn dry_run<'a>(values: impl Iterator<Item = &'a str>) -> Result<bool, FieldError> {
    let mut dry = false;
    for value in values {
        match value {
            "" => {}
            "All" => dry = true,
            other => return Err(FieldError::not_supported("dryRun", &other.into(), &["All"])),
        }
    }
    Ok(dry)
}

impl RequestContext {
    /// The context of the server's own writes (bootstrap, repair, consequences of other writes).
    pub fn system() -> RequestContext {
        RequestContext::of(User::new("system:apiserver", &[crate::identity::MASTERS]))
    }

    /// A plain context for a user.
    pub fn of(user: User) -> RequestContext {
        RequestContext {
            user,
            may_create: true,
            ..RequestContext::default()
        }
    }

    /// The same request, but nothing is written.
    pub(crate) fn dry(&self) -> RequestContext {
        RequestContext {
            dry_run: true,
            ..self.clone()
        }
    }

    /// Tells the user something without failing: a `Warning` header of the response.
    pub fn warn(&self, message: impl Into<String>) {
        let message = message.into();
        let mut warnings = self.warnings.lock();
        if !warnings.contains(&message) {
            warnings.push(message);
        }
    }

    /// The warnings so far, in order.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().clone()
    }
}
