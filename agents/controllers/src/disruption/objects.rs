//! What the controller reads and writes of a PodDisruptionBudget.

use std::collections::BTreeMap;

use client::Resource;
use client::objects::LabelSelector;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::objects::kind;

pub(crate) const BUDGETS: Resource =
    Resource::namespaced("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets");

kind!(Budget, Spec, Status, BUDGETS);

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    /// Number or percentage.
    pub min_available: Option<Value>,
    /// Number or percentage.
    pub max_unavailable: Option<Value>,
    /// Absent selects nothing, empty everything.
    pub selector: Option<LabelSelector>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub observed_generation: i64,
    /// Pods (by name) whose eviction was allowed and is not seen yet, and since when.
    pub disrupted_pods: BTreeMap<String, Timestamp>,
    pub disruptions_allowed: i32,
    pub current_healthy: i32,
    pub desired_healthy: i32,
    pub expected_pods: i32,
    pub conditions: Vec<Condition>,
}

/// A condition as this kind has it: every field is required.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    pub observed_generation: i64,
    pub last_transition_time: Option<Timestamp>,
}
