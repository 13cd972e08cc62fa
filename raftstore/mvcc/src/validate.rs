//! What the door refuses before a request is proposed (etcd's rules). The machine is safe on anything; these keep out
//! requests whose outcome would surprise.

use std::collections::BTreeSet;

use proto::etcd::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    range_request::{SortOrder, SortTarget},
    request_op::Request,
};

use crate::{DeterministicError, RangeEnd};

/// Checks a range request.
pub fn range(request: &RangeRequest) -> Result<(), DeterministicError> {
    if request.key.is_empty() {
        return Err(DeterministicError::KeyEmpty);
    }
    let known = SortOrder::try_from(request.sort_order).is_ok() && SortTarget::try_from(request.sort_target).is_ok();
    if known {
        Ok(())
    } else {
        Err(DeterministicError::BadSort)
    }
}

/// Checks a put request.
pub fn put(request: &PutRequest) -> Result<(), DeterministicError> {
    if request.key.is_empty() {
        Err(DeterministicError::KeyEmpty)
    } else if request.ignore_value && !request.value.is_empty() {
        Err(DeterministicError::ValueGiven)
    } else if request.ignore_lease && request.lease != 0 {
        Err(DeterministicError::LeaseGiven)
    } else {
        Ok(())
    }
}

/// Checks a delete request.
pub fn delete_range(request: &DeleteRangeRequest) -> Result<(), DeterministicError> {
    if request.key.is_empty() {
        Err(DeterministicError::KeyEmpty)
    } else {
        Ok(())
    }
}

/// Checks a transaction: its size, its operations, and that no key is written twice on one path.
pub fn txn(request: &TxnRequest, operations_max: usize) -> Result<(), DeterministicError> {
    operations(request, operations_max)?;
    Touched::of(&request.success)?;
    Touched::of(&request.failure)?;
    Ok(())
}

fn operations(request: &TxnRequest, operations_max: usize) -> Result<(), DeterministicError> {
    let size = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    if size > operations_max {
        return Err(DeterministicError::TooManyOperations);
    }
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(DeterministicError::KeyEmpty);
    }
    request
        .success
        .iter()
        .chain(&request.failure)
        .try_for_each(|operation| match &operation.request {
            Some(Request::RequestRange(request)) => range(request),
            Some(Request::RequestPut(request)) => put(request),
            Some(Request::RequestDeleteRange(request)) => delete_range(request),
            // A nested transaction shares the budget of the one around it.
            Some(Request::RequestTxn(request)) => operations(request, operations_max - size),
            None => Err(DeterministicError::KeyNotFound),
        })
}

/// What one branch writes, nested transactions included.
#[derive(Default)]
struct Touched<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<(&'a [u8], RangeEnd<'a>)>,
}

impl<'a> Touched<'a> {
    /// Deletes may overlap each other. A put must be alone on its key, as far as etcd looks: against everything of its own
    /// level and what is nested there, but what is nested only against deletes of its own level and of what is nested
    /// before it; and never against a delete without an end. What slips through is well defined: operations run in order.
    fn of(branch: &'a [RequestOp]) -> Result<Self, DeterministicError> {
        let mut touched = Self::default();
        let requests = || branch.iter().filter_map(|operation| operation.request.as_ref());
        for request in requests() {
            if let Request::RequestDeleteRange(request) = request {
                touched.delete(request);
            }
        }
        for request in requests() {
            if let Request::RequestTxn(request) = request {
                touched.nest(Self::of(&request.success)?, Self::of(&request.failure)?)?;
            }
        }
        for request in requests() {
            if let Request::RequestPut(request) = request {
                touched.check(&request.key)?;
                touched.puts.insert(&request.key);
            }
        }
        Ok(touched)
    }

    fn delete(&mut self, request: &'a DeleteRangeRequest) {
        let end = RangeEnd::from_wire(&request.range_end);
        if end != RangeEnd::Unbounded {
            self.deletes.push((&request.key, end));
        }
    }

    /// Of the two branches of a transaction only one runs, so they may touch the same keys.
    fn nest(&mut self, one: Self, other: Self) -> Result<(), DeterministicError> {
        one.puts.iter().chain(&other.puts).try_for_each(|key| self.check(key))?;
        for branch in [one, other] {
            self.puts.extend(branch.puts);
            self.deletes.extend(branch.deletes);
        }
        Ok(())
    }

    fn check(&self, key: &[u8]) -> Result<(), DeterministicError> {
        let deleted = self.deletes.iter().any(|(start, end)| end.contains(start, key));
        if deleted || self.puts.contains(key) {
            Err(DeterministicError::DuplicateKey)
        } else {
            Ok(())
        }
    }
}
