//! What the door refuses, and that it refuses nothing else.

use bytes::Bytes;
use mvcc::{DeterministicError, limits::TXN_OPERATIONS_MAX, validate};
use proto::etcd::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request,
};

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn put(key: &'static str) -> RequestOp {
    op(Request::RequestPut(PutRequest {
        key: key.into(),
        ..PutRequest::default()
    }))
}

fn delete(key: &'static str, end: &'static str) -> RequestOp {
    op(Request::RequestDeleteRange(DeleteRangeRequest {
        key: key.into(),
        range_end: end.into(),
        prev_kv: false,
    }))
}

fn nested(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
    op(Request::RequestTxn(TxnRequest {
        compare: vec![],
        success,
        failure,
    }))
}

fn check(success: Vec<RequestOp>) -> Result<(), DeterministicError> {
    validate::txn(
        &TxnRequest {
            compare: vec![],
            success,
            failure: vec![],
        },
        TXN_OPERATIONS_MAX,
    )
}

#[test]
fn a_key_is_written_once_on_a_path() {
    let duplicate = Err(DeterministicError::DuplicateKey);
    assert_eq!(check(vec![put("a"), put("b")]), Ok(()));
    assert_eq!(check(vec![put("a"), put("a")]), duplicate);
    assert_eq!(check(vec![put("a"), delete("a", "")]), duplicate);
    assert_eq!(check(vec![delete("a", "c"), put("b")]), duplicate);
    assert_eq!(
        check(vec![delete("a", "b"), put("b")]),
        Ok(()),
        "the end is not in the range"
    );
    assert_eq!(check(vec![put("m"), delete("a", "z")]), duplicate);
    // etcd does not look at deletes without an end.
    assert_eq!(check(vec![put("z"), delete("a", "\0")]), Ok(()));
    // Nor at those nested behind a nested put.
    assert_eq!(
        check(vec![
            nested(vec![put("a")], vec![]),
            nested(vec![delete("a", "")], vec![])
        ]),
        Ok(())
    );
    assert_eq!(
        check(vec![
            nested(vec![delete("a", "")], vec![]),
            nested(vec![put("a")], vec![])
        ]),
        duplicate
    );
    assert_eq!(
        check(vec![delete("c", "a"), put("b")]),
        Ok(()),
        "an empty range holds nothing"
    );
    assert_eq!(
        check(vec![delete("a", "c"), delete("b", "d")]),
        Ok(()),
        "deletes may overlap"
    );
}

#[test]
fn only_one_branch_of_a_nested_transaction_runs() {
    let duplicate = Err(DeterministicError::DuplicateKey);
    assert_eq!(check(vec![nested(vec![put("a")], vec![put("a")])]), Ok(()));
    assert_eq!(check(vec![nested(vec![put("a")], vec![delete("a", "")])]), Ok(()));
    assert_eq!(check(vec![put("a"), nested(vec![], vec![put("a")])]), duplicate);
    assert_eq!(check(vec![nested(vec![put("a"), put("a")], vec![])]), duplicate);
}

#[test]
fn operations_are_counted_through_nesting() {
    let keys: [&'static str; 3] = ["a", "b", "c"];
    let txn = |success| TxnRequest {
        compare: vec![],
        success,
        failure: vec![],
    };
    assert_eq!(validate::txn(&txn(keys.map(put).to_vec()), 3), Ok(()));
    let too_many = Err(DeterministicError::TooManyOperations);
    assert_eq!(validate::txn(&txn(keys.map(put).to_vec()), 2), too_many);
    let deep = nested(vec![put("a"), put("b")], vec![]);
    assert_eq!(validate::txn(&txn(vec![deep.clone()]), 3), Ok(()));
    assert_eq!(validate::txn(&txn(vec![deep]), 2), too_many);
    let compares = TxnRequest {
        compare: vec![
            Compare {
                key: "a".into(),
                ..Compare::default()
            };
            3
        ],
        ..txn(vec![])
    };
    assert_eq!(validate::txn(&compares, 2), too_many);
}

#[test]
fn keys_are_needed_everywhere() {
    let empty = Err(DeterministicError::KeyEmpty);
    assert_eq!(check(vec![put("")]), empty);
    assert_eq!(check(vec![delete("", "a")]), empty);
    assert_eq!(check(vec![op(Request::RequestRange(RangeRequest::default()))]), empty);
    assert_eq!(check(vec![nested(vec![], vec![put("")])]), empty);
    let compare = TxnRequest {
        compare: vec![Compare::default()],
        ..TxnRequest::default()
    };
    assert_eq!(validate::txn(&compare, TXN_OPERATIONS_MAX), empty);
    assert_eq!(
        check(vec![RequestOp { request: None }]),
        Err(DeterministicError::KeyNotFound)
    );
}

#[test]
fn what_is_to_be_ignored_is_not_given() {
    let base = PutRequest {
        key: "a".into(),
        ..PutRequest::default()
    };
    let value = PutRequest {
        ignore_value: true,
        value: Bytes::from_static(b"x"),
        ..base.clone()
    };
    assert_eq!(validate::put(&value), Err(DeterministicError::ValueGiven));
    let lease = PutRequest {
        ignore_lease: true,
        lease: 7,
        ..base
    };
    assert_eq!(validate::put(&lease), Err(DeterministicError::LeaseGiven));
}

#[test]
fn sort_options_are_known_ones() {
    let range = RangeRequest {
        key: "a".into(),
        ..RangeRequest::default()
    };
    assert_eq!(validate::range(&range), Ok(()));
    assert_eq!(
        validate::range(&RangeRequest {
            sort_order: 3,
            ..range.clone()
        }),
        Err(DeterministicError::BadSort)
    );
    assert_eq!(
        validate::range(&RangeRequest {
            sort_target: 5,
            ..range
        }),
        Err(DeterministicError::BadSort)
    );
}
