//! Backups are saved, checked, and become new clusters.

use std::path::{Path, PathBuf};

use etcd::backup;
use etcd::restore::{Checksum, RestoreError, Snapshot};
use etcd::services::etcdserverpb::{
    cluster_client::ClusterClient, kv_client::KvClient, maintenance_client::MaintenanceClient,
    watch_client::WatchClient,
};
use etcd::standalone::Plan;
use mvcc::Memory;
use proto::etcd::etcdserverpb::{
    CompactionRequest, MemberAddRequest, RangeRequest, RangeResponse, SnapshotRequest, WatchCreateRequest,
    WatchRequest, WatchResponse, watch_request::RequestUnion,
};
use raftstore::restore::establish;

use crate::member::{HANG, Running, flags, free_port, url};

async fn save(member: &Running, file: &Path) {
    let mut maintenance = MaintenanceClient::new(member.channel().await);
    let snapshot = maintenance.snapshot(SnapshotRequest {}).await.unwrap().into_inner();
    let mut left = u64::MAX;
    let saved = backup::save(snapshot, file, HANG, |_, now| left = now).await.unwrap();
    assert_eq!((saved, left), (file.metadata().unwrap().len(), 0));
}

/// Restores a file for the member that a command line names, and starts it.
async fn restored(line: Vec<String>, file: &Path, bump: i64) -> Running {
    let snapshot = Snapshot::open(file, Checksum::Needed).unwrap();
    let plan = Plan::read(line.clone(), []).unwrap();
    let mut options = plan.options().clone();
    options.restored(&[snapshot.digest()], true);
    let tables = Memory::new();
    snapshot.restore(&tables, &options.members, bump).unwrap();
    std::fs::create_dir_all(&plan.data_directory).unwrap();
    establish(&plan.data_directory, &options).await.unwrap();
    Running::start_over(line, vec![], tables)
}

async fn range(member: &Running, key: &str, revision: i64) -> RangeResponse {
    // Once there is a leader.
    member.get(key).await;
    let request = RangeRequest {
        key: key.to_owned().into(),
        revision,
        ..Default::default()
    };
    let range = KvClient::new(member.channel().await).range(request).await;
    range.unwrap().into_inner()
}

/// The first response with events, or the one that ends the watch.
async fn watched(member: &Running, from: i64) -> WatchResponse {
    let create = WatchCreateRequest {
        key: "k".into(),
        start_revision: from,
        ..Default::default()
    };
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    let (requests, sent) = tokio::sync::mpsc::channel(1);
    requests.send(create).await.unwrap();
    let sent = tokio_stream::wrappers::ReceiverStream::new(sent);
    let mut responses = WatchClient::new(member.channel().await)
        .watch(sent)
        .await
        .unwrap()
        .into_inner();
    let next = async {
        loop {
            let response = responses.message().await.unwrap().expect("it goes on");
            if response.canceled || !response.events.is_empty() {
                return response;
            }
        }
    };
    tokio::time::timeout(HANG, next).await.expect("it answers")
}

/// A file with `k` at revisions 2 to 6, compacted at 4.
async fn backed_up(data: &Path) -> (PathBuf, u64) {
    let running = Running::start(flags("one", free_port(), data), vec![]);
    for value in ["1", "2", "3", "4", "5"] {
        running.put("k", value).await;
    }
    let compaction = CompactionRequest {
        revision: 4,
        physical: true,
    };
    KvClient::new(running.channel().await)
        .compact(compaction)
        .await
        .unwrap();
    let file = data.join("backup.db");
    save(&running, &file).await;
    let cluster = running.ids().await.0;
    running.stop().await;
    (file, cluster)
}

/// The list of three members of one cluster, and the command line of each.
fn three(place: &Path) -> (String, Vec<Vec<String>>) {
    let members = ["one", "two", "three"].map(|name| (name, free_port()));
    let list = members.map(|(name, port)| format!("{name}={}", url(port))).join(",");
    let line = |(name, port)| [flags(name, port, place), vec![format!("--initial-cluster={list}")]].concat();
    let lines = members.map(line).to_vec();
    (list, lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_restored_again_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let (file, _) = backed_up(data.path()).await;
    let place = data.path().join("restored");
    let (_, lines) = three(&place);
    let mut members = Vec::new();
    for line in &lines {
        members.push(restored(line.clone(), &file, 0).await);
    }
    for member in &members {
        member.put("after", "x").await;
    }
    members.pop().unwrap().stop().await;
    // What it knew since is gone, with what it had promised.
    std::fs::remove_dir_all(place.join("three")).unwrap();
    let again = restored(lines[2].clone(), &file, 0).await;
    let why = again.wait_for_fault().await;
    assert!(why.contains("lost its data") && why.contains("member remove"), "{why}");
    again.stop().await;
    assert_eq!(members[0].get("after").await, "x");
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_becomes_a_cluster_of_three_with_the_same_revisions() {
    let data = tempfile::tempdir().unwrap();
    let (file, old) = backed_up(data.path()).await;
    let content = Snapshot::open(&file, Checksum::Needed).unwrap().content().unwrap();
    assert_eq!((content.revision, content.compacted, content.versions), (6, 4, 3));
    let place = data.path().join("restored");
    let (list, lines) = three(&place);
    let mut members = Vec::new();
    for line in lines {
        members.push(restored(line, &file, 0).await);
    }
    let cluster = members[0].ids().await.0;
    assert_ne!(cluster, old, "members of the old cluster are strangers");
    for member in &members {
        let now = range(member, "k", 0).await;
        assert_eq!((now.header.unwrap().revision, &now.kvs[0].value[..]), (6, &b"5"[..]));
        assert_eq!((now.kvs[0].create_revision, now.kvs[0].version), (2, 5));
        assert_eq!(range(member, "k", 4).await.kvs[0].value, "3");
        assert_eq!(member.ids().await.0, cluster);
        // Watches go on where they were, or hear that they cannot.
        let gone = watched(member, 3).await;
        assert_eq!((gone.canceled, gone.compact_revision), (true, 4));
        let missed = watched(member, 5).await.events;
        let missed: Vec<i64> = missed
            .iter()
            .map(|event| event.kv.as_ref().unwrap().mod_revision)
            .collect();
        assert_eq!(missed, [5, 6]);
    }
    members[1].put("after", "x").await;
    assert_eq!(range(&members[2], "after", 0).await.kvs[0].mod_revision, 7);
    // Whoever joins gets what was restored, which is in nobody's log.
    let peer = free_port();
    let add = MemberAddRequest {
        peer_ur_ls: vec![url(peer)],
        is_learner: false,
    };
    let mut door = ClusterClient::new(members[0].channel().await);
    door.member_add(add).await.unwrap();
    let mut line = flags("four", peer, &place);
    line.extend([
        format!("--initial-cluster={list},four={}", url(peer)),
        "--initial-cluster-state=existing".into(),
    ]);
    let joined = Running::start(line, vec![]);
    members[0].wait_for_members(4).await;
    assert_eq!(range(&joined, "k", 4).await.kvs[0].value, "3");
    for member in members.into_iter().chain([joined]) {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bumped_revision_is_one_that_nobody_has_seen() {
    let data = tempfile::tempdir().unwrap();
    let (file, _) = backed_up(data.path()).await;
    let running = restored(flags("one", free_port(), &data.path().join("restored")), &file, 1_000).await;
    let now = range(&running, "k", 0).await;
    assert_eq!((now.header.unwrap().revision, now.kvs[0].mod_revision), (1_006, 6));
    let gone = watched(&running, 700).await;
    assert_eq!((gone.canceled, gone.compact_revision), (true, 1_006));
    running.put("k", "new").await;
    assert_eq!(
        watched(&running, 1_006).await.events[0]
            .kv
            .as_ref()
            .unwrap()
            .mod_revision,
        1_007
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_whole_backup_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let (file, _) = backed_up(data.path()).await;
    let whole = std::fs::read(&file).unwrap();
    let other = data.path().join("other.db");
    let open = |content: &[u8], checksum| {
        std::fs::write(&other, content).unwrap();
        Snapshot::open(&other, checksum)
    };
    let mut flipped = whole.clone();
    flipped[5_000] ^= 1;
    assert!(matches!(
        open(&flipped, Checksum::Optional),
        Err(RestoreError::Checksum(_))
    ));
    assert!(matches!(
        open(&whole[..4096], Checksum::Needed),
        Err(RestoreError::NoChecksum(_))
    ));
    let cut = open(&whole[..4096], Checksum::Optional);
    assert!(matches!(cut, Err(RestoreError::Bolt { .. })));
    assert!(matches!(open(b"", Checksum::Optional), Err(RestoreError::Bolt { .. })));
    // Without its checksum it is what etcd keeps while it runs.
    let bare = open(&whole[..whole.len() - 32], Checksum::Optional).unwrap();
    assert_eq!(bare.content().unwrap().revision, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_cannot_be_written_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(flags("one", free_port(), data.path()), vec![]);
    running.put("k", "v").await;
    let mut maintenance = MaintenanceClient::new(running.channel().await);
    let snapshot = maintenance.snapshot(SnapshotRequest {}).await.unwrap().into_inner();
    let file = data.path().join("missing/backup.db");
    let error = backup::save(snapshot, &file, HANG, |_, _| ())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("missing/backup.db"), "{error}");
    // A directory in its place: everything was written, and goes.
    let file = data.path().join("taken");
    std::fs::create_dir_all(file.join("inside")).unwrap();
    let snapshot = maintenance.snapshot(SnapshotRequest {}).await.unwrap().into_inner();
    assert!(backup::save(snapshot, &file, HANG, |_, _| ()).await.is_err());
    let mut left = std::fs::read_dir(data.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(!left.any(|name| name.to_string_lossy().starts_with("taken.")));
    running.stop().await;
}
