//! Bytes that etcd's clients and servers exchange, so that a slip in a field number shows here and not in a client.

use prost::Message;
use proto::etcd::{
    etcdserverpb::{
        Compare, LeaseTimeToLiveResponse, RangeRequest, RequestOp, TxnRequest, WatchRequest, WatchResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op, watch_request,
    },
    mvccpb::{Event, KeyValue, event::EventType},
};

#[test]
fn a_range() {
    let range = RangeRequest {
        key: "a".into(),
        range_end: "b".into(),
        limit: 3,
        revision: 4,
        count_only: true,
        max_create_revision: 5,
        ..RangeRequest::default()
    };
    assert_eq!(
        range.encode_to_vec(),
        b"\x0a\x01a\x12\x01b\x18\x03\x20\x04\x48\x01\x68\x05"
    );
}

#[test]
fn a_txn_with_a_ranged_compare() {
    let compare = Compare {
        result: CompareResult::NotEqual.into(),
        target: CompareTarget::Mod.into(),
        key: "a".into(),
        range_end: "b".into(),
        target_union: Some(TargetUnion::ModRevision(7)),
    };
    let nested = RequestOp {
        request: Some(request_op::Request::RequestTxn(TxnRequest::default())),
    };
    let txn = TxnRequest {
        compare: vec![compare],
        success: vec![],
        failure: vec![nested],
    };
    let expected = b"\x0a\x0d\x08\x03\x10\x02\x1a\x01a\x30\x07\x82\x04\x01b\x1a\x02\x22\x00";
    assert_eq!(txn.encode_to_vec(), expected);
}

#[test]
fn watch_messages() {
    let progress = watch_request::RequestUnion::ProgressRequest(Default::default());
    assert_eq!(
        WatchRequest {
            request_union: Some(progress)
        }
        .encode_to_vec(),
        b"\x1a\x00"
    );
    let kv = KeyValue {
        key: "k".into(),
        mod_revision: 2,
        ..KeyValue::default()
    };
    let event = Event {
        r#type: EventType::Delete.into(),
        kv: Some(kv),
        prev_kv: None,
    };
    let response = WatchResponse {
        watch_id: -1,
        compact_revision: 1,
        events: vec![event],
        ..Default::default()
    };
    let expected = b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x28\x01\x5a\x09\x08\x01\x12\x05\x0a\x01k\x18\x02";
    assert_eq!(response.encode_to_vec(), expected);
}

#[test]
fn a_lease_that_is_gone() {
    let response = LeaseTimeToLiveResponse {
        id: 1,
        ttl: -1,
        granted_ttl: 2,
        keys: vec!["k".into()],
        header: None,
    };
    let expected = b"\x10\x01\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x20\x02\x2a\x01k";
    assert_eq!(response.encode_to_vec(), expected);
}
