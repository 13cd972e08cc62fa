//! Where the objects of one resource live in the keyspace.

use crate::meta::Fields;
use std::sync::Arc;

/// Keys of one resource: `<prefix>/<namespace>/<name>`, or `<prefix>/<name>` for cluster-scoped ones. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Collection {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `/registry/pods`, without a slash at the end.
    prefix: String,
    namespaced: bool,
    fields: Fields,
}

impl Collection {
    /// A built-in resource: `/registry/<directory>`. `fields` are its selectable fields.
    pub fn builtin(directory: &str, namespaced: bool, fields: Fields) -> Collection {
        Collection {
            inner: Arc::new(Inner {
                prefix: format!("/registry/{directory}"),
                namespaced,
                fields,
            }),
        }
    }

    /// A custom resource, which keeps its group in the key.
    pub fn custom(group: &str, resource: &str, namespaced: bool, fields: Fields) -> Collection {
        Collection::builtin(&format!("{group}/{resource}"), namespaced, fields)
    }

    pub fn namespaced(&self) -> bool {
        self.inner.namespaced
    }

    pub(crate) fn fields(&self) -> &Fields {
        &self.inner.fields
    }

    /// The key of one object.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.inner.namespaced {
            format!("{}/{namespace}/{name}", self.inner.prefix)
        } else {
            format!("{}/{name}", self.inner.prefix)
        }
    }

    /// The one key that can match, when a namespace (if there are any) and a name are given.
    pub(crate) fn single(&self, namespace: &str, name: Option<&str>) -> Option<String> {
        let name = name?;
        (!self.inner.namespaced || !namespace.is_empty()).then(|| self.key(namespace, name))
    }

    /// What all keys of a namespace (of everything, when empty) start with, and no other key does.
    pub fn scope(&self, namespace: &str) -> String {
        if self.inner.namespaced && !namespace.is_empty() {
            format!("{}/{namespace}/", self.inner.prefix)
        } else {
            format!("{}/", self.inner.prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_readable() {
        let pods = Collection::builtin("pods", true, Fields::default());
        assert_eq!(pods.key("a", "x"), "/registry/pods/a/x");
        assert_eq!(pods.scope("a"), "/registry/pods/a/");
        assert_eq!(pods.scope(""), "/registry/pods/");
        let nodes = Collection::builtin("minions", false, Fields::default());
        assert_eq!(nodes.key("", "n"), "/registry/minions/n");
    }
}
