//! Reading, writing and crashing.

use super::Lab;
use crate::{Backend, Direction, FAMILIES, Family, LogId, Rows, Step, WriteBatch, encoding};

pub(super) fn put(batch: &mut WriteBatch, family: Family, key: &str, value: &str) {
    batch.put(family, key, value);
}

pub(super) fn get(rows: &impl Rows, family: Family, key: &str) -> Option<String> {
    let value = rows.get(family, key.as_bytes()).expect("get");
    value.map(|value| String::from_utf8(value.to_vec()).expect("the suite writes text"))
}

pub(super) fn write(backend: &impl Backend, index: u64, rows: &[(&str, &str)]) -> LogId {
    let id = LogId { term: 1, index };
    let mut batch = WriteBatch::new();
    for (key, value) in rows {
        put(&mut batch, Family::Latest, key, value);
    }
    batch.put(Family::Meta, encoding::APPLIED, id.encode());
    backend.write(&batch).expect("write");
    id
}

pub(super) fn later_operations_of_a_batch_win<B: Backend>(lab: &Lab<'_, B>) {
    let backend = (lab.fresh)();
    let mut batch = WriteBatch::new();
    put(&mut batch, Family::Latest, "a", "1");
    put(&mut batch, Family::Latest, "a", "2");
    put(&mut batch, Family::Latest, "b", "1");
    batch.delete(Family::Latest, &b"b"[..]);
    batch.delete(Family::Latest, &b"c"[..]);
    put(&mut batch, Family::Latest, "c", "1");
    batch.delete(Family::Latest, &b"never there"[..]);
    backend.write(&batch).expect("write");
    let found = ["a", "b", "c"].map(|key| get(&backend, Family::Latest, key));
    assert_eq!(found, [Some("2".into()), None, Some("1".into())]);
}

pub(super) fn tables_are_apart<B: Backend>(lab: &Lab<'_, B>) {
    let backend = (lab.fresh)();
    let mut batch = WriteBatch::new();
    for family in FAMILIES {
        put(&mut batch, family, "key", family.name());
    }
    backend.write(&batch).expect("write");
    for family in FAMILIES {
        assert_eq!(get(&backend, family, "key").as_deref(), Some(family.name()));
    }
}

fn scan(backend: &impl Rows, direction: Direction, from: Option<&str>, step: impl Fn(&str) -> Step) -> Vec<String> {
    let mut seen = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        let key = String::from_utf8(key.to_vec()).expect("the suite writes text");
        let next = step(&key);
        seen.push(key);
        next
    };
    backend
        .scan(Family::Latest, direction, from.map(str::as_bytes), &mut visit)
        .expect("scan");
    seen
}

pub(super) fn scans_go_both_ways_and_seek<B: Backend>(lab: &Lab<'_, B>) {
    let backend = (lab.fresh)();
    assert!(
        scan(&backend, Direction::Forward, None, |_| Step::Next).is_empty(),
        "an empty table has no rows"
    );
    write(&backend, 1, &[("b", ""), ("d", ""), ("f", ""), ("h", "")]);
    let all = |direction, from| scan(&backend, direction, from, |_| Step::Next).concat();
    assert_eq!(all(Direction::Forward, None), "bdfh");
    assert_eq!(all(Direction::Forward, Some("d")), "dfh");
    assert_eq!(all(Direction::Forward, Some("e")), "fh");
    assert_eq!(all(Direction::Forward, Some("i")), "");
    assert_eq!(all(Direction::Backward, None), "hfdb");
    assert_eq!(all(Direction::Backward, Some("f")), "fdb");
    assert_eq!(all(Direction::Backward, Some("e")), "db");
    assert_eq!(all(Direction::Backward, Some("a")), "");
    let seek = |direction, at: &'static str, to: &'static str| {
        let step = move |key: &str| {
            if key == at {
                Step::Seek(to.as_bytes().to_vec())
            } else {
                Step::Next
            }
        };
        scan(&backend, direction, None, step).concat()
    };
    assert_eq!(seek(Direction::Forward, "b", "e"), "bfh");
    assert_eq!(seek(Direction::Forward, "b", "z"), "b");
    assert_eq!(seek(Direction::Backward, "h", "c"), "hb");
    assert_eq!(scan(&backend, Direction::Forward, None, |_| Step::Stop).concat(), "b");
}

pub(super) fn a_crash_loses_only_what_was_not_flushed<B: Backend>(lab: &Lab<'_, B>) {
    let backend = (lab.fresh)();
    assert_eq!(backend.flush().expect("flush"), None, "nothing was applied");
    let durable = write(&backend, 1, &[("a", "1")]);
    assert_eq!(backend.flush().expect("flush"), Some(durable));
    assert_eq!(backend.flushed(), Some(durable));
    write(&backend, 2, &[("a", "2"), ("b", "2")]);
    assert_eq!(backend.flushed(), Some(durable), "a write is not durable by itself");
    let backend = (lab.crash)(backend);
    assert_eq!(backend.flushed(), Some(durable));
    assert_eq!(get(&backend, Family::Latest, "a").as_deref(), Some("1"));
    assert_eq!(get(&backend, Family::Latest, "b"), None);
}
