//! CRI v1 over a unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use k8s_cri::v1;
use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status, TimeoutExpired};

use super::{ExecOutput, Runtime, label};
use crate::{Error, limits};

/// A runtime behind a unix socket. It connects at the first call and again after the runtime was restarted.
#[derive(Clone)]
pub struct Grpc {
    channel: Channel,
    socket: PathBuf,
}

impl Grpc {
    /// A client of the runtime at `socket`, a path or a `unix://` URL.
    pub fn connect(socket: impl AsRef<Path>) -> Self {
        let socket = socket.as_ref();
        let socket = socket
            .to_str()
            .and_then(|s| s.strip_prefix("unix://"))
            .map_or(socket, Path::new)
            .to_path_buf();
        let path = socket.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
        });
        // The address is a placeholder: the connector knows the socket.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        Grpc { channel, socket }
    }

    /// Where the runtime listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel.clone()).max_decoding_message_size(limits::CRI_MESSAGE_BYTES_MAX)
    }

    fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel.clone()).max_decoding_message_size(limits::CRI_MESSAGE_BYTES_MAX)
    }
}

fn within<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

fn short<T>(message: T) -> Request<T> {
    within(message, limits::CRI_CALL_TIMEOUT)
}

fn failed(call: &'static str) -> impl Fn(Status) -> Error {
    move |status| Error::Runtime {
        call,
        code: code(&status),
        message: status.message().to_owned(),
    }
}

/// The status's code, but for the client's own timeout: tonic calls that one cancelled.
fn code(status: &Status) -> Code {
    let first = std::error::Error::source(status);
    let mut causes = std::iter::successors(first, |error| error.source());
    if causes.any(|error| error.is::<TimeoutExpired>()) {
        Code::DeadlineExceeded
    } else {
        status.code()
    }
}

/// Stopping or removing what is already gone is what was wanted.
fn gone_is_fine<T>(result: Result<T, Status>, call: &'static str) -> Result<(), Error> {
    match result {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(failed(call)(status)),
    }
}

fn missing(call: &'static str, what: &str) -> Error {
    Error::Runtime {
        call,
        code: Code::Internal,
        message: format!("the runtime's answer has no {what}"),
    }
}

fn of_pod(uid: &str) -> std::collections::HashMap<String, String> {
    [(label::POD_UID.to_owned(), uid.to_owned())].into()
}

#[async_trait]
impl Runtime for Grpc {
    async fn version(&self) -> Result<v1::VersionResponse, Error> {
        let request = short(v1::VersionRequest { version: "v1".into() });
        Ok(self
            .runtime()
            .version(request)
            .await
            .map_err(failed("Version"))?
            .into_inner())
    }

    async fn status(&self) -> Result<v1::RuntimeStatus, Error> {
        let request = short(v1::StatusRequest { verbose: false });
        let response = self
            .runtime()
            .status(request)
            .await
            .map_err(failed("Status"))?
            .into_inner();
        response.status.ok_or_else(|| missing("Status", "status"))
    }

    async fn run_pod_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String, Error> {
        let message = v1::RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: handler.to_owned(),
        };
        let request = within(message, limits::CRI_START_TIMEOUT);
        let response = self
            .runtime()
            .run_pod_sandbox(request)
            .await
            .map_err(failed("RunPodSandbox"))?;
        Ok(response.into_inner().pod_sandbox_id)
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let request = short(v1::StopPodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        });
        gone_is_fine(self.runtime().stop_pod_sandbox(request).await, "StopPodSandbox")
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let request = short(v1::RemovePodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        });
        gone_is_fine(self.runtime().remove_pod_sandbox(request).await, "RemovePodSandbox")
    }

    async fn pod_sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus, Error> {
        let request = short(v1::PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: false,
        });
        let response = self
            .runtime()
            .pod_sandbox_status(request)
            .await
            .map_err(failed("PodSandboxStatus"))?;
        response
            .into_inner()
            .status
            .ok_or_else(|| missing("PodSandboxStatus", "status"))
    }

    async fn list_pod_sandbox(&self, pod_uid: Option<&str>) -> Result<Vec<v1::PodSandbox>, Error> {
        let filter = pod_uid.map(|uid| v1::PodSandboxFilter {
            label_selector: of_pod(uid),
            ..Default::default()
        });
        let request = short(v1::ListPodSandboxRequest { filter });
        let response = self
            .runtime()
            .list_pod_sandbox(request)
            .await
            .map_err(failed("ListPodSandbox"))?;
        Ok(response.into_inner().items)
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: v1::ContainerConfig,
        sandbox: v1::PodSandboxConfig,
    ) -> Result<String, Error> {
        let message = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox_id.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox),
        };
        let request = within(message, limits::CRI_START_TIMEOUT);
        let response = self
            .runtime()
            .create_container(request)
            .await
            .map_err(failed("CreateContainer"))?;
        Ok(response.into_inner().container_id)
    }

    async fn start_container(&self, id: &str) -> Result<(), Error> {
        let request = within(
            v1::StartContainerRequest {
                container_id: id.to_owned(),
            },
            limits::CRI_START_TIMEOUT,
        );
        self.runtime()
            .start_container(request)
            .await
            .map_err(failed("StartContainer"))?;
        Ok(())
    }

    async fn stop_container(&self, id: &str, grace_seconds: i64) -> Result<(), Error> {
        let grace_seconds = grace_seconds.max(0);
        let message = v1::StopContainerRequest {
            container_id: id.to_owned(),
            timeout: grace_seconds,
        };
        let timeout = limits::CRI_CALL_TIMEOUT + Duration::from_secs(grace_seconds.unsigned_abs());
        gone_is_fine(
            self.runtime().stop_container(within(message, timeout)).await,
            "StopContainer",
        )
    }

    async fn remove_container(&self, id: &str) -> Result<(), Error> {
        let request = short(v1::RemoveContainerRequest {
            container_id: id.to_owned(),
        });
        gone_is_fine(self.runtime().remove_container(request).await, "RemoveContainer")
    }

    async fn list_containers(&self, pod_uid: Option<&str>) -> Result<Vec<v1::Container>, Error> {
        let filter = pod_uid.map(|uid| v1::ContainerFilter {
            label_selector: of_pod(uid),
            ..Default::default()
        });
        let request = short(v1::ListContainersRequest { filter });
        let response = self
            .runtime()
            .list_containers(request)
            .await
            .map_err(failed("ListContainers"))?;
        Ok(response.into_inner().containers)
    }

    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus, Error> {
        let request = short(v1::ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: false,
        });
        let response = self
            .runtime()
            .container_status(request)
            .await
            .map_err(failed("ContainerStatus"))?;
        response
            .into_inner()
            .status
            .ok_or_else(|| missing("ContainerStatus", "status"))
    }

    async fn reopen_container_log(&self, id: &str) -> Result<(), Error> {
        let request = short(v1::ReopenContainerLogRequest {
            container_id: id.to_owned(),
        });
        self.runtime()
            .reopen_container_log(request)
            .await
            .map_err(failed("ReopenContainerLog"))?;
        Ok(())
    }

    async fn exec_sync(&self, id: &str, command: &[String], timeout_seconds: i64) -> Result<ExecOutput, Error> {
        let message = v1::ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command.to_vec(),
            timeout: timeout_seconds,
        };
        // The runtime kills the command at the timeout; this one only guards against a runtime that hangs.
        let request = match timeout_seconds {
            0 => Request::new(message),
            n => within(
                message,
                limits::CRI_CALL_TIMEOUT + Duration::from_secs(n.unsigned_abs()),
            ),
        };
        let out = self
            .runtime()
            .exec_sync(request)
            .await
            .map_err(failed("ExecSync"))?
            .into_inner();
        Ok(ExecOutput {
            exit_code: out.exit_code,
            stdout: out.stdout,
            stderr: out.stderr,
        })
    }

    async fn exec(&self, request: v1::ExecRequest) -> Result<String, Error> {
        Ok(self
            .runtime()
            .exec(short(request))
            .await
            .map_err(failed("Exec"))?
            .into_inner()
            .url)
    }

    async fn attach(&self, request: v1::AttachRequest) -> Result<String, Error> {
        Ok(self
            .runtime()
            .attach(short(request))
            .await
            .map_err(failed("Attach"))?
            .into_inner()
            .url)
    }

    async fn port_forward(&self, request: v1::PortForwardRequest) -> Result<String, Error> {
        Ok(self
            .runtime()
            .port_forward(short(request))
            .await
            .map_err(failed("PortForward"))?
            .into_inner()
            .url)
    }

    async fn list_images(&self) -> Result<Vec<v1::Image>, Error> {
        let request = short(v1::ListImagesRequest { filter: None });
        Ok(self
            .images()
            .list_images(request)
            .await
            .map_err(failed("ListImages"))?
            .into_inner()
            .images)
    }

    async fn image_status(&self, image: &str) -> Result<Option<v1::Image>, Error> {
        let image = Some(v1::ImageSpec {
            image: image.to_owned(),
            ..Default::default()
        });
        let request = short(v1::ImageStatusRequest { image, verbose: false });
        Ok(self
            .images()
            .image_status(request)
            .await
            .map_err(failed("ImageStatus"))?
            .into_inner()
            .image)
    }

    async fn pull_image(&self, image: &str, auth: Option<v1::AuthConfig>) -> Result<String, Error> {
        let image = Some(v1::ImageSpec {
            image: image.to_owned(),
            ..Default::default()
        });
        let message = v1::PullImageRequest {
            image,
            auth,
            sandbox_config: None,
        };
        let request = within(message, limits::IMAGE_PULL_TIMEOUT);
        Ok(self
            .images()
            .pull_image(request)
            .await
            .map_err(failed("PullImage"))?
            .into_inner()
            .image_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_runtime_that_hangs_is_a_timeout() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        // Connections are queued by the kernel; nobody ever answers.
        let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let request = within(v1::VersionRequest::default(), Duration::from_millis(1));
        let status = Grpc::connect(&socket).runtime().version(request).await.unwrap_err();
        assert!(failed("Version")(status).is_runtime_timeout());
    }
}
