//! What the runtime is asked to make: sandbox and container configurations, from a pod's spec and everything that was
//! looked up for it. No I/O.

use std::collections::HashMap;
use std::path::PathBuf;

use k8s_cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::cgroup::{self, PERIOD_US};
use super::expand::expand;
use super::security::{self, ImageUser};
use super::spec::{self, Kind, QosClass};
use super::{env::Environment, network};
use crate::cri::{annotation, label};
use crate::{Config, Error};

/// The pod's sandbox.
pub fn sandbox(config: &Config, pod: &Pod, attempt: u32) -> v1::PodSandboxConfig {
    let (namespace, name, uid) = (spec::namespace(pod), spec::name(pod), spec::uid(pod));
    let mut labels: HashMap<String, String> = pod.metadata.labels.clone().unwrap_or_default().into_iter().collect();
    labels.extend(pod_labels(pod));
    let metadata = v1::PodSandboxMetadata {
        name: name.into(),
        uid: uid.into(),
        namespace: namespace.into(),
        attempt,
    };
    let context = spec::spec(pod).security_context.as_ref();
    let sysctls = context.into_iter().flat_map(|c| c.sysctls.iter().flatten());
    v1::PodSandboxConfig {
        metadata: Some(metadata),
        // With the node's network the runtime uses the node's name.
        hostname: if spec::host_network(pod) {
            String::new()
        } else {
            network::hostname(pod)
        },
        log_directory: config.pod_log_dir(namespace, name, uid).to_string_lossy().into_owned(),
        dns_config: Some(network::dns(config, pod)),
        port_mappings: port_mappings(pod),
        labels,
        annotations: pod
            .metadata
            .annotations
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect(),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: cgroup::path(&config.cgroup_parent, pod),
            security_context: Some(security::sandbox(config, pod)),
            sysctls: sysctls.map(|s| (s.name.clone(), s.value.clone())).collect(),
            ..Default::default()
        }),
        windows: None,
    }
}

fn pod_labels(pod: &Pod) -> [(String, String); 3] {
    [
        (label::POD_NAME.to_owned(), spec::name(pod).to_owned()),
        (label::POD_NAMESPACE.to_owned(), spec::namespace(pod).to_owned()),
        (label::POD_UID.to_owned(), spec::uid(pod).to_owned()),
    ]
}

fn port_mappings(pod: &Pod) -> Vec<v1::PortMapping> {
    // With the node's network there is nothing to map.
    if spec::host_network(pod) {
        return vec![];
    }
    let containers = spec::spec(pod)
        .containers
        .iter()
        .chain(spec::spec(pod).init_containers.iter().flatten());
    let ports = containers
        .flat_map(|c| c.ports.iter().flatten())
        .filter(|p| p.host_port.unwrap_or(0) > 0);
    let mapping = |p: &k8s_openapi::api::core::v1::ContainerPort| v1::PortMapping {
        protocol: match p.protocol.as_deref() {
            Some("UDP") => v1::Protocol::Udp,
            Some("SCTP") => v1::Protocol::Sctp,
            _ => v1::Protocol::Tcp,
        } as i32,
        container_port: p.container_port,
        host_port: p.host_port.unwrap_or(0),
        host_ip: p.host_ip.clone().unwrap_or_default(),
    };
    ports.map(mapping).collect()
}

/// What was looked up or made for one start of a container.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
    /// How often the container was restarted before.
    pub restarts: u32,
    /// The image's reference, as the runtime knows it.
    pub image_ref: String,
    /// Who the image runs as.
    pub image_user: ImageUser,
    /// Its variables.
    pub environment: Environment,
    /// Its mounts.
    pub mounts: Vec<v1::Mount>,
    /// The file for its last words, on the node.
    pub termination_log: PathBuf,
    /// The memory of the node, by which memory pressure scores are measured.
    pub node_memory_bytes: i64,
}

/// A container of the pod.
pub fn container(
    config: &Config,
    pod: &Pod,
    container: &Container,
    prepared: Prepared,
) -> Result<v1::ContainerConfig, Error> {
    let variables = prepared.environment.variables();
    let expanded = |list: Option<&Vec<String>>| -> Vec<String> {
        list.into_iter()
            .flatten()
            .map(|text| expand(text, &variables))
            .collect()
    };
    let termination_path = container
        .termination_message_path
        .as_deref()
        .unwrap_or("/dev/termination-log");
    let mut mounts = prepared.mounts;
    mounts.push(v1::Mount {
        container_path: termination_path.to_owned(),
        host_path: prepared.termination_log.to_string_lossy().into_owned(),
        ..Default::default()
    });
    let mut labels: HashMap<String, String> = pod_labels(pod).into();
    labels.insert(label::CONTAINER_NAME.into(), container.name.clone());
    let policy = container.termination_message_policy.as_deref().unwrap_or("File");
    let annotations = [
        (annotation::HASH, spec::hash(container)),
        (annotation::RESTART_COUNT, prepared.restarts.to_string()),
        (annotation::TERMINATION_MESSAGE_PATH, termination_path.to_owned()),
        (annotation::TERMINATION_MESSAGE_POLICY, policy.to_owned()),
        (annotation::GRACE_PERIOD, spec::grace(pod).as_secs().to_string()),
    ];
    let image = v1::ImageSpec {
        image: prepared.image_ref,
        user_specified_image: container.image.clone().unwrap_or_default(),
        ..Default::default()
    };
    Ok(v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata {
            name: container.name.clone(),
            attempt: prepared.restarts,
        }),
        image: Some(image),
        command: expanded(container.command.as_ref()),
        args: expanded(container.args.as_ref()),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: prepared
            .environment
            .into_list()
            .into_iter()
            .map(|(key, value)| v1::KeyValue { key, value })
            .collect(),
        mounts,
        labels,
        annotations: annotations.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        log_path: format!("{}/{}.log", container.name, prepared.restarts),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(resources(pod, container, prepared.node_memory_bytes)),
            security_context: Some(security::container(config, pod, container, &prepared.image_user)?),
        }),
        ..Default::default()
    })
}

fn resources(pod: &Pod, container: &Container, node_memory: i64) -> v1::LinuxContainerResources {
    let cpu = |kind| spec::amount(container, kind, "cpu").map(|q| q.milli());
    let memory = |kind| spec::amount(container, kind, "memory").map(|q| q.value());
    let limit = cpu(Kind::Limit).unwrap_or(0);
    v1::LinuxContainerResources {
        cpu_period: if limit > 0 { PERIOD_US } else { 0 },
        cpu_quota: cgroup::quota(limit),
        cpu_shares: cgroup::shares(cpu(Kind::Request).or(cpu(Kind::Limit)).unwrap_or(0)),
        memory_limit_in_bytes: memory(Kind::Limit).unwrap_or(0),
        oom_score_adj: oom_score(
            pod,
            memory(Kind::Request).or(memory(Kind::Limit)).unwrap_or(0),
            node_memory,
        ),
        ..Default::default()
    }
}

/// Who is killed first when the node runs out of memory: those who asked for nothing, then those who asked for little.
fn oom_score(pod: &Pod, request: i64, node_memory: i64) -> i64 {
    const GUARANTEED: i64 = -997;
    const BEST_EFFORT: i64 = 1000;
    let critical = spec::spec(pod).priority.is_some_and(|p| p >= 2_000_000_000);
    match QosClass::of(spec::spec(pod)) {
        _ if critical => GUARANTEED,
        QosClass::Guaranteed => GUARANTEED,
        QosClass::BestEffort => BEST_EFFORT,
        QosClass::Burstable => {
            let share = request.saturating_mul(1000) / node_memory.max(1);
            (BEST_EFFORT - share).clamp(BEST_EFFORT + GUARANTEED, BEST_EFFORT - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_described_whole() {
        let json = serde_json::json!({
            "metadata": { "name": "p", "namespace": "n", "uid": "u" },
            "spec": { "containers": [{ "name": "c", "image": "i:1", "command": ["run", "$(A)"],
                "resources": { "limits": { "cpu": "500m", "memory": "64Mi" } } }] },
        });
        let pod: Pod = serde_json::from_value(json).unwrap();
        let config = Config::new("n", std::net::IpAddr::from([10, 0, 0, 1]));
        let mut environment = Environment::default();
        environment.set("A", "x");
        let prepared = Prepared {
            restarts: 2,
            environment,
            node_memory_bytes: 1 << 30,
            ..Default::default()
        };
        let got = container(&config, &pod, &spec::spec(&pod).containers[0], prepared).unwrap();
        assert_eq!(got.command, ["run", "x"]);
        assert_eq!(got.log_path, "c/2.log");
        assert_eq!(got.labels[label::POD_UID], "u");
        let resources = got.linux.unwrap().resources.unwrap();
        assert_eq!((resources.cpu_quota, resources.cpu_shares), (50_000, 512));
        assert_eq!(
            (resources.memory_limit_in_bytes, resources.oom_score_adj),
            (64 << 20, -997)
        );
        let sandbox = sandbox(&config, &pod, 0);
        assert_eq!(sandbox.linux.unwrap().cgroup_parent, "/kubepods/podu");
        assert_eq!(sandbox.log_directory, "/var/log/pods/n_p_u");
    }
}
