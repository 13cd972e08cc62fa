//! Leases: who holds something, and since when.

use super::check::{self, Errors};
use super::fields::{at, text};
use super::strategy::*;
use super::table::{AGE, NAME, age, column, name};
use crate::FieldError;
use serde_json::{Value, json};

/// The strategy of `leases`.
pub struct Leases;

const COLUMNS: &[Column] = &[NAME, column("Holder", "string", "Who holds it now."), AGE];

#[async_trait::async_trait]
impl Strategy for Leases {
    fn create_on_update(&self) -> bool {
        true
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, lease: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if let Some(spec) = at(lease, "spec") {
            check::at_least(&mut errors, spec, "spec", "leaseDurationSeconds", 1);
            check::at_least(&mut errors, spec, "spec", "leaseTransitions", 0);
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, lease: &Value, now: jiff::Timestamp) -> Cells {
        vec![name(lease), json!(text(lease, "spec.holderIdentity")), age(lease, now)]
    }
}
