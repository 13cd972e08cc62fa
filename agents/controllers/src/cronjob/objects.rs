//! What the controller reads and writes of a CronJob.

use client::Resource;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::objects::{kind, seconds};

pub(crate) const CRON_JOBS: Resource = Resource::namespaced("batch", "v1", "CronJob", "cronjobs");

kind!(CronJob, Spec, Status, CRON_JOBS);

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub schedule: String,
    pub time_zone: Option<String>,
    /// A time that was missed by more than this is let go.
    pub starting_deadline_seconds: Option<i64>,
    /// `Allow` (also if empty), `Forbid` or `Replace`.
    pub concurrency_policy: String,
    pub suspend: bool,
    pub job_template: Value,
    /// Absent means 3.
    pub successful_jobs_history_limit: Option<usize>,
    /// Absent means 1.
    pub failed_jobs_history_limit: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub active: Vec<Reference>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub last_schedule_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub last_successful_time: Option<Timestamp>,
}

/// A reference to a Job.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Reference {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}
