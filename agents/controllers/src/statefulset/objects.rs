//! What the controller reads and writes of a StatefulSet.

use client::Resource;
use client::objects::LabelSelector;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::objects::{Condition, Strategy, kind};
use crate::percent::resolve;

pub(crate) const STATEFUL_SETS: Resource = Resource::namespaced("apps", "v1", "StatefulSet", "statefulsets");

kind!(StatefulSet, Spec, Status, STATEFUL_SETS);

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    /// Absent means 1.
    pub replicas: Option<i32>,
    pub selector: LabelSelector,
    pub template: Value,
    pub volume_claim_templates: Vec<Value>,
    pub service_name: String,
    /// `OrderedReady` (also if empty) or `Parallel`.
    pub pod_management_policy: String,
    pub update_strategy: Strategy<RollingUpdate>,
    pub revision_history_limit: Option<usize>,
    pub min_ready_seconds: i32,
    pub ordinals: Option<Ordinals>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RollingUpdate {
    /// That many Pods, counted from the first ordinal, keep the current revision.
    pub partition: Option<i32>,
    /// Number or percentage; absent means 1.
    pub max_unavailable: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ordinals {
    /// The first ordinal.
    pub start: i32,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub observed_generation: i64,
    pub replicas: i32,
    pub ready_replicas: i32,
    pub current_replicas: i32,
    pub updated_replicas: i32,
    pub available_replicas: i32,
    pub current_revision: String,
    pub update_revision: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<i32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl StatefulSet {
    /// The ordinals its Pods have.
    pub fn ordinals(&self) -> std::ops::Range<i32> {
        let start = self.first_ordinal();
        start..start.saturating_add(self.spec.replicas.unwrap_or(1).max(0))
    }

    fn first_ordinal(&self) -> i32 {
        self.spec.ordinals.as_ref().map_or(0, |o| o.start.max(0))
    }

    /// Whether Pods come and go one after the other.
    pub fn ordered(&self) -> bool {
        self.spec.pod_management_policy != "Parallel"
    }

    /// Pods below this ordinal keep the current revision.
    pub fn first_to_update(&self) -> i32 {
        let rolling = self.spec.update_strategy.rolling_update.as_ref();
        let partition = rolling.and_then(|r| r.partition).unwrap_or(0);
        self.first_ordinal().saturating_add(partition)
    }

    /// How many Pods a rolling update may have unavailable; at least one, or nothing could move.
    pub fn max_unavailable(&self) -> i32 {
        let rolling = self.spec.update_strategy.rolling_update.as_ref();
        let value = rolling.and_then(|r| r.max_unavailable.as_ref());
        value
            .map_or(1, |v| resolve(v, self.spec.replicas.unwrap_or(1), true))
            .max(1)
    }
}
