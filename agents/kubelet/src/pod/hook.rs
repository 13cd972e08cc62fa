//! Lifecycle hooks: what a container does right after its start and right before its end.

use std::time::Duration;

use k8s_openapi::api::core::v1::LifecycleHandler;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::cri::Runtime;
use crate::probe::{Target, http};

/// Runs a hook for at most `limit`; the error says what went wrong.
pub(super) async fn run(
    runtime: &dyn Runtime,
    container_id: &str,
    handler: &LifecycleHandler,
    target: &Target,
    limit: Option<Duration>,
) -> Result<(), String> {
    let hook = run_unlimited(runtime, container_id, handler, target, limit);
    match limit {
        Some(limit) => timeout(limit, hook)
            .await
            .unwrap_or_else(|_| Err(format!("not done within {} s", limit.as_secs()))),
        None => hook.await,
    }
}

async fn run_unlimited(
    runtime: &dyn Runtime,
    container_id: &str,
    handler: &LifecycleHandler,
    target: &Target,
    limit: Option<Duration>,
) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        let command = exec.command.clone().unwrap_or_default();
        let seconds = limit.map_or(0, |l| i64::try_from(l.as_secs()).unwrap_or(i64::MAX).max(1));
        let output = runtime
            .exec_sync(container_id, &command, seconds)
            .await
            .map_err(|e| e.to_string())?;
        return match output.exit_code {
            0 => Ok(()),
            code => Err(format!(
                "command {command:?} exited with {code}: {}",
                String::from_utf8_lossy(&output.stderr).trim_end()
            )),
        };
    }
    if let Some(get) = &handler.http_get {
        return match http::get(get, target).await? {
            status if status < 400 => Ok(()),
            status => Err(format!("HTTP status {status}")),
        };
    }
    if let Some(pause) = &handler.sleep {
        sleep(Duration::from_secs(pause.seconds.max(0).unsigned_abs())).await;
        return Ok(());
    }
    if let Some(socket) = &handler.tcp_socket {
        let host = target.host(socket.host.as_deref())?;
        let port = target.port(&socket.port)?;
        return TcpStream::connect((host.as_str(), port))
            .await
            .map(|_| ())
            .map_err(|e| e.to_string());
    }
    Ok(())
}
