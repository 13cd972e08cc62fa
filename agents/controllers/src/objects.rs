//! What the controllers read of the kinds that only they read.

use std::collections::BTreeMap;

use client::objects::LabelSelector;
use client::{Meta, Projection, Resource};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "Deployment", "deployments");
pub(crate) const REPLICA_SETS: Resource = Resource::namespaced("apps", "v1", "ReplicaSet", "replicasets");

/// Declares a kind with a spec and a status, as informers deliver it.
macro_rules! kind {
    ($name:ident, $spec:ty, $status:ty, $resource:expr) => {
        #[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
        #[serde(default)]
        pub(crate) struct $name {
            pub metadata: client::Meta,
            pub spec: $spec,
            pub status: $status,
        }

        impl client::Projection for $name {
            const RESOURCE: client::Resource = $resource;

            fn meta(&self) -> &client::Meta {
                &self.metadata
            }
        }
    };
}
pub(crate) use kind;

kind!(Deployment, DeploymentSpec, DeploymentStatus, DEPLOYMENTS);

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeploymentSpec {
    /// Absent means 1.
    pub replicas: Option<i32>,
    pub selector: LabelSelector,
    pub template: Value,
    pub strategy: Strategy<RollingUpdate>,
    pub min_ready_seconds: i32,
    /// Absent means: keep all.
    pub revision_history_limit: Option<i32>,
    pub paused: bool,
    /// Absent means: no deadline.
    pub progress_deadline_seconds: Option<i32>,
}

/// How a new template reaches the Pods.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Strategy<R> {
    /// `RollingUpdate` (also if empty), a Deployment's `Recreate`, or `OnDelete` of the other kinds.
    #[serde(rename = "type")]
    pub kind: String,
    pub rolling_update: Option<R>,
}

impl<R> Strategy<R> {
    /// Whether Pods of an old template are replaced by themselves.
    pub fn rolls(&self) -> bool {
        self.kind != "OnDelete"
    }
}

/// The bounds of a rolling update of a Deployment (of its replicas) or a DaemonSet (of its nodes).
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RollingUpdate {
    /// Number or percentage.
    pub max_surge: Option<Value>,
    /// Number or percentage.
    pub max_unavailable: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeploymentStatus {
    pub observed_generation: i64,
    pub replicas: i32,
    pub updated_replicas: i32,
    pub ready_replicas: i32,
    pub available_replicas: i32,
    pub unavailable_replicas: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<i32>,
    pub conditions: Vec<Condition>,
}

/// A condition of a Deployment or a ReplicaSet.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Only a Deployment's.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub last_update_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub last_transition_time: Option<Timestamp>,
}

/// A time as the API writes it: whole seconds.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Serializes a time as the API writes it, or `null`.
pub(crate) fn seconds<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.serialize_str(&time(*at)),
        None => serializer.serialize_none(),
    }
}

kind!(ReplicaSet, ReplicaSetSpec, ReplicaSetStatus, REPLICA_SETS);

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReplicaSetSpec {
    /// Absent means 1.
    pub replicas: Option<i32>,
    pub min_ready_seconds: i32,
    pub selector: LabelSelector,
    pub template: Value,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReplicaSetStatus {
    pub replicas: i32,
    pub fully_labeled_replicas: i32,
    pub ready_replicas: i32,
    pub available_replicas: i32,
    pub observed_generation: i64,
    pub conditions: Vec<Condition>,
}

impl Deployment {
    pub fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }
}

impl ReplicaSet {
    pub fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.annotations.get(name).map(String::as_str)
    }
}

/// The labels of a Pod template.
pub(crate) fn template_labels(template: &Value) -> BTreeMap<String, String> {
    let labels = template.pointer("/metadata/labels").and_then(Value::as_object);
    let text = |(k, v): (&String, &Value)| Some((k.clone(), v.as_str()?.to_owned()));
    labels.map(|l| l.iter().filter_map(text).collect()).unwrap_or_default()
}

/// An object of which only its existence is of interest.
macro_rules! existence {
    ($name:ident, $resource:expr) => {
        #[derive(Debug, Clone, PartialEq, Default, Deserialize)]
        #[serde(default)]
        pub(crate) struct $name {
            pub metadata: Meta,
        }

        impl Projection for $name {
            const RESOURCE: Resource = $resource;

            fn meta(&self) -> &Meta {
                &self.metadata
            }
        }
    };
}

existence!(
    ServiceAccount,
    Resource::namespaced("", "v1", "ServiceAccount", "serviceaccounts")
);

/// A ConfigMap; only small, chosen ones are followed.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConfigMap {
    pub metadata: Meta,
    pub data: BTreeMap<String, String>,
}

impl Projection for ConfigMap {
    const RESOURCE: Resource = Resource::namespaced("", "v1", "ConfigMap", "configmaps");

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}
