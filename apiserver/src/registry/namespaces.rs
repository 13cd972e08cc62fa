//! Namespaces: they go in two steps. A delete marks them `Terminating`; whoever empties them (the namespace controller)
//! then clears `spec.finalizers` through `finalize`, and only then do they disappear.

use super::RequestContext;
use super::check::Errors;
use super::fields::{child, list, text};
use super::strategy::*;
use super::table::{AGE, NAME, age, column, name};
use crate::FieldError;
use serde_json::{Value, json};

/// The strategy of `namespaces`.
pub struct Namespaces;

const FINALIZER: &str = "kubernetes";
/// The label every namespace carries, so that selectors can name one.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "string", "Whether it is in use or going away."),
    AGE,
];

#[async_trait::async_trait]
impl Strategy for Namespaces {
    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn prepare_for_create(&self, _context: &RequestContext, namespace: &mut Value) {
        let mut finalizers = list(namespace, "spec.finalizers").to_vec();
        if !finalizers.iter().any(|f| f == FINALIZER) {
            finalizers.push(json!(FINALIZER));
        }
        child(namespace, "spec").insert("finalizers".into(), json!(finalizers));
        namespace["status"] = json!({"phase": "Active"});
        set_name_label(namespace);
    }

    fn prepare_for_update(&self, _context: &RequestContext, subresource: &str, old: &Value, new: &mut Value) {
        match subresource {
            "status" => keep_all_but(new, old, "status"),
            "finalize" => keep_all_but(new, old, "spec"),
            _ => {
                copy_field(new, old, "spec");
                copy_field(new, old, "status");
                set_name_label(new);
            }
        }
    }

    fn validate_update(&self, subresource: &str, new: &Value, _old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if subresource == "status" {
            let deleted = !text(new, "metadata.deletionTimestamp").is_empty();
            let phase = text(new, "status.phase");
            if deleted && phase != "Terminating" {
                let detail = "may only be 'Terminating' if `deletionTimestamp` is not empty";
                errors.push(FieldError::invalid("status.phase", &json!(phase), detail));
            }
            if !deleted && !matches!(phase, "" | "Active") {
                let detail = "may only be 'Active' if `deletionTimestamp` is empty";
                errors.push(FieldError::invalid("status.phase", &json!(phase), detail));
            }
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, namespace: &Value, now: jiff::Timestamp) -> Cells {
        vec![
            name(namespace),
            json!(text(namespace, "status.phase")),
            age(namespace, now),
        ]
    }

    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[SelectableField::text("status.phase")];
        FIELDS
    }

    fn begin_delete(&self, namespace: &mut Value, _options: &DeleteOptions) -> Deletion {
        child(namespace, "status").insert("phase".into(), json!("Terminating"));
        if self.may_be_removed(namespace) {
            Deletion::Now
        } else {
            Deletion::Hold
        }
    }

    fn may_be_removed(&self, namespace: &Value) -> bool {
        list(namespace, "spec.finalizers").is_empty()
    }

    fn subresource(&self, name: &str) -> Option<Subresource<'_>> {
        matches!(name, "status" | "finalize").then_some(Subresource::Object)
    }
}

fn set_name_label(namespace: &mut Value) {
    let name = text(namespace, "metadata.name").to_owned();
    if !name.is_empty() {
        child(&mut namespace["metadata"], "labels").insert(NAME_LABEL.into(), json!(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_goes_once_its_finalizers_are_gone() {
        let mut namespace = json!({"metadata": {"name": "a"}});
        Namespaces.prepare_for_create(&RequestContext::default(), &mut namespace);
        assert_eq!(namespace["metadata"]["labels"][NAME_LABEL], "a");
        assert_eq!(namespace["status"]["phase"], "Active");
        assert_eq!(
            Namespaces.begin_delete(&mut namespace, &DeleteOptions::default()),
            Deletion::Hold
        );
        assert_eq!(namespace["status"]["phase"], "Terminating");
        assert!(!Namespaces.may_be_removed(&namespace));
        namespace["spec"]["finalizers"] = json!([]);
        assert!(Namespaces.may_be_removed(&namespace));
    }
}
