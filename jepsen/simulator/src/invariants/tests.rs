//! Each invariant objects to a history that breaks its promise, and not to the same one with that put right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mvcc::{Block, Entry, Event, LogId, Slot};
use proto::etcd::mvccpb::KeyValue;
use proto::raft as wire;
use proto::state::Counters;
use raftstore::pb::{LeaseKeepAliveResponse, PutResponse, RangeResponse, ResponseHeader};

use super::*;
use crate::call::{Answer, Begun, Call, Outcome};
use crate::executor;
use crate::history::{Change, Effects};

fn put(revision: i64, key: &str, value: &str) -> Change {
    let now = KeyValue {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease: 0,
    };
    Change { now, deleted: false }
}

/// An entry that makes one revision.
fn effects(revision: i64, key: &str, value: &str) -> Effects {
    Effects {
        hash: revision as u64 * 31 + value.len() as u64,
        blocks: BTreeMap::from([(revision, vec![put(revision, key, value)])]),
        counters: Some(Counters { revision, compacted: 0 }),
        ..Effects::default()
    }
}

fn id(term: u64, index: u64) -> LogId {
    LogId { term, index }
}

/// Revisions 2 and 3, written by entries 1 and 2 of term 1.
fn history() -> History {
    let mut history = History::new();
    history.extend(id(1, 0), &Effects::default());
    history.extend(id(1, 1), &effects(2, "k1", "a"));
    history.extend(id(1, 2), &effects(3, "k2", "b"));
    history
}

fn begun(call: Call, told: i64) -> Begun {
    Begun {
        call,
        member: 1,
        told,
        readings: vec![0; 4],
        lease_lived: false,
        no_room: false,
        alarm_changes: 0,
    }
}

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        revision,
        ..ResponseHeader::default()
    })
}

fn append(member: u64, term: u64, entry: Option<(u64, u64, &'static [u8])>) -> wire::AppendRequest {
    let entries = entry.into_iter().map(|(term, index, data)| wire::Entry {
        term,
        index,
        kind: 1,
        data: Bytes::from_static(data),
    });
    wire::AppendRequest {
        vote: Some(wire::Vote {
            term,
            member,
            committed: true,
        }),
        entries: entries.collect(),
        ..wire::AppendRequest::default()
    }
}

/// Shows the observations one after the other; whether the last one, and only that, is objected to.
fn objects(invariant: &mut dyn Invariant, history: &History, observations: &[Observation<'_>]) -> bool {
    let (last, before) = observations.split_last().expect("something is observed");
    for observation in before {
        invariant.observe(history, observation).expect("the beginning is fine");
    }
    invariant.observe(history, last).is_err()
}

#[test]
fn two_leaders_of_a_term_are_objected_to() {
    let check = |from: u64, term: u64| {
        let (first, second) = (append(1, 5, None), append(from, term, None));
        let observations = [
            Observation::AppendSent {
                from: 1,
                request: &first,
            },
            Observation::AppendSent { from, request: &second },
        ];
        objects(&mut election::OneLeaderATerm::default(), &history(), &observations)
    };
    assert!(check(2, 5) && !check(2, 6) && !check(1, 5));
}

#[test]
fn a_second_vote_is_objected_to() {
    let check = |candidate: u64, term: u64| {
        let vote = |candidate, term| Observation::Voted {
            voter: 3,
            candidate,
            term,
        };
        objects(
            &mut vote::OneVoteATerm::default(),
            &history(),
            &[vote(1, 5), vote(candidate, term)],
        )
    };
    assert!(check(2, 5) && !check(1, 5) && !check(2, 6));
}

#[test]
fn a_changed_entry_is_objected_to() {
    let check = |term: u64, data: &'static [u8]| {
        let (first, second) = (append(1, 5, Some((4, 9, b"x"))), append(1, 5, Some((term, 9, data))));
        let observations = [
            Observation::AppendSent {
                from: 1,
                request: &first,
            },
            Observation::AppendSent {
                from: 1,
                request: &second,
            },
        ];
        objects(&mut log::LogsMatch::default(), &history(), &observations)
    };
    assert!(check(4, b"y") && !check(4, b"x") && !check(5, b"y"));
}

#[test]
fn a_leader_without_a_committed_entry_is_objected_to() {
    let check = |leader_term: u64, entry_term: u64| {
        let request = append(1, leader_term, Some((entry_term, 2, b"")));
        let observation = Observation::AppendSent {
            from: 1,
            request: &request,
        };
        objects(&mut commitment::LeadersAreComplete, &history(), &[observation])
    };
    assert!(check(4, 3), "a later leader that has something else there");
    assert!(
        !check(4, 1) && !check(0, 0),
        "the entry itself, and a leader deposed before it was committed"
    );
}

#[test]
fn an_entry_out_of_order_is_objected_to() {
    let check = |index: u64, revision: i64| {
        let effects = effects(revision, "k1", "c");
        let observation = Observation::Applied {
            member: 2,
            id: id(1, index),
            effects: &effects,
        };
        objects(
            &mut order::EntriesAreAppliedInOrder::default(),
            &history(),
            &[observation],
        )
    };
    assert!(check(4, 4), "entry 3 is missing");
    assert!(check(3, 5), "revision 4 is missing");
    assert!(!check(3, 4));
}

#[test]
fn replicas_that_differ_are_objected_to() {
    let check = |term: u64, value: &str| {
        let effects = effects(3, "k2", value);
        let observation = Observation::Applied {
            member: 2,
            id: id(term, 2),
            effects: &effects,
        };
        objects(&mut replicas::ReplicasAgree::default(), &history(), &[observation])
    };
    assert!(check(2, "b") && check(1, "longer") && !check(1, "b"));
    let behind = BTreeMap::from([(1, 3), (2, 2)]);
    let observation = Observation::Settled {
        revisions: &behind,
        members: &BTreeMap::new(),
    };
    assert!(objects(
        &mut replicas::ReplicasAgree::default(),
        &history(),
        &[observation]
    ));
}

#[test]
fn effects_that_happen_twice_or_after_all_are_objected_to() {
    let call = |value: &'static str| Call::Put {
        key: "k1".into(),
        value: value.into(),
        lease: 0,
    };
    let check = |value: &'static str, outcome: Outcome| {
        let (begun, effects) = (begun(call(value), 1), effects(4, "k1", value));
        let observations = [
            Observation::Begun { begun: &begun },
            Observation::Done {
                begun: &begun,
                outcome: &outcome,
            },
            Observation::Applied {
                member: 1,
                id: id(1, 3),
                effects: &effects,
            },
        ];
        objects(&mut effects::EffectsHappenOnce::default(), &history(), &observations)
    };
    assert!(
        check("b", Outcome::Unknown(String::new())),
        "revision 3 wrote it already"
    );
    assert!(
        check("new", Outcome::Failed(String::new())),
        "it was said to have had no effect"
    );
    assert!(!check("new", Outcome::Unknown(String::new())));
}

fn get(at: i64, value: &str) -> (Call, Outcome) {
    let call = Call::Get {
        key: Some("k2".into()),
        serializable: false,
        revision: 0,
    };
    let answer = RangeResponse {
        header: header(at),
        kvs: vec![put(3, "k2", value).now],
        count: 1,
        more: false,
    };
    (call, Outcome::Answered(Answer::Range(answer)))
}

#[test]
fn untrue_answers_are_objected_to() {
    let check = |(call, outcome): (Call, Outcome)| {
        let begun = begun(call, 1);
        let observation = Observation::Done {
            begun: &begun,
            outcome: &outcome,
        };
        objects(&mut answers::AnswersAreTrue, &history(), &[observation])
    };
    assert!(check(get(3, "x")) && check(get(2, "b")) && !check(get(3, "b")));
    let write = |value: &'static str, at: i64| {
        let call = Call::Put {
            key: "k2".into(),
            value: value.into(),
            lease: 0,
        };
        let answer = PutResponse {
            header: header(at),
            prev_kv: None,
        };
        (call, Outcome::Answered(Answer::Put(answer)))
    };
    assert!(check(write("b", 4)) && check(write("c", 3)) && !check(write("b", 3)));
}

#[test]
fn stale_answers_are_objected_to() {
    let check = |told: i64, at: i64| {
        let (call, outcome) = get(at, "b");
        let begun = begun(call, told);
        let observation = Observation::Done {
            begun: &begun,
            outcome: &outcome,
        };
        objects(&mut freshness::NothingIsStale, &history(), &[observation])
    };
    assert!(check(3, 2) && check(1, 4) && !check(3, 3) && !check(1, 2));
}

fn block(revision: i64, key: &str, value: &str) -> Arc<Block> {
    let entry = Arc::new(Entry::new(key.as_bytes(), value.as_bytes(), revision, revision, 1, 0));
    Arc::new(Block {
        revision,
        events: vec![Event {
            entry,
            prev: None,
            slot: Slot::new(),
        }],
    })
}

#[test]
fn watches_with_gaps_repetitions_or_lies_are_objected_to() {
    let check = |blocks: &[Arc<Block>], revision: i64| {
        let observations = [
            Observation::Watching {
                watcher: 1,
                member: 1,
                from: 2,
            },
            Observation::Watched {
                watcher: 1,
                blocks,
                revision,
            },
        ];
        objects(
            &mut watch::WatchersSeeEverythingOnce::default(),
            &history(),
            &observations,
        )
    };
    let (first, second) = (block(2, "k1", "a"), block(3, "k2", "b"));
    assert!(check(std::slice::from_ref(&second), 3), "a gap");
    assert!(check(&[first.clone(), first.clone()], 2), "twice");
    assert!(check(&[block(2, "k1", "x")], 2), "another value");
    assert!(
        check(std::slice::from_ref(&first), 3),
        "progress past what was not delivered"
    );
    assert!(!check(&[first.clone(), second], 3) && !check(&[first], 2));
    let turned_away = [
        Observation::Watching {
            watcher: 1,
            member: 1,
            from: 2,
        },
        Observation::WatchCompacted {
            watcher: 1,
            compact_revision: 2,
        },
    ];
    assert!(objects(
        &mut watch::WatchersSeeEverythingOnce::default(),
        &history(),
        &turned_away
    ));
}

#[test]
fn leases_that_end_early_or_by_nobody_are_objected_to() {
    // A lease of 2 s, granted when the run begins, ends after `after`; `client`: because its holder asked for it.
    let check = |after: u64, client: bool| {
        let world = async move {
            let mut invariant = lease::LeasesLiveTheirTime::default();
            let mut history = history();
            history.leaders.insert(1, 1);
            history.clocks.insert(1, 1);
            let grant = Begun {
                readings: executor::clock_readings(),
                ..begun(Call::Grant { lease: 7, ttl_s: 2 }, 1)
            };
            let granted = Effects {
                leases: vec![(7, Some(2))],
                ..Effects::default()
            };
            let revoke = begun(Call::Revoke { lease: 7 }, 1);
            invariant.observe(&history, &Observation::Begun { begun: &grant })?;
            history.extend(id(1, 3), &granted);
            if client {
                invariant.observe(&history, &Observation::Begun { begun: &revoke })?;
            }
            executor::sleep(Duration::from_millis(after)).await;
            let ended = Effects {
                leases: vec![(7, None)],
                ..Effects::default()
            };
            let observation = Observation::Applied {
                member: 1,
                id: id(1, 4),
                effects: &ended,
            };
            invariant.observe(&history, &observation)
        };
        executor::run(1, 3, world).0.is_err()
    };
    assert!(check(1_900, false), "early");
    assert!(!check(2_100, false) && !check(100, true), "in time, and asked for");
}

#[test]
fn memberships_that_nobody_asked_for_are_objected_to() {
    let add = Begun {
        call: Call::Add {
            url: "https://m4:1".into(),
            learner: false,
        },
        ..begun(Call::Transfer { to: 1 }, 1)
    };
    let remove = begun(Call::Remove { id: 2 }, 1);
    let added = Outcome::Answered(Answer::Added(4));
    let removed = Outcome::Answered(Answer::Removed);
    let revisions = BTreeMap::new();
    let check = |views: &[&[(u64, bool)]]| {
        let views = views.iter().map(|view| view.iter().copied().collect());
        let members: BTreeMap<u64, BTreeMap<u64, bool>> = (1..).zip(views).collect();
        let observations = [
            Observation::Done {
                begun: &add,
                outcome: &added,
            },
            Observation::Begun { begun: &remove },
            Observation::Done {
                begun: &remove,
                outcome: &removed,
            },
            Observation::Settled {
                revisions: &revisions,
                members: &members,
            },
        ];
        objects(
            &mut members::MembershipsAreAsAsked::default(),
            &history(),
            &observations,
        )
    };
    let right: &[(u64, bool)] = &[(1, true), (3, true), (4, true)];
    assert!(!check(&[right, right]));
    assert!(check(&[right, &[(1, true), (4, true)]]), "they disagree");
    assert!(check(&[&[(1, true)]]), "added, and not there");
    assert!(check(&[&[(1, true), (2, true), (4, true)]]), "removed, and back");
    let twice = [
        Observation::Done {
            begun: &add,
            outcome: &added,
        },
        Observation::Done {
            begun: &add,
            outcome: &added,
        },
    ];
    assert!(
        objects(&mut members::MembershipsAreAsAsked::default(), &history(), &twice),
        "an id given twice"
    );
}

#[test]
fn writes_without_room_are_objected_to() {
    let check = |no_room: bool, effects: &Effects| {
        let mut history = history();
        history.no_room = no_room;
        let applied = Observation::Applied {
            member: 1,
            id: id(1, 3),
            effects,
        };
        objects(&mut room::NothingIsWrittenWithoutRoom, &history, &[applied])
    };
    let put = effects(4, "k1", "x");
    let grant = Effects {
        leases: vec![(9, Some(5))],
        ..Effects::default()
    };
    let gone = Effects {
        leases: vec![(9, None)],
        ..Effects::default()
    };
    let cleared = Effects {
        alarmed: Some(false),
        ..effects(4, "k1", "x")
    };
    assert!(check(true, &put) && check(true, &grant));
    assert!(!check(false, &put) && !check(false, &grant) && !check(true, &gone) && !check(true, &cleared));
}

#[test]
fn a_refusal_for_want_of_room_needs_one() {
    let check = |no_room: bool, alarm_changes: u64, call: Call| {
        let mut history = history();
        history.alarm_changes = alarm_changes;
        let begun = Begun {
            no_room,
            ..begun(call, 1)
        };
        let outcome = Outcome::Refused(mvcc::DeterministicError::NoSpace);
        let observation = Observation::Done {
            begun: &begun,
            outcome: &outcome,
        };
        objects(&mut answers::AnswersAreTrue, &history, &[observation])
    };
    let put = || Call::Put {
        key: "k1".into(),
        value: "z".into(),
        lease: 0,
    };
    assert!(!check(true, 0, put()) && !check(false, 1, put()));
    assert!(check(false, 0, put()), "there was room all the time");
    assert!(check(true, 1, Call::Delete { key: None }), "deleting needs none");
}

#[test]
fn a_node_with_too_many_pods_is_objected_to() {
    let pod = |revision: i64, name: &str, node: Option<&str>| {
        let spec = node.map_or(String::new(), |node| format!(r#""nodeName":"{node}""#));
        effects(
            revision,
            &format!("/registry/pods/default/{name}"),
            &format!(r#"{{"spec":{{{spec}}}}}"#),
        )
    };
    let mut gone = pod(5, "a", None);
    gone.blocks.get_mut(&5).expect("it is there")[0].deleted = true;
    let check = |all: &[&Effects]| {
        let observations = all.iter().enumerate().map(|(at, effects)| Observation::Applied {
            member: 1,
            id: id(1, 3 + at as u64),
            effects,
        });
        let observations: Vec<_> = observations.collect();
        objects(
            &mut placement::NodesAreNotOvercommitted::default(),
            &history(),
            &observations,
        )
    };
    let (first, second) = (pod(4, "a", Some("n1")), pod(6, "b", Some("n1")));
    assert!(check(&[&first, &second]), "two where one fits");
    assert!(!check(&[&first, &gone, &second]), "one after the other");
    assert!(!check(&[&first, &pod(5, "b", None), &pod(6, "b", Some("n2"))]));
    assert!(check(&[&first, &pod(5, "a", Some("n2"))]), "a pod moves");
}

#[test]
fn a_lease_that_is_said_to_be_gone_and_lives_is_objected_to() {
    let check = |gone: bool| {
        let mut history = history();
        history.extend(
            id(1, 3),
            &Effects {
                leases: vec![(7, Some(2))],
                ..Effects::default()
            },
        );
        let grant = begun(Call::Grant { lease: 7, ttl_s: 2 }, 1);
        let asked = Begun {
            lease_lived: true,
            ..begun(Call::KeepAlive { lease: 7 }, 1)
        };
        if gone {
            history.extend(
                id(1, 4),
                &Effects {
                    leases: vec![(7, None)],
                    ..Effects::default()
                },
            );
        }
        let outcome = Outcome::Answered(Answer::KeptAlive(LeaseKeepAliveResponse::default()));
        let observations = [
            Observation::Begun { begun: &grant },
            Observation::Done {
                begun: &asked,
                outcome: &outcome,
            },
        ];
        objects(&mut lease::LeasesLiveTheirTime::default(), &history, &observations)
    };
    assert!(check(false) && !check(true));
}
