//! A runtime in memory: containers are records, and tests decide how they end. Nothing is executed.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use k8s_cri::v1;
use parking_lot::Mutex;
use tonic::Code;

use super::{ExecOutput, Runtime, label};
use crate::Error;

/// The runtime. Its clock counts the calls, so times are reproducible.
#[derive(Default)]
pub struct Fake {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clock: i64,
    sandboxes: BTreeMap<String, v1::PodSandboxStatus>,
    containers: BTreeMap<String, Record>,
    images: BTreeSet<String>,
    pullable: BTreeSet<String>,
    calls: Vec<String>,
    exec_exit_code: i32,
    /// How many of the next commands fail to be run, and how.
    exec_failures: Option<(usize, Code)>,
}

struct Record {
    sandbox_id: String,
    status: v1::ContainerStatus,
}

impl Fake {
    /// A runtime without containers that has these images.
    pub fn with_images(images: &[&str]) -> Self {
        let fake = Fake::default();
        fake.state.lock().images = images.iter().map(|i| (*i).to_owned()).collect();
        fake
    }

    /// Makes an image available to pulls.
    pub fn offer_image(&self, image: &str) {
        self.state.lock().pullable.insert(image.to_owned());
    }

    /// Ends a running container, as if its process had exited.
    pub fn exit(&self, container_id: &str, code: i32) {
        let mut state = self.state.lock();
        let now = state.tick();
        if let Some(record) = state.containers.get_mut(container_id) {
            record.end(code, now);
        }
    }

    /// The exit code of every later command run in a container.
    pub fn set_exec_exit_code(&self, code: i32) {
        self.state.lock().exec_exit_code = code;
    }

    /// Makes the next commands fail before they run.
    pub fn fail_execs(&self, times: usize, code: Code) {
        self.state.lock().exec_failures = (times > 0).then_some((times, code));
    }

    /// A running container in a pod of its own; its id.
    pub async fn add_running(&self, name: &str) -> Result<String, Error> {
        let sandbox = self.run_pod_sandbox(Default::default(), "").await?;
        let config = v1::ContainerConfig {
            metadata: Some(v1::ContainerMetadata {
                name: name.to_owned(),
                attempt: 0,
            }),
            ..Default::default()
        };
        let id = self.create_container(&sandbox, config, Default::default()).await?;
        self.start_container(&id).await?;
        Ok(id)
    }

    /// Names of the changing calls made so far, each with the name of what it was made on.
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().calls.clone()
    }
}

impl State {
    fn tick(&mut self) -> i64 {
        self.clock += 1_000_000_000;
        self.clock
    }

    fn container(&mut self, call: &'static str, id: &str) -> Result<&mut Record, Error> {
        self.containers.get_mut(id).ok_or_else(|| not_found(call, id))
    }
}

impl Record {
    fn end(&mut self, code: i32, now: i64) {
        if self.status.state != v1::ContainerState::ContainerExited as i32 {
            self.status.state = v1::ContainerState::ContainerExited as i32;
            self.status.exit_code = code;
            self.status.finished_at = now;
            self.status.reason = if code == 0 { "Completed" } else { "Error" }.into();
        }
    }
}

fn not_found(call: &'static str, id: &str) -> Error {
    Error::Runtime {
        call,
        code: Code::NotFound,
        message: format!("{id} not found"),
    }
}

fn name(metadata: &Option<v1::ContainerMetadata>) -> &str {
    metadata.as_ref().map_or("", |m| &m.name)
}

fn wanted(labels: &std::collections::HashMap<String, String>, pod_uid: Option<&str>) -> bool {
    pod_uid.is_none_or(|uid| labels.get(label::POD_UID).is_some_and(|l| l == uid))
}

#[async_trait]
impl Runtime for Fake {
    async fn version(&self) -> Result<v1::VersionResponse, Error> {
        let name = "fake".to_owned();
        Ok(v1::VersionResponse {
            runtime_name: name,
            runtime_version: "0".into(),
            ..Default::default()
        })
    }

    async fn status(&self) -> Result<v1::RuntimeStatus, Error> {
        let ready = |kind: &str| v1::RuntimeCondition {
            r#type: kind.into(),
            status: true,
            ..Default::default()
        };
        Ok(v1::RuntimeStatus {
            conditions: vec![ready("RuntimeReady"), ready("NetworkReady")],
        })
    }

    async fn run_pod_sandbox(&self, config: v1::PodSandboxConfig, _handler: &str) -> Result<String, Error> {
        let mut state = self.state.lock();
        let now = state.tick();
        let number = state.sandboxes.len();
        let metadata = config.metadata.unwrap_or_default();
        let id = format!("sandbox-{}-{}-{number}", metadata.uid, metadata.attempt);
        state.calls.push(format!("run sandbox {}", metadata.name));
        let status = v1::PodSandboxStatus {
            id: id.clone(),
            metadata: Some(metadata),
            state: v1::PodSandboxState::SandboxReady as i32,
            created_at: now,
            network: Some(v1::PodSandboxNetworkStatus {
                ip: format!("10.0.0.{}", number + 1),
                additional_ips: vec![],
            }),
            labels: config.labels,
            annotations: config.annotations,
            ..Default::default()
        };
        state.sandboxes.insert(id.clone(), status);
        Ok(id)
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let mut state = self.state.lock();
        let now = state.tick();
        let Some(sandbox) = state.sandboxes.get_mut(id) else {
            return Ok(());
        };
        sandbox.state = v1::PodSandboxState::SandboxNotready as i32;
        state.calls.push("stop sandbox".into());
        for record in state.containers.values_mut().filter(|r| r.sandbox_id == id) {
            record.end(137, now);
        }
        Ok(())
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let mut state = self.state.lock();
        if state.sandboxes.remove(id).is_some() {
            state.calls.push("remove sandbox".into());
        }
        state.containers.retain(|_, r| r.sandbox_id != id);
        Ok(())
    }

    async fn pod_sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus, Error> {
        self.state
            .lock()
            .sandboxes
            .get(id)
            .cloned()
            .ok_or_else(|| not_found("PodSandboxStatus", id))
    }

    async fn list_pod_sandbox(&self, pod_uid: Option<&str>) -> Result<Vec<v1::PodSandbox>, Error> {
        let state = self.state.lock();
        let selected = state.sandboxes.values().filter(|s| wanted(&s.labels, pod_uid));
        let item = |s: &v1::PodSandboxStatus| v1::PodSandbox {
            id: s.id.clone(),
            metadata: s.metadata.clone(),
            state: s.state,
            created_at: s.created_at,
            labels: s.labels.clone(),
            annotations: s.annotations.clone(),
            runtime_handler: String::new(),
        };
        Ok(selected.map(item).collect())
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: v1::ContainerConfig,
        _sandbox: v1::PodSandboxConfig,
    ) -> Result<String, Error> {
        let mut state = self.state.lock();
        let now = state.tick();
        if !state.sandboxes.contains_key(sandbox_id) {
            return Err(not_found("CreateContainer", sandbox_id));
        }
        let id = format!("container-{}-{}", name(&config.metadata), now);
        state.calls.push(format!("create {}", name(&config.metadata)));
        let status = v1::ContainerStatus {
            id: id.clone(),
            metadata: config.metadata,
            state: v1::ContainerState::ContainerCreated as i32,
            created_at: now,
            image_ref: config
                .image
                .as_ref()
                .map(|i| format!("sha256:{}", i.image))
                .unwrap_or_default(),
            image: config.image,
            labels: config.labels,
            annotations: config.annotations,
            log_path: config.log_path,
            ..Default::default()
        };
        state.containers.insert(
            id.clone(),
            Record {
                sandbox_id: sandbox_id.to_owned(),
                status,
            },
        );
        Ok(id)
    }

    async fn start_container(&self, id: &str) -> Result<(), Error> {
        let mut state = self.state.lock();
        let now = state.tick();
        let record = state.container("StartContainer", id)?;
        record.status.state = v1::ContainerState::ContainerRunning as i32;
        record.status.started_at = now;
        let call = format!("start {}", name(&record.status.metadata));
        state.calls.push(call);
        Ok(())
    }

    async fn stop_container(&self, id: &str, grace_seconds: i64) -> Result<(), Error> {
        let mut state = self.state.lock();
        let now = state.tick();
        let Ok(record) = state.container("StopContainer", id) else {
            return Ok(());
        };
        record.end(143, now);
        let call = format!("stop {} within {grace_seconds}", name(&record.status.metadata));
        state.calls.push(call);
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<(), Error> {
        let mut state = self.state.lock();
        if let Some(record) = state.containers.remove(id) {
            state.calls.push(format!("remove {}", name(&record.status.metadata)));
        }
        Ok(())
    }

    async fn list_containers(&self, pod_uid: Option<&str>) -> Result<Vec<v1::Container>, Error> {
        let state = self.state.lock();
        let selected = state.containers.values().filter(|r| wanted(&r.status.labels, pod_uid));
        let item = |r: &Record| v1::Container {
            id: r.status.id.clone(),
            pod_sandbox_id: r.sandbox_id.clone(),
            metadata: r.status.metadata.clone(),
            image: r.status.image.clone(),
            image_ref: r.status.image_ref.clone(),
            state: r.status.state,
            created_at: r.status.created_at,
            labels: r.status.labels.clone(),
            annotations: r.status.annotations.clone(),
            ..Default::default()
        };
        Ok(selected.map(item).collect())
    }

    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus, Error> {
        Ok(self.state.lock().container("ContainerStatus", id)?.status.clone())
    }

    async fn reopen_container_log(&self, id: &str) -> Result<(), Error> {
        self.state.lock().container("ReopenContainerLog", id).map(|_| ())
    }

    async fn exec_sync(&self, id: &str, command: &[String], _timeout_seconds: i64) -> Result<ExecOutput, Error> {
        let mut state = self.state.lock();
        if let Some((times, code)) = state.exec_failures.take() {
            state.exec_failures = (times > 1).then_some((times - 1, code));
            return Err(Error::Runtime {
                call: "ExecSync",
                code,
                message: "made to fail".into(),
            });
        }
        let exit_code = state.exec_exit_code;
        let call = format!(
            "exec in {}: {}",
            name(&state.container("ExecSync", id)?.status.metadata),
            command.join(" ")
        );
        state.calls.push(call);
        Ok(ExecOutput {
            exit_code,
            stdout: vec![],
            stderr: vec![],
        })
    }

    async fn exec(&self, _request: v1::ExecRequest) -> Result<String, Error> {
        Err(streams_unavailable("Exec"))
    }

    async fn attach(&self, _request: v1::AttachRequest) -> Result<String, Error> {
        Err(streams_unavailable("Attach"))
    }

    async fn port_forward(&self, _request: v1::PortForwardRequest) -> Result<String, Error> {
        Err(streams_unavailable("PortForward"))
    }

    async fn list_images(&self) -> Result<Vec<v1::Image>, Error> {
        Ok(self.state.lock().images.iter().map(|i| image(i)).collect())
    }

    async fn image_status(&self, name: &str) -> Result<Option<v1::Image>, Error> {
        Ok(self.state.lock().images.get(name).map(|i| image(i)))
    }

    async fn pull_image(&self, name: &str, _auth: Option<v1::AuthConfig>) -> Result<String, Error> {
        let mut state = self.state.lock();
        state.calls.push(format!("pull {name}"));
        if !state.pullable.contains(name) {
            return Err(not_found("PullImage", name));
        }
        state.images.insert(name.to_owned());
        Ok(format!("sha256:{name}"))
    }
}

fn image(name: &str) -> v1::Image {
    v1::Image {
        id: format!("sha256:{name}"),
        repo_tags: vec![name.to_owned()],
        size: 1,
        ..Default::default()
    }
}

/// Streams need processes, and the fake runs none.
fn streams_unavailable(call: &'static str) -> Error {
    Error::Runtime {
        call,
        code: Code::Unimplemented,
        message: "the in-memory runtime has no streams".into(),
    }
}
