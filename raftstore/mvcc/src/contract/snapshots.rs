//! Checkpoints, their streams and their installation.

use super::{
    Lab,
    tables::{get, write},
};
use crate::{Backend, Checkpoint, Family, LogId, Rows, WriteBatch, encoding};

/// Small and odd, so that pieces end inside rows, names and headers.
const PIECE_LEN: usize = 7;

/// Places of a stream that are damaged, each in a copy of its own.
const DAMAGES: usize = 24;

fn send(checkpoint: &dyn Checkpoint, target: &impl Backend, piece_len: usize) {
    let mut installer = target.installer().expect("installer");
    loop {
        // As after a broken transfer: the receiver says where to go on.
        let piece = checkpoint.read_at(installer.received(), piece_len).expect("read_at");
        if piece.is_empty() {
            break;
        }
        assert!(piece.len() <= piece_len);
        installer.write(&piece).expect("write");
    }
    assert_eq!(installer.received(), checkpoint.len());
    assert_eq!(installer.check().expect("check"), checkpoint.applied());
    installer.finish().expect("finish");
}

fn source<B: Backend>(lab: &Lab<'_, B>) -> (B, LogId) {
    let backend = (lab.fresh)();
    let mut batch = WriteBatch::new();
    batch.put(Family::Meta, encoding::record_key("membership"), &b"three members"[..]);
    backend.write(&batch).expect("write");
    let id = write(&backend, 7, &[("a", "1"), ("b", "2")]);
    backend.flush().expect("flush");
    (backend, id)
}

pub(super) fn a_checkpoint_travels_in_pieces<B: Backend>(lab: &Lab<'_, B>) {
    let (from, id) = source(lab);
    let checkpoint = from.checkpoint().expect("checkpoint");
    assert_eq!(checkpoint.applied(), Some(id));
    assert_eq!(checkpoint.record("membership").as_deref(), Some(&b"three members"[..]));
    assert_eq!(checkpoint.record("nothing"), None);
    checkpoint.check().expect("nothing is wrong with it");
    for piece_len in [PIECE_LEN, 1 << 20] {
        let to = (lab.fresh)();
        write(&to, 3, &[("a", "old"), ("c", "old")]);
        send(&*checkpoint, &to, piece_len);
        let found = ["a", "b", "c"].map(|key| get(&to, Family::Latest, key));
        assert_eq!(found, [Some("1".into()), Some("2".into()), None]);
        assert_eq!(to.flushed(), Some(id), "an install is durable");
        let next = write(&to, 8, &[("d", "4")]);
        assert_eq!(
            to.flush().expect("flush"),
            Some(next),
            "installed tables go on as usual"
        );
    }
}

pub(super) fn a_checkpoint_stays_as_it_was<B: Backend>(lab: &Lab<'_, B>) {
    let (from, id) = source(lab);
    let checkpoint = from.checkpoint().expect("checkpoint");
    write(&from, 8, &[("a", "newer")]);
    from.flush().expect("flush");
    assert_eq!(checkpoint.applied(), Some(id));
    let to = (lab.fresh)();
    send(&*checkpoint, &to, 1 << 20);
    assert_eq!(get(&to, Family::Latest, "a").as_deref(), Some("1"));
}

pub(super) fn a_broken_stream_changes_nothing<B: Backend>(lab: &Lab<'_, B>) {
    let (from, _) = source(lab);
    let checkpoint = from.checkpoint().expect("checkpoint");
    let whole = usize::try_from(checkpoint.len()).expect("small");
    let to = (lab.fresh)();
    let id = write(&to, 3, &[("a", "old")]);
    for len in [0, 1, PIECE_LEN, whole - 1] {
        let mut installer = to.installer().expect("installer");
        let mut at = 0;
        while at < len {
            let piece = checkpoint.read_at(at as u64, len - at).expect("read_at");
            at += piece.len();
            installer.write(&piece).expect("write");
        }
        assert!(
            installer.check().is_err(),
            "a stream cut at {len} of {whole} bytes passed for whole"
        );
        assert!(
            installer.finish().is_err(),
            "a stream cut at {len} of {whole} bytes was taken for whole"
        );
    }
    let mut garbage = to.installer().expect("installer");
    // Garbage may be refused at once or at the end.
    let refused = garbage.write(&[0xff; 64]).and_then(|()| garbage.finish()).is_err();
    assert!(refused, "garbage was installed");
    drop(to.installer().expect("installer"));
    assert_eq!(get(&to, Family::Latest, "a").as_deref(), Some("old"));
    assert_eq!(to.flush().expect("flush"), Some(id));
}

pub(super) fn a_damaged_stream_is_refused_or_harmless<B: Backend>(lab: &Lab<'_, B>) {
    let (from, id) = source(lab);
    let checkpoint = from.checkpoint().expect("checkpoint");
    let mut stream = Vec::new();
    loop {
        let piece = checkpoint.read_at(stream.len() as u64, 1 << 20).expect("read_at");
        if piece.is_empty() {
            break;
        }
        stream.extend_from_slice(&piece);
    }
    let mut refused = 0;
    for damage in 0..DAMAGES {
        let at = stream.len() * damage / DAMAGES;
        let mut damaged = stream.clone();
        damaged[at] ^= 1 << (damage % 8);
        let to = (lab.fresh)();
        write(&to, 3, &[("a", "old")]);
        let mut installer = to.installer().expect("installer");
        let held = installer.write(&damaged).and_then(|()| installer.check());
        if !held.is_ok_and(|held| held == Some(id)) {
            refused += 1;
            drop(installer);
            assert_eq!(get(&to, Family::Latest, "a").as_deref(), Some("old"), "byte {at}");
            continue;
        }
        // In a part that has no say in what is read, such as a filter that is only a help.
        installer.finish().expect("what was checked is installed");
        for (key, value) in [("a", "1"), ("b", "2")] {
            if let Ok(found) = to.get(Family::Latest, key.as_bytes()) {
                assert_eq!(found.as_deref(), Some(value.as_bytes()), "byte {at}");
            }
        }
    }
    assert!(refused > 0, "no damage was noticed");
}

pub(super) fn an_install_survives_a_crash<B: Backend>(lab: &Lab<'_, B>) {
    let (from, id) = source(lab);
    let to = (lab.fresh)();
    write(&to, 3, &[("c", "old")]);
    send(&*from.checkpoint().expect("checkpoint"), &to, 1 << 20);
    let to = (lab.crash)(to);
    assert_eq!(to.flushed(), Some(id));
    let found = ["a", "b", "c"].map(|key| get(&to, Family::Latest, key));
    assert_eq!(found, [Some("1".into()), Some("2".into()), None]);
}

pub(super) fn a_pin_survives_an_install<B: Backend>(lab: &Lab<'_, B>) {
    let (from, _) = source(lab);
    let to = (lab.fresh)();
    write(&to, 3, &[("a", "old")]);
    let pinned = to.pin();
    send(&*from.checkpoint().expect("checkpoint"), &to, 1 << 20);
    assert_eq!(
        pinned.get(Family::Latest, b"a").expect("get").as_deref(),
        Some(&b"old"[..])
    );
    let mut batch = WriteBatch::new();
    batch.delete(Family::Latest, &b"a"[..]);
    to.write_pinned(&pinned, &batch).expect("write");
    assert_eq!(
        get(&to, Family::Latest, "a").as_deref(),
        Some("1"),
        "a write for replaced tables reached the new ones"
    );
}
