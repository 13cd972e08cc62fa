//! Coming back: from disk, from a leader's log, from a leader's snapshot, and not at all.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use mvcc::{Backend, LogId};
use openraft::impls::TokioRuntime;
use proto::raft as wire;
use proto::raft::snapshot_part::Part;
use raftstore::log::Disk;
use raftstore::{Error, Retention};

use crate::harness::{Cluster, bounded, eventually, get, read, read_all, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_lost_power_comes_back_with_everything() {
    let mut cluster = Cluster::start(3).await;
    let mut last = 0;
    for i in 0..100 {
        last = write(&cluster.store(i % 3), &format!("key-{i}"), &i.to_string()).await;
    }
    for index in 0..3 {
        cluster.kill(index).await;
    }
    cluster.start_all().await;
    for index in 0..3 {
        let view = read_all(&cluster.store(index)).await;
        assert!(view.revision() >= last);
        assert_eq!(view.key_count(), 100);
    }
    assert!(write(&cluster.store(0), "next", "x").await > last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_catches_up_from_the_log() {
    let mut cluster = Cluster::start(3).await;
    let away = cluster.follower().await;
    cluster.kill(away).await;
    let other = cluster.follower().await;
    for i in 0..300 {
        write(&cluster.store(other), "key", &i.to_string()).await;
    }
    cluster.start_member(away).await;
    assert_eq!(read(&cluster.store(away), "key").await, Some("299".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_too_long_gets_a_snapshot() {
    let mut cluster = with_short_logs().await;
    write(&cluster.store(0), "early", "x").await;
    let away = cluster.follower().await;
    cluster.store(away).barrier().await.unwrap();
    cluster.kill(away).await;
    let held = cluster.hosts[away].disk.clone();
    assert!(!held_entries(&held).await.is_empty(), "the member had entries before");
    // Until the others no longer have the entries that it needs.
    let last = write_until_purged(&cluster).await;
    cluster.start_member(away).await;
    let store = cluster.store(away);
    let view = read_all(&store).await;
    assert_eq!(view.key_count(), 201);
    // A snapshot takes the place of the log; catching up by the log would have kept it from the start.
    eventually("the log is replaced", async || {
        (store.status().first_log_index > last / 2).then_some(())
    })
    .await;
    // And it is a full member again, also after losing power right now.
    cluster.kill(away).await;
    cluster.start_member(away).await;
    assert_eq!(read_all(&cluster.store(away)).await.key_count(), 201);
    write(&cluster.store(away), "late", "x").await;
}

/// Only one of the two others can send a sound copy: the one whose copy is damaged must not, and must not keep the lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_tables_are_damaged_stops_instead_of_sending_them() {
    let mut cluster = with_short_logs().await;
    let away = cluster.follower().await;
    // What it applied is on its disk: with an empty log it would wait for both others, of which one ends.
    write(&cluster.store(away), "first", "x").await;
    eventually("it has the first key", async || {
        get(&cluster.store(away), "first", true).await.ok().flatten()
    })
    .await;
    cluster.kill(away).await;
    let last = write_until_purged(&cluster).await;
    let damaged = cluster.wait_for_leader().await;
    cluster.hosts[damaged].backend.damaged.store(true, Ordering::Relaxed);
    cluster.start_member(away).await;
    let (told, awaiting) = (cluster.store(damaged), cluster.store(away));
    let arrived = || awaiting.status().first_log_index > last / 2;
    let errors = eventually("the damaged member stops, or a sound copy arrives", async || {
        let errors = told.status().errors;
        (!errors.is_empty() || arrived()).then_some(errors)
    })
    .await;
    // It may have lost the lead before it was asked for a copy: then there was nothing for it to notice.
    if cluster.hosts[damaged].backend.refused.load(Ordering::Relaxed) {
        assert!(
            errors[0].contains("cannot be sent") && errors[0].contains("add it anew"),
            "{errors:?}"
        );
        // Here its process lives on; it would have ended.
        cluster.kill(damaged).await;
    }
    eventually("a sound copy arrives", async || arrived().then_some(())).await;
    assert_eq!(read(&cluster.store(away), "key-0").await, Some("v".repeat(1000)));
}

/// Three members that keep next to nothing of the log.
async fn with_short_logs() -> Cluster {
    let mut cluster = Cluster::prepared(3).await;
    cluster.retention = Retention {
        flush_bytes: 1,
        entries: 5,
        bytes: u64::MAX,
    };
    cluster.start_all().await;
    cluster
}

/// Writes until the leader no longer has the first half of its log; the last index by then.
async fn write_until_purged(cluster: &Cluster) -> u64 {
    let writer = cluster.store(cluster.wait_for_leader().await);
    let value = "v".repeat(1000);
    for i in 0..200 {
        write(&writer, &format!("key-{i}"), &value).await;
    }
    let last = writer.status().log_index;
    eventually("the leader's log is purged", async || {
        let purged = cluster.store(cluster.wait_for_leader().await).status().first_log_index;
        (purged > last / 2).then_some(())
    })
    .await;
    last
}

/// What a leader of term 100 sends, in one chunk whose own checksum is right: the damage came after it, or before.
fn snapshot_of(data: Vec<u8>, membership: Bytes, last: LogId) -> Vec<std::io::Result<wire::SnapshotPart>> {
    let header = wire::SnapshotHeader {
        vote: Some(wire::Vote {
            term: 100,
            member: 9,
            committed: true,
        }),
        last: Some(wire::LogId {
            term: last.term,
            index: last.index,
        }),
        membership,
        length: data.len() as u64,
    };
    let chunk = wire::SnapshotChunk {
        offset: 0,
        checksum: crc32fast::hash(&data),
        data: data.into(),
    };
    let parts = [Part::Header(header), Part::Chunk(chunk)];
    parts.map(|part| Ok(wire::SnapshotPart { part: Some(part) })).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_is_refused_and_the_member_keeps_what_it_has() {
    let mut cluster = Cluster::prepared(1).await;
    let inbound = cluster.start_inbound(0).await;
    let store = cluster.store(0);
    write(&store, "key", "x").await;
    cluster.hosts[0].backend.flush().unwrap();
    let checkpoint = cluster.hosts[0].backend.checkpoint().unwrap();
    let (whole, held) = (checkpoint.len(), checkpoint.applied().unwrap());
    let membership = checkpoint.record("membership").unwrap();
    let stream = checkpoint.read_at(0, usize::MAX).unwrap().to_vec();
    assert_eq!(stream.len() as u64, whole);
    let mut damaged = stream.clone();
    damaged[stream.len() / 2] ^= 4;
    let later = LogId {
        index: held.index + 10,
        ..held
    };
    for (data, last, reason) in [
        (damaged, held, "checksum"),
        // Sound, but not what was announced: Raft would take it to hold entries that it does not hold.
        (stream, later, "it holds"),
    ] {
        let parts = futures::stream::iter(snapshot_of(data, membership.clone(), last)).boxed();
        let refused = inbound.snapshot(parts).await.unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
    }
    assert_eq!(store.status().errors, Vec::<String>::new());
    assert_eq!(read(&store, "key").await, Some("x".into()));
}

async fn held_entries(disk: &raftstore::log::MemoryDisk) -> Vec<raftstore::log::Entry> {
    let log = raftstore::log::Log::open::<TokioRuntime>(disk.clone(), raftstore::log::LogOptions::default())
        .await
        .unwrap();
    log.read(0..u64::MAX, usize::MAX).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_lost_its_log_does_not_found_again() {
    a_wiped_member_is_refused(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_log_does_not_come_back_under_its_id() {
    a_wiped_member_is_refused(2).await;
}

async fn a_wiped_member_is_refused(wiped: usize) {
    let mut cluster = Cluster::start(3).await;
    write(&cluster.store(1), "key", "x").await;
    cluster.kill(wiped).await;
    wipe(&mut cluster, wiped);
    cluster.start_member(wiped).await;
    let store = cluster.store(wiped);
    let errors = eventually("the member stops itself", async || {
        let errors = store.status().errors;
        (!errors.is_empty()).then_some(errors)
    })
    .await;
    assert!(
        errors[0].contains("lost its data") && errors[0].contains("member remove"),
        "{errors:?}"
    );
    assert_eq!(read(&cluster.store(1), "key").await, Some("x".into()));
}

fn wipe(cluster: &mut Cluster, index: usize) {
    cluster.hosts[index].disk = raftstore::log::MemoryDisk::new();
    cluster.hosts[index].backend = std::sync::Arc::default();
}

/// A test that waits for its store to lead must hear that it never will.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_leader_is_told_of_the_fault_that_ended_the_member() {
    let mut cluster = Cluster::prepared(3).await;
    cluster.start_member(0).await;
    let store = cluster.store(0);
    let waiting = tokio::spawn(async move { store.wait_for_leadership(|known| known.leading).await });
    let disk = cluster.hosts[0].disk.clone();
    eventually("its log is there", async || {
        (!disk.list().unwrap().is_empty()).then_some(())
    })
    .await;
    disk.fail_syncs();
    // The claim of another has to be written down.
    cluster.start_member(1).await;
    let ended = bounded("the wait ends", waiting).await.unwrap();
    assert!(matches!(&ended, Err(Error::Fault(_))), "{ended:?}");
}

/// One of three cannot take part alone; whoever runs it has to learn from its log why nothing happens.
#[tokio::test]
async fn a_member_that_is_not_admitted_says_whom_it_waits_for() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let writer = Said(said.clone());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || writer.clone())
        .finish();
    let mut cluster = Cluster::prepared(3).await;
    // The runtime has no other thread.
    let _told = tracing::subscriber::set_default(subscriber);
    cluster.start_member(0).await;
    let line = eventually("it says whom it waits for", async || {
        let text = String::from_utf8_lossy(&said.lock().unwrap()).into_owned();
        let line = text.lines().find(|line| line.contains("takes part only once"));
        line.map(str::to_owned)
    })
    .await;
    assert!(line.contains("2 (m2), 3 (m3)"), "{line}");
    assert!(
        line.contains("start this member again with the members as they are now"),
        "{line}"
    );
}

/// What was written to a log.
#[derive(Clone)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Beside a wiped member only one is left that knows what was acknowledged: there must be no leader, or the write is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_an_empty_log_gives_no_vote_before_its_peers_admit_it() {
    let mut cluster = Cluster::prepared(3).await;
    let waiting = cluster.start_inbound(1).await;
    let vote = proto::raft::VoteRequest {
        vote: Some(proto::raft::Vote {
            term: 1,
            member: 1,
            committed: false,
        }),
        ..Default::default()
    };
    let refused = waiting.vote(vote).await.unwrap_err().to_string();
    assert!(refused.contains("admitted"), "{refused}");
    // And with its peers there, it is one of them.
    cluster.start_member(0).await;
    cluster.start_member(2).await;
    let leader = cluster.wait_for_leader().await;
    write(&cluster.store(leader), "key", "x").await;
    assert_eq!(read(&cluster.store(1), "key").await, Some("x".into()));
}
