//! What the controller reads and writes of a Job.

use client::Resource;
use client::objects::LabelSelector;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::objects::{Condition, kind, seconds};

pub(crate) const JOBS: Resource = Resource::namespaced("batch", "v1", "Job", "jobs");

kind!(Job, Spec, Status, JOBS);

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    /// Absent means 1.
    pub parallelism: Option<i32>,
    /// Absent means: done once one Pod has succeeded and none runs any more.
    pub completions: Option<i32>,
    pub active_deadline_seconds: Option<i64>,
    /// Absent means 6.
    pub backoff_limit: Option<i32>,
    pub selector: LabelSelector,
    pub template: Value,
    /// `NonIndexed` (also if empty) or `Indexed`.
    pub completion_mode: String,
    pub suspend: bool,
    /// `TerminatingOrFailed` (also if empty) or `Failed`.
    pub pod_replacement_policy: String,
    pub ttl_seconds_after_finished: Option<i64>,
    /// Somebody else's name: that one runs the Job.
    pub managed_by: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub conditions: Vec<Condition>,
    /// Written as `null` when there is none: suspending takes it away.
    #[serde(serialize_with = "seconds")]
    pub start_time: Option<Timestamp>,
    #[serde(serialize_with = "seconds")]
    pub completion_time: Option<Timestamp>,
    pub active: i32,
    pub ready: i32,
    pub terminating: i32,
    pub succeeded: i32,
    pub failed: i32,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub completed_indexes: String,
    pub uncounted_terminated_pods: Uncounted,
}

/// Pods (by uid) that have ended and are about to be counted: see the module `job`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Uncounted {
    pub succeeded: Vec<String>,
    pub failed: Vec<String>,
}

impl Status {
    /// A condition that is true.
    pub fn holds(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind && c.status == "True")
    }
}

impl Job {
    pub fn is_indexed(&self) -> bool {
        self.spec.completion_mode == "Indexed"
    }

    /// Complete or failed, with nothing left to count.
    pub fn is_finished(&self) -> bool {
        ["Complete", "Failed"]
            .iter()
            .any(|kind| self.status.holds(kind).is_some())
    }

    /// When it was done.
    pub fn finished_at(&self) -> Option<Timestamp> {
        let done = ["Complete", "Failed"].iter().find_map(|kind| self.status.holds(kind))?;
        done.last_transition_time
    }
}
