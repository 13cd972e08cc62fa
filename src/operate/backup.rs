//! `proreus backup`: keeping everything a store holds as a file.

use std::io::{IsTerminal, Write, stderr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use etcd::backup;
use etcd::restore::{Checksum, Snapshot};
use proto::etcd::etcdserverpb::SnapshotRequest;
use serde_json::json;

use super::args::{BackupArgs, BackupCommand, DoorArgs};
use super::door::Door;
use super::{block_on, show};
use crate::commands::Output;
use crate::output::say;

pub fn run(args: &BackupArgs) -> anyhow::Result<()> {
    match &args.command {
        BackupCommand::Save { file, door } => block_on(save(file, door)),
        BackupCommand::Status { file, output } => status(file, *output),
    }
}

async fn save(file: &Path, args: &DoorArgs) -> anyhow::Result<()> {
    let door = Door::open(args).await?;
    let snapshot = door.maintenance().snapshot(SnapshotRequest {}).await;
    let snapshot = snapshot
        .map_err(|status| door.failed("take a snapshot", &status))?
        .into_inner();
    let visible = stderr().is_terminal();
    let progress = |came: u64, left: u64| {
        if visible {
            // Nobody waits for a terminal that went away.
            let _ = write!(stderr(), "\r{} of {} MiB", came >> 20, (came + left) >> 20);
        }
    };
    let saved = backup::save(snapshot, file, Duration::from_secs(args.timeout), progress).await;
    if visible {
        let _ = writeln!(stderr());
    }
    saved.with_context(|| format!("{}: no backup was made", door.url))?;
    print(file, args.output)
}

fn status(file: &Path, output: Output) -> anyhow::Result<()> {
    print(file, output)
}

fn print(file: &Path, output: Output) -> anyhow::Result<()> {
    let snapshot = Snapshot::open(file, Checksum::Needed)?;
    let content = snapshot.content()?;
    let bytes = file
        .metadata()
        .with_context(|| format!("cannot read {}", file.display()))?
        .len();
    if output == Output::Json {
        return show::json(&json!({
            "file": file.display().to_string(), "bytes": bytes, "revision": content.revision, "compacted": content.compacted,
            "versions": content.versions, "leases": content.leases, "sha256": snapshot.digest(),
        }));
    }
    let row = vec![
        file.display().to_string(),
        bytes.to_string(),
        content.revision.to_string(),
        content.compacted.to_string(),
        content.versions.to_string(),
        content.leases.to_string(),
    ];
    show::table(
        &["FILE", "BYTES", "REVISION", "COMPACTED", "VERSIONS", "LEASES"],
        &[row],
    );
    say!("sha256 {}", snapshot.digest());
    Ok(())
}
