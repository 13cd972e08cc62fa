//! What is special about CustomResourceDefinitions as objects.

use super::custom::shortcomings;
use super::{CLEANUP, set_condition, validate};
use crate::FieldError;
use crate::registry::fields::{at, flag, list, text};
use crate::registry::strategy::{Subresource, copy_field, keep_all_but};
use crate::registry::{DeleteOptions, Deletion, RequestContext, Strategy};
use serde_json::{Value, json};

/// `customresourcedefinitions.apiextensions.k8s.io`.
pub(crate) struct Definitions;

impl Strategy for Definitions {
    fn tracks_generation(&self) -> bool {
        true
    }

    fn prepare_for_create(&self, _context: &RequestContext, definition: &mut Value) {
        let stored: Vec<Value> = stored(definition).map(Value::from).into_iter().collect();
        definition["status"] =
            json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": [], "storedVersions": stored});
    }

    fn prepare_for_update(&self, _context: &RequestContext, subresource: &str, old: &Value, new: &mut Value) {
        if subresource == "status" {
            return keep_all_but(new, old, "status");
        }
        copy_field(new, old, "status");
        // Objects may be stored in it from now on, so it has to stay until somebody has made sure that none is.
        let Some(version) = stored(new) else { return };
        let mut versions = list(new, "status.storedVersions").to_vec();
        if !versions.iter().any(|known| *known == version) {
            versions.push(version.into());
            new["status"]["storedVersions"] = versions.into();
        }
    }

    fn validate(&self, definition: &Value) -> Vec<FieldError> {
        validate::definition(definition)
    }

    fn validate_update(&self, subresource: &str, new: &Value, old: &Value) -> Vec<FieldError> {
        match subresource {
            "" => validate::change(new, old),
            _ => validate::stored_versions(new),
        }
    }

    fn warnings(&self, definition: &Value) -> Vec<String> {
        shortcomings(definition)
    }

    fn begin_delete(&self, definition: &mut Value, _options: &DeleteOptions) -> Deletion {
        if at(definition, "metadata.deletionTimestamp").is_none() {
            let mut finalizers = list(definition, "metadata.finalizers").to_vec();
            if !finalizers.iter().any(|finalizer| finalizer == CLEANUP) {
                finalizers.push(CLEANUP.into());
                definition["metadata"]["finalizers"] = finalizers.into();
            }
            let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
            set_condition(definition, "Terminating", "True", "InstanceDeletionPending", message);
        }
        Deletion::Now
    }

    fn subresource(&self, name: &str) -> Option<Subresource<'_>> {
        (name == "status").then_some(Subresource::Object)
    }
}

/// The version in which objects are stored.
fn stored(definition: &Value) -> Option<String> {
    let versions = list(definition, "spec.versions").iter();
    let mut stored = versions.filter(|version| flag(version, "storage"));
    stored.next().map(|version| text(version, "name").to_owned())
}
