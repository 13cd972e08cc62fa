//! `proreus restore`: a new cluster out of a backup, or of a snapshot of etcd.
//!
//! Everything is made beside the place where it belongs, and renamed there once all of it is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use backend::Rocks;
use etcd::restore::{Checksum, Snapshot};
use etcd::standalone::Plan;
use mvcc::Imported;
use raftstore::{Options, restore};
use serde_json::json;

use super::args::RestoreArgs;
use super::{block_on, show};
use crate::commands::Output;
use crate::lock::lock;
use crate::output::{say, word};
use crate::server;
use crate::up::layout::Layout;

/// How far the revision of a Kubernetes cluster moves up: farther than it can have come since the backup.
const KUBERNETES_BUMP: i64 = 1_000_000_000;

/// In the directory of a cluster of `up` while its masters are replaced one after the other.
const UNFINISHED: &str = "restore-unfinished";

/// A member to be made.
struct Target {
    options: Options,
    directory: PathBuf,
}

impl Target {
    /// Where it is made.
    fn draft(&self) -> PathBuf {
        beside(&self.directory, "restoring")
    }
}

/// A name next to a directory.
fn beside(directory: &Path, what: &str) -> PathBuf {
    let mut name = directory.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(what);
    directory.with_file_name(name)
}

pub fn run(args: &RestoreArgs) -> anyhow::Result<()> {
    let checksum = if args.skip_hash_check {
        Checksum::Optional
    } else {
        Checksum::Needed
    };
    let file = args.file.as_ref().or(args.from_etcd.as_ref());
    let file = file.context("name the FILE to restore")?;
    // Secrets are among what is restored.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let snapshot = Snapshot::open(file, checksum)?;
    let directory = &std::path::absolute(&args.data_dir).context("--data-dir")?;
    if Layout::is_in(directory) {
        let _lock = lock(directory)?
            .with_context(|| format!("--data-dir: `up` runs on {}; stop it first", directory.display()))?;
        let bump = args.bump_revision.unwrap_or(KUBERNETES_BUMP);
        let targets = masters(args, &snapshot, directory)?;
        // Masters outlive an `up` that was killed.
        let _locks = targets.iter().filter(|target| target.directory.exists()).map(|target| {
            lock(&target.directory)?
                .with_context(|| format!("a master runs on {}; stop it first", target.directory.display()))
        });
        let _locks = _locks.collect::<anyhow::Result<Vec<_>>>()?;
        let (imported, _drafts) = make(&targets, &snapshot, bump)?;
        let unfinished = directory.join(UNFINISHED);
        fs::File::create(&unfinished)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::File::open(directory)?.sync_all())
            .with_context(|| format!("cannot write {}", unfinished.display()))?;
        let kept = replace(&targets)?;
        fs::remove_file(&unfinished).with_context(|| format!("cannot remove {}", unfinished.display()))?;
        return done(args, &targets, imported, kept);
    }
    let bump = args.bump_revision.unwrap_or(0);
    let target = member(args, &snapshot, bump, directory)?;
    let targets = [target];
    let (imported, _drafts) = make(&targets, &snapshot, bump)?;
    put_in_place(&targets[0])?;
    done(args, &targets, imported, None)
}

/// Refuses a cluster of `up` of which only some masters have been restored.
pub fn check_finished(directory: &Path) -> anyhow::Result<()> {
    ensure!(
        !directory.join(UNFINISHED).exists(),
        "--data-dir: a `proreus restore` into {} was stopped between two masters; repeat it",
        directory.display()
    );
    Ok(())
}

/// One member of `proreus store`.
fn member(args: &RestoreArgs, snapshot: &Snapshot, bump: i64, directory: &Path) -> anyhow::Result<Target> {
    let occupied = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
    ensure!(
        !occupied,
        "--data-dir: {} is not empty; restore into a new directory",
        directory.display()
    );
    let given = [
        ("name", &args.name),
        ("initial-cluster", &args.initial_cluster),
        ("initial-cluster-token", &args.initial_cluster_token),
        ("initial-advertise-peer-urls", &args.initial_advertise_peer_urls),
    ];
    let flags = given
        .iter()
        .filter_map(|(flag, value)| Some(format!("--{flag}={}", value.as_ref()?)));
    let mut options = Plan::read(flags, [])?.options().clone();
    options.restored(&[snapshot.digest(), &bump.to_string()], true);
    Ok(Target {
        options,
        directory: directory.to_owned(),
    })
}

/// The masters of a cluster of `up`.
fn masters(args: &RestoreArgs, snapshot: &Snapshot, directory: &Path) -> anyhow::Result<Vec<Target>> {
    let flags = [
        &args.name,
        &args.initial_cluster,
        &args.initial_cluster_token,
        &args.initial_advertise_peer_urls,
    ];
    if flags.iter().any(|flag| flag.is_some()) {
        bail!(
            "--data-dir: {} holds a cluster of `up`, whose members are known",
            directory.display()
        );
    }
    let layout = Layout::of(directory)?;
    // All are made here and now, so that no two restores need to make the same cluster.
    let only = rand::random::<u64>().to_string();
    let target = |master: &crate::config::Master| {
        let mut options = server::options(master, &layout.masters, &layout.id);
        options.restored(&[snapshot.digest(), &only], false);
        Target {
            options,
            directory: server::data(&directory.join(&master.name)),
        }
    };
    Ok(layout.masters.iter().map(target).collect())
}

/// Makes all members beside their places, and keeps the locks on them.
fn make(targets: &[Target], snapshot: &Snapshot, bump: i64) -> anyhow::Result<(Imported, Vec<fs::File>)> {
    let (mut imported, mut locks) = (Imported::default(), Vec::new());
    for target in targets {
        let draft = target.draft();
        fs::create_dir_all(&draft).with_context(|| format!("cannot create {}", draft.display()))?;
        let held = lock(&draft)?.with_context(|| format!("another restore is at work in {}", draft.display()))?;
        locks.push(held);
        // What a restore that was stopped left.
        empty(&draft)?;
        match fill(target, snapshot, bump, &draft) {
            Ok(made) => imported = made,
            Err(error) => {
                targets.iter().try_for_each(|target| remove(&target.draft()))?;
                return Err(error);
            }
        }
    }
    Ok((imported, locks))
}

/// Removes what is in a draft, but for its lock.
fn empty(draft: &Path) -> anyhow::Result<()> {
    let entries = fs::read_dir(draft).with_context(|| format!("cannot read {}", draft.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot read {}", draft.display()))?
            .path();
        if path.is_dir() {
            remove(&path)?;
        } else if path.file_name().is_some_and(|name| name != "lock") {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn fill(target: &Target, snapshot: &Snapshot, bump: i64, draft: &Path) -> anyhow::Result<Imported> {
    let tables = Rocks::open(durable::tables(draft))?;
    let imported = snapshot.restore(&tables, &target.options.members, bump)?;
    drop(tables);
    block_on(async { Ok(restore::establish(draft, &target.options).await?) })?;
    Ok(imported)
}

fn remove(draft: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", draft.display()))
        }
        _ => Ok(()),
    }
}

/// Moves what the masters have aside, and puts what was made in its place. Returns the name it is kept under.
fn replace(targets: &[Target]) -> anyhow::Result<Option<String>> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let kept = format!("replaced-{now}");
    let mut any = false;
    for target in targets {
        let directory = &target.directory;
        if directory.exists() {
            let aside = beside(directory, &kept);
            fs::rename(directory, &aside).with_context(|| format!("cannot move {} aside", directory.display()))?;
            any = true;
        }
        put_in_place(target)?;
    }
    Ok(any.then_some(kept))
}

fn put_in_place(target: &Target) -> anyhow::Result<()> {
    let directory = &target.directory;
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::rename(target.draft(), directory)
        .and_then(|()| fs::File::open(parent)?.sync_all())
        .with_context(|| format!("cannot put the restored data in place as {}", directory.display()))
}

fn done(args: &RestoreArgs, targets: &[Target], imported: Imported, kept: Option<String>) -> anyhow::Result<()> {
    let cluster = targets.first().map_or(0, |target| target.options.cluster_id());
    if args.output == Output::Json {
        return show::json(&json!({
            "cluster": show::id(cluster), "revision": imported.revision, "compacted": imported.compacted,
            "versions": imported.versions, "leases": imported.leases, "withoutLease": imported.without_lease,
            "members": targets.iter().map(|target| json!({
                "id": show::id(target.options.id), "directory": target.directory.display().to_string(),
            })).collect::<Vec<_>>(),
            "replaced": kept,
        }));
    }
    say!(
        "restored {} versions of keys and {} leases at revision {}, compacted {}",
        imported.versions,
        imported.leases,
        imported.revision,
        imported.compacted
    );
    if imported.without_lease > 0 {
        say!(
            "{} of them named a lease that is not there, and have none now",
            imported.without_lease
        );
    }
    for target in targets {
        say!(
            "member {} of cluster {}: {}",
            show::id(target.options.id),
            show::id(cluster),
            word(&target.directory)
        );
    }
    if let Some(kept) = kept {
        say!("what was there before is kept beside, as *.{kept}");
    }
    Ok(())
}
