//! Asking once.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{grpc, http};
use crate::cri::Runtime;
use crate::limits;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is well.
    Yes,
    /// It is not, or did not answer; why.
    No(String),
}

impl Answer {
    /// Whether it is well.
    pub fn is_yes(&self) -> bool {
        *self == Answer::Yes
    }

    /// Why it is not well.
    pub fn into_message(self) -> String {
        match self {
            Answer::Yes => String::new(),
            Answer::No(message) => message,
        }
    }
}

/// Where a container can be reached.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The pod's address.
    pub ip: Option<IpAddr>,
    /// The container's named ports.
    pub ports: Vec<(String, u16)>,
}

impl Target {
    /// Of a container in a pod with this address.
    pub fn of(container: &Container, ip: Option<IpAddr>) -> Self {
        let named = |p: &k8s_openapi::api::core::v1::ContainerPort| {
            Some((p.name.clone()?, u16::try_from(p.container_port).ok()?))
        };
        Target {
            ip,
            ports: container.ports.iter().flatten().filter_map(named).collect(),
        }
    }

    /// A port given by number or by the name it has in the container.
    pub fn port(&self, port: &IntOrString) -> Result<u16, String> {
        let number = match port {
            IntOrString::Int(n) => u16::try_from(*n).ok(),
            IntOrString::String(name) => self
                .ports
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, p)| *p)
                .or_else(|| name.parse().ok()),
        };
        number
            .filter(|n| *n > 0)
            .ok_or_else(|| format!("no such port: {port:?}"))
    }

    /// A host given by name, or the pod.
    pub fn host(&self, host: Option<&str>) -> Result<String, String> {
        match host.filter(|h| !h.is_empty()) {
            Some(host) => Ok(host.to_owned()),
            None => self
                .ip
                .map(|ip| ip.to_string())
                .ok_or_else(|| "the pod has no address yet".to_owned()),
        }
    }
}

/// Asks, for as long as the probe allows.
pub(super) async fn ask(runtime: &dyn Runtime, id: &str, probe: &Probe, target: &Target) -> Answer {
    let seconds = probe.timeout_seconds.unwrap_or(1).max(1);
    let limit = Duration::from_secs(seconds.unsigned_abs().into());
    if let Some(exec) = &probe.exec {
        let command = exec.command.clone().unwrap_or_default();
        return run(runtime, id, &command, seconds.into()).await;
    }
    match timeout(limit, reach(probe, target)).await {
        Ok(Ok(())) => Answer::Yes,
        Ok(Err(message)) => Answer::No(message),
        Err(_) => Answer::No(format!("no answer within {seconds} s")),
    }
}

async fn reach(probe: &Probe, target: &Target) -> Result<(), String> {
    if let Some(get) = &probe.http_get {
        let status = http::get(get, target).await?;
        return if (200..400).contains(&status) {
            Ok(())
        } else {
            Err(format!("HTTP probe failed with statuscode: {status}"))
        };
    }
    if let Some(socket) = &probe.tcp_socket {
        let host = target.host(socket.host.as_deref())?;
        let port = target.port(&socket.port)?;
        return connect(&host, port).await.map(|_| ());
    }
    if let Some(grpc) = &probe.grpc {
        let host = target.host(None)?;
        let port = target.port(&IntOrString::Int(grpc.port))?;
        return grpc::check(&host, port, grpc.service.as_deref().unwrap_or_default()).await;
    }
    Err("the probe has no handler".into())
}

/// A connection, or why there is none.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port))
        .await
        .map_err(|e| format!("dial tcp {host}:{port}: {e}"))
}

async fn run(runtime: &dyn Runtime, id: &str, command: &[String], seconds: i64) -> Answer {
    match runtime.exec_sync(id, command, seconds).await {
        Ok(output) if output.exit_code == 0 => Answer::Yes,
        Ok(output) => {
            let mut text = output.stdout;
            text.extend_from_slice(&output.stderr);
            text.truncate(limits::PROBE_OUTPUT_BYTES_MAX);
            Answer::No(String::from_utf8_lossy(&text).trim_end().to_owned())
        }
        Err(error) => Answer::No(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_by_name_and_number() {
        let target = Target {
            ip: None,
            ports: vec![("web".into(), 8080)],
        };
        assert_eq!(target.port(&IntOrString::String("web".into())), Ok(8080));
        assert_eq!(target.port(&IntOrString::String("81".into())), Ok(81));
        assert_eq!(target.port(&IntOrString::Int(80)), Ok(80));
        assert!(target.port(&IntOrString::Int(70000)).is_err());
        assert!(target.port(&IntOrString::String("nope".into())).is_err());
        assert!(target.host(None).is_err());
    }
}
