//! RocksDB keeps the backend's contract, and the machine over it agrees with the model.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use backend::{Pinned, Rocks};
use bytes::Bytes;
use mvcc::{
    Backend, Checkpoint, Family, Installer, LogId, Machine, RangeEnd, Rows, WriteBatch,
    contract::{self, Lab},
};
use proto::{
    etcd::etcdserverpb::PutRequest,
    raft::{Batch, Request, request::Op},
};

/// Directories of one test, with the one that the latest tables are in.
struct Disk {
    root: tempfile::TempDir,
    used: AtomicUsize,
}

impl Disk {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().expect("tempdir"),
            used: AtomicUsize::new(0),
        }
    }

    fn next(&self) -> PathBuf {
        self.root
            .path()
            .join(self.used.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// A stop without a flush: the files as they are on disk now, as if the process had been killed. (Closing RocksDB
    /// would flush.)
    fn crash(&self, rocks: Rocks) -> Rocks {
        let debug = format!("{rocks:?}");
        let tables = debug.split('"').nth(1).expect("Debug shows the path");
        let root = Path::new(tables).parent().expect("inside its directory");
        // Compactions go on in the background: a copy counts only if nothing changed while it was made.
        let copy = loop {
            let copy = self.next();
            let before = listing(root);
            if copy_directory(root, &copy).is_ok() && listing(root) == before {
                break copy;
            }
        };
        drop(rocks);
        Rocks::open(copy).expect("open")
    }
}

/// Every file under a directory with its length.
fn listing(path: &Path) -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).expect("list").flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => files.extend(listing(&entry.path())),
            Ok(metadata) => files.push((entry.path(), metadata.len())),
            // Removed since it was listed.
            Err(_) => {}
        }
    }
    files.sort();
    files
}

fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[test]
fn rocksdb_keeps_the_contract() {
    let disk = Disk::new();
    let lab = Lab {
        fresh: &|| Rocks::open(disk.next()).expect("open"),
        crash: &|rocks| disk.crash(rocks),
    };
    contract::suite(&lab);
}

fn put(key: &str, value: &str) -> Batch {
    let put = PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..PutRequest::default()
    };
    Batch {
        requests: vec![Request {
            op: Some(Op::Put(put)),
            identity: None,
        }],
    }
}

#[test]
fn a_clean_stop_loses_nothing() {
    let disk = Disk::new();
    let path = disk.next();
    let mut machine = Machine::open(Arc::new(Rocks::open(&path).expect("open"))).expect("load");
    for index in 1..=100 {
        machine
            .apply(LogId { term: 1, index }, &put(&format!("k{index:03}"), "value"))
            .expect("apply");
    }
    drop(machine);
    let machine = Machine::open(Arc::new(Rocks::open(&path).expect("open"))).expect("load");
    assert_eq!(machine.applied(), Some(LogId { term: 1, index: 100 }));
    let view = machine.view();
    assert_eq!(view.range(b"k050", RangeEnd::Unbounded).count(), 51);
    assert_eq!(view.get(b"k007").map(|entry| entry.mod_revision), Some(8));
}

#[test]
fn what_a_crash_left_is_removed_and_foreign_files_stay() {
    let disk = Disk::new();
    let path = disk.next();
    drop(Rocks::open(&path).expect("open"));
    for name in ["incoming-000009", "checkpoint-000010", "tables-000011", "notes-000012"] {
        fs::create_dir(path.join(name)).expect("create");
    }
    drop(Rocks::open(&path).expect("open"));
    let mut left: Vec<String> = fs::read_dir(&path)
        .expect("list")
        .map(|entry| entry.expect("list").file_name().to_string_lossy().into_owned())
        .collect();
    left.sort();
    assert_eq!(left, ["LIVE", "notes-000012", "tables-000001"]);
}

#[test]
fn tables_without_their_name_are_not_taken_for_a_new_member() {
    let disk = Disk::new();
    let path = disk.next();
    drop(Rocks::open(&path).expect("open"));
    fs::remove_file(path.join("LIVE")).expect("remove");
    let error = Rocks::open(&path)
        .expect_err("opened an empty store beside a full one")
        .to_string();
    assert!(error.contains("LIVE") && error.contains("tables-000001"), "{error}");
}

#[test]
fn a_second_process_is_refused_by_name() {
    let disk = Disk::new();
    let path = disk.next();
    let first = Rocks::open(&path).expect("open");
    let error = Rocks::open(&path).expect_err("two owners").to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
    drop(first);
}

#[test]
fn checkpoints_and_replaced_tables_leave_the_disk() {
    let disk = Disk::new();
    let path = disk.next();
    let rocks = Rocks::open(&path).expect("open");
    let mut batch = WriteBatch::new();
    batch.put(Family::Latest, &b"a"[..], &b"1"[..]);
    rocks.write(&batch).expect("write");
    rocks.flush().expect("flush");
    let checkpoint = rocks.checkpoint().expect("checkpoint");
    let mut installer = rocks.installer().expect("installer");
    while installer.received() < checkpoint.len() {
        let piece = checkpoint.read_at(installer.received(), 1 << 16).expect("read");
        installer.write(&piece).expect("write");
    }
    let pinned = rocks.pin();
    installer.finish().expect("finish");
    drop(checkpoint);
    assert_eq!(
        fs::read_dir(&path).expect("list").count(),
        3,
        "LIVE, the new tables and the pinned old ones"
    );
    assert!(pinned.get(Family::Latest, b"a").expect("get").is_some());
    drop(pinned);
    assert_eq!(fs::read_dir(&path).expect("list").count(), 2, "LIVE and the new tables");
}

/// Tables with rows in several files, and what a receiver has of a whole copy of them.
fn copied(disk: &Disk) -> (Rocks, Box<dyn Checkpoint>, PathBuf, Box<dyn Installer>) {
    let from = Rocks::open(disk.next()).expect("open");
    let mut machine = Machine::open(Arc::new(from.clone())).expect("load");
    for index in 1..=100 {
        let id = LogId { term: 1, index };
        let put = put(&format!("key-{index}"), "value");
        machine.apply(id, &put).expect("apply");
    }
    machine.backend().flush().expect("flush");
    let checkpoint = from.checkpoint().expect("checkpoint");
    let to = disk.next();
    let receiver = Rocks::open(&to).expect("open");
    let mut installer = receiver.installer().expect("installer");
    while installer.received() < checkpoint.len() {
        let piece = checkpoint.read_at(installer.received(), 1 << 16).expect("read");
        installer.write(&piece).expect("write");
    }
    (from, checkpoint, to, installer)
}

/// The table files in a directory of that kind below another.
fn tables_in(path: &Path, kind: &str) -> Vec<PathBuf> {
    let within = |file: &PathBuf| {
        let directory = file.parent().and_then(Path::file_name).unwrap_or_default();
        directory.to_string_lossy().starts_with(kind) && file.extension().is_some_and(|end| end == "sst")
    };
    let files = listing(path).into_iter().map(|(file, _)| file);
    files.filter(within).collect()
}

/// Flips a bit in the first block of rows while `look` looks, then sets it right.
fn while_damaged(table: &Path, look: impl FnOnce(&str)) {
    let whole = fs::read(table).expect("read");
    let mut damaged = whole.clone();
    damaged[10] ^= 1;
    // In place: a copy's files are the tables' own under other names.
    fs::write(table, damaged).expect("write");
    look(&table.file_name().expect("a file").to_string_lossy());
    fs::write(table, whole).expect("write");
}

#[test]
fn damage_of_what_was_received_is_found_before_it_is_installed_and_the_file_named() {
    let disk = Disk::new();
    let (_from, checkpoint, to, installer) = copied(&disk);
    assert_eq!(installer.check().expect("whole"), checkpoint.applied());
    let received = tables_in(&to, "incoming-");
    assert!(!received.is_empty());
    for table in received {
        while_damaged(&table, |name| {
            let error = installer.check().expect_err("damage passed").to_string();
            assert!(error.contains(name) && error.contains("incoming-"), "{name}: {error}");
        });
    }
    assert_eq!(installer.check().expect("whole again"), checkpoint.applied());
    installer.finish().expect("finish");
}

#[test]
fn damage_of_a_copy_is_found_before_it_is_sent_and_the_file_named() {
    let disk = Disk::new();
    let (_from, checkpoint, ..) = copied(&disk);
    checkpoint.check().expect("nothing is wrong with it");
    let copy = tables_in(disk.root.path(), "checkpoint-");
    assert!(!copy.is_empty());
    for table in copy {
        while_damaged(&table, |name| {
            let error = checkpoint.check().expect_err("damage passed").to_string();
            assert!(error.contains(name) && error.contains("checkpoint-"), "{name}: {error}");
        });
    }
    checkpoint.check().expect("nothing is wrong with it again");
}

#[test]
fn damage_of_a_table_file_is_found_and_the_file_named() {
    let disk = Disk::new();
    let path = disk.next();
    let mut machine = Machine::open(Arc::new(Rocks::open(&path).expect("open"))).expect("load");
    for index in 1..=100 {
        let id = LogId { term: 1, index };
        machine
            .apply(id, &put(&format!("key-{index}"), "value"))
            .expect("apply");
    }
    machine.backend().flush().expect("flush");
    drop(machine);
    let problems = || -> Vec<String> {
        match Pinned::open(&path) {
            Ok(frozen) => mvcc::verify(&frozen).problems.iter().map(ToString::to_string).collect(),
            Err(fault) => vec![fault.to_string()],
        }
    };
    assert_eq!(problems(), Vec::<String>::new());
    let files = listing(&path).into_iter().map(|(file, _)| file);
    let tables: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|end| end == "sst"))
        .collect();
    assert!(!tables.is_empty());
    for table in tables {
        let whole = fs::read(&table).expect("read");
        // Inside the first block of rows.
        let mut damaged = whole.clone();
        damaged[10] ^= 1;
        fs::write(&table, damaged).expect("write");
        let name = table.file_name().expect("a file").to_string_lossy().into_owned();
        let found = problems();
        assert!(found.iter().any(|problem| problem.contains(&name)), "{name}: {found:?}");
        fs::write(&table, whole).expect("write");
    }
    assert_eq!(problems(), Vec::<String>::new());
}
