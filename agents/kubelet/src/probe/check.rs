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
    /// It is not, or did not answer in time; why.
    No(String),
    /// The container could not be asked; why. This says nothing of the container and counts neither way: a runtime
    /// that is being restarted must not get every pod of the node killed.
    Unknown(String),
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

/// Asks, for as long as the probe allows. A question that could not be asked is repeated at once, a few times.
pub(super) async fn ask(runtime: &dyn Runtime, id: &str, probe: &Probe, target: &Target) -> Answer {
    let mut answer = ask_once(runtime, id, probe, target).await;
    for _ in 1..limits::PROBE_TRIES_MAX {
        if !matches!(answer, Answer::Unknown(_)) {
            break;
        }
        answer = ask_once(runtime, id, probe, target).await;
    }
    answer
}

async fn ask_once(runtime: &dyn Runtime, id: &str, probe: &Probe, target: &Target) -> Answer {
    let seconds = probe.timeout_seconds.unwrap_or(1).max(1);
    let limit = Duration::from_secs(seconds.unsigned_abs().into());
    if let Some(exec) = &probe.exec {
        let command = exec.command.clone().unwrap_or_default();
        return run(runtime, id, &command, seconds.into()).await;
    }
    if let Err(message) = address(probe, target) {
        return Answer::Unknown(message);
    }
    match timeout(limit, reach(probe, target)).await {
        Ok(Ok(())) => Answer::Yes,
        Ok(Err(message)) => Answer::No(message),
        Err(_) => Answer::No(format!("no answer within {seconds} s")),
    }
}

/// Where to ask; an error if the probe does not say, or the pod has no address yet.
fn address(probe: &Probe, target: &Target) -> Result<(String, u16), String> {
    let (host, port) = if let Some(get) = &probe.http_get {
        (get.host.as_deref(), get.port.clone())
    } else if let Some(socket) = &probe.tcp_socket {
        (socket.host.as_deref(), socket.port.clone())
    } else if let Some(grpc) = &probe.grpc {
        (None, IntOrString::Int(grpc.port))
    } else {
        return Err("the probe has no handler".into());
    };
    Ok((target.host(host)?, target.port(&port)?))
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
    let (host, port) = address(probe, target)?;
    match &probe.grpc {
        Some(grpc) => grpc::check(&host, port, grpc.service.as_deref().unwrap_or_default()).await,
        None => connect(&host, port).await.map(|_| ()),
    }
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
        // The command ran and did not end: that is the container's doing. Any other error is the runtime's.
        Err(error) if error.is_runtime_timeout() => Answer::No(format!("command timed out after {seconds} s")),
        Err(error) => Answer::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::cri::fake::Fake;

    fn exec_probe() -> Probe {
        serde_json::from_value(serde_json::json!({"exec": {"command": ["true"]}, "timeoutSeconds": 2})).unwrap()
    }

    #[tokio::test]
    async fn a_timeout_is_a_failure_and_a_runtimes_error_says_nothing() {
        let runtime = Fake::default();
        let id = runtime.add_running("main").await.unwrap();
        let (probe, target) = (exec_probe(), Target::default());
        let ask = || ask(&runtime, &id, &probe, &target);
        assert_eq!(ask().await, Answer::Yes);
        runtime.set_exec_exit_code(1);
        assert_eq!(ask().await, Answer::No(String::new()));
        runtime.fail_execs(1, Code::DeadlineExceeded);
        assert_eq!(ask().await, Answer::No("command timed out after 2 s".into()));
        runtime.set_exec_exit_code(0);
        // An error or two are got over by asking again.
        runtime.fail_execs(limits::PROBE_TRIES_MAX - 1, Code::Unavailable);
        assert_eq!(ask().await, Answer::Yes);
        runtime.fail_execs(limits::PROBE_TRIES_MAX, Code::Unavailable);
        assert!(matches!(ask().await, Answer::Unknown(_)));
    }

    #[tokio::test]
    async fn what_cannot_be_addressed_is_not_asked() {
        let probe = |json| serde_json::from_value::<Probe>(json).unwrap();
        let here = Target {
            ip: Some(IpAddr::from([127, 0, 0, 1])),
            ports: vec![],
        };
        let nowhere = Target::default();
        let by_name = probe(serde_json::json!({"httpGet": {"port": "web"}}));
        let by_number = probe(serde_json::json!({"tcpSocket": {"port": 1}}));
        let empty = Probe::default();
        for (probe, target) in [(&by_name, &here), (&by_number, &nowhere), (&empty, &here)] {
            let answer = ask(&Fake::default(), "", probe, target).await;
            assert!(matches!(answer, Answer::Unknown(_)), "{probe:?}: {answer:?}");
        }
        // Nobody listens: that is the container's doing.
        assert!(matches!(
            ask(&Fake::default(), "", &by_number, &here).await,
            Answer::No(_)
        ));
    }

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
