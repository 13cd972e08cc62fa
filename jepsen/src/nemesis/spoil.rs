//! Bit flips in a snapshot on its way: in what the one who gets it has received of it, or in the copy that the one who sends it
//! made. Whoever is at work on it stands still for that moment.
//!
//! A copy shares its files with the tables it was made of, so that these are damaged, too. Only one member of a test is
//! ever damaged; the others have to keep what they have, and the one that needs a snapshot has to get a sound one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::RngExt;
use rand::rngs::StdRng;

use super::{corrupt, lag};
use crate::cluster::Cluster;

/// Snapshots damaged at a time: each is sent again.
const SPOILED_MAX: usize = 3;
/// How long snapshots are waited for, and how long for another after one was damaged.
const WATCH_TIMEOUT: Duration = Duration::from_secs(20);
const NEXT_TIMEOUT: Duration = Duration::from_secs(5);
/// They come and go within moments.
const LOOK_AGAIN: Duration = Duration::from_micros(500);
/// A process that was told to stand still does so within this.
const STAND_STILL: Duration = Duration::from_millis(5);
/// How far below a member's data its snapshots are.
const DEPTH_MAX: usize = 2;
/// How proreus calls the directory of a snapshot that comes in, and that of a copy to be sent.
const INCOMING: &str = "incoming-";
const OUTGOING: &str = "checkpoint-";

/// Which end of the way is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Received,
    Sent,
}

/// Has a member lag until it needs a snapshot, and damages what comes.
pub(super) async fn spoil(cluster: &Cluster, random: &mut StdRng) -> anyhow::Result<String> {
    let sent = random.random_bool(0.5);
    let damaged = (0..cluster.len()).find(|member| cluster.is_damaged(*member));
    let leader = cluster.leader().await;
    // The sender is whoever leads: it can only be damaged if nobody else is.
    let end = match damaged {
        None if sent => End::Sent,
        Some(damaged) if leader == Some(damaged) => End::Sent,
        _ => End::Received,
    };
    let lagging = match end {
        End::Received => {
            lag::leave(cluster, random, |member| {
                damaged.is_none_or(|damaged| damaged == member)
            })
            .await?
        }
        End::Sent => lag::leave(cluster, random, |member| leader != Some(member)).await?,
    };
    cluster.start(lagging)?;
    // Each has a number of its own.
    let mut spoiled = BTreeSet::new();
    let mut told = Vec::new();
    let mut deadline = Instant::now() + WATCH_TIMEOUT;
    while told.len() < SPOILED_MAX && Instant::now() < deadline {
        let Some((member, directory)) = find(cluster, lagging, end, &spoiled) else {
            tokio::time::sleep(LOOK_AGAIN).await;
            continue;
        };
        if let Some(what) = damage(cluster, member, &directory, random).await {
            told.push(what);
            // Whoever sent it may be gone, and another send in its place.
            deadline = Instant::now() + NEXT_TIMEOUT;
        }
        spoiled.insert(directory);
    }
    let lagging = cluster.name(lagging);
    anyhow::ensure!(!told.is_empty(), "no snapshot for {lagging} was seen on its way");
    Ok(format!("{} on the way to {lagging}", told.join("; ")))
}

/// A snapshot that is at the given end of its way and has something to damage, and whose it is.
fn find(cluster: &Cluster, lagging: usize, end: End, spoiled: &BTreeSet<PathBuf>) -> Option<(usize, PathBuf)> {
    let fresh = |directory: &PathBuf| !spoiled.contains(directory) && corrupt::is_worth_it(directory);
    let (members, prefix) = match end {
        End::Received => (vec![lagging], INCOMING),
        End::Sent => (
            (0..cluster.len()).filter(|member| *member != lagging).collect(),
            OUTGOING,
        ),
    };
    // If another leads by now and sends, that one stays sound.
    let damaged = (0..cluster.len()).find(|member| cluster.is_damaged(*member));
    let mut may_be_damaged = members
        .into_iter()
        .filter(|member| damaged.is_none_or(|damaged| damaged == *member));
    may_be_damaged.find_map(|member| {
        Some((
            member,
            below(&cluster.db.data(member), prefix, DEPTH_MAX).filter(fresh)?,
        ))
    })
}

/// The first directory of a kind below another. What is there in one moment may be gone in the next.
fn below(directory: &Path, prefix: &str, depth: usize) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut deeper = Vec::new();
    for entry in directories {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Nothing but a number follows: RocksDB makes a copy under another name first.
        if name
            .strip_prefix(prefix)
            .is_some_and(|number| number.parse::<u64>().is_ok())
        {
            return Some(entry.path());
        }
        deeper.push(entry.path());
    }
    let depth = depth.checked_sub(1)?;
    deeper.iter().find_map(|directory| below(directory, prefix, depth))
}

/// Flips bits in a snapshot's files while its member stands still; says what, if there was still something to flip.
async fn damage(cluster: &Cluster, member: usize, directory: &Path, random: &mut StdRng) -> Option<String> {
    cluster.signal(member, Signal::SIGSTOP);
    tokio::time::sleep(STAND_STILL).await;
    // Before the flips: it may refuse at once.
    let was_damaged = cluster.is_damaged(member);
    cluster.damage(member);
    let flipped = corrupt::flip_below(directory, random).ok();
    if flipped.is_none() && !was_damaged {
        cluster.undamaged(member);
    }
    cluster.signal(member, Signal::SIGCONT);
    let file = flipped?;
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    Some(format!("{file} of {name} of {}", cluster.name(member)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_found_by_its_number_and_not_while_it_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for made in ["state/tables-000001", "state/checkpoint-000002.tmp", "log"] {
            std::fs::create_dir_all(root.join(made)).unwrap();
        }
        assert_eq!(below(root, OUTGOING, DEPTH_MAX), None);
        std::fs::create_dir_all(root.join("state/checkpoint-000003")).unwrap();
        assert_eq!(
            below(root, OUTGOING, DEPTH_MAX),
            Some(root.join("state/checkpoint-000003"))
        );
        assert_eq!(below(root, INCOMING, DEPTH_MAX), None);
    }
}
