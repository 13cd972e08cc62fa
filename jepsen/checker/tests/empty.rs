//! Histories that show nothing: no promise is said to be kept by them.

use checker::cluster::{addresses, objects, pods};
use checker::cycle::{append, wr};
use checker::{History, Validity, Verdict, election, lease, lock};

/// One operation that was refused, one that nobody knows of, or none at all.
fn unanswered<C: Clone, R: Clone>(call: &C) -> Vec<Vec<checker::Operation<C, R>>> {
    let (mut refused, mut unknown) = (History::new(), History::new());
    refused.invoke(1, 0, call.clone());
    refused.fail(1, 0, "refused");
    unknown.invoke(1, 0, call.clone());
    unknown.info(1, 0, "timeout");
    vec![vec![], refused.operations().unwrap(), unknown.operations().unwrap()]
}

fn answered<C: Clone, R: Clone>(call: C, answer: R) -> Vec<checker::Operation<C, R>> {
    let mut history = History::new();
    history.invoke(1, 0, call);
    history.ok(1, 0, answer);
    history.operations().unwrap()
}

/// The checker says `Unknown` until an operation is answered.
fn run<C: Clone, R: Clone>(call: C, answer: R, check: impl Fn(&[checker::Operation<C, R>]) -> Verdict) {
    for operations in unanswered(&call) {
        assert_eq!(check(&operations).validity, Validity::Unknown);
    }
    let verdict = check(&answered(call, answer));
    assert!(verdict.is_valid(), "{verdict:?}");
}

#[test]
fn a_history_without_an_answer_proves_nothing() {
    run(vec![append::Step::Read(1)], vec![vec![]], append::check);
    let read = wr::Return {
        reads: vec![None],
        ..wr::Return::default()
    };
    run(vec![wr::Step::Read(1)], read, wr::check);
    let acquire = lock::Call::Acquire { lock: 1, ttl_ns: 9 };
    run(acquire, lock::Return::Acquired { token: 5 }, lock::check);
    let campaign = election::Call::Campaign("a".into());
    run(campaign, election::Return::Elected { token: 5 }, |operations| {
        election::check(operations, 9)
    });
    run(lease::Call::Grant(7), lease::Return::Ttl(3), |operations| {
        lease::check(operations, None)
    });
    run(objects::Call::List, objects::Return::default(), objects::check);
}

#[test]
fn pods_and_addresses_that_nobody_saw_prove_nothing() {
    assert_eq!(pods::bound_once(&[]).validity, Validity::Unknown);
    assert_eq!(pods::one_live_pod_of_a_name(&[]).validity, Validity::Unknown);
    assert_eq!(addresses::given_once(&[]).validity, Validity::Unknown);
    let run = pods::Run {
        namespace: "default".into(),
        name: "web".into(),
        uid: "a".into(),
        node: "n1".into(),
        started_ns: 0,
        stopped_ns: None,
    };
    assert!(pods::one_live_pod_of_a_name(&[run]).is_valid());
    let claim = addresses::Claim {
        space: addresses::Space::ClusterIp,
        address: "10.96.0.7".into(),
        owner: "a".into(),
        from: 1,
        until: None,
    };
    assert!(addresses::given_once(&[claim]).is_valid());
}
