//! How long a Deployment takes until all its pods are Ready on one node. The pods run the node's own pause image, so
//! no registry and no image unpacking is measured.

use std::time::Instant;

use crate::cluster::Cluster;

pub fn run(replicas: u32, runs: u32) -> anyhow::Result<()> {
    let cluster = Cluster::start(1, 1)?;
    println!("| run | {replicas} pods Ready after s |\n|---|---|");
    for run in 1..=runs {
        let name = format!("bench-{run}");
        let replicas = format!("--replicas={replicas}");
        let start = Instant::now();
        cluster.kubectl(&["create", "deployment", &name, "--image=proreus.io/pause:1", &replicas])?;
        cluster.kubectl(&["rollout", "status", &format!("deployment/{name}"), "--timeout=300s"])?;
        println!("| {run} | {:.2} |", start.elapsed().as_secs_f64());
        cluster.kubectl(&["delete", "deployment", &name, "--cascade=foreground", "--timeout=120s"])?;
    }
    Ok(())
}
