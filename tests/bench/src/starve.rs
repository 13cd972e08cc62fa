//! How steady leadership is on a starved machine: three masters beside programs that use all the processor they get, each a
//! session of its own, as builds are. A lapse is a leader that went without its quorum's answers for a lease; it may lead
//! again in the same term.

use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context;

use crate::cluster::Cluster;

pub fn run(programs: u32, seconds: u64) -> anyhow::Result<()> {
    let cluster = Cluster::start(3, 0)?;
    let before = count(&cluster)?;
    let burners = Burners::start(programs)?;
    std::thread::sleep(Duration::from_secs(seconds));
    drop(burners);
    let after = count(&cluster)?;
    println!("| busy programs | seconds | leaders that lapsed | leaders begun |\n|---|---|---|---|");
    println!(
        "| {programs} | {seconds} | {} | {} |",
        after.lapsed.saturating_sub(before.lapsed),
        after.begun.saturating_sub(before.begun)
    );
    Ok(())
}

struct Count {
    lapsed: usize,
    begun: usize,
}

/// What the masters' logs tell of leadership.
fn count(cluster: &Cluster) -> anyhow::Result<Count> {
    let mut count = Count { lapsed: 0, begun: 0 };
    let logs = cluster.directory.path().join("logs");
    for entry in std::fs::read_dir(&logs).with_context(|| format!("cannot list {}", logs.display()))? {
        let text = std::fs::read_to_string(entry?.path())?;
        count.lapsed += text.matches("this member no longer leads").count();
        count.begun += text.matches("this member leads").count();
    }
    Ok(count)
}

/// Programs that do nothing but run, ended when dropped.
struct Burners(Vec<Child>);

impl Burners {
    fn start(programs: u32) -> anyhow::Result<Self> {
        let mut burners = Self(Vec::new());
        for _ in 0..programs {
            let mut command = Command::new("setsid");
            // `setsid` becomes the shell when it leads no group yet, which a child never does.
            command.args(["sh", "-c", "while :; do :; done"]);
            burners.0.push(command.spawn().context("cannot run setsid")?);
        }
        Ok(burners)
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        for burner in &mut self.0 {
            let _ = burner.kill();
            let _ = burner.wait();
        }
    }
}
