//! What the controller reads and writes of a DaemonSet.

use client::objects::LabelSelector;
use client::{Meta, Projection, Resource};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::objects::Condition;
use crate::percent::resolve;

pub(crate) const DAEMON_SETS: Resource = Resource::namespaced("apps", "v1", "DaemonSet", "daemonsets");

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DaemonSet {
    pub metadata: Meta,
    pub spec: Spec,
    pub status: Status,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub selector: LabelSelector,
    pub template: Value,
    pub update_strategy: UpdateStrategy,
    pub revision_history_limit: Option<usize>,
    pub min_ready_seconds: i32,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct UpdateStrategy {
    /// `RollingUpdate` (also if empty) or `OnDelete`.
    #[serde(rename = "type")]
    pub kind: String,
    pub rolling_update: Option<RollingUpdate>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RollingUpdate {
    /// Number or percentage of the nodes; absent means 1.
    pub max_unavailable: Option<Value>,
    /// Number or percentage of the nodes; absent means 0.
    pub max_surge: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub current_number_scheduled: i32,
    pub number_misscheduled: i32,
    pub desired_number_scheduled: i32,
    pub number_ready: i32,
    pub observed_generation: i64,
    pub updated_number_scheduled: i32,
    pub number_available: i32,
    pub number_unavailable: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<i32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl DaemonSet {
    /// Whether Pods of an old template are replaced by themselves.
    pub fn rolls(&self) -> bool {
        self.spec.update_strategy.kind != "OnDelete"
    }

    /// On how many of these nodes a rolling update may leave the Pod away, and on how many it may run two. Never both
    /// zero, or nothing could move.
    pub fn bounds(&self, nodes: i32) -> (usize, usize) {
        let rolling = self.spec.update_strategy.rolling_update.as_ref();
        let of = |value: Option<&Value>, default| value.map_or(default, |v| resolve(v, nodes, true)).max(0) as usize;
        let surge = of(rolling.and_then(|r| r.max_surge.as_ref()), 0);
        let unavailable = of(rolling.and_then(|r| r.max_unavailable.as_ref()), 1);
        match (unavailable, surge) {
            (0, 0) => (1, 0),
            both => both,
        }
    }
}

impl Projection for DaemonSet {
    const RESOURCE: Resource = DAEMON_SETS;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}
