//! The container runtime as the agent sees it: CRI v1, as a trait.
//!
//! **Theory.** The agent keeps no record of containers: the runtime's list is the truth, and labels on sandboxes and
//! containers say which pod each belongs to. So an agent that starts again finds its pods in the runtime.
//!
//! [`Grpc`] speaks to a runtime over a unix socket; [`fake::Fake`] keeps containers in memory for tests. Both are held
//! to one contract by the tests of this module.
//!
//! **Left out.** Statistics, checkpoints, the runtime's event stream (containerd 1.6 has none in CRI: see `relist`).

pub mod fake;
mod grpc;

use async_trait::async_trait;
use k8s_cri::v1;

pub use grpc::Grpc;

use crate::Error;

/// Labels by which the runtime's objects name the pod they belong to. They are the ones every CRI tool expects.
pub mod label {
    /// The pod's name.
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    /// The pod's namespace.
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// The pod's uid.
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    /// The container's name in the pod's spec.
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
}

/// Annotations that the agent reads back when it adopts a container.
pub mod annotation {
    /// A hash of what the container was made from; a different one means that the spec has changed.
    pub const HASH: &str = "io.kubernetes.container.hash";
    /// How often the container was restarted before this one.
    pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
    /// Where in the container its last words are.
    pub const TERMINATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
    /// Whether the log may stand in for missing last words.
    pub const TERMINATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
    /// The pod's grace period, for a pod whose object is gone.
    pub const GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
}

/// What a command in a container printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Exit code of the command.
    pub exit_code: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// The calls of CRI v1 that the agent uses. Stop and remove calls succeed when there is nothing left to stop or remove.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Name and version of the runtime.
    async fn version(&self) -> Result<v1::VersionResponse, Error>;
    /// Conditions `RuntimeReady` and `NetworkReady`.
    async fn status(&self) -> Result<v1::RuntimeStatus, Error>;

    /// Creates and starts a sandbox; returns its id.
    async fn run_pod_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String, Error>;
    /// Stops a sandbox and everything in it.
    async fn stop_pod_sandbox(&self, id: &str) -> Result<(), Error>;
    /// Removes a sandbox and everything in it.
    async fn remove_pod_sandbox(&self, id: &str) -> Result<(), Error>;
    /// State and addresses of a sandbox.
    async fn pod_sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus, Error>;
    /// All sandboxes, or those of one pod.
    async fn list_pod_sandbox(&self, pod_uid: Option<&str>) -> Result<Vec<v1::PodSandbox>, Error>;

    /// Creates a container; returns its id.
    async fn create_container(
        &self,
        sandbox_id: &str,
        config: v1::ContainerConfig,
        sandbox: v1::PodSandboxConfig,
    ) -> Result<String, Error>;
    /// Starts a created container.
    async fn start_container(&self, id: &str) -> Result<(), Error>;
    /// Stops a container, first asking, then, after `grace_seconds`, by force.
    async fn stop_container(&self, id: &str, grace_seconds: i64) -> Result<(), Error>;
    /// Removes a container.
    async fn remove_container(&self, id: &str) -> Result<(), Error>;
    /// All containers, or those of one pod.
    async fn list_containers(&self, pod_uid: Option<&str>) -> Result<Vec<v1::Container>, Error>;
    /// State, times and exit code of a container.
    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus, Error>;
    /// Makes the runtime write to a new log file after the old one was renamed.
    async fn reopen_container_log(&self, id: &str) -> Result<(), Error>;

    /// Runs a command in a container; after `timeout_seconds` (0: never) it is killed and the call fails.
    async fn exec_sync(&self, id: &str, command: &[String], timeout_seconds: i64) -> Result<ExecOutput, Error>;
    /// A one-time URL for an interactive command.
    async fn exec(&self, request: v1::ExecRequest) -> Result<String, Error>;
    /// A one-time URL for the container's own streams.
    async fn attach(&self, request: v1::AttachRequest) -> Result<String, Error>;
    /// A one-time URL for forwarding ports.
    async fn port_forward(&self, request: v1::PortForwardRequest) -> Result<String, Error>;

    /// Every image present.
    async fn list_images(&self) -> Result<Vec<v1::Image>, Error>;
    /// An image by name, or `None` if it is not present.
    async fn image_status(&self, image: &str) -> Result<Option<v1::Image>, Error>;
    /// Pulls an image; returns its reference.
    async fn pull_image(&self, image: &str, auth: Option<v1::AuthConfig>) -> Result<String, Error>;
}

#[cfg(test)]
mod tests;
