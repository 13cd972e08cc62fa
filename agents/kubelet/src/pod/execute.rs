//! Carries out the steps that [`super::decide`] asks for. Each either succeeds or says in the worker's memory what the
//! pod is waiting for; the next decision starts from there.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::decide::{Action, Kill};
use super::memory::{Failure, Memory, Waiting};
use super::node::Node;
use super::runtime_config::{self, Prepared};
use super::view::PodView;
use super::{cgroup, env, hook, image, network, spec};
use crate::probe::Target;
use crate::volume::{self, PodPaths};
use crate::{Error, limits};

/// However short the grace was, a container that had a hook gets this long to end after it.
const GRACE_AFTER_HOOK: Duration = Duration::from_secs(2);

/// A step could not be taken; what follows it in the plan is left for later.
pub(super) struct Stopped;

/// One pod's surroundings while its steps are taken.
pub(super) struct Executor<'a> {
    pub(super) node: &'a Node,
    pub(super) pod: &'a Pod,
    pub(super) view: &'a PodView,
    pub(super) memory: &'a mut Memory,
}

impl Executor<'_> {
    /// Takes one step.
    pub(super) async fn act(&mut self, action: Action) -> Result<(), Stopped> {
        debug!(pod = spec::name(self.pod), ?action, "acting");
        let runtime = &self.node.runtime;
        let result = match action {
            Action::Fail { reason, message } => {
                self.node.events.warning(self.pod, None, reason, message.clone());
                self.memory.failed = Some(Failure {
                    reason: reason.into(),
                    message,
                });
                Ok(())
            }
            Action::Kill(kill) => {
                kill_container(self.node, self.pod, self.view, &kill).await;
                Ok(())
            }
            Action::RemoveContainer { id } => runtime.remove_container(&id).await,
            Action::StopSandbox { id } => {
                let _permit = self.node.starts.acquire().await;
                runtime.stop_pod_sandbox(&id).await
            }
            Action::RemoveSandbox { id } => runtime.remove_pod_sandbox(&id).await,
            Action::PrepareVolumes => return self.prepare_volumes().await,
            Action::RunSandbox { attempt } => return self.run_sandbox(attempt).await,
            Action::Start {
                name,
                sandbox_id,
                restarts,
                previous_end,
            } => {
                self.start(&name, &sandbox_id, restarts, previous_end).await;
                Ok(())
            }
            Action::Release => self.release(),
        };
        result.map_err(|error| self.retry("cannot clean up", &error))
    }

    /// Several containers get their grace at the same time.
    pub(super) async fn kill_all(&self, kills: Vec<Kill>) {
        join_all(
            kills
                .iter()
                .map(|kill| kill_container(self.node, self.pod, self.view, kill)),
        )
        .await;
    }

    fn retry(&mut self, what: &str, error: &Error) -> Stopped {
        warn!(pod = spec::name(self.pod), namespace = spec::namespace(self.pod), %error, "{what}");
        self.memory.retry_at = Timestamp::now().saturating_add(limits::POD_RETRY_INTERVAL).ok();
        Stopped
    }

    async fn prepare_volumes(&mut self) -> Result<(), Stopped> {
        let (node, pod) = (self.node, self.pod);
        let facts = node.facts(pod, self.view);
        match volume::prepare(&*node.source, pod, &node.paths(pod), &facts).await {
            Ok(()) => {
                self.memory.volumes_ready = true;
                self.memory.retry_at = None;
                Ok(())
            }
            Err(error) => {
                node.events.warning(pod, None, "FailedMount", error.to_string());
                Err(self.retry("cannot prepare volumes", &error))
            }
        }
    }

    async fn run_sandbox(&mut self, attempt: u32) -> Result<(), Stopped> {
        let (node, pod) = (self.node, self.pod);
        let _permit = node.starts.acquire().await;
        let config = runtime_config::sandbox(&node.config, pod, attempt);
        let made = async {
            let group = config
                .linux
                .as_ref()
                .map(|l| l.cgroup_parent.clone())
                .unwrap_or_default();
            cgroup::create(&group, pod)?;
            volume::create_dir(std::path::Path::new(&config.log_directory), 0o755)?;
            let handler = spec::spec(pod).runtime_class_name.clone().unwrap_or_default();
            node.runtime.run_pod_sandbox(config, &handler).await
        };
        match made.await {
            Ok(_) => {
                self.memory.retry_at = None;
                // Everything starts afresh in a new sandbox.
                self.memory.waiting.clear();
                if attempt > 0 {
                    let message = "Pod sandbox changed, it will be killed and re-created.".into();
                    node.events.normal(pod, None, "SandboxChanged", message);
                }
                Ok(())
            }
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {error}");
                node.events.warning(pod, None, "FailedCreatePodSandBox", message);
                Err(self.retry("cannot create the sandbox", &error))
            }
        }
    }

    fn release(&mut self) -> Result<(), Error> {
        volume::release(&self.node.paths(self.pod))?;
        cgroup::remove(&self.node.config.cgroup_parent, spec::uid(self.pod))?;
        self.memory.released = true;
        Ok(())
    }

    async fn start(&mut self, name: &str, sandbox_id: &str, restarts: u32, previous_end: Option<Timestamp>) {
        let Some(container) = spec::container(self.pod, name).cloned() else {
            return;
        };
        match self.try_start(&container, sandbox_id, restarts).await {
            Ok(()) => {
                self.memory.waiting.remove(name);
                if let Some(end) = previous_end {
                    self.memory.note_restart(name, end);
                }
            }
            Err(waiting) => {
                // A start that failed counts like a run that failed: the next one waits longer.
                if let ("RunContainerError", Some(end)) = (waiting.reason.as_str(), previous_end) {
                    self.memory.note_restart(name, end);
                }
                self.memory.waiting.insert(name.to_owned(), waiting);
            }
        }
    }

    async fn try_start(&mut self, container: &Container, sandbox_id: &str, restarts: u32) -> Result<(), Waiting> {
        let (node, pod, name) = (self.node, self.pod, container.name.as_str());
        let image = image::ensure(node, pod, container, self.memory).await?;
        let prepared = self.prepare(container, restarts, image).await;
        let config = prepared.and_then(|p| runtime_config::container(&node.config, pod, container, p));
        let config = config.map_err(|e| self.not_started(name, "CreateContainerConfigError", e.to_string()))?;

        let _permit = node.starts.acquire().await;
        let sandbox = runtime_config::sandbox(&node.config, pod, self.attempt(sandbox_id));
        let id = node.runtime.create_container(sandbox_id, config, sandbox).await;
        let id = id.map_err(|e| self.not_started(name, "CreateContainerError", e.to_string()))?;
        node.events
            .normal(pod, Some(name), "Created", format!("Created container: {name}"));
        if let Err(error) = node.runtime.start_container(&id).await {
            return Err(self.not_started(name, "RunContainerError", error.to_string()));
        }
        node.events
            .normal(pod, Some(name), "Started", format!("Started container {name}"));
        drop(_permit);
        self.post_start(container, &id).await;
        Ok(())
    }

    fn attempt(&self, sandbox_id: &str) -> u32 {
        self.view
            .sandboxes
            .iter()
            .find(|s| s.id == sandbox_id)
            .map_or(0, |s| s.attempt)
    }

    fn not_started(&self, name: &str, reason: &str, message: String) -> Waiting {
        self.node
            .events
            .warning(self.pod, Some(name), "Failed", format!("Error: {message}"));
        let until = Timestamp::now().saturating_add(limits::POD_RETRY_INTERVAL).ok();
        Waiting {
            reason: reason.into(),
            message,
            until,
        }
    }

    async fn post_start(&self, container: &Container, id: &str) {
        let Some(handler) = container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()) else {
            return;
        };
        let target = target(self.view, container);
        if let Err(message) = hook::run(&*self.node.runtime, id, handler, &target, None).await {
            self.node.events.warning(
                self.pod,
                Some(&container.name),
                "FailedPostStartHook",
                format!("PostStartHook failed: {message}"),
            );
            let grace = i64::try_from(spec::grace(self.pod).as_secs()).unwrap_or(i64::MAX);
            let (id, name) = (id.to_owned(), container.name.clone());
            let message = "FailedPostStartHook".to_owned();
            kill_container(
                self.node,
                self.pod,
                self.view,
                &Kill {
                    id,
                    name,
                    grace_seconds: grace,
                    message,
                },
            )
            .await;
        }
    }

    async fn prepare(&self, container: &Container, restarts: u32, image: image::Present) -> Result<Prepared, Error> {
        let (node, pod) = (self.node, self.pod);
        let paths = node.paths(pod);
        let facts = node.facts(pod, self.view);
        let environment = env::build(&*node.source, pod, container, &facts, &(node.services)()).await?;
        let mut mounts = Vec::new();
        let variables = environment.variables();
        for (i, mount) in container.volume_mounts.iter().flatten().enumerate() {
            mounts.push(mount_of(pod, &paths, container, i, mount, &variables)?);
        }
        if !mounts.iter().any(|m| m.container_path == "/etc/hosts") {
            let hosts = paths.hosts();
            let text = network::hosts(&node.config, pod, &facts.pod_ips);
            std::fs::write(&hosts, text).map_err(Error::file("write", &hosts))?;
            mounts.push(v1::Mount {
                container_path: "/etc/hosts".into(),
                host_path: hosts.to_string_lossy().into_owned(),
                ..Default::default()
            });
        }
        let termination_log = paths.termination_log(&container.name, restarts);
        make_termination_log(&termination_log)?;
        Ok(Prepared {
            restarts,
            image_ref: image.reference,
            image_user: image.user,
            environment,
            mounts,
            termination_log,
            node_memory_bytes: node.memory_bytes,
        })
    }
}

/// Any user may run in the container, so any user must be able to write it.
fn make_termination_log(path: &std::path::Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(parent) = path.parent() {
        volume::create_dir(parent, 0o755)?;
    }
    std::fs::write(path, []).map_err(Error::file("create", path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).map_err(Error::file("set mode of", path))
}

fn mount_of(
    pod: &Pod,
    paths: &PodPaths,
    container: &Container,
    index: usize,
    mount: &VolumeMount,
    variables: &std::collections::HashMap<String, String>,
) -> Result<v1::Mount, Error> {
    let volumes = spec::spec(pod).volumes.as_ref();
    let volume = volumes.into_iter().flatten().find(|v| v.name == mount.name);
    let volume = volume.ok_or_else(|| Error::Pod(format!("volume {} is not in the pod", mount.name)))?;
    let unsupported = || Error::Pod(format!("volume {}: this kind is not supported", volume.name));
    let source = volume::host_path(paths, volume).ok_or_else(unsupported)?;
    let sub = match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(sub), _) if !sub.is_empty() => Some(sub.clone()),
        (_, Some(text)) if !text.is_empty() => Some(super::expand::expand(text, variables)),
        _ => None,
    };
    let source = match sub {
        Some(sub) => {
            let place = paths
                .root
                .join("volume-subpaths")
                .join(&volume.name)
                .join(&container.name);
            let group = spec::spec(pod).security_context.as_ref().and_then(|c| c.fs_group);
            let group = group.and_then(|g| u32::try_from(g).ok());
            volume::bind_subpath(&source, &sub, &place.join(index.to_string()), group)?
        }
        None => source,
    };
    // Files made from API objects belong to the API: a container's write would be lost at the next update.
    let generated = volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some();
    Ok(v1::Mount {
        container_path: mount.mount_path.clone(),
        host_path: source.to_string_lossy().into_owned(),
        readonly: mount.read_only == Some(true) || generated,
        propagation: match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => v1::MountPropagation::PropagationHostToContainer,
            Some("Bidirectional") => v1::MountPropagation::PropagationBidirectional,
            _ => v1::MountPropagation::PropagationPrivate,
        } as i32,
        ..Default::default()
    })
}

fn target(view: &PodView, container: &Container) -> Target {
    let ip = view
        .ready_sandbox()
        .and_then(|s| s.ips.first())
        .and_then(|ip| ip.parse().ok());
    Target::of(container, ip)
}

/// Runs the container's last hook and stops it, both within the grace.
async fn kill_container(node: &Node, pod: &Pod, view: &PodView, kill: &Kill) {
    node.events
        .normal(pod, Some(&kill.name), "Killing", kill.message.clone());
    let mut grace = Duration::from_secs(kill.grace_seconds.max(0).unsigned_abs());
    let container = spec::container(pod, &kill.name);
    let handler = container
        .and_then(|c| c.lifecycle.as_ref())
        .and_then(|l| l.pre_stop.as_ref());
    if let (Some(container), Some(handler), false) = (container, handler, grace.is_zero()) {
        let started = Instant::now();
        let target = target(view, container);
        if let Err(message) = hook::run(&*node.runtime, &kill.id, handler, &target, Some(grace)).await {
            let message = format!("PreStopHook failed: {message}");
            node.events.warning(pod, Some(&kill.name), "FailedPreStopHook", message);
        }
        grace = grace.saturating_sub(started.elapsed()).max(GRACE_AFTER_HOOK);
    }
    let seconds = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
    if let Err(error) = node.runtime.stop_container(&kill.id, seconds).await {
        warn!(pod = spec::name(pod), container = kill.name, %error, "cannot stop the container");
    }
}
