//! Recovery: what a crash, a damaged disk or a clean restart leaves of the log.

use super::*;
use openraft::impls::TokioRuntime;

const SEGMENT: u64 = 32 << 10;

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT,
        cache_bytes: 1 << 20,
        ..LogOptions::default()
    }
}

fn id(term: u64, index: u64) -> LogId {
    LogId { term, index }
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let data = Bytes::from(format!("{term}.{index}:").into_bytes().repeat(bytes / 4 + 1));
    Entry {
        id: id(term, index),
        kind: EntryKind::Requests,
        data,
    }
}

async fn open(disk: &MemoryDisk) -> Log<MemoryDisk> {
    Log::open::<TokioRuntime>(disk.clone(), options())
        .await
        .expect("the log opens")
}

async fn append(log: &Log<MemoryDisk>, entries: Vec<Entry>) {
    let (done, durable) = oneshot::channel();
    log.append(entries, Box::new(|result| drop(done.send(result))))
        .expect("accepted");
    durable.await.expect("answered").expect("durable");
}

async fn all(log: &Log<MemoryDisk>) -> Vec<Entry> {
    log.read(0..u64::MAX, usize::MAX).await.expect("readable")
}

#[tokio::test]
async fn entries_vote_and_committed_survive_a_crash() {
    let disk = MemoryDisk::new();
    let log = open(&disk).await;
    log.save_vote(Vote {
        term: 4,
        member: 2,
        committed: true,
    })
    .await
    .unwrap();
    append(&log, (0..10).map(|i| entry(4, i, 100)).collect()).await;
    log.save_committed(id(4, 7)).unwrap();
    log.flush().await.unwrap();
    let before = all(&log).await;
    drop(log);
    disk.crash(|_, _| false);
    let log = open(&disk).await;
    assert_eq!(all(&log).await, before);
    assert_eq!(
        log.vote(),
        Some(Vote {
            term: 4,
            member: 2,
            committed: true
        })
    );
    assert_eq!(log.committed(), Some(id(4, 7)));
    assert_eq!(log.last(), Some(id(4, 9)));
}

#[tokio::test]
async fn entries_are_readable_at_once_and_durable_only_after_the_sync() {
    let disk = MemoryDisk::new();
    let log = open(&disk).await;
    log.append(vec![entry(1, 0, 10)], Box::new(|_| ())).unwrap();
    assert_eq!(all(&log).await.len(), 1);
    log.wait_durable(0).await.unwrap();
    disk.crash(|_, _| false);
    assert_eq!(all(&open(&disk).await).await.len(), 1);
}

#[tokio::test]
async fn the_log_rolls_over_many_segments_and_reads_evicted_entries_from_disk() {
    let disk = MemoryDisk::new();
    let log = Log::open::<TokioRuntime>(
        disk.clone(),
        LogOptions {
            cache_bytes: 0,
            ..options()
        },
    )
    .await
    .unwrap();
    for i in 0..200 {
        append(&log, vec![entry(1, i, 1000)]).await;
    }
    assert!(disk.list().unwrap().len() > 5);
    let read = log.read(0..200, usize::MAX).await.unwrap();
    assert_eq!(read, (0..200).map(|i| entry(1, i, 1000)).collect::<Vec<_>>());
    drop(log);
    assert_eq!(all(&open(&disk).await).await.len(), 200);
}

#[tokio::test]
async fn truncation_survives_and_new_entries_take_the_place() {
    let disk = MemoryDisk::new();
    let log = open(&disk).await;
    append(&log, (0..10).map(|i| entry(1, i, 50)).collect()).await;
    log.truncate(Some(id(1, 4))).unwrap();
    append(&log, vec![entry(2, 5, 50)]).await;
    drop(log);
    disk.crash(|_, _| false);
    let log = open(&disk).await;
    assert_eq!(log.last(), Some(id(2, 5)));
    assert_eq!(all(&log).await.len(), 6);
    log.truncate(None).unwrap();
    log.flush().await.unwrap();
    assert_eq!(open(&disk).await.last(), None);
}

#[tokio::test]
async fn purging_recycles_segments_and_keeps_vote_and_purged_id() {
    let disk = MemoryDisk::new();
    let log = open(&disk).await;
    log.save_vote(Vote {
        term: 9,
        member: 3,
        committed: false,
    })
    .await
    .unwrap();
    for i in 0..200 {
        append(&log, vec![entry(9, i, 1000)]).await;
    }
    let before = disk
        .list()
        .unwrap()
        .iter()
        .filter(|name| name.ends_with(".log"))
        .count();
    log.purge(id(9, 150)).unwrap();
    log.flush().await.unwrap();
    let names = disk.list().unwrap();
    assert!(names.iter().filter(|name| name.ends_with(".log")).count() < before);
    assert!(names.iter().any(|name| name.ends_with(".spare")));
    for i in 200..300 {
        append(&log, vec![entry(9, i, 1000)]).await;
    }
    drop(log);
    disk.crash(|_, _| false);
    let log = open(&disk).await;
    assert_eq!(log.purged(), Some(id(9, 150)));
    assert_eq!(
        log.vote(),
        Some(Vote {
            term: 9,
            member: 3,
            committed: false
        })
    );
    let left = all(&log).await;
    assert_eq!(left.first().map(|entry| entry.id), Some(id(9, 151)));
    assert_eq!(left.len(), 149);
}

#[tokio::test]
async fn purging_past_the_end_empties_the_log_for_good() {
    let disk = MemoryDisk::new();
    let log = open(&disk).await;
    append(&log, (0..5).map(|i| entry(1, i, 50)).collect()).await;
    log.purge(id(3, 100)).unwrap();
    append(&log, vec![entry(3, 101, 50)]).await;
    drop(log);
    let log = open(&disk).await;
    assert_eq!((log.purged(), log.last()), (Some(id(3, 100)), Some(id(3, 101))));
    assert_eq!(all(&log).await.len(), 1);
}

/// Writes records past the writer's sync, as a process that dies between the write and the sync.
async fn unsynced_tail(disk: &MemoryDisk) -> u64 {
    let log = open(disk).await;
    append(&log, (0..5).map(|i| entry(1, i, 100)).collect()).await;
    drop(log);
    let mut recovered = recover::recover(disk, 0).unwrap();
    let index = std::mem::take(&mut recovered.index);
    let mut writer = Writer::new(Arc::new(disk.clone()), &options(), recovered, &index);
    let tail: Vec<Record> = (5..8).map(|i| Record::Entry(entry(1, i, 6000))).collect();
    writer.round(&tail, false).unwrap();
    5
}

#[tokio::test]
async fn a_torn_tail_is_cut_whichever_pages_survive() {
    for kept in 0..64u32 {
        let disk = MemoryDisk::new();
        let synced = unsynced_tail(&disk).await;
        disk.crash(|_, page| kept & (1 << (page % 6)) != 0);
        let log = open(&disk).await;
        let left = all(&log).await.len() as u64;
        assert!(left == synced || left == synced + 3, "pages {kept:b}: {left} entries");
        // Whatever was cut must never come back.
        append(&log, vec![entry(2, left, 10)]).await;
        drop(log);
        assert_eq!(all(&open(&disk).await).await.len() as u64, left + 1, "pages {kept:b}");
    }
}

#[tokio::test]
async fn a_torn_first_batch_of_a_segment_loses_neither_vote_nor_purged_id() {
    let disk = MemoryDisk::new();
    let log = open(&disk).await;
    let vote = Vote {
        term: 5,
        member: 1,
        committed: true,
    };
    log.save_vote(vote).await.unwrap();
    append(&log, (0..3).map(|i| entry(5, i, 100)).collect()).await;
    log.purge(id(5, 1)).unwrap();
    log.flush().await.unwrap();
    drop(log);
    // Fills the first segment and starts the second, whose first batch is lost.
    let mut recovered = recover::recover(&disk, 0).unwrap();
    let index = std::mem::take(&mut recovered.index);
    let mut writer = Writer::new(Arc::new(disk.clone()), &options(), recovered, &index);
    let filling: Vec<Record> = (3..7).map(|i| Record::Entry(entry(5, i, 6000))).collect();
    writer.round(&filling, true).unwrap();
    writer.round(&[Record::Entry(entry(5, 7, 6000))], false).unwrap();
    disk.crash(|_, page| page == 0);
    let log = open(&disk).await;
    assert_eq!(
        (log.vote(), log.purged(), log.last()),
        (Some(vote), Some(id(5, 1)), Some(id(5, 6)))
    );
    // The first segment is let go; what it alone held must have been carried on.
    append(&log, (7..10).map(|i| entry(5, i, 6000)).collect()).await;
    log.purge(id(5, 8)).unwrap();
    log.flush().await.unwrap();
    assert!(!disk.list().unwrap().contains(&segment::segment_name(1)));
    drop(log);
    let log = open(&disk).await;
    assert_eq!(
        (log.vote(), log.purged(), log.last()),
        (Some(vote), Some(id(5, 8)), Some(id(5, 9)))
    );
}

#[tokio::test]
async fn a_flipped_bit_below_the_synced_offset_refuses_to_start() {
    let disk = MemoryDisk::new();
    let log = open(&disk).await;
    for i in 0..5 {
        append(&log, vec![entry(1, i, 100)]).await;
    }
    drop(log);
    let name = segment::segment_name(1);
    disk.flip_bit(&name, segment::SEGMENT_HEADER_BYTES + 200, 3);
    match Log::open::<TokioRuntime>(disk, options()).await {
        Err(LogError::Corrupt { file, offset, .. }) => {
            assert_eq!(file, name);
            assert!((segment::SEGMENT_HEADER_BYTES..segment::SEGMENT_HEADER_BYTES + 400).contains(&offset));
        }
        other => panic!("opened a corrupt log: {other:?}"),
    }
}

#[tokio::test]
async fn a_flipped_bit_in_any_but_the_last_segment_refuses_to_start() {
    let disk = MemoryDisk::new();
    let log = open(&disk).await;
    for i in 0..100 {
        append(&log, vec![entry(1, i, 1000)]).await;
    }
    drop(log);
    for offset in [9, segment::SEGMENT_HEADER_BYTES + 5, SEGMENT / 2] {
        let name = segment::segment_name(2);
        disk.flip_bit(&name, offset, 0);
        let refused = Log::open::<TokioRuntime>(disk.clone(), options()).await;
        assert!(
            matches!(&refused, Err(LogError::Corrupt { file, .. }) if *file == name),
            "{offset}: {refused:?}"
        );
        disk.flip_bit(&name, offset, 0);
    }
    assert_eq!(all(&open(&disk).await).await.len(), 100);
}

#[tokio::test]
async fn a_failed_sync_stops_the_log() {
    let disk = MemoryDisk::new();
    let log = open(&disk).await;
    append(&log, vec![entry(1, 0, 10)]).await;
    disk.fail_syncs();
    let (done, durable) = oneshot::channel();
    log.append(vec![entry(1, 1, 10)], Box::new(|result| drop(done.send(result))))
        .unwrap();
    assert!(durable.await.unwrap().is_err());
    assert!(log.wait_durable(1).await.is_err());
    assert!(
        log.save_vote(Vote {
            term: 2,
            member: 1,
            committed: false
        })
        .await
        .is_err()
    );
}

#[tokio::test]
async fn the_real_disk_keeps_what_the_memory_disk_keeps() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open::<TokioRuntime>(RealDisk::new(directory.path()).unwrap(), options())
        .await
        .unwrap();
    let (done, durable) = oneshot::channel();
    let entries: Vec<Entry> = (0..100).map(|i| entry(1, i, 1000)).collect();
    log.append(entries.clone(), Box::new(|result| drop(done.send(result))))
        .unwrap();
    durable.await.unwrap().unwrap();
    log.purge(id(1, 49)).unwrap();
    log.flush().await.unwrap();
    drop(log);
    let log = Log::open::<TokioRuntime>(RealDisk::new(directory.path()).unwrap(), options())
        .await
        .unwrap();
    assert_eq!(log.read(0..1000, usize::MAX).await.unwrap(), entries[50..]);
}

#[tokio::test]
async fn the_first_claim_of_an_id_stands_and_outlives_segments() {
    let disk = MemoryDisk::new();
    let log = open(&disk).await;
    let claim = |member, token| Claim { member, token };
    assert_eq!(log.save_claim(claim(1, 10)).await.unwrap(), 10);
    assert_eq!(log.save_claim(claim(2, 20)).await.unwrap(), 20);
    assert_eq!(log.save_claim(claim(1, 11)).await.unwrap(), 10);
    for i in 0..100 {
        append(&log, vec![entry(1, i, 1000)]).await;
    }
    log.purge(id(1, 98)).unwrap();
    log.flush().await.unwrap();
    drop(log);
    disk.crash(|_, _| false);
    let log = open(&disk).await;
    assert_eq!((log.claim(1), log.claim(2), log.claim(3)), (Some(10), Some(20), None));
}

#[tokio::test]
async fn a_newest_segment_that_lost_its_header_is_corruption_and_not_an_unused_file() {
    let disk = MemoryDisk::new();
    let log = open(&disk).await;
    for i in 0..40 {
        append(&log, vec![entry(1, i, 1000)]).await;
    }
    drop(log);
    let newest = disk
        .list()
        .unwrap()
        .into_iter()
        .filter(|name| name.ends_with(".log"))
        .max()
        .unwrap();
    let file = disk.open(&newest).unwrap();
    file.write_at(&[0; 64], 0).unwrap();
    file.sync().unwrap();
    let error = Log::open::<TokioRuntime>(disk.clone(), options())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&newest) && error.contains("header is damaged"),
        "{error}"
    );
    // The same file without a batch was only just made: it goes, and nothing with it.
    file.write_at(&vec![0; SEGMENT as usize], 0).unwrap();
    file.sync().unwrap();
    assert!(Log::open::<TokioRuntime>(disk, options()).await.is_ok());
}
