//! Security contexts, from the pod's and the container's to the runtime's.

use k8s_cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile, SecurityContext};

use super::spec;
use crate::{Config, Error};

/// Parts of /proc and /sys that say more about the node than a container should know.
const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Parts of /proc through which the node could be changed.
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Which namespaces the pod's processes share with whom.
pub fn namespaces(pod: &Pod) -> v1::NamespaceOption {
    let spec = spec::spec(pod);
    let or_pod = |host: Option<bool>| match host {
        Some(true) => v1::NamespaceMode::Node,
        _ => v1::NamespaceMode::Pod,
    };
    let pid = match (spec.host_pid, spec.share_process_namespace) {
        (Some(true), _) => v1::NamespaceMode::Node,
        (_, Some(true)) => v1::NamespaceMode::Pod,
        _ => v1::NamespaceMode::Container,
    };
    v1::NamespaceOption {
        network: or_pod(spec.host_network) as i32,
        ipc: or_pod(spec.host_ipc) as i32,
        pid: pid as i32,
        ..Default::default()
    }
}

/// The sandbox's. It must be privileged if one of its containers is.
pub fn sandbox(config: &Config, pod: &Pod) -> v1::LinuxSandboxSecurityContext {
    let spec = spec::spec(pod);
    let context = spec.security_context.as_ref();
    let privileged = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .any(|c| c.security_context.as_ref().and_then(|s| s.privileged) == Some(true));
    let default = SeccompProfile {
        type_: "RuntimeDefault".into(),
        localhost_profile: None,
    };
    let profile = context.and_then(|c| c.seccomp_profile.as_ref()).unwrap_or(&default);
    let user = context.and_then(|c| c.run_as_user);
    v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        run_as_user: user.map(int),
        // The runtime refuses a group without a user.
        run_as_group: context.and_then(|c| c.run_as_group).filter(|_| user.is_some()).map(int),
        supplemental_groups: supplemental(pod),
        privileged,
        seccomp: (!privileged).then(|| seccomp(config, profile)),
        ..Default::default()
    }
}

fn int(value: i64) -> v1::Int64Value {
    v1::Int64Value { value }
}

fn supplemental(pod: &Pod) -> Vec<i64> {
    let context = spec::spec(pod).security_context.as_ref();
    let groups = context
        .into_iter()
        .flat_map(|c| c.supplemental_groups.iter().flatten().copied().chain(c.fs_group));
    groups.collect()
}

fn seccomp(config: &Config, profile: &SeccompProfile) -> v1::SecurityProfile {
    use v1::security_profile::ProfileType;
    let (kind, reference) = match profile.type_.as_str() {
        "RuntimeDefault" => (ProfileType::RuntimeDefault, String::new()),
        "Localhost" => {
            let name = profile.localhost_profile.as_deref().unwrap_or_default();
            (
                ProfileType::Localhost,
                config
                    .root_dir
                    .join("seccomp")
                    .join(name)
                    .to_string_lossy()
                    .into_owned(),
            )
        }
        _ => (ProfileType::Unconfined, String::new()),
    };
    v1::SecurityProfile {
        profile_type: kind as i32,
        localhost_ref: reference,
    }
}

/// Who the image says runs in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageUser {
    /// By number.
    pub uid: Option<i64>,
    /// By name; empty if there is a number.
    pub name: String,
}

/// The container's. Fails if the pod forbids root and the container would be root.
pub fn container(
    config: &Config,
    pod: &Pod,
    container: &Container,
    image: &ImageUser,
) -> Result<v1::LinuxContainerSecurityContext, Error> {
    let of_pod = spec::spec(pod).security_context.as_ref();
    let none = SecurityContext::default();
    let own = container.security_context.as_ref().unwrap_or(&none);
    let user = own.run_as_user.or(of_pod.and_then(|c| c.run_as_user));
    let group = own.run_as_group.or(of_pod.and_then(|c| c.run_as_group));
    let non_root = own.run_as_non_root.or(of_pod.and_then(|c| c.run_as_non_root)) == Some(true);
    if non_root {
        refuse_root(container, user, image)?;
    }
    let privileged = own.privileged == Some(true);
    let profile = own
        .seccomp_profile
        .as_ref()
        .or(of_pod.and_then(|c| c.seccomp_profile.as_ref()));
    let list = |l: Option<&Vec<String>>| l.cloned().unwrap_or_default();
    let capabilities = own.capabilities.as_ref().map(|c| v1::Capability {
        add_capabilities: list(c.add.as_ref()),
        drop_capabilities: list(c.drop.as_ref()),
        ..Default::default()
    });
    let hide = own.proc_mount.as_deref() != Some("Unmasked") && !privileged;
    let paths = |p: &[&str]| {
        if hide {
            p.iter().map(|p| (*p).to_owned()).collect()
        } else {
            vec![]
        }
    };
    Ok(v1::LinuxContainerSecurityContext {
        capabilities,
        privileged,
        namespace_options: Some(namespaces(pod)),
        run_as_user: user.or(image.uid).map(int),
        run_as_username: if user.is_none() && image.uid.is_none() {
            image.name.clone()
        } else {
            String::new()
        },
        run_as_group: group.map(int),
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        supplemental_groups: supplemental(pod),
        no_new_privs: own.allow_privilege_escalation == Some(false) && !privileged,
        masked_paths: paths(MASKED),
        readonly_paths: paths(READ_ONLY),
        seccomp: profile.filter(|_| !privileged).map(|p| seccomp(config, p)),
        ..Default::default()
    })
}

fn refuse_root(container: &Container, user: Option<i64>, image: &ImageUser) -> Result<(), Error> {
    let name = &container.name;
    match user.or(image.uid) {
        Some(0) if user.is_some() => Err(Error::Pod(format!(
            "container's runAsUser breaks non-root policy (container: {name})"
        ))),
        Some(0) => Err(Error::Pod(format!(
            "container has runAsNonRoot and image will run as root (container: {name})"
        ))),
        None if !image.name.is_empty() => Err(Error::Pod(format!(
            "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root \
             (container: {name})",
            image.name
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(pod: serde_json::Value, own: serde_json::Value) -> Result<v1::LinuxContainerSecurityContext, Error> {
        let config = Config::new("n", std::net::IpAddr::from([10, 0, 0, 1]));
        let pod = serde_json::json!({ "metadata": {}, "spec": { "containers": [], "securityContext": pod } });
        let own = serde_json::json!({ "name": "c", "securityContext": own });
        let (pod, own) = (
            serde_json::from_value(pod).unwrap(),
            serde_json::from_value(own).unwrap(),
        );
        container(
            &config,
            &pod,
            &own,
            &ImageUser {
                uid: Some(0),
                name: String::new(),
            },
        )
    }

    #[test]
    fn the_container_overrides_the_pod() {
        let pod = serde_json::json!({ "runAsUser": 1000, "runAsGroup": 7, "fsGroup": 9, "supplementalGroups": [8] });
        let got = context(
            pod,
            serde_json::json!({ "runAsUser": 5, "allowPrivilegeEscalation": false }),
        )
        .unwrap();
        assert_eq!(got.run_as_user.unwrap().value, 5);
        assert_eq!(got.run_as_group.unwrap().value, 7);
        assert_eq!(got.supplemental_groups, [8, 9]);
        assert!(got.no_new_privs && !got.masked_paths.is_empty());
    }

    #[test]
    fn root_is_refused_where_it_is_forbidden() {
        let non_root = serde_json::json!({ "runAsNonRoot": true });
        assert!(
            context(non_root.clone(), serde_json::json!({}))
                .unwrap_err()
                .to_string()
                .contains("will run as root")
        );
        assert!(context(non_root.clone(), serde_json::json!({ "runAsUser": 0 })).is_err());
        assert!(context(non_root, serde_json::json!({ "runAsUser": 1 })).is_ok());
    }

    #[test]
    fn privileged_containers_see_everything() {
        let got = context(serde_json::json!({}), serde_json::json!({ "privileged": true })).unwrap();
        assert!(got.privileged && got.masked_paths.is_empty() && got.seccomp.is_none());
    }
}
