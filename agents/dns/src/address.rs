//! Makes the cluster DNS address an address of this node.
//!
//! Pods send to their resolver's address through their default route, which ends on their own node; with the address on
//! a link there, the kernel delivers the query to the agent and the answer leaves with the right source address. No
//! translation is involved, so it also works before the service proxy does.

use std::{net::IpAddr, process::Stdio};

use tokio::process::Command;

use crate::{Error, limits};

/// Puts `address` on `link`; having it there already is fine.
pub async fn claim(address: IpAddr, link: &str) -> Result<(), Error> {
    ip(&["address", "replace", &host_range(address), "dev", link])
        .await
        .map(drop)
}

/// Takes `address` from `link`; not having it there is fine.
pub async fn release(address: IpAddr, link: &str) -> Result<(), Error> {
    let range = host_range(address);
    let present = ip(&["-o", "address", "show", "dev", link, "to", &range]).await?;
    if present.trim().is_empty() {
        return Ok(());
    }
    ip(&["address", "del", &range, "dev", link]).await.map(drop)
}

fn host_range(address: IpAddr) -> String {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    format!("{address}/{bits}")
}

async fn ip(arguments: &[&str]) -> Result<String, Error> {
    let failed = |reason: String| Error::Address {
        command: format!("ip {}", arguments.join(" ")),
        reason,
    };
    let run = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(limits::IP_COMMAND_TIMEOUT, run).await {
        Ok(output) => output.map_err(|error| failed(error.to_string()))?,
        Err(_) => return Err(failed(format!("no answer within {:?}", limits::IP_COMMAND_TIMEOUT))),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(format!(
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}
