//! Names: a resource of the API, an object's key, and the part of every object's metadata that agents read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A resource of the API, enough to build its URLs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// API group; empty for core.
    pub group: Cow<'static, str>,
    /// API version.
    pub version: Cow<'static, str>,
    /// `Pod`.
    pub kind: Cow<'static, str>,
    /// `pods`, the URL segment.
    pub plural: Cow<'static, str>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// A resource whose objects live in namespaces.
    pub const fn namespaced(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Resource::of(group, version, kind, plural, true)
    }

    /// A resource whose objects belong to the whole cluster.
    pub const fn cluster(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Resource::of(group, version, kind, plural, false)
    }

    const fn of(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
        namespaced: bool,
    ) -> Self {
        Resource {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            kind: Cow::Borrowed(kind),
            plural: Cow::Borrowed(plural),
            namespaced,
        }
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        match self.group.is_empty() {
            true => self.version.to_string(),
            false => format!("{}/{}", self.group, self.version),
        }
    }

    /// The URL path of the collection: in one namespace, or across all of them if `namespace` is `None`.
    pub fn collection(&self, namespace: Option<&str>) -> String {
        let prefix = if self.group.is_empty() { "/api" } else { "/apis" };
        let base = format!("{prefix}/{}", self.api_version());
        match namespace {
            Some(namespace) if self.namespaced && !namespace.is_empty() => {
                format!("{base}/namespaces/{namespace}/{}", self.plural)
            }
            _ => format!("{base}/{}", self.plural),
        }
    }

    /// The URL path of one object, or of one of its subresources.
    pub fn object(&self, key: &Key, subresource: Option<&str>) -> String {
        let object = format!("{}/{}", self.collection(Some(&key.namespace)), key.name);
        match subresource {
            Some(subresource) => format!("{object}/{subresource}"),
            None => object,
        }
    }
}

/// Namespace and name. The namespace of a cluster-scoped object is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Key {
    /// Empty for a cluster-scoped object.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl Key {
    /// The key of a namespaced object.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Key {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of a cluster-scoped object.
    pub fn cluster(name: impl Into<String>) -> Self {
        Key::new("", name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.is_empty() {
            true => f.write_str(&self.name),
            false => write!(f, "{}/{}", self.namespace, self.name),
        }
    }
}

/// The part of `metadata` that agents read; managed fields and the like are not kept.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Unique within its namespace.
    pub name: String,
    /// Empty for a cluster-scoped object.
    pub namespace: String,
    /// Prefix the API server completed, if it did.
    pub generate_name: String,
    /// Distinguishes this object from earlier and later ones of the same name.
    pub uid: String,
    /// Opaque version of the object.
    pub resource_version: String,
    /// Counts changes of the spec.
    pub generation: i64,
    /// When it was created.
    pub creation_timestamp: Option<Timestamp>,
    /// Set once its deletion is asked for.
    pub deletion_timestamp: Option<Timestamp>,
    /// The grace period of that deletion.
    pub deletion_grace_period_seconds: Option<i64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whom it belongs to.
    pub owner_references: Vec<OwnerReference>,
    /// What has to happen before it goes.
    pub finalizers: Vec<String>,
}

impl Meta {
    /// Namespace and name.
    pub fn key(&self) -> Key {
        Key::new(&self.namespace, &self.name)
    }

    /// The owner that controls this object, if one does.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|o| o.controller)
    }

    /// Whether its deletion was asked for.
    pub fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
}

/// An entry of `metadata.ownerReferences`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// `apps/v1`.
    pub api_version: String,
    /// `ReplicaSet`.
    pub kind: String,
    /// Name, in the same namespace (or cluster-scoped).
    pub name: String,
    /// The owner's uid; a namesake with another uid is not the owner.
    pub uid: String,
    /// Whether this is the managing owner; at most one is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub controller: bool,
    /// Whether a foreground deletion of the owner waits for this object.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub block_owner_deletion: bool,
}

impl OwnerReference {
    /// The reference that makes `owner` the controller of another object.
    pub fn controlled_by(resource: &Resource, owner: &Meta) -> Self {
        OwnerReference {
            api_version: resource.api_version(),
            kind: resource.kind.to_string(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
            controller: true,
            block_owner_deletion: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let pods = Resource::namespaced("", "v1", "Pod", "pods");
        let deployments = Resource::namespaced("apps", "v1", "Deployment", "deployments");
        let nodes = Resource::cluster("", "v1", "Node", "nodes");
        assert_eq!(pods.collection(None), "/api/v1/pods");
        assert_eq!(pods.collection(Some("a")), "/api/v1/namespaces/a/pods");
        assert_eq!(
            deployments.object(&Key::new("a", "b"), Some("status")),
            "/apis/apps/v1/namespaces/a/deployments/b/status"
        );
        assert_eq!(nodes.object(&Key::cluster("n"), None), "/api/v1/nodes/n");
    }

    #[test]
    fn meta_reads_what_the_api_writes() {
        let meta: Meta = serde_json::from_str(
            r#"{"name":"x","namespace":"y","creationTimestamp":"2026-01-02T03:04:05Z","managedFields":[{}],
                "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"u","controller":true}]}"#,
        )
        .unwrap();
        assert_eq!(meta.key().to_string(), "y/x");
        assert_eq!(meta.controller().unwrap().uid, "u");
        assert!(!meta.is_deleting());
    }
}
