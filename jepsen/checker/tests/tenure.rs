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
        lease::check(&serial(ops), Some(5 * SECOND))
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

    /// A renewal of unknown outcome may have counted, so that nothing can be called overdue; but nothing early either.
    #[test]
    fn a_renewal_of_unknown_outcome_excuses_a_late_expiry_only_for_its_own_time() {
        let run = |probed: u64| {
            let mut history = History::new();
            history.invoke(1, 0, Grant(7));
            history.ok(1, SECOND, Ttl(10));
            history.invoke(1, 2 * SECOND, KeepAlive(7));
            history.info(1, 9 * SECOND, "timeout");
            history.invoke(1, probed * SECOND, Probe(7));
            history.ok(1, probed * SECOND, Present(true));
            lease::check(&history.operations().unwrap(), Some(5 * SECOND))
        };
        assert!(run(20).is_valid());
        assert!(run(25).has("overdue"));
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

    fn campaign(name: &str, token: i64) -> (u64, u64, election::Call, election::Return) {
        (0, 0, Campaign(name.into()), Elected { token })
    }

    fn sees(token: i64, value: &str) -> (u64, u64, election::Call, election::Return) {
        (
            0,
            0,
            election::Call::Leader,
            election::Return::Leader(Some((token, value.into()))),
        )
    }

    fn proclaim(token: i64, value: &str) -> (u64, u64, election::Call, election::Return) {
        (
            0,
            0,
            Proclaim {
                token,
                value: value.into(),
            },
            Proclaimed,
        )
    }

    fn judge(ops: Vec<(u64, u64, election::Call, election::Return)>) -> Verdict {
        election::check(&serial(ops))
    }

    #[test]
    fn leaders_follow_one_another() {
        let fine = vec![
            campaign("a", 5),
            sees(5, "a"),
            proclaim(5, "a2"),
            sees(5, "a2"),
            campaign("b", 9),
            sees(9, "b"),
        ];
        assert!(judge(fine).is_valid());
        assert!(judge(vec![campaign("a", 5), campaign("b", 9), sees(5, "a")]).has("leader-backwards"));
        assert!(judge(vec![campaign("a", 5), campaign("b", 5)]).has("token-reused"));
    }

    #[test]
    fn a_deposed_leader_can_do_nothing_and_nobody_leads_with_anothers_value() {
        assert!(judge(vec![campaign("a", 5), campaign("b", 9), proclaim(5, "a2")]).has("deposed-leader-acted"));
        assert!(judge(vec![campaign("a", 5), sees(5, "c")]).has("unknown-value"));
    }
}
