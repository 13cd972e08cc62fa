//! The one write there is: a transaction that compares the object's revision, the fence and the guard if there are any, and then
//! puts or deletes.

use crate::{Error, Fence, Guard, encode};
use bytes::Bytes;
use raftstore::pb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseOp, TxnRequest, TxnResponse, compare,
    request_op, response_op,
};

/// What to do with the key once the compares hold.
pub(crate) enum Change {
    Put(Bytes),
    Delete,
}

/// A write that is refused unless the key was last modified at `revision` (0: does not exist).
pub(crate) struct Write<'a> {
    pub key: &'a str,
    pub revision: i64,
    pub change: Change,
    pub fence: Option<&'a Fence>,
    /// Other objects that must not have changed.
    pub guards: &'a [Guard],
}

/// What came of it.
pub(crate) enum Outcome {
    /// Done, at this revision.
    Done(i64),
    /// The key is not at the revision that was compared; this is what it is now (`None`: gone), as `(value, mod_revision)`.
    Lost(Option<(Bytes, i64)>),
}

impl Write<'_> {
    #[cfg(not(feature = "planted"))]
    fn fence(&self) -> Option<&Fence> {
        self.fence
    }

    /// The planted fault: nobody asks for the fence.
    #[cfg(feature = "planted")]
    fn fence(&self) -> Option<&Fence> {
        self.fence.filter(|_| !crate::planted::unfenced())
    }

    /// On failure the transaction reads the key and the fence, so that the caller needs no second trip to learn why.
    pub(crate) fn request(&self) -> TxnRequest {
        let key = Bytes::copy_from_slice(self.key.as_bytes());
        let mut request = TxnRequest {
            compare: vec![modified_at(key.clone(), self.revision)],
            ..TxnRequest::default()
        };
        request.success.push(match &self.change {
            Change::Put(value) => put(key.clone(), value.clone()),
            Change::Delete => op(request_op::Request::RequestDeleteRange(DeleteRangeRequest {
                key: key.clone(),
                ..DeleteRangeRequest::default()
            })),
        });
        request.failure.push(read(key));
        let fence = self.fence().map(|fence| (fence.key.as_slice(), fence.token));
        let guards = self.guards.iter().map(|guard| (guard.key.as_bytes(), guard.revision));
        for (key, revision) in fence.into_iter().chain(guards) {
            let key = Bytes::copy_from_slice(key);
            request.compare.push(modified_at(key.clone(), revision));
            request.failure.push(read(key));
        }
        for guard in self.guards {
            if let Some(value) = guard.becomes.as_ref().and_then(encode::canonical) {
                let key = Bytes::copy_from_slice(guard.key.as_bytes());
                request.success.push(put(key, value));
            }
        }
        request
    }

    pub(crate) fn outcome(&self, response: TxnResponse) -> Result<Outcome, Error> {
        if response.succeeded {
            return Ok(Outcome::Done(response.header.map_or(0, |header| header.revision)));
        }
        let mut reads = response.responses.into_iter().map(first);
        let current = reads.next().flatten();
        let mut next_revision = || reads.next().flatten().map_or(0, |(_, revision)| revision);
        if let Some(fence) = self.fence()
            && next_revision() != fence.token
        {
            return Err(Error::Fenced);
        }
        let moved = self.guards.iter().find(|guard| next_revision() != guard.revision);
        if let Some(guard) = moved.filter(|_| current.as_ref().map_or(0, |(_, revision)| *revision) == self.revision) {
            return Err(Error::Moved { key: guard.key.clone() });
        }
        Ok(Outcome::Lost(current))
    }
}

fn modified_at(key: Bytes, revision: i64) -> Compare {
    Compare {
        key,
        result: compare::CompareResult::Equal.into(),
        target: compare::CompareTarget::Mod.into(),
        target_union: Some(compare::TargetUnion::ModRevision(revision)),
        ..Compare::default()
    }
}

fn put(key: Bytes, value: Bytes) -> RequestOp {
    op(request_op::Request::RequestPut(PutRequest {
        key,
        value,
        ..PutRequest::default()
    }))
}

fn read(key: Bytes) -> RequestOp {
    op(request_op::Request::RequestRange(RangeRequest {
        key,
        ..RangeRequest::default()
    }))
}

fn op(request: request_op::Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn first(response: ResponseOp) -> Option<(Bytes, i64)> {
    match response.response {
        Some(response_op::Response::ResponseRange(range)) => {
            range.kvs.into_iter().next().map(|kv| (kv.value, kv.mod_revision))
        }
        _ => None,
    }
}
