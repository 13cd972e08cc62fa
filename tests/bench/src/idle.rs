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
    println!("| process | RSS MB | PSS MB |\n|---|---|---|");
    let (mut resident, mut proportional) = (0.0, 0.0);
    for pid in &pids {
        let memory = memory(*pid)?;
        println!(
            "| {} | {:.1} | {:.1} |",
            memory.process, memory.resident, memory.proportional
        );
        resident += memory.resident;
        proportional += memory.proportional;
    }
    println!(
        "\nready after {:.2} s; {resident:.1} MB RSS, {proportional:.1} MB PSS; {cpu:.2} % of one core over {seconds} s",
        cluster.ready_after.as_secs_f64()
    );
    Ok(())
}

/// What a process holds in memory, in MB of 10^6 bytes.
struct Memory {
    process: String,
    /// Everything mapped and present; pages of the binary count again in each process.
    resident: f64,
    /// The same, with each shared page divided by the number of its users.
    proportional: f64,
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

fn memory(pid: u32) -> anyhow::Result<Memory> {
    let rollup =
        fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("a process ended while it was measured")?;
    let megabytes = |name: &str| -> anyhow::Result<f64> {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|value| value.split_whitespace().next());
        let kibibytes: f64 = kibibytes.with_context(|| format!("no {name} of a process"))?.parse()?;
        Ok(kibibytes * 1024.0 / 1e6)
    };
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).into_owned();
    let subcommand = command.split('\0').nth(1).unwrap_or("?");
    Ok(Memory {
        process: format!("proreus {subcommand}"),
        resident: megabytes("Rss:")?,
        proportional: megabytes("Pss:")?,
    })
}
