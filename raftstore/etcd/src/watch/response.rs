//! From the store's blocks to watch responses. Pure.

use std::sync::Arc;

use mvcc::Block;
use prost::Message;
use proto::etcd::{
    etcdserverpb::{WatchCreateRequest, WatchResponse, watch_create_request::FilterType},
    mvccpb::{self, event::EventType},
};
use raftstore::WatchSpec;

/// How one watcher wants its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    pub no_puts: bool,
    pub no_deletes: bool,
    pub prev_kv: bool,
    pub fragment: bool,
    pub progress_notify: bool,
}

impl Wishes {
    pub fn of(request: &WatchCreateRequest) -> Self {
        Self {
            no_puts: request.filters().any(|filter| filter == FilterType::Noput),
            no_deletes: request.filters().any(|filter| filter == FilterType::Nodelete),
            prev_kv: request.prev_kv,
            fragment: request.fragment,
            progress_notify: request.progress_notify,
        }
    }
}

/// Events to be sent together, and the revision up to which everything is delivered with them.
#[derive(Debug, Default, PartialEq)]
pub struct Batch {
    pub events: Vec<mvccpb::Event>,
    pub revision: i64,
    bytes: usize,
}

/// Turns blocks into batches of about `bytes_max`, never splitting a revision. Everything up to `revision` is delivered
/// with the last of them. No batch is empty.
pub fn batches(
    blocks: &[Arc<Block>],
    revision: i64,
    spec: &WatchSpec,
    wishes: &Wishes,
    bytes_max: usize,
) -> Vec<Batch> {
    let mut done = Vec::new();
    let mut open = Batch::default();
    for block in blocks {
        let events: Vec<_> = block
            .events
            .iter()
            .filter(|event| spec.matches(&event.entry.key) && !is_filtered(event, wishes))
            .map(|event| to_wire(event, wishes))
            .collect();
        let bytes: usize = events.iter().map(Message::encoded_len).sum();
        if !open.events.is_empty() && open.bytes + bytes > bytes_max {
            done.push(std::mem::take(&mut open));
        }
        open.events.extend(events);
        open.bytes += bytes;
        open.revision = block.revision;
    }
    if !open.events.is_empty() {
        done.push(open);
    }
    if let Some(last) = done.last_mut() {
        last.revision = last.revision.max(revision);
    }
    done
}

fn is_filtered(event: &mvcc::Event, wishes: &Wishes) -> bool {
    if event.is_delete() {
        wishes.no_deletes
    } else {
        wishes.no_puts
    }
}

fn to_wire(event: &mvcc::Event, wishes: &Wishes) -> mvccpb::Event {
    let kind = if event.is_delete() {
        EventType::Delete
    } else {
        EventType::Put
    };
    let prev = event.prev.as_ref().filter(|_| wishes.prev_kv);
    mvccpb::Event {
        r#type: kind.into(),
        kv: Some(event.entry.to_kv()),
        prev_kv: prev.map(|prev| prev.to_kv()),
    }
}

/// The responses of one batch: one, or several marked as fragments if the client can join them. Headers are the caller's.
pub fn fragments(watch_id: i64, batch: Batch, fragment: bool, bytes_max: usize) -> Vec<WatchResponse> {
    let whole = |events| WatchResponse {
        watch_id,
        events,
        ..Default::default()
    };
    if !fragment || batch.bytes <= bytes_max {
        return vec![whole(batch.events)];
    }
    let mut parts: Vec<Vec<mvccpb::Event>> = Vec::new();
    let mut bytes = usize::MAX;
    for event in batch.events {
        let size = event.encoded_len();
        match parts.last_mut() {
            Some(part) if bytes + size <= bytes_max => {
                part.push(event);
                bytes += size;
            }
            _ => {
                parts.push(vec![event]);
                bytes = size;
            }
        }
    }
    let last = parts.len().saturating_sub(1);
    let marked = |(index, events)| WatchResponse {
        fragment: index < last,
        ..whole(events)
    };
    parts.into_iter().enumerate().map(marked).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mvcc::{Machine, Memory};
    use proto::{
        etcd::etcdserverpb::{DeleteRangeRequest, PutRequest},
        raft::{Batch as Requests, Request, request::Op},
    };

    use super::*;

    const EVERYTHING: (&[u8], &[u8]) = (b"\0", b"\0");

    fn put(key: &str, value: &str) -> Op {
        Op::Put(PutRequest {
            key: key.to_string().into(),
            value: value.to_string().into(),
            ..Default::default()
        })
    }

    fn delete(key: &str, end: &'static str) -> Op {
        Op::DeleteRange(DeleteRangeRequest {
            key: key.to_string().into(),
            range_end: end.into(),
            ..Default::default()
        })
    }

    /// The blocks of these requests; the first has revision 2.
    fn blocks(ops: Vec<Op>) -> Vec<Arc<Block>> {
        let mut machine = Machine::open(Arc::new(Memory::default())).unwrap();
        let requests = ops
            .into_iter()
            .map(|op| Request {
                op: Some(op),
                identity: None,
            })
            .collect();
        let id = mvcc::LogId { term: 1, index: 1 };
        machine.apply(id, &Requests { requests }).unwrap().blocks
    }

    fn spec((key, end): (&'static [u8], &'static [u8])) -> WatchSpec {
        WatchSpec {
            key: Bytes::from_static(key),
            range_end: Bytes::from_static(end),
            start_revision: 0,
        }
    }

    fn show(batches: &[Batch]) -> String {
        let event = |event: &mvccpb::Event| {
            let (kv, prev) = (event.kv.as_ref().unwrap(), event.prev_kv.as_ref());
            let prev = prev
                .map(|prev| format!("<{}", String::from_utf8_lossy(&prev.value)))
                .unwrap_or_default();
            let sign = if event.r#type() == EventType::Delete { "-" } else { "+" };
            format!(
                "{sign}{}={}{prev}",
                String::from_utf8_lossy(&kv.key),
                String::from_utf8_lossy(&kv.value)
            )
        };
        let batch = |batch: &Batch| {
            let events: Vec<String> = batch.events.iter().map(event).collect();
            format!("{}@{}", events.join(","), batch.revision)
        };
        batches.iter().map(batch).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn events_are_filtered_by_range_and_kind_and_carry_what_was_asked_for() {
        let blocks = blocks(vec![put("a", "1"), put("b", "2"), put("a", "3"), delete("a", "c")]);
        let all = Wishes::default();
        let shown = |range, wishes: &Wishes| show(&batches(&blocks, 5, &spec(range), wishes, usize::MAX));
        assert_eq!(shown(EVERYTHING, &all), "+a=1,+b=2,+a=3,-a=,-b=@5");
        assert_eq!(shown((b"b", b""), &all), "+b=2,-b=@5");
        assert_eq!(shown((b"c", b"\0"), &all), "");
        assert_eq!(
            shown(
                EVERYTHING,
                &Wishes {
                    no_puts: true,
                    ..all.clone()
                }
            ),
            "-a=,-b=@5"
        );
        assert_eq!(
            shown(
                EVERYTHING,
                &Wishes {
                    no_deletes: true,
                    ..all.clone()
                }
            ),
            "+a=1,+b=2,+a=3@5"
        );
        assert_eq!(
            shown(
                (b"a", b""),
                &Wishes {
                    prev_kv: true,
                    ..all.clone()
                }
            ),
            "+a=1,+a=3<1,-a=<3@5"
        );
        assert_eq!(
            shown(
                EVERYTHING,
                &Wishes {
                    no_puts: true,
                    no_deletes: true,
                    ..all
                }
            ),
            ""
        );
    }

    #[test]
    fn a_revision_is_never_split_between_batches() {
        let blocks = blocks(vec![put("a", "1"), put("b", "2"), delete("a", "c"), put("c", "3")]);
        let shown = show(&batches(&blocks, 9, &spec(EVERYTHING), &Wishes::default(), 1));
        assert_eq!(shown, "+a=1@2 +b=2@3 -a=,-b=@4 +c=3@9");
    }

    #[test]
    fn only_who_asked_for_fragments_gets_them() {
        let blocks = blocks(vec![put("a", "1"), put("b", "2"), delete("a", "c")]);
        let batch = || batches(&blocks[2..], 4, &spec(EVERYTHING), &Wishes::default(), usize::MAX).remove(0);
        assert_eq!(fragments(7, batch(), false, 1).len(), 1);
        let parts = fragments(7, batch(), true, 1);
        let seen: Vec<_> = parts
            .iter()
            .map(|part| (part.watch_id, part.events.len(), part.fragment))
            .collect();
        assert_eq!(seen, [(7, 1, true), (7, 1, false)]);
        assert!(!fragments(7, batch(), true, usize::MAX)[0].fragment);
    }
}
