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
    /// Deletes may overlap each other. A put must be alone on its key.
    fn of(branch: &'a [RequestOp]) -> Result<Self, DeterministicError> {
        let mut touched = Self::default();
        for operation in branch {
            let more = match &operation.request {
                Some(Request::RequestPut(request)) => Self {
                    puts: BTreeSet::from([&request.key[..]]),
                    deletes: vec![],
                },
                Some(Request::RequestDeleteRange(request)) => Self {
                    puts: BTreeSet::new(),
                    deletes: vec![(&request.key[..], RangeEnd::from_wire(&request.range_end))],
                },
                Some(Request::RequestTxn(request)) => {
                    Self::merge(Self::of(&request.success)?, Self::of(&request.failure)?)
                }
                Some(Request::RequestRange(_)) | None => continue,
            };
            if touched.conflicts(&more) {
                return Err(DeterministicError::DuplicateKey);
            }
            touched = Self::merge(touched, more);
        }
        Ok(touched)
    }

    /// No check: of the two branches of a transaction only one runs, so they may touch the same keys.
    fn merge(mut one: Self, other: Self) -> Self {
        one.puts.extend(other.puts);
        one.deletes.extend(other.deletes);
        one
    }

    fn conflicts(&self, other: &Self) -> bool {
        let put_twice = other.puts.iter().any(|key| self.puts.contains(key));
        put_twice || self.deletes_a_put_of(other) || other.deletes_a_put_of(self)
    }

    fn deletes_a_put_of(&self, other: &Self) -> bool {
        self.deletes.iter().any(|(start, end)| {
            end.bounds(start)
                .is_some_and(|bounds| other.puts.range::<[u8], _>(bounds).next().is_some())
        })
    }
}
