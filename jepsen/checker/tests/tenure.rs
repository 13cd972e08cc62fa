//! Leases, locks and elections: who may hold what, and until when.

use checker::{History, Verdict, election, lease, lock};

const SECOND: u64 = 1_000_000_000;

/// Operations one after the other: invoked and answered at the given seconds.
fn serial<C: Clone, R: Clone>(ops: Vec<(u64, u64, C, R)>) -> Vec<checker::Operation<C, R>> {
    let mut history = History::new();
    for (at, until, call, answer) in ops {
        history.invoke(1, at * SECOND, call);
        history.ok(1, until * SECOND, answer);
    }
    history.operations().unwrap()
}

mod leases {
    use super::lease::{Call::*, Return::*};
    use super::*;

    fn judge(mut ops: Vec<(u64, u64, lease::Call, lease::Return)>) -> Verdict {
        ops.insert(0, (0, 1, Grant(7), Ttl(10)));
        lease::check(&serial(ops), overdue(0))
    }

    /// Five seconds of grace, in a test that was calm from this second on.
    fn overdue(calm_from: u64) -> Option<lease::Overdue> {
        Some(lease::Overdue {
            calm_from_ns: calm_from * SECOND,
            slack_ns: 5 * SECOND,
        })
    }

    /// While nobody leads no lease ends, and whoever leads then gives each its whole time once more: it counts from the calm.
    #[test]
    fn after_the_last_fault_was_healed_a_lease_has_its_time_once_more_and_no_longer() {
        let ops = |probed: u64, there: bool| {
            let ops = vec![
                (0, 1, Grant(7), Ttl(10)),
                // Long after its time, in the middle of the faults.
                (60, 60, Probe(7), Present(true)),
                (probed, probed, Probe(7), Present(there)),
            ];
            serial(ops)
        };
        assert!(lease::check(&ops(115, true), overdue(100)).is_valid());
        assert!(lease::check(&ops(116, false), overdue(100)).is_valid());
        assert!(lease::check(&ops(116, true), overdue(100)).has("overdue"));
        assert!(lease::check(&ops(116, true), None).is_valid(), "nothing was healed");
        // A renewal after the faults is what counts, where there was one.
        let renewed = |probed: u64| {
            let ops = vec![
                (0, 1, Grant(7), Ttl(10)),
                (108, 109, KeepAlive(7), Ttl(10)),
                (probed, probed, Probe(7), Present(true)),
            ];
            lease::check(&serial(ops), overdue(100))
        };
        assert!(renewed(124).is_valid());
        assert!(renewed(125).has("overdue"));
    }

    #[test]
    fn a_key_lives_as_long_as_promised_and_not_for_ever() {
        assert!(
            judge(vec![
                (9, 9, Probe(7), Present(true)),
                (12, 12, Probe(7), Present(false))
            ])
            .is_valid()
        );
        assert!(judge(vec![(9, 9, Probe(7), Present(false))]).has("expired-early"));
        assert!(judge(vec![(8, 9, KeepAlive(7), Ttl(10)), (17, 17, Probe(7), Present(false))]).has("expired-early"));
        assert!(judge(vec![(8, 9, KeepAlive(7), Ttl(10)), (18, 18, Probe(7), Present(false))]).is_valid());
        assert!(
            judge(vec![(15, 15, Probe(7), Present(true))]).is_valid(),
            "a change of leaders extends leases"
        );
        assert!(judge(vec![(17, 17, Probe(7), Present(true))]).has("overdue"));
    }

    #[test]
    fn what_was_revoked_or_gone_stays_gone() {
        assert!(judge(vec![(2, 3, Revoke(7), Revoked), (4, 4, Probe(7), Present(false))]).is_valid());
        assert!(judge(vec![(2, 3, Revoke(7), Revoked), (4, 4, Probe(7), Present(true))]).has("outlived-revoke"));
        let back = judge(vec![
            (12, 12, Probe(7), Present(false)),
            (13, 13, Probe(7), Present(true)),
        ]);
        assert!(back.has("resurrected"));
        let renewed = judge(vec![
            (12, 12, Probe(7), Present(false)),
            (13, 13, KeepAlive(7), Ttl(10)),
        ]);
        assert!(renewed.has("resurrected"));
    }

    #[test]
    fn a_renewal_that_comes_long_after_the_end_is_refused() {
        let renewed = |at, ttl| (at, at, KeepAlive(7), Ttl(ttl));
        assert!(
            judge(vec![
                renewed(10, 10),
                renewed(20, 10),
                (30, 30, Probe(7), Present(true))
            ])
            .is_valid()
        );
        assert!(judge(vec![renewed(17, 10)]).has("overdue"));
        assert!(judge(vec![renewed(17, 0)]).is_valid());
        assert!(
            judge(vec![renewed(15, 10)]).is_valid(),
            "a change of leaders extends leases"
        );
        let then = vec![(17, 17, Probe(7), Present(true)), renewed(18, 10)];
        assert!(
            judge(then).has("overdue"),
            "what comes later does not help who came before"
        );
        let healed = |at| lease::check(&serial(vec![(0, 1, Grant(7), Ttl(10)), renewed(at, 10)]), overdue(100));
        assert!(healed(115).is_valid());
        assert!(healed(116).has("overdue"));
    }

    #[test]
    fn the_first_revocation_to_be_acknowledged_counts() {
        let mut history = History::new();
        history.invoke(1, 0, Grant(7));
        history.ok(1, 0, Ttl(10));
        history.invoke(1, SECOND, Revoke(7));
        history.invoke(2, SECOND, Revoke(7));
        history.ok(2, 2 * SECOND, Revoked);
        history.invoke(2, 3 * SECOND, Probe(7));
        history.ok(2, 3 * SECOND, Present(true));
        let mut overlapping = history.clone();
        history.ok(1, 4 * SECOND, Revoked);
        assert!(lease::check(&history.operations().unwrap(), None).has("outlived-revoke"));
        overlapping
            .events
            .retain(|event| event.process == 1 || event.index < 2 || event.index > 4);
        overlapping.ok(1, 4 * SECOND, Revoked);
        let verdict = lease::check(&overlapping.operations().unwrap(), None);
        assert!(
            verdict.is_valid(),
            "it was looked at before the revocation was over: {verdict:?}"
        );
    }

    #[test]
    fn a_revocation_finds_a_lease_that_still_runs() {
        let not_found = |at| (at, at, Revoke(7), Ttl(0));
        assert!(judge(vec![not_found(2)]).has("expired-early"));
        assert!(judge(vec![not_found(12)]).is_valid());
        assert!(judge(vec![(2, 2, Revoke(7), Revoked), not_found(3)]).is_valid());
        let back = vec![not_found(12), (13, 13, Probe(7), Present(true))];
        assert!(judge(back).has("resurrected"));
        let mut history = History::new();
        history.invoke(1, 0, Grant(7));
        history.ok(1, SECOND, Ttl(10));
        history.invoke(2, SECOND, Revoke(7));
        history.info(2, 2 * SECOND, "timeout");
        history.invoke(1, 2 * SECOND, Revoke(7));
        history.ok(1, 3 * SECOND, Ttl(0));
        let verdict = lease::check(&history.operations().unwrap(), overdue(0));
        assert!(verdict.is_valid(), "another one may have revoked it: {verdict:?}");
    }

    #[test]
    fn a_lease_is_granted_and_renewed_for_the_time_that_was_asked() {
        let run = |granted, renewed| {
            let ops = vec![(0, 1, Grant(7), Ttl(granted)), (2, 2, KeepAlive(7), Ttl(renewed))];
            lease::check_asked(&serial(ops), None, 10)
        };
        assert!(run(10, 10).is_valid());
        assert!(run(3600, 10).has("wrong-ttl") && run(10, 3600).has("wrong-ttl"));
        assert!(run(9, 10).has("wrong-ttl"));
        let late = vec![(0, 1, Grant(7), Ttl(10)), (20, 20, KeepAlive(7), Ttl(0))];
        assert!(lease::check_asked(&serial(late), None, 10).is_valid());
    }

    /// A renewal of unknown outcome may still count at any later time, so that nothing can be called overdue; but nothing early
    /// either. A refused one counts for nothing.
    #[test]
    fn a_renewal_of_unknown_outcome_excuses_a_late_expiry() {
        let run = |refused: bool, probed: u64| {
            let mut history = History::new();
            history.invoke(1, 0, Grant(7));
            history.ok(1, SECOND, Ttl(10));
            history.invoke(1, 2 * SECOND, KeepAlive(7));
            match refused {
                true => history.fail(1, 9 * SECOND, "no leader"),
                false => history.info(1, 9 * SECOND, "timeout"),
            };
            history.invoke(1, probed * SECOND, Probe(7));
            history.ok(1, probed * SECOND, Present(true));
            lease::check(&history.operations().unwrap(), overdue(0))
        };
        assert!(run(true, 16).is_valid());
        assert!(run(true, 17).has("overdue"));
        assert!(run(false, 17).is_valid() && run(false, 40).is_valid());
    }
}

mod locks {
    use super::lock::{Call::*, Return::*};
    use super::*;

    fn acquire(at: u64, token: i64) -> (u64, u64, lock::Call, lock::Return) {
        (
            at,
            at,
            Acquire {
                lock: 1,
                ttl_ns: 10 * SECOND,
            },
            Acquired { token },
        )
    }

    fn write(token: i64, revision: Option<i64>) -> (u64, u64, lock::Call, lock::Return) {
        (50, 50, Write { lock: 1, token }, Written(revision))
    }

    fn judge(ops: Vec<(u64, u64, lock::Call, lock::Return)>) -> Verdict {
        lock::check(&serial(ops))
    }

    #[test]
    fn a_lock_changes_hands_by_release_or_expiry_only() {
        let release = (2, 2, Release { lock: 1, token: 5 }, Released);
        assert!(judge(vec![acquire(0, 5), release, acquire(3, 6)]).is_valid());
        assert!(
            judge(vec![acquire(0, 5), acquire(11, 6)]).is_valid(),
            "the first lease may have run out"
        );
        assert!(judge(vec![acquire(0, 5), acquire(3, 6)]).has("two-holders"));
        let renew = (
            8,
            8,
            Renew {
                lock: 1,
                token: 5,
                ttl_ns: 10 * SECOND,
            },
            Renewed(true),
        );
        assert!(judge(vec![acquire(0, 5), renew, acquire(11, 6)]).has("two-holders"));
    }

    #[test]
    fn a_release_that_was_refused_releases_nothing() {
        let run = |end: fn(&mut History<lock::Call, lock::Return>) -> u64| {
            let mut history = History::new();
            let acquire_call = || acquire(0, 0).2;
            history.invoke(1, 0, acquire_call());
            history.ok(1, 0, Acquired { token: 5 });
            history.invoke(1, SECOND, Release { lock: 1, token: 5 });
            end(&mut history);
            history.invoke(2, 3 * SECOND, acquire_call());
            history.ok(2, 3 * SECOND, Acquired { token: 6 });
            lock::check(&history.operations().unwrap())
        };
        assert!(run(|history| history.ok(1, SECOND, Released)).is_valid());
        assert!(run(|history| history.info(1, SECOND, "timeout")).is_valid());
        assert!(run(|history| history.fail(1, SECOND, "refused")).has("two-holders"));
    }

    #[test]
    fn a_released_token_writes_no_more() {
        let release = (2, 2, Release { lock: 1, token: 5 }, Released);
        let run = |revision| judge(vec![acquire(0, 5), release.clone(), write(5, revision)]);
        assert!(run(None).is_valid());
        assert!(run(Some(9)).has("fence-broken"));
        let before = (1, 1, Write { lock: 1, token: 5 }, Written(Some(9)));
        assert!(judge(vec![acquire(0, 5), before, release]).is_valid());
    }

    #[test]
    fn who_lost_the_lock_to_another_writes_no_more() {
        let run = |last: Vec<_>| judge([vec![acquire(0, 5), acquire(20, 6)], last].concat());
        assert!(run(vec![write(5, None), write(6, Some(9))]).is_valid());
        assert!(run(vec![write(5, Some(9))]).has("fence-broken"));
        assert!(run(vec![write(5, Some(9)), write(6, Some(10))]).has("fence-broken"));
        let overlapping = |answered_last: bool| {
            let mut history = History::new();
            history.invoke(1, 0, acquire(0, 0).2);
            history.ok(1, 0, Acquired { token: 5 });
            history.invoke(1, 20 * SECOND, write(5, None).2);
            history.invoke(2, 20 * SECOND, acquire(0, 0).2);
            if answered_last {
                history.ok(2, 21 * SECOND, Acquired { token: 6 });
                history.ok(1, 22 * SECOND, Written(Some(9)));
            } else {
                history.info(2, 21 * SECOND, "timeout");
                history.ok(1, 22 * SECOND, Written(Some(9)));
                history.invoke(1, 23 * SECOND, write(5, None).2);
                history.ok(1, 23 * SECOND, Written(Some(10)));
            }
            lock::check(&history.operations().unwrap())
        };
        assert!(overlapping(true).is_valid(), "the write may have come first");
        assert!(overlapping(false).is_valid(), "nobody knows of another holder");
    }

    #[test]
    fn who_was_told_that_the_lease_is_gone_writes_no_more() {
        let renewed = |lives| {
            let (lock, token, ttl_ns) = (1, 5, 10 * SECOND);
            (12, 12, Renew { lock, token, ttl_ns }, Renewed(lives))
        };
        let run = |lives, revision| judge(vec![acquire(0, 5), renewed(lives), write(5, revision)]);
        assert!(run(true, Some(9)).is_valid());
        assert!(run(false, None).is_valid());
        assert!(run(false, Some(9)).has("fence-broken"));
        let another = judge(vec![acquire(0, 5), renewed(false), acquire(13, 6), write(6, Some(9))]);
        assert!(another.is_valid());
    }

    #[test]
    fn a_lease_that_certainly_runs_is_not_lost() {
        let renew = |at, lives| {
            let (lock, token, ttl_ns) = (1, 5, 10 * SECOND);
            (at, at, Renew { lock, token, ttl_ns }, Renewed(lives))
        };
        let refused = |at| (at, at, Write { lock: 1, token: 5 }, Written(None));
        let release = (2, 2, Release { lock: 1, token: 5 }, Released);
        for lost in [|at, _| (at, at, Write { lock: 1, token: 5 }, Written(None)), renew] {
            assert!(judge(vec![acquire(0, 5), lost(9, false)]).has("lost-early"));
            assert!(
                judge(vec![acquire(0, 5), lost(10, false)]).is_valid(),
                "it may have run out"
            );
            assert!(judge(vec![acquire(0, 5), renew(8, true), lost(17, false)]).has("lost-early"));
            assert!(judge(vec![acquire(0, 5), renew(8, true), lost(18, false)]).is_valid());
            assert!(judge(vec![acquire(0, 5), release.clone(), lost(3, false)]).is_valid());
        }
        assert!(
            judge(vec![acquire(0, 6), refused(3)]).is_valid(),
            "it was never acquired"
        );
        let ending = |end: fn(&mut History<lock::Call, lock::Return>) -> u64| {
            let mut history = History::new();
            history.invoke(1, 0, acquire(0, 5).2);
            history.ok(1, 0, Acquired { token: 5 });
            history.invoke(1, SECOND, Release { lock: 1, token: 5 });
            end(&mut history);
            history.invoke(1, 3 * SECOND, write(5, None).2);
            history.ok(1, 3 * SECOND, Written(None));
            lock::check(&history.operations().unwrap())
        };
        assert!(ending(|history| history.info(1, SECOND, "timeout")).is_valid());
        assert!(ending(|history| history.fail(1, SECOND, "refused")).has("lost-early"));
    }

    #[test]
    fn revisions_of_tokens_and_writes_are_those_of_one_store() {
        let run = |revisions: [i64; 3]| {
            let writes = revisions.map(|revision| (1, 1, Write { lock: 1, token: 5 }, Written(Some(revision))));
            judge([vec![acquire(0, 5)], writes.to_vec()].concat())
        };
        assert!(run([7, 9, 10]).is_valid());
        assert!(run([9, 7, 10]).has("revision-backwards"));
        assert!(run([7, 7, 10]).has("revision-given-twice"));
        assert!(run([4, 6, 7]).has("revision-backwards"), "older than its token");
        let mut history = History::new();
        history.invoke(1, 0, acquire(0, 5).2);
        history.ok(1, 0, Acquired { token: 5 });
        for process in [1, 2] {
            history.invoke(process, SECOND, write(5, None).2);
        }
        for (process, revision) in [(1, 9), (2, 7)] {
            history.ok(process, SECOND, Written(Some(revision)));
        }
        assert!(lock::check(&history.operations().unwrap()).is_valid(), "they overlap");
    }

    #[test]
    fn tokens_grow_and_guard_what_they_guard() {
        assert!(judge(vec![acquire(0, 5), acquire(20, 5)]).has("token-reused"));
        assert!(judge(vec![acquire(0, 6), acquire(20, 5)]).has("token-backwards"));
        assert!(judge(vec![write(5, Some(100)), write(6, Some(101)), write(5, None)]).is_valid());
        assert!(judge(vec![write(5, Some(100)), write(6, Some(101)), write(5, Some(102))]).has("fence-broken"));
    }
}

mod elections {
    use super::election::{Call::*, Return::*};
    use super::*;

    const TTL_S: u64 = 7;

    type Op = (u64, u64, election::Call, election::Return);

    fn campaign(at: u64, name: &str, token: i64) -> Op {
        (at, at, Campaign(name.into()), Elected { token })
    }

    fn sees(at: u64, token: i64, value: &str) -> Op {
        let leader = election::Return::Leader(Some((token, value.into())));
        (at, at, election::Call::Leader, leader)
    }

    fn sees_nobody(at: u64) -> Op {
        (at, at, election::Call::Leader, election::Return::Leader(None))
    }

    fn proclaim(at: u64, token: i64, value: &str) -> Op {
        let value = value.into();
        (at, at, Proclaim { token, value }, Proclaimed)
    }

    fn renew(at: u64, token: i64) -> Op {
        (at, at, Renew { token }, Renewed(true))
    }

    fn resign(at: u64, token: i64) -> Op {
        (at, at, Resign { token }, Resigned)
    }

    fn judge(ops: Vec<Op>) -> Verdict {
        election::check(&serial(ops), TTL_S * SECOND)
    }

    #[test]
    fn leaders_follow_one_another() {
        let fine = vec![
            campaign(0, "a", 5),
            sees(0, 5, "a"),
            proclaim(1, 5, "a2"),
            sees(2, 5, "a2"),
            resign(3, 5),
            sees_nobody(3),
            campaign(3, "b", 9),
            sees(3, 9, "b"),
        ];
        assert!(judge(fine).is_valid());
        assert!(judge(vec![campaign(0, "a", 5), campaign(8, "b", 9), sees(8, 5, "a")]).has("leader-backwards"));
        assert!(judge(vec![campaign(0, "a", 5), campaign(8, "b", 5)]).has("token-reused"));
    }

    #[test]
    fn nobody_else_leads_before_the_leaders_session_can_have_ended() {
        let run = |between: Vec<Op>, next: Op| judge([vec![campaign(0, "a", 5)], between, vec![next]].concat());
        let next = |at| campaign(at, "b", 9);
        assert!(run(vec![], next(1)).has("two-leaders"));
        assert!(run(vec![], next(7)).is_valid(), "the session may have ended");
        assert!(run(vec![resign(1, 5)], next(1)).is_valid());
        assert!(run(vec![renew(6, 5)], next(12)).has("two-leaders"));
        assert!(run(vec![renew(6, 5)], next(13)).is_valid());
        let gone = (8, 8, Renew { token: 5 }, Renewed(false));
        assert!(run(vec![gone], next(12)).is_valid());
    }

    /// Whoever was seen to lead has led, though its own campaign had no answer.
    #[test]
    fn a_leader_of_unknown_outcome_is_one_too() {
        let run = |at: u64| {
            let mut history = History::new();
            history.invoke(2, 0, Campaign("b".into()));
            history.info(2, 0, "timeout");
            for (at, until, call, answer) in [campaign(0, "a", 5), sees(at, 9, "b")] {
                history.invoke(1, at * SECOND, call);
                history.ok(1, until * SECOND, answer);
            }
            election::check(&history.operations().unwrap(), TTL_S * SECOND)
        };
        assert!(run(6).has("two-leaders"));
        assert!(run(7).is_valid());
    }

    #[test]
    fn a_resignation_of_unknown_outcome_counts_and_a_refused_one_does_not() {
        let run = |refused: bool| {
            let mut history = History::new();
            history.invoke(1, 0, Campaign("a".into()));
            history.ok(1, 0, Elected { token: 5 });
            history.invoke(1, SECOND, Resign { token: 5 });
            match refused {
                true => history.fail(1, SECOND, "refused"),
                false => history.info(1, SECOND, "timeout"),
            };
            history.invoke(2, SECOND, Campaign("b".into()));
            history.ok(2, 2 * SECOND, Elected { token: 9 });
            election::check(&history.operations().unwrap(), TTL_S * SECOND)
        };
        assert!(run(false).is_valid());
        assert!(run(true).has("two-leaders"));
    }

    #[test]
    fn a_deposed_leader_can_do_nothing_and_nobody_leads_with_anothers_value() {
        let late = vec![campaign(0, "a", 5), campaign(8, "b", 9), proclaim(8, 5, "a2")];
        assert!(judge(late).has("deposed-leader-acted"));
        assert!(judge(vec![campaign(0, "a", 5), sees(0, 5, "c")]).has("unknown-value"));
    }

    #[test]
    fn who_resigned_proclaims_nothing_and_is_not_seen() {
        let run = |last| judge(vec![campaign(0, "a", 5), resign(1, 5), last]);
        assert!(run(proclaim(1, 5, "a2")).has("deposed-leader-acted"));
        assert!(run(sees(1, 5, "a")).has("deposed-leader-acted"));
        let refused = (
            1,
            1,
            Proclaim {
                token: 5,
                value: "a2".into(),
            },
        );
        let mut history = History::new();
        for (at, until, call, answer) in [campaign(0, "a", 5), resign(1, 5)] {
            history.invoke(1, at * SECOND, call);
            history.ok(1, until * SECOND, answer);
        }
        history.invoke(1, refused.0 * SECOND, refused.2);
        history.fail(1, refused.1 * SECOND, "not the leader");
        assert!(election::check(&history.operations().unwrap(), TTL_S * SECOND).is_valid());
        let in_time = vec![
            campaign(0, "a", 5),
            proclaim(1, 5, "a2"),
            sees(1, 5, "a2"),
            resign(1, 5),
        ];
        assert!(judge(in_time).is_valid());
    }

    #[test]
    fn whoever_was_seen_to_lead_has_deposed_the_one_before() {
        let run = |token, last| {
            let mut history = History::new();
            history.invoke(2, 0, Campaign("b".into()));
            history.info(2, 0, "timeout");
            for (at, until, call, answer) in [
                campaign(0, "a", 1),
                sees(8, token, if token == 1 { "a" } else { "b" }),
                last,
            ] {
                history.invoke(1, at * SECOND, call);
                history.ok(1, until * SECOND, answer);
            }
            election::check(&history.operations().unwrap(), TTL_S * SECOND)
        };
        assert!(run(2, proclaim(8, 1, "a2")).has("deposed-leader-acted"));
        assert!(run(2, sees(8, 2, "b")).is_valid());
        assert!(run(1, proclaim(8, 1, "a2")).is_valid(), "the campaign may be won later");
        let mut overlapping = History::new();
        overlapping.invoke(2, 0, Campaign("b".into()));
        overlapping.info(2, 0, "timeout");
        overlapping.invoke(1, 0, Campaign("a".into()));
        overlapping.ok(1, 0, Elected { token: 1 });
        overlapping.invoke(1, 8 * SECOND, proclaim(8, 1, "a2").2);
        overlapping.invoke(3, 8 * SECOND, election::Call::Leader);
        overlapping.ok(3, 8 * SECOND, election::Return::Leader(Some((2, "b".into()))));
        overlapping.ok(1, 9 * SECOND, Proclaimed);
        assert!(election::check(&overlapping.operations().unwrap(), TTL_S * SECOND).is_valid());
    }

    #[test]
    fn who_was_told_that_its_session_is_gone_proclaims_nothing_and_is_not_seen() {
        let run = |lives, last| {
            judge(vec![
                campaign(0, "a", 5),
                (7, 7, Renew { token: 5 }, Renewed(lives)),
                last,
            ])
        };
        assert!(run(true, proclaim(7, 5, "a2")).is_valid() && run(true, sees(7, 5, "a")).is_valid());
        assert!(run(false, sees_nobody(7)).is_valid() && run(false, campaign(8, "b", 9)).is_valid());
        assert!(run(false, proclaim(7, 5, "a2")).has("deposed-leader-acted"));
        assert!(run(false, sees(7, 5, "a")).has("deposed-leader-acted"));
    }

    #[test]
    fn a_session_that_certainly_lives_is_not_said_to_be_gone() {
        let gone = |at| (at, at, Renew { token: 5 }, Renewed(false));
        assert!(judge(vec![campaign(0, "a", 5), gone(6)]).has("lost-early"));
        assert!(judge(vec![campaign(0, "a", 5), gone(7)]).is_valid());
        assert!(judge(vec![campaign(0, "a", 5), renew(6, 5), gone(12)]).has("lost-early"));
        assert!(judge(vec![campaign(0, "a", 5), renew(6, 5), gone(13)]).is_valid());
        assert!(
            judge(vec![campaign(0, "a", 5), resign(1, 5), gone(2)]).is_valid(),
            "who resigned may end its session"
        );
    }

    #[test]
    fn a_leaders_value_does_not_go_back() {
        let run = |last: Vec<Op>| judge([vec![campaign(0, "a", 5), proclaim(1, 5, "a2")], last].concat());
        assert!(run(vec![sees(1, 5, "a2"), proclaim(1, 5, "a3"), sees(1, 5, "a3")]).is_valid());
        assert!(run(vec![sees(1, 5, "a")]).has("value-backwards"));
        assert!(run(vec![sees(1, 5, "a3"), proclaim(1, 5, "a3")]).has("value-backwards"));
    }

    #[test]
    fn a_value_of_unknown_outcome_may_come_late_but_not_go_again() {
        let run = |seen: &[&str]| {
            let mut history = History::new();
            history.invoke(1, 0, Campaign("a".into()));
            history.ok(1, 0, Elected { token: 5 });
            let value = "a2".into();
            history.invoke(1, 0, Proclaim { token: 5, value });
            history.info(1, 0, "timeout");
            for value in seen {
                history.invoke(2, 0, election::Call::Leader);
                history.ok(2, 0, election::Return::Leader(Some((5, (*value).into()))));
            }
            election::check(&history.operations().unwrap(), TTL_S * SECOND)
        };
        assert!(run(&["a", "a2"]).is_valid());
        assert!(run(&["a", "a"]).is_valid());
        assert!(run(&["a", "a2", "a"]).has("value-backwards"));
    }
}
