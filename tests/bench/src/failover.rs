//! How long writes are refused after the leading master was killed: from `kill -9` to the answer of the next put, given to a
//! survivor, which holds it until there is a leader. The start of etcdctl (about 20 ms) is part of it.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cluster::Cluster;

/// Between two kills: the killed master has to be back, or the next kill takes the majority.
const BACK_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

pub fn run(runs: u32) -> anyhow::Result<()> {
    let cluster = Cluster::start(3, 0)?;
    let mut times = Vec::new();
    for run in 0..runs {
        let members = wait_for_all(&cluster)?;
        let leader = members
            .iter()
            .find(|m| m["leader"] == true)
            .context("no member leads")?;
        let survivor = members.iter().find(|m| m["leader"] != true).context("no follower")?;
        let endpoint = survivor["clientUrl"].as_str().context("clientUrl")?;
        put(&cluster, endpoint, &format!("before-{run}"))?;
        let pid = leader["pid"].as_i64().context("pid")?;
        let start = Instant::now();
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
        while put(&cluster, endpoint, &format!("after-{run}")).is_err() {}
        times.push(start.elapsed());
        let command = leader["startCommand"].as_str().context("startCommand")?;
        let again = Command::new("setsid")
            .args(["sh", "-c", &format!("exec {command} 2>/dev/null")])
            .spawn();
        drop(again.context("cannot start the master again")?);
    }
    times.sort();
    let ms = |time: &Duration| time.as_millis();
    let (Some(least), Some(most)) = (times.first(), times.last()) else {
        bail!("--runs: at least 1");
    };
    println!("| kills | least ms | median ms | most ms |\n|---|---|---|---|");
    println!(
        "| {runs} | {} | {} | {} |",
        ms(least),
        ms(&times[times.len() / 2]),
        ms(most)
    );
    Ok(())
}

/// The members, once all of them answer and one leads.
fn wait_for_all(cluster: &Cluster) -> anyhow::Result<Vec<Value>> {
    let deadline = Instant::now() + BACK_TIMEOUT;
    loop {
        let status = cluster.status()?;
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let applied = |m: &Value| m["revision"].as_i64();
        let newest = members.iter().filter_map(applied).max();
        let settled = members.iter().all(|m| applied(m).is_some() && applied(m) == newest);
        if settled && members.iter().filter(|m| m["leader"] == true).count() == 1 {
            return Ok(members);
        }
        ensure!(Instant::now() < deadline, "the members are not all back: {status}");
        std::thread::sleep(POLL);
    }
}

fn put(cluster: &Cluster, endpoint: &str, key: &str) -> anyhow::Result<()> {
    let script = format!(
        ". '{}/env' && unset ETCDCTL_ENDPOINTS && exec etcdctl --endpoints={endpoint} put {key} value",
        cluster.directory.path().display()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .output()
        .context("cannot run sh")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
