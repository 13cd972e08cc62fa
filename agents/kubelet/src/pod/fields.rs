//! The downward API: what a pod may know of itself, by field path.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use super::spec::{self, Kind};
use crate::Error;

/// What a field may need besides the pod.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The node's name.
    pub node_name: String,
    /// The node's addresses.
    pub node_ips: Vec<IpAddr>,
    /// The pod's addresses; empty before it has a sandbox.
    pub pod_ips: Vec<String>,
    /// The node's allocatable CPU in thousandths.
    pub cpu_milli: i64,
    /// The node's allocatable memory in bytes.
    pub memory_bytes: i64,
}

/// The value of a field of the pod.
pub fn field(pod: &Pod, facts: &Facts, path: &str) -> Result<String, Error> {
    let meta = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let value = match map {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(unknown(path)),
        };
        return Ok(value.and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    let node_ips = || facts.node_ips.iter().map(ToString::to_string).collect::<Vec<_>>();
    Ok(match path {
        "metadata.name" => spec::name(pod).to_owned(),
        "metadata.namespace" => spec::namespace(pod).to_owned(),
        "metadata.uid" => spec::uid(pod).to_owned(),
        "metadata.labels" => render(meta.labels.as_ref()),
        "metadata.annotations" => render(meta.annotations.as_ref()),
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => spec::spec(pod).service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => node_ips().into_iter().next().unwrap_or_default(),
        "status.hostIPs" => node_ips().join(","),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => return Err(unknown(path)),
    })
}

fn unknown(path: &str) -> Error {
    Error::Pod(format!("unsupported fieldPath: {path}"))
}

/// Splits `metadata.labels['key']`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// One line a key, in order, values quoted as Go does.
fn render(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten().map(|(k, v)| format!("{k}={}", quote(v)));
    lines.collect::<Vec<_>>().join("\n")
}

fn quote(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '"' => "\\\"".into(),
            '\\' => "\\\\".into(),
            '\n' => "\\n".into(),
            '\t' => "\\t".into(),
            '\r' => "\\r".into(),
            c => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

/// The value of a resource field of a container, in units of the divisor, rounded up. A limit that is not set is what
/// the node has.
pub fn resource(container: &Container, facts: &Facts, selector: &ResourceFieldSelector) -> Result<String, Error> {
    let unknown = || Error::Pod(format!("unsupported resource: {}", selector.resource));
    let (kind, name) = match selector.resource.split_once('.').ok_or_else(unknown)? {
        ("limits", name) => (Kind::Limit, name),
        ("requests", name) => (Kind::Request, name),
        _ => return Err(unknown()),
    };
    let amount = spec::amount(container, kind, name);
    let milli = match (amount, kind, name) {
        (Some(amount), _, _) => i128::from(amount.milli()),
        (None, Kind::Limit, "cpu") => i128::from(facts.cpu_milli),
        (None, Kind::Limit, "memory") => i128::from(facts.memory_bytes) * 1000,
        (None, _, "cpu" | "memory" | "ephemeral-storage") => 0,
        _ if name.starts_with("hugepages-") => 0,
        _ => return Err(unknown()),
    };
    let divisor = match selector.divisor.as_ref().map(|d| d.0.as_str()) {
        None | Some("" | "0") => 1000,
        Some(text) => {
            let divisor = Quantity::parse(text).map_err(|e| Error::Pod(format!("divisor {text}: {e}")))?;
            i128::from(divisor.milli()).max(1)
        }
    };
    Ok(((milli + divisor - 1) / divisor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        let json = serde_json::json!({
            "metadata": { "name": "p", "namespace": "n", "uid": "u", "labels": { "a": "1", "b.c/d": "x\"y" } },
            "spec": { "containers": [{ "name": "c", "resources": { "limits": { "cpu": "1500m", "memory": "64Mi" } } }] },
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn fields_of_the_pod() {
        let facts = Facts {
            pod_ips: vec!["10.0.0.1".into()],
            node_name: "node".into(),
            ..Default::default()
        };
        let field = |path: &str| field(&pod(), &facts, path).unwrap();
        assert_eq!(field("metadata.name"), "p");
        assert_eq!(field("metadata.labels['a']"), "1");
        assert_eq!(field("metadata.labels['nope']"), "");
        assert_eq!(field("metadata.labels"), "a=\"1\"\nb.c/d=\"x\\\"y\"");
        assert_eq!(field("status.podIP"), "10.0.0.1");
        assert_eq!(field("spec.nodeName"), "node");
        assert!(super::field(&pod(), &facts, "spec.volumes").is_err());
    }

    #[test]
    fn resources_are_rounded_up_to_the_divisor() {
        let pod = pod();
        let container = &spec::spec(&pod).containers[0];
        let facts = Facts {
            memory_bytes: 1000,
            cpu_milli: 4000,
            ..Default::default()
        };
        let value = |name: &str, divisor: Option<&str>| {
            let divisor = divisor.map(|d| k8s_openapi::apimachinery::pkg::api::resource::Quantity(d.into()));
            let selector = ResourceFieldSelector {
                resource: name.into(),
                divisor,
                ..Default::default()
            };
            resource(container, &facts, &selector).unwrap()
        };
        assert_eq!(value("limits.cpu", None), "2");
        assert_eq!(value("limits.cpu", Some("1m")), "1500");
        assert_eq!(value("limits.memory", Some("1Mi")), "64");
        assert_eq!(value("requests.cpu", None), "0");
    }
}
