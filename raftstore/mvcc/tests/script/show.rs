//! From answers to lines.

use std::{fmt::Write, sync::Arc};

use mvcc::{Applied, Block, DeterministicError, Event, LeaseChange, LogId, ReadError, Response, View};
use proto::etcd::{
    etcdserverpb::{RangeResponse, ResponseHeader, ResponseOp, TxnResponse, response_op},
    mvccpb::KeyValue,
};

use super::parse::text;

fn kv(kv: &KeyValue) -> String {
    let mut line = format!(
        "{}={} c{} m{} v{}",
        text(&kv.key),
        text(&kv.value),
        kv.create_revision,
        kv.mod_revision,
        kv.version
    );
    if kv.lease != 0 {
        write!(line, " lease={}", kv.lease).expect("a String grows");
    }
    line
}

fn revision(header: Option<&ResponseHeader>) -> String {
    format!("rev={}", header.map_or(0, |header| header.revision))
}

fn found(response: &RangeResponse, indent: &str) -> String {
    let more = if response.more { " more" } else { "" };
    let mut out = format!(
        "{} count={}{more}\n",
        revision(response.header.as_ref()),
        response.count
    );
    for one in &response.kvs {
        writeln!(out, "{indent}  {}", kv(one)).expect("a String grows");
    }
    out
}

pub fn range(answer: Result<RangeResponse, ReadError>) -> String {
    match answer {
        Ok(response) => found(&response, ""),
        Err(error) => refused(error),
    }
}

pub fn read_txn(answer: Result<TxnResponse, ReadError>) -> String {
    match answer {
        Ok(response) => txn(&response, ""),
        Err(error) => refused(error),
    }
}

fn refused(error: ReadError) -> String {
    match error {
        ReadError::Refused(refusal) => format!("refused: {refusal}\n"),
        ReadError::Fault(fault) => panic!("{fault}"),
    }
}

fn txn(response: &TxnResponse, indent: &str) -> String {
    let mut out = format!(
        "{} succeeded={}\n",
        revision(response.header.as_ref()),
        response.succeeded
    );
    let deeper = format!("{indent}  ");
    for ResponseOp { response } in &response.responses {
        let inner = match response {
            Some(response_op::Response::ResponseRange(response)) => format!("get: {}", found(response, &deeper)),
            Some(response_op::Response::ResponsePut(response)) => {
                format!(
                    "put: {}{}\n",
                    revision(response.header.as_ref()),
                    prev(response.prev_kv.as_slice())
                )
            }
            Some(response_op::Response::ResponseDeleteRange(response)) => format!(
                "del: {} deleted={}{}\n",
                revision(response.header.as_ref()),
                response.deleted,
                prev(&response.prev_kvs)
            ),
            Some(response_op::Response::ResponseTxn(response)) => format!("txn: {}", txn(response, &deeper)),
            None => "nothing\n".to_owned(),
        };
        out += &deeper;
        out += &inner;
    }
    out
}

fn prev(kvs: &[KeyValue]) -> String {
    kvs.iter().map(|one| format!(" prev[{}]", kv(one))).collect()
}

fn answer(answer: &Result<Response, DeterministicError>) -> String {
    match answer {
        Err(refusal) => format!("refused: {refusal}\n"),
        Ok(Response::Put(response)) => {
            format!(
                "{}{}\n",
                revision(response.header.as_ref()),
                prev(response.prev_kv.as_slice())
            )
        }
        Ok(Response::DeleteRange(response)) => format!(
            "{} deleted={}{}\n",
            revision(response.header.as_ref()),
            response.deleted,
            prev(&response.prev_kvs)
        ),
        Ok(Response::Txn(response)) => txn(response, ""),
        Ok(Response::Compaction(response)) => format!("{}\n", revision(response.header.as_ref())),
        Ok(Response::LeaseGrant(response)) => {
            format!(
                "{} id={} ttl={}\n",
                revision(response.header.as_ref()),
                response.id,
                response.ttl
            )
        }
        Ok(Response::LeaseRevoke(response)) => format!("{}\n", revision(response.header.as_ref())),
        Ok(Response::LeaseCheckpoint(response)) => format!("{}\n", revision(response.header.as_ref())),
        Ok(Response::Auth(changed)) => format!("rev={}\n", changed.revision),
        Ok(Response::Alarm(response)) => {
            let alarms: String = response
                .alarms
                .iter()
                .map(|alarm| format!(" {}@{}", alarm.alarm().as_str_name(), alarm.member_id))
                .collect();
            format!("{}{alarms}\n", revision(response.header.as_ref()))
        }
    }
}

pub fn applied(applied: &Applied) -> String {
    let mut out: String = applied.responses.iter().map(answer).collect();
    out += &blocks(&applied.blocks);
    for change in &applied.leases {
        out += &match change {
            LeaseChange::Granted { id, ttl_s } => format!("  lease {id} granted for {ttl_s}\n"),
            LeaseChange::Revoked { id } => format!("  lease {id} revoked\n"),
            LeaseChange::Checkpointed { id, remaining_ttl_s } => format!("  lease {id} has {remaining_ttl_s} left\n"),
        };
    }
    out
}

pub fn blocks(blocks: &[Arc<Block>]) -> String {
    let mut out = String::new();
    for block in blocks {
        for event in &block.events {
            writeln!(out, "  @{} {}", block.revision, show_event(event)).expect("a String grows");
        }
    }
    out
}

fn show_event(event: &Event) -> String {
    let what = if event.is_delete() {
        format!("delete {}", text(&event.entry.key))
    } else {
        format!("put {}", kv(&event.entry.to_kv()))
    };
    let before = event
        .prev
        .as_ref()
        .map(|prev| format!(" was {}", kv(&prev.to_kv())))
        .unwrap_or_default();
    what + &before
}

pub fn leases(view: &View) -> String {
    let show = |lease: &Arc<mvcc::Lease>| {
        let keys: String = lease.keys.iter().map(|key| format!(" {}", text(key))).collect();
        format!(
            "lease {} ttl={} remaining={}{keys}\n",
            lease.id, lease.ttl_s, lease.remaining_ttl_s
        )
    };
    view.leases().map(show).collect()
}

pub fn status(view: &View) -> String {
    let applied = log_id(view.applied());
    format!(
        "rev={} compacted={} keys={} applied={applied}",
        view.revision(),
        view.compacted(),
        view.key_count()
    )
}

pub fn log_id(id: Option<LogId>) -> String {
    id.map_or("none\n".to_owned(), |id| format!("{}.{}\n", id.term, id.index))
}
