//! From words to requests.

use bytes::Bytes;
use proto::{
    etcd::etcdserverpb::{
        AlarmRequest, CompactionRequest, Compare, DeleteRangeRequest, LeaseCheckpoint, LeaseCheckpointRequest,
        LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op,
    },
    raft::{LeaseRevoke, Request, request::Op},
};

use super::auth;

pub type Words<'a> = std::str::SplitWhitespace<'a>;

pub fn number(word: &str) -> i64 {
    word.parse().unwrap_or_else(|_| panic!("{word:?} is not a number"))
}

/// Bytes with `\xHH` and `\0` spelled out.
pub fn bytes(word: &str) -> Bytes {
    let mut rest = word.as_bytes();
    let mut bytes = Vec::new();
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'\\', [b'0', tail @ ..]) => {
                bytes.push(0);
                rest = tail;
            }
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("hexadecimal");
                bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes.into()
}

/// The inverse of [`bytes`].
pub fn text(bytes: &[u8]) -> String {
    let show = |byte: &u8| match byte {
        b'\\' => r"\x5c".to_owned(),
        b' '..=b'~' => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(show).collect()
}

pub fn request(words: &mut Words<'_>) -> Request {
    let mut name = words.next().expect("a request");
    let mut identity = None;
    if name == "as" {
        identity = Some(auth::identity(words));
        name = words.next().expect("a request");
    }
    let op = match name {
        "put" => Some(Op::Put(put(words))),
        "del" => Some(Op::DeleteRange(delete(words))),
        "txn" => Some(Op::Txn(txn(words))),
        "compact" => Some(Op::Compaction(CompactionRequest {
            revision: next(words),
            physical: false,
        })),
        "grant" => {
            let id = next(words);
            Some(Op::LeaseGrant(LeaseGrantRequest { id, ttl: next(words) }))
        }
        "revoke" => {
            let id = next(words);
            let expired_in_term = words.next().map_or(0, |word| number(value(word, "expired_in")) as u64);
            Some(Op::LeaseRevoke(LeaseRevoke { id, expired_in_term }))
        }
        "checkpoint" => {
            let checkpoint = LeaseCheckpoint {
                id: next(words),
                remaining_ttl: next(words),
            };
            Some(Op::LeaseCheckpoint(LeaseCheckpointRequest {
                checkpoints: vec![checkpoint],
            }))
        }
        "alarm" => Some(Op::Alarm(alarm(words))),
        "nothing" => None,
        _ if auth::CHANGES.contains(&name) => Some(Op::Auth(auth::change(name, words))),
        _ => panic!("unknown command {name:?}"),
    };
    Request { op, identity }
}

fn next(words: &mut Words<'_>) -> i64 {
    number(words.next().expect("a number"))
}

fn value<'a>(word: &'a str, name: &str) -> &'a str {
    match word.split_once('=') {
        Some((given, value)) if given == name => value,
        _ => panic!("expected {name}=..., got {word:?}"),
    }
}

fn alarm(words: &mut Words<'_>) -> AlarmRequest {
    let action = match words.next() {
        Some("get") => 0,
        Some("on") => 1,
        Some("off") => 2,
        other => panic!("alarm {other:?}"),
    };
    let alarm = match words.next() {
        None => 0,
        Some("nospace") => 1,
        Some("corrupt") => 2,
        Some(other) => panic!("alarm {other:?}"),
    };
    AlarmRequest {
        action,
        member_id: words.next().map_or(0, |word| number(word) as u64),
        alarm,
    }
}

/// `KEY VALUE [lease=ID] [prev] [ignore_value] [ignore_lease]`; an empty value or key is `""`.
fn put(words: &mut Words<'_>) -> PutRequest {
    let key = operand(words.next().expect("a key"));
    let value = operand(words.next().expect("a value"));
    let mut put = PutRequest {
        key,
        value,
        ..PutRequest::default()
    };
    for word in until_end(words) {
        match word.split_once('=') {
            None if word == "prev" => put.prev_kv = true,
            None if word == "ignore_value" => put.ignore_value = true,
            None if word == "ignore_lease" => put.ignore_lease = true,
            Some(("lease", id)) => put.lease = number(id),
            _ => panic!("unknown option {word:?}"),
        }
    }
    put
}

/// `KEY [END] [prev]`.
fn delete(words: &mut Words<'_>) -> DeleteRangeRequest {
    let mut delete = DeleteRangeRequest {
        key: operand(words.next().expect("a key")),
        ..Default::default()
    };
    for word in until_end(words) {
        match word {
            "prev" => delete.prev_kv = true,
            end => delete.range_end = operand(end),
        }
    }
    delete
}

/// `KEY [END] [rev=] [limit=] [sort=TARGET] [order=asc|desc] [keys] [count] [min_mod=] ...`.
pub fn range(words: &mut Words<'_>) -> RangeRequest {
    let mut range = RangeRequest {
        key: operand(words.next().expect("a key")),
        ..Default::default()
    };
    for word in until_end(words) {
        match word.split_once('=') {
            None if word == "keys" => range.keys_only = true,
            None if word == "count" => range.count_only = true,
            None => range.range_end = operand(word),
            Some(("rev", value)) => range.revision = number(value),
            Some(("limit", value)) => range.limit = number(value),
            Some(("sort", value)) => {
                let targets = ["key", "version", "create", "mod", "value"];
                range.sort_target = targets.iter().position(|target| *target == value).expect("a target") as i32;
            }
            Some(("order", value)) => range.sort_order = if value == "asc" { 1 } else { 2 },
            Some(("min_mod", value)) => range.min_mod_revision = number(value),
            Some(("max_mod", value)) => range.max_mod_revision = number(value),
            Some(("min_create", value)) => range.min_create_revision = number(value),
            Some(("max_create", value)) => range.max_create_revision = number(value),
            Some(_) => panic!("unknown option {word:?}"),
        }
    }
    range
}

fn operand(word: &str) -> Bytes {
    if word == "\"\"" { Bytes::new() } else { bytes(word) }
}

/// The words of this operation; what ends it stays with the caller's copy.
fn until_end<'a>(words: &mut Words<'a>) -> Vec<&'a str> {
    let mut taken = Vec::new();
    loop {
        let mut ahead = words.clone();
        match ahead.next() {
            None | Some(";" | ")" | "else") => return taken,
            Some(word) => taken.push(word),
        }
        *words = ahead;
    }
}

/// `COMPARE... then OP ; OP else OP`, where an OP may be `( txn ... )` and a compare is `mod(KEY[,END])=VALUE`.
pub fn txn(words: &mut Words<'_>) -> TxnRequest {
    let mut txn = TxnRequest::default();
    loop {
        match words.next() {
            Some("then") => break,
            Some(word) => txn.compare.push(compare(word)),
            None => return txn,
        }
    }
    txn.success = operations(words);
    if words.clone().next() == Some("else") {
        words.next();
        txn.failure = operations(words);
    }
    txn
}

fn operations(words: &mut Words<'_>) -> Vec<RequestOp> {
    let mut operations = Vec::new();
    loop {
        let mut ahead = words.clone();
        match ahead.next() {
            None | Some(")" | "else") => return operations,
            Some(";") => *words = ahead,
            Some(name) => {
                *words = ahead;
                operations.push(RequestOp {
                    request: operation(name, words),
                });
            }
        }
    }
}

fn operation(name: &str, words: &mut Words<'_>) -> Option<request_op::Request> {
    Some(match name {
        "get" => request_op::Request::RequestRange(range(words)),
        "put" => request_op::Request::RequestPut(put(words)),
        "del" => request_op::Request::RequestDeleteRange(delete(words)),
        "(" => {
            assert_eq!(words.next(), Some("txn"));
            let nested = txn(words);
            assert_eq!(words.next(), Some(")"));
            request_op::Request::RequestTxn(nested)
        }
        "nothing" => return None,
        _ => panic!("unknown operation {name:?}"),
    })
}

fn compare(word: &str) -> Compare {
    let (target, rest) = word.split_once('(').expect("TARGET(KEY)=VALUE");
    let (keys, rest) = rest.split_once(')').expect("TARGET(KEY)=VALUE");
    let (key, range_end) = keys.split_once(',').unwrap_or((keys, ""));
    let (result, expected) = if let Some(expected) = rest.strip_prefix("!=") {
        (CompareResult::NotEqual, expected)
    } else if let Some(expected) = rest.strip_prefix('=') {
        (CompareResult::Equal, expected)
    } else if let Some(expected) = rest.strip_prefix('>') {
        (CompareResult::Greater, expected)
    } else {
        (CompareResult::Less, rest.strip_prefix('<').expect("a comparison"))
    };
    let (target, union) = match target {
        "version" => (CompareTarget::Version, TargetUnion::Version(number(expected))),
        "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number(expected))),
        "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(expected))),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(expected))),
        "value" => (CompareTarget::Value, TargetUnion::Value(operand(expected))),
        _ => panic!("unknown target {target:?}"),
    };
    Compare {
        result: result.into(),
        target: target.into(),
        key: bytes(key),
        range_end: bytes(range_end),
        target_union: Some(union),
    }
}
