//! Pods and the pod templates of workloads.

use super::{Object, object, objects, set};
use serde_json::{Map, Value, json};

/// Octal 0644, as JSON has it.
const FILE_MODE: i64 = 0o644;
const TOKEN_SECONDS: i64 = 3600;
const GRACE_SECONDS: i64 = 30;

/// A pod itself: its spec, and what only pods (not templates) get.
pub fn pod(map: &mut Object) {
    let Some(spec) = object(map, "spec") else {
        return;
    };
    pod_spec(spec);
    set(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in objects(spec, list) {
            request_limits(container);
            if host_network {
                publish_ports(container);
            }
        }
    }
    request_limits(spec);
}

/// A limit without a request asks for as much.
fn request_limits(holder: &mut Object) {
    let Some(resources) = object(holder, "resources") else {
        return;
    };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else {
        return;
    };
    let requests = resources.entry("requests").or_insert_with(|| Value::Object(Map::new()));
    if let Some(requests) = requests.as_object_mut() {
        for (name, amount) in limits {
            requests.entry(name).or_insert(amount);
        }
    }
}

/// On the host's network a container's ports are the host's.
fn publish_ports(container: &mut Object) {
    for port in objects(container, "ports") {
        if let Some(number) = port.get("containerPort").cloned() {
            port.entry("hostPort").or_insert(number);
        }
    }
}

/// The spec of a pod or of a template.
pub fn pod_spec(spec: &mut Object) {
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "restartPolicy", "Always");
    set(spec, "securityContext", json!({}));
    set(spec, "terminationGracePeriodSeconds", GRACE_SECONDS);
    set(spec, "schedulerName", "default-scheduler");
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        objects(spec, list).for_each(container);
    }
    objects(spec, "volumes").for_each(volume);
}

fn container(container: &mut Object) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let pull_policy = pull_policy(image);
    set(container, "imagePullPolicy", pull_policy);
    set(container, "terminationMessagePath", "/dev/termination-log");
    set(container, "terminationMessagePolicy", "File");
    for port in objects(container, "ports") {
        set(port, "protocol", "TCP");
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(found) = object(container, name) {
            probe(found);
        }
    }
    if let Some(lifecycle) = object(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(get) = object(lifecycle, hook).and_then(|hook| object(hook, "httpGet")) {
                http_get(get);
            }
        }
    }
    for variable in objects(container, "env") {
        if let Some(source) = object(variable, "valueFrom") {
            field_ref(source);
        }
    }
}

/// `Always` for the tag `latest`, said or implied; a digest or another tag cannot move.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = match name.split_once('@') {
        Some((tagged, _)) => tagged.ends_with(":latest"),
        None => name.split_once(':').is_none_or(|(_, tag)| tag == "latest"),
    };
    if latest { "Always" } else { "IfNotPresent" }
}

fn probe(probe: &mut Object) {
    set(probe, "timeoutSeconds", 1);
    set(probe, "periodSeconds", 10);
    set(probe, "successThreshold", 1);
    set(probe, "failureThreshold", 3);
    if let Some(get) = object(probe, "httpGet") {
        http_get(get);
    }
    if let Some(grpc) = object(probe, "grpc") {
        set(grpc, "service", "");
    }
}

fn http_get(get: &mut Object) {
    set(get, "path", "/");
    set(get, "scheme", "HTTP");
}

fn field_ref(holder: &mut Object) {
    if let Some(reference) = object(holder, "fieldRef") {
        set(reference, "apiVersion", "v1");
    }
    // Not optional in the type: Kubernetes always writes it, and kubectl compares templates with it.
    if let Some(reference) = object(holder, "resourceFieldRef") {
        set(reference, "divisor", "0");
    }
}

fn volume(volume: &mut Object) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".to_string(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = object(volume, source) {
            set(source, "defaultMode", FILE_MODE);
            objects(source, "items").for_each(field_ref);
        }
    }
    if let Some(projected) = object(volume, "projected") {
        objects(projected, "sources").for_each(projection);
    }
    if let Some(path) = object(volume, "hostPath") {
        set(path, "type", "");
    }
    if let Some(image) = object(volume, "image") {
        let reference = image.get("reference").and_then(Value::as_str).unwrap_or_default();
        let policy = pull_policy(reference);
        set(image, "pullPolicy", policy);
    }
    let template = object(volume, "ephemeral").and_then(|source| object(source, "volumeClaimTemplate"));
    if let Some(spec) = template.and_then(|template| object(template, "spec")) {
        set(spec, "volumeMode", "Filesystem");
    }
}

fn projection(source: &mut Object) {
    if let Some(token) = object(source, "serviceAccountToken") {
        set(token, "expirationSeconds", TOKEN_SECONDS);
    }
    if let Some(downward) = object(source, "downwardAPI") {
        objects(downward, "items").for_each(field_ref);
    }
}
