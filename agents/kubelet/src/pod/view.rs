//! What the runtime holds of one pod, reduced to what decisions need.

use jiff::Timestamp;
use k8s_cri::v1;

use crate::cri::{annotation, label};

/// A pod as the runtime knows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodView {
    /// Its sandboxes, newest first.
    pub sandboxes: Vec<SandboxView>,
    /// Its containers, dead ones included, newest first.
    pub containers: Vec<ContainerView>,
}

/// A pod's identity, as the runtime's labels give it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodId {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
}

/// One sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxView {
    /// The runtime's id.
    pub id: String,
    /// Whether it runs.
    pub ready: bool,
    /// How many sandboxes the pod had before.
    pub attempt: u32,
    /// When it was made, in nanoseconds.
    pub created_at: i64,
    /// Its addresses, the main one first; none with the host's network.
    pub ips: Vec<String>,
}

/// How far a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Ended.
    Exited,
    /// The runtime lost track of it.
    Unknown,
}

/// One container.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerView {
    /// The runtime's id.
    pub id: String,
    /// Its name in the pod's spec.
    pub name: String,
    /// The sandbox it belongs to.
    pub sandbox_id: String,
    /// How often the container was restarted before this one.
    pub restarts: u32,
    /// How far it is.
    pub state: ContainerState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was started; the epoch if never.
    pub started_at: Timestamp,
    /// When it ended; the epoch if it has not.
    pub finished_at: Timestamp,
    /// How it ended.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, ...
    pub reason: String,
    /// The runtime's words, or the container's last ones.
    pub message: String,
    /// The image's name as the pod has it.
    pub image: String,
    /// The image's digest or id.
    pub image_ref: String,
    /// What it was made from; see [`annotation::HASH`].
    pub hash: String,
    /// Where the file with its last words is, on this node.
    pub log_path: String,
}

impl PodView {
    /// The sandbox that runs, if one does.
    pub fn ready_sandbox(&self) -> Option<&SandboxView> {
        self.sandboxes.iter().find(|s| s.ready)
    }

    /// The newest container of this name.
    pub fn latest(&self, name: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// The newest container of this name in this sandbox.
    pub fn latest_in(&self, name: &str, sandbox: &str) -> Option<&ContainerView> {
        self.containers
            .iter()
            .find(|c| c.name == name && c.sandbox_id == sandbox)
    }

    /// The container of this name before the newest.
    pub fn previous(&self, name: &str) -> Option<&ContainerView> {
        self.containers.iter().filter(|c| c.name == name).nth(1)
    }

    /// The containers that may still have a process.
    pub fn alive(&self) -> impl Iterator<Item = &ContainerView> {
        self.containers.iter().filter(|c| c.is_alive())
    }

    /// Brings both lists in order. Call after filling them.
    pub(crate) fn sort(&mut self) {
        self.sandboxes
            .sort_by_key(|s| std::cmp::Reverse((s.attempt, s.created_at)));
        self.containers
            .sort_by_key(|c| std::cmp::Reverse((c.created_at, c.restarts)));
    }
}

impl ContainerView {
    /// Whether it may still have a process.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, ContainerState::Running | ContainerState::Unknown)
    }

    /// Whether it ended well.
    pub fn succeeded(&self) -> bool {
        self.state == ContainerState::Exited && self.exit_code == 0
    }

    /// From the runtime's list entry and its details.
    pub(crate) fn of(item: &v1::Container, status: &v1::ContainerStatus) -> Self {
        let annotation = |key: &str| status.annotations.get(key).cloned().unwrap_or_default();
        let attempt = status.metadata.as_ref().map_or(0, |m| m.attempt);
        let image = status.image.as_ref();
        ContainerView {
            id: item.id.clone(),
            name: item.labels.get(label::CONTAINER_NAME).cloned().unwrap_or_default(),
            sandbox_id: item.pod_sandbox_id.clone(),
            restarts: annotation(annotation::RESTART_COUNT).parse().unwrap_or(attempt),
            state: state(status.state),
            created_at: time(status.created_at),
            started_at: time(status.started_at),
            finished_at: time(status.finished_at),
            exit_code: status.exit_code,
            reason: status.reason.clone(),
            message: status.message.clone(),
            image: image.map(|i| i.image.clone()).unwrap_or_default(),
            image_ref: status.image_ref.clone(),
            hash: annotation(annotation::HASH),
            log_path: status.log_path.clone(),
        }
    }
}

impl SandboxView {
    /// From the runtime's list entry and the addresses, which only the details have.
    pub(crate) fn of(item: &v1::PodSandbox, ips: Vec<String>) -> Self {
        SandboxView {
            id: item.id.clone(),
            ready: item.state == v1::PodSandboxState::SandboxReady as i32,
            attempt: item.metadata.as_ref().map_or(0, |m| m.attempt),
            created_at: item.created_at,
            ips,
        }
    }
}

/// The pod that a sandbox or container belongs to, or `None` if the agent did not make it.
pub(crate) fn owner(labels: &std::collections::HashMap<String, String>) -> Option<PodId> {
    Some(PodId {
        namespace: labels.get(label::POD_NAMESPACE)?.clone(),
        name: labels.get(label::POD_NAME)?.clone(),
        uid: labels.get(label::POD_UID)?.clone(),
    })
}

fn state(state: i32) -> ContainerState {
    match v1::ContainerState::try_from(state) {
        Ok(v1::ContainerState::ContainerCreated) => ContainerState::Created,
        Ok(v1::ContainerState::ContainerRunning) => ContainerState::Running,
        Ok(v1::ContainerState::ContainerExited) => ContainerState::Exited,
        _ => ContainerState::Unknown,
    }
}

fn time(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}
