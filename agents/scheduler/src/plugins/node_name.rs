//! A Pod that names its node runs there or nowhere.

use client::objects::{Node, Pod};

use super::Reasons;

pub fn filter(pod: &Pod, node: &Node) -> Result<(), Reasons> {
    let named = &pod.spec.node_name;
    if named.is_empty() || *named == node.metadata.name {
        return Ok(());
    }
    Err(vec!["node(s) didn't match the requested node name".into()])
}
