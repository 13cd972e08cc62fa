//! What the agent tells people: API Events about pods and the node.

use client::{EventType, ObjectReference, Recorder, Resource};
use k8s_openapi::api::core::v1::Pod;

use crate::pod::spec;

const PODS: Resource = Resource::namespaced("", "v1", "Pod", "pods");
const NODES: Resource = Resource::cluster("", "v1", "Node", "nodes");

/// Where Events go.
pub trait Events: Send + Sync {
    /// Something happened to a pod, or to one of its containers, as it should.
    fn normal(&self, pod: &Pod, container: Option<&str>, reason: &'static str, message: String);
    /// Something somebody may have to look at.
    fn warning(&self, pod: &Pod, container: Option<&str>, reason: &'static str, message: String);
    /// Something happened to the node.
    fn node(&self, name: &str, reason: &'static str, message: String);
}

impl Events for Recorder {
    fn normal(&self, pod: &Pod, container: Option<&str>, reason: &'static str, message: String) {
        self.event(&reference(pod, container), EventType::Normal, reason, message);
    }

    fn warning(&self, pod: &Pod, container: Option<&str>, reason: &'static str, message: String) {
        self.event(&reference(pod, container), EventType::Warning, reason, message);
    }

    fn node(&self, name: &str, reason: &'static str, message: String) {
        let about = ObjectReference {
            api_version: NODES.api_version(),
            kind: NODES.kind.to_string(),
            namespace: String::new(),
            name: name.to_owned(),
            // Every kubelet uses the node's name here: `kubectl describe node` looks for it.
            uid: name.to_owned(),
            field_path: String::new(),
        };
        self.event(&about, EventType::Normal, reason, message);
    }
}

fn reference(pod: &Pod, container: Option<&str>) -> ObjectReference {
    let field_path = match container {
        Some(name) if spec::spec(pod).init_containers.iter().flatten().any(|c| c.name == name) => {
            format!("spec.initContainers{{{name}}}")
        }
        Some(name) => format!("spec.containers{{{name}}}"),
        None => String::new(),
    };
    ObjectReference {
        api_version: PODS.api_version(),
        kind: PODS.kind.to_string(),
        namespace: spec::namespace(pod).to_owned(),
        name: spec::name(pod).to_owned(),
        uid: spec::uid(pod).to_owned(),
        field_path,
    }
}
