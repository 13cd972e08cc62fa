//! Cordoned nodes take only Pods that tolerate the taint which stands for it.

use client::objects::{Node, Pod};

use super::Reasons;

const TAINT: &str = "node.kubernetes.io/unschedulable";

pub fn filter(pod: &Pod, node: &Node) -> Result<(), Reasons> {
    if !node.spec.unschedulable
        || pod
            .spec
            .tolerations
            .iter()
            .any(|t| t.tolerates(TAINT, "", "NoSchedule"))
    {
        return Ok(());
    }
    Err(vec!["node(s) were unschedulable".into()])
}
