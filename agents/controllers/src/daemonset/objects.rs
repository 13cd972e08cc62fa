//! What the controller reads and writes of a DaemonSet.

use client::Resource;
use client::objects::LabelSelector;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::objects::{Condition, RollingUpdate, Strategy, kind};
use crate::percent::resolve;

pub(crate) const DAEMON_SETS: Resource = Resource::namespaced("apps", "v1", "DaemonSet", "daemonsets");

kind!(DaemonSet, Spec, Status, DAEMON_SETS);

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub selector: LabelSelector,
    pub template: Value,
    pub update_strategy: Strategy<RollingUpdate>,
    pub revision_history_limit: Option<usize>,
    pub min_ready_seconds: i32,
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
