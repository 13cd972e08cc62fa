//! Watch frames kept in the store's event slots: encoded by the first watcher that needs one, shared by the rest.

use crate::ChangeKind;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;

/// The frames of one event. Few: one per format that somebody watches in.
#[derive(Default)]
pub(crate) struct Frames {
    known: Mutex<Vec<(u64, ChangeKind, Bytes)>>,
}

impl Frames {
    /// The frames of an event, made on first use.
    pub(crate) fn of(event: &mvcc::Event) -> Arc<Frames> {
        event.slot.get_or_fill(Arc::<Frames>::default).unwrap_or_default()
    }

    /// The lock is held while encoding, so that a crowd of watchers encodes once and not once each.
    pub(crate) fn get_or_encode<E>(
        &self,
        format: u64,
        kind: ChangeKind,
        encode: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let mut known = self.known.lock();
        if let Some((_, _, frame)) = known.iter().find(|(f, k, _)| *f == format && *k == kind) {
            return Ok(frame.clone());
        }
        let frame = encode()?;
        known.push((format, kind, frame.clone()));
        Ok(frame)
    }
}
