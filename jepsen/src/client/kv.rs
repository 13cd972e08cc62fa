//! Requests of etcd's KV service, as the workloads need them, and the parts of their answers.

use proto::etcd::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, ResponseHeader, ResponseOp,
    TxnRequest, compare, request_op, response_op,
};
use proto::etcd::mvccpb::KeyValue;

use super::{Client, Failure};

/// The revision that an answer tells.
pub(crate) fn revision(header: Option<ResponseHeader>) -> i64 {
    header.unwrap_or_default().revision
}

pub(crate) fn get(key: &str) -> RangeRequest {
    RangeRequest {
        key: key.to_string().into(),
        ..RangeRequest::default()
    }
}

impl Client {
    /// A range, linearizable unless the whole test is to read stale.
    pub(crate) async fn range(&mut self, mut request: RangeRequest) -> Result<RangeResponse, Failure> {
        request.serializable = self.stale_reads;
        Ok(self.kv.range(request).await?.into_inner())
    }
}

/// All keys that start with `prefix`, which ends in a character below 0x7f.
pub(crate) fn get_prefix(prefix: &str) -> RangeRequest {
    RangeRequest {
        range_end: end_of(prefix).into(),
        ..get(prefix)
    }
}

pub(crate) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

pub(crate) fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: key.to_string().into(),
        value: value.to_string().into(),
        ..PutRequest::default()
    }
}

pub(crate) fn delete(key: &str) -> DeleteRangeRequest {
    DeleteRangeRequest {
        key: key.to_string().into(),
        ..DeleteRangeRequest::default()
    }
}

fn op(request: request_op::Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

pub(crate) fn range_op(key: &str) -> RequestOp {
    op(request_op::Request::RequestRange(get(key)))
}

pub(crate) fn put_op(key: &str, value: &str) -> RequestOp {
    op(request_op::Request::RequestPut(put(key, value)))
}

fn equal(key: &str, target: compare::CompareTarget, union: compare::TargetUnion) -> Compare {
    Compare {
        key: key.to_string().into(),
        result: compare::CompareResult::Equal.into(),
        target: target.into(),
        target_union: Some(union),
        ..Compare::default()
    }
}

pub(crate) fn value_is(key: &str, value: &str) -> Compare {
    equal(
        key,
        compare::CompareTarget::Value,
        compare::TargetUnion::Value(value.to_string().into()),
    )
}

pub(crate) fn modified_at(key: &str, revision: i64) -> Compare {
    equal(
        key,
        compare::CompareTarget::Mod,
        compare::TargetUnion::ModRevision(revision),
    )
}

pub(crate) fn created_at(key: &str, revision: i64) -> Compare {
    equal(
        key,
        compare::CompareTarget::Create,
        compare::TargetUnion::CreateRevision(revision),
    )
}

/// The answer of a transaction: whether its guards held, the revision, and the answer of each operation.
pub(crate) struct Done {
    pub(crate) succeeded: bool,
    pub(crate) revision: i64,
    pub(crate) responses: Vec<ResponseOp>,
}

impl Done {
    /// What the ranges among the operations found, in order.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Option<&KeyValue>> {
        self.responses.iter().filter_map(|response| match &response.response {
            Some(response_op::Response::ResponseRange(RangeResponse { kvs, .. })) => Some(kvs.first()),
            _ => None,
        })
    }
}

pub(crate) async fn txn(
    client: &mut Client,
    compare: Vec<Compare>,
    success: Vec<RequestOp>,
    failure: Vec<RequestOp>,
) -> Result<Done, Failure> {
    let answer = client
        .kv
        .txn(TxnRequest {
            compare,
            success,
            failure,
        })
        .await?
        .into_inner();
    let revision = revision(answer.header);
    Ok(Done {
        succeeded: answer.succeeded,
        revision,
        responses: answer.responses,
    })
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A number that a workload wrote. What is none (someone else wrote it, or it was damaged) must not pass in silence: it becomes
/// a number that no workload writes, and every checker takes it for garbage.
pub(crate) fn number(value: &[u8]) -> i64 {
    text(value).parse().unwrap_or(i64::MIN)
}
