//! When a node was last heard, and what its status says once it has fallen silent. Pure.

use std::time::Instant;

use client::election::Lease;
use client::objects::Node;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::limits;
use crate::objects::time;

/// The conditions that a silent kubelet no longer vouches for.
const VOUCHED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The last sign of life of a node.
#[derive(Debug)]
pub(super) struct Heard {
    renewed: Option<Timestamp>,
    posted: Option<Timestamp>,
    /// When a change of one of these was last seen here.
    at: Instant,
    /// Whether it has spoken at all.
    ever: bool,
}

impl Heard {
    pub fn new(now: Instant) -> Self {
        Heard {
            renewed: None,
            posted: None,
            at: now,
            ever: false,
        }
    }

    /// Looks for a new sign of life.
    pub fn listen(&mut self, node: &Node, lease: Option<&Lease>, now: Instant) {
        let renewed = lease.and_then(|l| l.spec.renew_time);
        // A status that says Unknown was written by this controller, not by the node.
        let ready = node.condition("Ready").filter(|c| c.status != "Unknown");
        let posted = ready.and_then(|c| c.last_heartbeat_time).or(self.posted);
        let spoke = (renewed.is_some() && renewed != self.renewed) || posted != self.posted;
        // A Lease object that somebody deletes says nothing.
        self.renewed = renewed.or(self.renewed);
        if spoke {
            (self.posted, self.at, self.ever) = (posted, now, true);
        }
    }

    pub fn is_silent(&self, now: Instant) -> bool {
        let grace = if self.ever {
            limits::NODE_GRACE
        } else {
            limits::NODE_STARTUP_GRACE
        };
        now.saturating_duration_since(self.at) > grace
    }
}

/// The conditions of a silent node; `None` if they say so already.
pub(super) fn silent_conditions(node: &Node, now: Timestamp) -> Option<Value> {
    let unsure = |kind: &&&str| node.condition(kind).is_none_or(|c| c.status != "Unknown");
    let conditions: Vec<Value> = VOUCHED
        .iter()
        .filter(unsure)
        .map(|kind| unknown(node, kind, now))
        .collect();
    (!conditions.is_empty()).then_some(Value::Array(conditions))
}

fn unknown(node: &Node, kind: &str, now: Timestamp) -> Value {
    let (reason, message) = match node.condition(kind) {
        Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
        None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
    };
    json!({ "type": kind, "status": "Unknown", "reason": reason, "message": message, "lastTransitionTime": time(now) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn node(heartbeat: &str, status: &str) -> Node {
        serde_json::from_value(json!({ "status": { "conditions": [
            { "type": "Ready", "status": status, "lastHeartbeatTime": heartbeat },
        ] } }))
        .unwrap()
    }

    fn lease(renewed: &str) -> Lease {
        serde_json::from_value(json!({ "spec": { "renewTime": renewed } })).unwrap()
    }

    #[test]
    fn either_sign_of_life_counts_and_the_nodes_clock_does_not() {
        let start = Instant::now();
        let mut heard = Heard::new(start);
        let node = node("1999-01-01T00:00:00Z", "True");
        heard.listen(&node, Some(&lease("1999-01-01T00:00:00Z")), start);
        let later = start + limits::NODE_GRACE - Duration::from_secs(1);
        heard.listen(&node, Some(&lease("1999-01-01T00:00:10Z")), later);
        assert!(!heard.is_silent(later + limits::NODE_GRACE));
        assert!(heard.is_silent(later + limits::NODE_GRACE + Duration::from_secs(1)));
    }

    #[test]
    fn what_this_controller_writes_is_no_sign_of_life() {
        let start = Instant::now();
        let mut heard = Heard::new(start);
        heard.listen(&node("2026-01-01T00:00:00Z", "True"), None, start);
        let later = start + limits::NODE_GRACE * 2;
        heard.listen(&node("2026-01-01T00:05:00Z", "Unknown"), None, later);
        assert!(heard.is_silent(later));
    }

    #[test]
    fn a_deleted_lease_is_no_sign_of_life() {
        let start = Instant::now();
        let mut heard = Heard::new(start);
        let node = node("2026-01-01T00:00:00Z", "True");
        heard.listen(&node, Some(&lease("2026-01-01T00:00:00Z")), start);
        let later = start + limits::NODE_GRACE * 2;
        heard.listen(&node, None, later);
        assert!(heard.is_silent(later));
    }

    #[test]
    fn silence_is_written_once() {
        let now = Timestamp::UNIX_EPOCH;
        let mut node = node("2026-01-01T00:00:00Z", "True");
        let conditions = silent_conditions(&node, now).unwrap();
        assert_eq!(conditions.as_array().unwrap().len(), 4);
        assert_eq!(conditions[0]["reason"], "NodeStatusUnknown");
        assert_eq!(conditions[1]["reason"], "NodeStatusNeverUpdated");
        node.status.conditions = serde_json::from_value(conditions).unwrap();
        assert_eq!(silent_conditions(&node, now), None);
    }
}
