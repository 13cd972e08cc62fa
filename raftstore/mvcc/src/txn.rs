//! Transactions: decide on the state before, check, then execute without a way to fail.
//!
//! Every compare, nested ones too, sees the state before the transaction. That fixes the branches; the operations on them
//! are checked against the same state, and only then is anything changed. Ranges see the writes before them.

use std::sync::Arc;

use bytes::Bytes;
use proto::etcd::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
        RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op::Request,
        response_op::Response,
    },
    mvccpb::KeyValue,
};

use crate::{
    DeterministicError, Entry, RangeEnd, ReadError,
    change::Change,
    range::{self, Found},
    view::State,
};

/// Ranges at revisions older than the one being changed.
pub(crate) trait Past {
    /// The keys as of `revision`, which is neither compacted nor in the future. Of a transaction that writes, this must
    /// not be refused: some of it may be done already.
    fn find(&self, start: &[u8], end: RangeEnd<'_>, revision: i64, wanted: usize) -> Result<Found, ReadError>;
}

/// A transaction whose branches are decided.
struct Plan<'a> {
    succeeded: bool,
    operations: Vec<Operation<'a>>,
}

enum Operation<'a> {
    Range(&'a RangeRequest),
    Put(&'a PutRequest),
    DeleteRange(&'a DeleteRangeRequest),
    Txn(Plan<'a>),
}

/// Applies a transaction.
pub(crate) fn txn(change: &mut Change<'_>, past: &dyn Past, request: &TxnRequest) -> Result<TxnResponse, ReadError> {
    let plan = plan(change.state, request)?;
    check(change.state, &plan)?;
    let mut response = execute(change, past, &plan)?;
    response.header = range::header(change.visible_revision());
    Ok(response)
}

/// Whether a transaction has nothing to write, whichever branch it takes.
pub(crate) fn is_read_only(request: &TxnRequest) -> bool {
    request
        .success
        .iter()
        .chain(&request.failure)
        .all(|operation| match &operation.request {
            Some(Request::RequestRange(_)) => true,
            Some(Request::RequestTxn(nested)) => is_read_only(nested),
            Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) | None => false,
        })
}

/// Whether any branch has an operation that `matches`.
pub(crate) fn any(request: &TxnRequest, matches: &dyn Fn(&Request) -> bool) -> bool {
    request
        .success
        .iter()
        .chain(&request.failure)
        .filter_map(|operation| operation.request.as_ref())
        .any(|operation| {
            matches(operation)
                || match operation {
                    Request::RequestTxn(nested) => any(nested, matches),
                    _ => false,
                }
        })
}

fn plan<'a>(state: &State, request: &'a TxnRequest) -> Result<Plan<'a>, DeterministicError> {
    let succeeded = request.compare.iter().all(|compare| holds(state, compare));
    let branch = if succeeded { &request.success } else { &request.failure };
    let operations = branch
        .iter()
        .map(|operation| plan_operation(state, operation))
        .collect::<Result<_, _>>()?;
    Ok(Plan { succeeded, operations })
}

fn plan_operation<'a>(state: &State, operation: &'a RequestOp) -> Result<Operation<'a>, DeterministicError> {
    Ok(match &operation.request {
        Some(Request::RequestRange(request)) => Operation::Range(request),
        Some(Request::RequestPut(request)) => Operation::Put(request),
        Some(Request::RequestDeleteRange(request)) => Operation::DeleteRange(request),
        Some(Request::RequestTxn(request)) => Operation::Txn(plan(state, request)?),
        None => return Err(DeterministicError::UnknownRequest),
    })
}

/// Whether a compare holds for every key of its range. An empty range compares as one key of zeroes, except by value: a
/// missing value equals nothing.
fn holds(state: &State, compare: &Compare) -> bool {
    let end = RangeEnd::from_wire(&compare.range_end);
    let mut entries = state.iter(&compare.key, end).peekable();
    if entries.peek().is_none() {
        return compare.target() != CompareTarget::Value && holds_for(compare, None);
    }
    entries.all(|entry| holds_for(compare, Some(entry)))
}

fn holds_for(compare: &Compare, entry: Option<&Arc<Entry>>) -> bool {
    let number = |actual: fn(&Entry) -> i64, expected: Option<i64>| {
        entry.map_or(0, |entry| actual(entry)).cmp(&expected.unwrap_or(0))
    };
    let union = compare.target_union.as_ref();
    // A union of another kind than the target counts as that target's zero.
    let ordering = match compare.target() {
        CompareTarget::Version => number(
            |entry| entry.version,
            union.and_then(|union| {
                if let TargetUnion::Version(number) = union {
                    Some(*number)
                } else {
                    None
                }
            }),
        ),
        CompareTarget::Create => number(
            |entry| entry.create_revision,
            union.and_then(|union| {
                if let TargetUnion::CreateRevision(number) = union {
                    Some(*number)
                } else {
                    None
                }
            }),
        ),
        CompareTarget::Mod => number(
            |entry| entry.mod_revision,
            union.and_then(|union| {
                if let TargetUnion::ModRevision(number) = union {
                    Some(*number)
                } else {
                    None
                }
            }),
        ),
        CompareTarget::Lease => number(
            |entry| entry.lease,
            union.and_then(|union| {
                if let TargetUnion::Lease(number) = union {
                    Some(*number)
                } else {
                    None
                }
            }),
        ),
        CompareTarget::Value => {
            let expected: &[u8] = if let Some(TargetUnion::Value(value)) = union {
                value
            } else {
                &[]
            };
            entry.map_or(&[][..], |entry| &entry.value).cmp(expected)
        }
    };
    match compare.result() {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::NotEqual => ordering.is_ne(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
    }
}

/// As etcd, all puts before any range: it decides which refusal is told.
fn check(state: &State, plan: &Plan<'_>) -> Result<(), DeterministicError> {
    check_each(plan, &|operation| match operation {
        Operation::Put(request) => check_put(state, request),
        _ => Ok(()),
    })?;
    check_each(plan, &|operation| match operation {
        Operation::Range(request) => range::check_revision(request.revision, state.compacted, state.revision),
        _ => Ok(()),
    })
}

fn check_each(
    plan: &Plan<'_>,
    check: &dyn Fn(&Operation<'_>) -> Result<(), DeterministicError>,
) -> Result<(), DeterministicError> {
    plan.operations.iter().try_for_each(|operation| match operation {
        Operation::Txn(plan) => check_each(plan, check),
        operation => check(operation),
    })
}

/// Whether a put can be done.
pub(crate) fn check_put(state: &State, request: &PutRequest) -> Result<(), DeterministicError> {
    if request.key.is_empty() {
        return Err(DeterministicError::KeyEmpty);
    }
    if (request.ignore_value || request.ignore_lease) && state.index.get(&request.key).is_none() {
        return Err(DeterministicError::KeyNotFound);
    }
    if !request.ignore_lease && request.lease != 0 && !state.leases.contains_key(&request.lease) {
        return Err(DeterministicError::LeaseNotFound);
    }
    Ok(())
}

fn execute(change: &mut Change<'_>, past: &dyn Past, plan: &Plan<'_>) -> Result<TxnResponse, ReadError> {
    let responses = plan
        .operations
        .iter()
        .map(|operation| {
            let response = match operation {
                Operation::Range(request) => Response::ResponseRange(range_inside(change, past, request)?),
                Operation::Put(request) => Response::ResponsePut(put(change, request)),
                Operation::DeleteRange(request) => Response::ResponseDeleteRange(delete_range(change, request)),
                Operation::Txn(plan) => Response::ResponseTxn(execute(change, past, plan)?),
            };
            Ok(ResponseOp {
                response: Some(response),
            })
        })
        .collect::<Result<_, ReadError>>()?;
    Ok(TxnResponse {
        header: Some(ResponseHeader::default()),
        succeeded: plan.succeeded,
        responses,
    })
}

fn range_inside(change: &Change<'_>, past: &dyn Past, request: &RangeRequest) -> Result<RangeResponse, ReadError> {
    let end = RangeEnd::from_wire(&request.range_end);
    let wanted = range::wanted(request);
    let found = if request.revision > 0 {
        past.find(&request.key, end, request.revision, wanted)?
    } else {
        change.state.find(&request.key, end, wanted)
    };
    Ok(range::respond(found, request, change.visible_revision()))
}

/// Does a put that was checked.
pub(crate) fn put(change: &mut Change<'_>, request: &PutRequest) -> PutResponse {
    let current = change.state.index.get(&request.key).cloned();
    // A checked key can be missing only if this transaction deleted it, which the door refuses; then nothing is kept.
    let value = match &current {
        Some(current) if request.ignore_value => current.value.clone(),
        None if request.ignore_value => Bytes::new(),
        _ => request.value.clone(),
    };
    let lease = match &current {
        Some(current) if request.ignore_lease => current.lease,
        None if request.ignore_lease => 0,
        _ => request.lease,
    };
    let previous = change.put(&request.key, &value, lease);
    PutResponse {
        header: range::header(change.visible_revision()),
        prev_kv: previous.filter(|_| request.prev_kv).map(|previous| previous.to_kv()),
    }
}

/// Deletes a range.
pub(crate) fn delete_range(change: &mut Change<'_>, request: &DeleteRangeRequest) -> DeleteRangeResponse {
    let deleted = change.delete_range(&request.key, RangeEnd::from_wire(&request.range_end));
    let prev_kvs: Vec<KeyValue> = if request.prev_kv {
        deleted.iter().map(|entry| entry.to_kv()).collect()
    } else {
        Vec::new()
    };
    DeleteRangeResponse {
        header: range::header(change.visible_revision()),
        deleted: deleted.len() as i64,
        prev_kvs,
    }
}
