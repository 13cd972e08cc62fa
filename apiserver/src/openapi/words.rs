//! What the Kubernetes API says about its kinds and fields, collected by the build script.

use api::openapi::Words;
use std::collections::HashMap;
use std::io::Read;

const DEFLATED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/words.deflate"));

/// By definition, then by field; a definition's own text is under the empty field.
pub(super) struct Texts(HashMap<String, HashMap<String, String>>);

/// What every list says of the fields that all lists have.
const LIST_FIELDS: &[(&str, &str, &str)] = &[
    ("apiVersion", "io.k8s.api.core.v1.Pod", "apiVersion"),
    ("kind", "io.k8s.api.core.v1.Pod", "kind"),
    ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta", ""),
];

impl Texts {
    /// Inflates them. Megabytes: meant to be dropped once the documents are rendered.
    pub(super) fn load() -> Texts {
        let mut json = Vec::new();
        let read = flate2::read::DeflateDecoder::new(DEFLATED).read_to_end(&mut json);
        let texts = read
            .map_err(|error| error.to_string())
            .and_then(|_| serde_json::from_slice(&json).map_err(|error| error.to_string()));
        match texts {
            Ok(texts) => Texts(texts),
            Err(error) => {
                tracing::error!(%error, "the descriptions in this binary cannot be read; OpenAPI goes without");
                Texts(HashMap::new())
            }
        }
    }
}

impl Words for Texts {
    fn about(&self, definition: &str, field: &str) -> Option<&str> {
        let text = |definition: &str, field: &str| self.0.get(definition)?.get(field).map(String::as_str);
        if let Some(found) = text(definition, field) {
            return Some(found);
        }
        // Lists are one generic type where the texts come from.
        let fields = LIST_FIELDS.iter().filter(|_| definition.ends_with("List"));
        let mut fields = fields.filter(|(name, _, _)| *name == field);
        fields.next().and_then(|(_, definition, field)| text(definition, field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_kinds_and_lists_are_described() {
        let texts = Texts::load();
        for (definition, field) in [
            ("io.k8s.api.core.v1.Pod", ""),
            ("io.k8s.api.core.v1.PodSpec", "containers"),
            ("io.k8s.api.core.v1.PodList", "kind"),
            ("io.k8s.api.storage.v1.CSIDriverSpec", "attachRequired"),
        ] {
            assert!(texts.about(definition, field).is_some(), "{definition} {field}");
        }
        assert_eq!(texts.about("io.k8s.api.core.v1.PodSpec", "nope"), None);
    }

    /// A kind that is served but missing in the build script would leave `kubectl explain` mute.
    #[test]
    fn every_kind_served_is_described() {
        let texts = Texts::load();
        for row in api::resources() {
            let schema = api::registry().schema(&row.gvk()).unwrap();
            let name = &schema.definition.name;
            assert!(texts.about(name, "").is_some(), "{name}");
        }
    }
}
