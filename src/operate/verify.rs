//! `proreus verify`: checking the data of members that do not run.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use backend::Pinned;
use raftstore::Findings;
use serde_json::{Value, json};

use super::args::VerifyArgs;
use super::show;
use crate::commands::Output;
use crate::lock::lock;
use crate::output::say;
use crate::server;
use crate::up::layout::Layout;

pub fn run(args: &VerifyArgs) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for directory in members(&args.directory)? {
        let _lock =
            lock(&directory)?.with_context(|| format!("a member runs on {}; stop it first", directory.display()))?;
        let findings = raftstore::verify(&directory, Pinned::open(durable::tables(&directory)));
        found.push((directory, findings));
    }
    match args.output {
        Output::Json => show::json(&json!({ "members": found.iter().map(document).collect::<Vec<_>>() }))?,
        Output::Table => found.iter().for_each(print),
    }
    match found.iter().map(|(_, findings)| findings.problems.len()).sum::<usize>() {
        0 => Ok(()),
        1 => bail!("1 problem was found"),
        count => bail!("{count} problems were found"),
    }
}

/// The directories to check: those of the masters of a cluster of `up`, or the one that is named.
fn members(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if Layout::is_in(directory) {
        let masters = Layout::of(directory)?.masters.into_iter();
        return Ok(masters
            .map(|master| server::data(&directory.join(master.name)))
            .collect());
    }
    ensure!(
        directory.join("member").exists() || directory.join("log").exists(),
        "{} is no data directory of a member: it has neither `member` nor `log`, nor the `cluster.yaml` of `up`",
        directory.display()
    );
    Ok(vec![directory.to_path_buf()])
}

fn print((directory, findings): &(PathBuf, Findings)) {
    let whose = findings.owner.as_ref().map_or_else(
        || "nobody's".into(),
        |owner| {
            format!(
                "member {} of cluster {}",
                show::id(owner.member),
                show::id(owner.cluster)
            )
        },
    );
    say!("{}: {whose}", directory.display());
    if let Some(log) = &findings.log {
        let last = log
            .last
            .map_or_else(|| "none".into(), |last| format!("{} (term {})", last.index, last.term));
        let first = log.first_index.map_or_else(|| "-".into(), |first| first.to_string());
        say!(
            "  log     {} segments, first entry {first}, last entry {last}",
            log.segments
        );
        if let Some((file, offset)) = &log.torn {
            say!(
                "          {file} has a torn tail from byte {offset}; it is nobody's loss, and the next start cuts it"
            );
        }
    }
    if let Some(tables) = &findings.tables {
        say!(
            "  tables  revision {}, compacted {}, {} keys in {} versions, {} leases, entry {} applied",
            tables.revision,
            tables.compacted,
            tables.keys,
            tables.versions,
            tables.leases,
            tables.applied.map_or(0, |applied| applied.index)
        );
    }
    findings.problems.iter().for_each(|problem| say!("  PROBLEM {problem}"));
    if findings.problems.is_empty() {
        say!("  ok");
    }
}

fn document((directory, findings): &(PathBuf, Findings)) -> Value {
    let log = findings.log.as_ref().map(|log| {
        json!({
            "segments": log.segments, "firstIndex": log.first_index, "lastIndex": log.last.map(|last| last.index),
            "tornTail": log.torn.as_ref().map(|(file, offset)| json!({"file": file, "offset": offset})),
        })
    });
    let tables = findings.tables.as_ref().map(|tables| {
        json!({
            "revision": tables.revision, "compacted": tables.compacted, "keys": tables.keys,
            "versions": tables.versions, "leases": tables.leases,
            "appliedIndex": tables.applied.map(|applied| applied.index),
        })
    });
    json!({
        "directory": directory.display().to_string(),
        "cluster": findings.owner.as_ref().map(|owner| show::id(owner.cluster)),
        "member": findings.owner.as_ref().map(|owner| show::id(owner.member)),
        "log": log, "tables": tables, "problems": findings.problems,
    })
}
