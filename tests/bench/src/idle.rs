//! What an idle cluster costs: resident memory and CPU of all its processes but containerd.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::cluster::Cluster;

/// Lets start-up work (image import, first syncs) end before counting.
const SETTLE: Duration = Duration::from_secs(20);

pub fn run(seconds: u64) -> anyhow::Result<()> {
    let cluster = Cluster::start(1, 1)?;
    sleep(SETTLE);
    let pids = cluster.processes()?;
    let (before, start) = (cpu_seconds(&pids)?, Instant::now());
    sleep(Duration::from_secs(seconds));
    let cpu = (cpu_seconds(&pids)? - before) / start.elapsed().as_secs_f64() * 100.0;
    println!("| process | RSS MiB |\n|---|---|");
    let mut total = 0.0;
    for pid in &pids {
        let (name, mebibytes) = resident(*pid)?;
        println!("| {name} | {mebibytes:.1} |");
        total += mebibytes;
    }
    println!(
        "\nready after {:.2} s; {total:.1} MiB RSS; {cpu:.2} % of one core over {seconds} s",
        cluster.ready_after.as_secs_f64()
    );
    Ok(())
}

/// User and system time of the processes, in seconds.
fn cpu_seconds(pids: &[u32]) -> anyhow::Result<f64> {
    let ticks: u64 = pids.iter().map(|pid| ticks(*pid)).sum::<anyhow::Result<u64>>()?;
    let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("no clock tick")?;
    Ok(ticks as f64 / hertz as f64)
}

fn ticks(pid: u32) -> anyhow::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a process ended while it was measured")?;
    // Fields 14 and 15; the second field may hold spaces and ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |index: usize| {
        fields
            .get(index)
            .and_then(|f| f.parse::<u64>().ok())
            .context("cannot parse stat")
    };
    Ok(field(11)? + field(12)?)
}

fn resident(pid: u32) -> anyhow::Result<(String, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("a process ended while it was measured")?;
    let kibibytes = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .and_then(|v| v.split_whitespace().next());
    let kibibytes: f64 = kibibytes.context("no VmRSS")?.parse()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let subcommand = String::from_utf8_lossy(&command)
        .split('\0')
        .nth(1)
        .unwrap_or("?")
        .to_string();
    Ok((format!("proreus {subcommand}"), kibibytes / 1024.0))
}
