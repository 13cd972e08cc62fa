//! Isolation checkers against small histories written down from the anomalies' definitions, and against random ones.

mod generate;

use std::collections::BTreeMap;

use checker::cycle::{append, wr};
use checker::limits::Bounds;
use checker::linear::{self, Model, txn};
use checker::{History, Outcome, Verdict, What};
use generate::{random_run, rng};
use rand::RngExt;

use append::Step::{Append, Read};

type Lists = History<append::Call, append::Return>;

/// Transactions that all overlap: real time orders nothing.
fn overlapping(txns: &[(append::Call, append::Return)]) -> Verdict {
    let mut history = Lists::new();
    for (process, (call, _)) in txns.iter().enumerate() {
        history.invoke(process as u64, 0, call.clone());
    }
    for (process, (_, answer)) in txns.iter().enumerate() {
        history.ok(process as u64, 0, answer.clone());
    }
    append::check(&history.operations().unwrap())
}

/// Transactions one after the other.
fn serial(txns: &[(append::Call, Outcome<append::Return>)]) -> Verdict {
    let mut history = Lists::new();
    for (call, outcome) in txns {
        history.invoke(0, 0, call.clone());
        match outcome {
            Outcome::Ok(answer) => history.ok(0, 0, answer.clone()),
            Outcome::Fail(error) => history.fail(0, 0, error),
            Outcome::Info(error) => history.info(0, 0, error),
        };
    }
    append::check(&history.operations().unwrap())
}

#[test]
fn writes_that_interleave_are_g0() {
    let verdict = overlapping(&[
        (vec![Append(1, 1), Append(2, 1)], vec![]),
        (vec![Append(1, 2), Append(2, 2)], vec![]),
        (vec![Read(1), Read(2)], vec![vec![1, 2], vec![2, 1]]),
    ]);
    assert!(verdict.has("G0"), "{verdict:?}");
}

#[test]
fn information_in_a_circle_is_g1c() {
    let verdict = overlapping(&[
        (vec![Append(1, 1), Read(2)], vec![vec![2]]),
        (vec![Append(2, 2), Read(1)], vec![vec![1]]),
    ]);
    assert!(verdict.has("G1c") && !verdict.has("G0"), "{verdict:?}");
}

#[test]
fn a_read_skew_is_g_single() {
    let verdict = overlapping(&[
        (vec![Append(1, 1), Append(2, 1)], vec![]),
        (vec![Read(1), Read(2)], vec![vec![], vec![1]]),
        (vec![Read(1)], vec![vec![1]]),
    ]);
    assert!(verdict.has("G-single") && !verdict.has("G1c"), "{verdict:?}");
}

#[test]
fn a_write_skew_is_g2() {
    let verdict = overlapping(&[
        (vec![Read(1), Append(2, 1)], vec![vec![]]),
        (vec![Read(2), Append(1, 1)], vec![vec![]]),
        (vec![Read(1), Read(2)], vec![vec![1], vec![1]]),
    ]);
    assert!(verdict.has("G2") && !verdict.has("G-single"), "{verdict:?}");
}

#[test]
fn a_lost_append_is_a_cycle_with_real_time() {
    let verdict = serial(&[
        (vec![Append(1, 1)], Outcome::Ok(vec![])),
        (vec![Append(1, 2)], Outcome::Ok(vec![])),
        (vec![Read(1)], Outcome::Ok(vec![vec![2]])),
    ]);
    assert!(verdict.has("G-single-realtime"), "{verdict:?}");
}

#[test]
fn a_stale_read_is_a_cycle_with_real_time() {
    let verdict = serial(&[
        (vec![Append(1, 1)], Outcome::Ok(vec![])),
        (vec![Read(1)], Outcome::Ok(vec![vec![]])),
        (vec![Read(1)], Outcome::Ok(vec![vec![1]])),
    ]);
    assert!(verdict.has("G-single-realtime"), "{verdict:?}");
}

#[test]
fn an_aborted_append_that_is_read_is_g1a_and_an_unknown_one_is_fine() {
    let run = |outcome| {
        serial(&[
            (vec![Append(1, 1)], outcome),
            (vec![Read(1)], Outcome::Ok(vec![vec![1]])),
        ])
    };
    assert!(run(Outcome::Fail("refused".into())).has("G1a"));
    assert!(run(Outcome::Info("timeout".into())).is_valid());
}

#[test]
fn a_read_amid_a_transaction_is_g1b() {
    let verdict = overlapping(&[
        (vec![Append(1, 1), Append(1, 2)], vec![]),
        (vec![Read(1)], vec![vec![1]]),
    ]);
    assert!(verdict.has("G1b"), "{verdict:?}");
}

#[test]
fn lists_that_no_one_can_have_made_are_named() {
    let read = |lists: &[&[i64]]| {
        let mut txns = vec![(vec![Append(1, 1)], vec![]), (vec![Append(1, 2)], vec![])];
        txns.extend(lists.iter().map(|list| (vec![Read(1)], vec![list.to_vec()])));
        overlapping(&txns)
    };
    assert!(read(&[&[1, 2], &[1]]).is_valid());
    assert!(read(&[&[1, 2], &[2, 1]]).has("incompatible-order"));
    assert!(read(&[&[1, 1]]).has("duplicate-elements"));
    assert!(read(&[&[1, 7]]).has("garbage-read"));
    assert!(overlapping(&[(vec![Append(1, 1), Read(1)], vec![vec![]])]).has("internal"));
}

/// A sequential store of lists.
struct Store;

impl Model for Store {
    type State = BTreeMap<u64, Vec<i64>>;
    type Call = append::Call;
    type Return = append::Return;

    fn initial(&self) -> Self::State {
        BTreeMap::new()
    }

    fn step(&self, state: &Self::State, call: &Self::Call, _: Option<&Self::Return>) -> Option<Self::State> {
        let mut next = state.clone();
        for step in call {
            if let Append(key, element) = step {
                next.entry(*key).or_default().push(*element);
            }
        }
        Some(next)
    }

    fn is_read(&self, _: &Self::Call) -> bool {
        false
    }
}

fn list_answer(before: &BTreeMap<u64, Vec<i64>>, call: &append::Call, _: &BTreeMap<u64, Vec<i64>>) -> append::Return {
    let (mut lists, mut reads) = (before.clone(), Vec::new());
    for step in call {
        match step {
            Append(key, element) => lists.entry(*key).or_default().push(*element),
            Read(key) => reads.push(lists.get(key).cloned().unwrap_or_default()),
        }
    }
    reads
}

#[test]
fn histories_of_a_serial_store_of_lists_pass_and_a_forgotten_element_is_found() {
    let mut found = 0;
    for seed in 0..100 {
        let mut element = 0;
        let call = |random: &mut rand::rngs::StdRng| {
            (0..random.random_range(1..5))
                .map(|_| {
                    element += 1;
                    let key = random.random_range(0..4);
                    if random.random_bool(0.5) {
                        Append(key, element)
                    } else {
                        Read(key)
                    }
                })
                .collect()
        };
        let mut random = rng(seed);
        let mut history = random_run(&mut random, &Store, 200, 8, call, list_answer);
        let verdict = append::check(&history.operations().unwrap());
        // The last appends of a random history may be read by nobody.
        assert!(!verdict.is_invalid(), "seed {seed}: {verdict:?}");
        found +=
            u64::from(forget_an_element(&mut history) && append::check(&history.operations().unwrap()).is_invalid());
    }
    assert!(found >= 95, "only {found} of 100 forgotten elements were found");
}

/// Takes the middle of a long list out of one answer.
fn forget_an_element(history: &mut Lists) -> bool {
    for event in &mut history.events {
        if let What::Ok { result } = &mut event.what
            && let Some(list) = result.iter_mut().find(|list| list.len() > 10)
        {
            list.remove(5);
            return true;
        }
    }
    false
}

fn registers(txns: &[(wr::Call, wr::Return)]) -> Verdict {
    let mut history = History::new();
    for (process, (call, _)) in txns.iter().enumerate() {
        history.invoke(process as u64, 0, call.clone());
    }
    for (process, (_, answer)) in txns.iter().enumerate() {
        history.ok(process as u64, 0, answer.clone());
    }
    wr::check(&history.operations().unwrap())
}

fn saw(reads: &[Option<i64>]) -> wr::Return {
    wr::Return {
        reads: reads.to_vec(),
        ..wr::Return::default()
    }
}

fn wrote(revision: i64) -> wr::Return {
    wr::Return {
        revision: Some(revision),
        ..wr::Return::default()
    }
}

#[test]
fn anomalies_of_registers_have_their_names() {
    use wr::Step::{Read, Write};
    let circle = registers(&[
        (vec![Write(1, 1), Read(2)], saw(&[Some(2)])),
        (vec![Write(2, 2), Read(1)], saw(&[Some(1)])),
    ]);
    assert!(circle.has("G1c"), "{circle:?}");
    let skew = registers(&[
        (vec![Read(1), Write(2, 1)], saw(&[None])),
        (vec![Read(2), Write(1, 1)], saw(&[None])),
    ]);
    assert!(skew.has("G2"), "{skew:?}");
    let lost_update = registers(&[
        (vec![Write(1, 1)], saw(&[])),
        (vec![Read(1), Write(1, 2)], saw(&[Some(1)])),
        (vec![Read(1), Write(1, 3)], saw(&[Some(1)])),
    ]);
    assert!(lost_update.has("G2") || lost_update.has("G-single"), "{lost_update:?}");
    let torn = registers(&[
        (vec![Write(1, 1), Write(2, 1)], wrote(2)),
        (vec![Write(1, 2), Write(2, 2)], wrote(3)),
        (vec![Read(1), Read(2)], saw(&[Some(1), Some(2)])),
    ]);
    assert!(torn.has("G-single"), "{torn:?}");
    let amid = registers(&[
        (vec![Write(1, 1), Write(1, 2)], wrote(2)),
        (vec![Read(1)], saw(&[Some(1)])),
    ]);
    assert!(amid.has("G1b"), "{amid:?}");
    let garbage = registers(&[(vec![Read(1)], saw(&[Some(9)]))]);
    assert!(garbage.has("garbage-read"));
    let own = registers(&[(vec![Write(1, 1), Read(1)], saw(&[None]))]);
    assert!(own.has("internal"));
}

#[test]
fn writes_of_registers_that_interleave_are_g0() {
    use wr::Step::{Read, Write};
    let second = |read, revision| wr::Return {
        revision: Some(revision),
        ..saw(&[read])
    };
    let run = |first, revision| {
        registers(&[
            (vec![Read(2), Write(1, 1), Write(2, 1)], second(first, 5)),
            (vec![Write(1, 2), Write(2, 2)], wrote(revision)),
        ])
    };
    assert!(run(None, 6).is_valid() && run(Some(2), 4).is_valid());
    assert!(run(Some(2), 6).has("G0"));
}

#[test]
fn an_aborted_write_that_is_read_is_g1a_and_an_unknown_one_is_fine() {
    use wr::Step::{Read, Write};
    let run = |end: fn(&mut History<wr::Call, wr::Return>) -> u64| {
        let mut history = History::new();
        history.invoke(0, 0, vec![Write(1, 1)]);
        end(&mut history);
        history.invoke(1, 0, vec![Read(1)]);
        history.ok(1, 0, saw(&[Some(1)]));
        wr::check(&history.operations().unwrap())
    };
    assert!(run(|history| history.fail(0, 0, "refused")).has("G1a"));
    assert!(run(|history| history.info(0, 0, "timeout")).is_valid());
}

#[test]
fn a_revision_is_of_one_writer() {
    use wr::Step::{Read, Write};
    let run = |key, revision| registers(&[(vec![Write(1, 1)], wrote(5)), (vec![Write(key, 2)], wrote(revision))]);
    assert!(run(1, 6).is_valid());
    assert!(run(1, 5).has("revision-given-twice"));
    assert!(run(2, 6).is_valid());
    assert!(run(2, 5).has("revision-given-twice"));
    let reader = registers(&[
        (vec![Write(1, 1)], wrote(5)),
        (
            vec![Read(1)],
            wr::Return {
                revision: Some(5),
                ..saw(&[Some(1)])
            },
        ),
    ]);
    assert!(reader.is_valid(), "a reader is told the revision that it read at");
}

/// Transactions with their beginnings and ends, no two of which fall together.
fn timed<C: Clone, R: Clone>(txns: &[(u64, u64, C, R)]) -> Vec<checker::Operation<C, R>> {
    let mut events = Vec::new();
    for (process, (from, to, call, answer)) in txns.iter().enumerate() {
        events.push((*from, process as u64, What::Invoke { call: call.clone() }));
        let result = answer.clone();
        events.push((*to, process as u64, What::Ok { result }));
    }
    events.sort_by_key(|(time, ..)| *time);
    let mut history = History::new();
    for (time, process, what) in events {
        history.push(process, time, what);
    }
    history.operations().unwrap()
}

#[test]
fn writes_against_real_time_are_g0_realtime() {
    use wr::Step::Write;
    let lists = |ends| {
        append::check(&timed(&[
            (0, ends, vec![Append(1, 1)], vec![]),
            (2, 4, vec![Append(1, 2)], vec![]),
            (5, 6, vec![Read(1)], vec![vec![2, 1]]),
        ]))
    };
    assert!(lists(3).is_valid());
    let verdict = lists(1);
    assert!(verdict.has("G0-realtime") && !verdict.has("G0"), "{verdict:?}");
    let registers = |revision| {
        wr::check(&timed(&[
            (0, 1, vec![Write(1, 1)], wrote(5)),
            (2, 3, vec![Write(1, 2)], wrote(revision)),
        ]))
    };
    assert!(registers(6).is_valid());
    assert!(registers(4).has("G0-realtime"));
}

#[test]
fn information_from_the_future_is_g1c_realtime() {
    use wr::Step::{Read as ReadRegister, Write};
    let lists = |ends| {
        append::check(&timed(&[
            (0, ends, vec![Read(1)], vec![vec![1]]),
            (2, 4, vec![Append(1, 1)], vec![]),
        ]))
    };
    assert!(lists(3).is_valid());
    assert!(lists(1).has("G1c-realtime") && !lists(1).has("G1c"));
    let registers = |ends| {
        wr::check(&timed(&[
            (0, ends, vec![ReadRegister(1)], saw(&[Some(1)])),
            (2, 4, vec![Write(1, 1)], wrote(5)),
        ]))
    };
    assert!(registers(3).is_valid());
    assert!(registers(1).has("G1c-realtime"));
}

/// Two transactions each miss what another wrote, and only real time closes the circle.
#[test]
fn missed_writes_in_a_circle_with_real_time_are_g2_realtime() {
    use wr::Step::{Read as ReadRegister, Write};
    let lists = |ends| {
        append::check(&timed(&[
            (0, 9, vec![Read(2), Append(1, 1)], vec![vec![]]),
            (1, ends, vec![Append(2, 1)], vec![]),
            (3, 6, vec![Read(1)], vec![vec![]]),
            (5, 8, vec![Read(1), Read(2)], vec![vec![1], vec![1]]),
        ]))
    };
    let verdict = lists(2);
    assert!(lists(4).is_valid());
    assert!(verdict.has("G2-realtime") && !verdict.has("G2"), "{verdict:?}");
    assert!(!verdict.has("G-single-realtime"), "{verdict:?}");
    let registers = |ends| {
        wr::check(&timed(&[
            (
                0,
                9,
                vec![ReadRegister(2), Write(1, 1)],
                wr::Return {
                    revision: Some(5),
                    ..saw(&[None])
                },
            ),
            (1, ends, vec![Write(2, 1)], wrote(6)),
            (3, 6, vec![ReadRegister(1)], saw(&[None])),
        ]))
    };
    assert!(registers(4).is_valid());
    assert!(registers(2).has("G2-realtime"));
}

/// The second writer had read the first one's value, yet its revision is the smaller one.
#[test]
fn a_revision_that_goes_backwards_is_found() {
    use wr::Step::{Read, Write};
    let verdict = registers(&[
        (vec![Write(1, 1)], wrote(9)),
        (
            vec![Read(1), Write(1, 2)],
            wr::Return {
                revision: Some(8),
                ..saw(&[Some(1)])
            },
        ),
    ]);
    assert!(verdict.has("cyclic-versions"), "{verdict:?}");
}

#[test]
fn revisions_do_not_go_back_in_real_time_whatever_the_keys() {
    use wr::Step::{Read, Write};
    let run = |ends, second: (wr::Step, wr::Return)| {
        wr::check(&timed(&[
            (0, ends, vec![Write(1, 1)], wrote(5)),
            (2, 4, vec![second.0], second.1),
        ]))
    };
    let read = |revision| {
        let revision = Some(revision);
        (
            Read(2),
            wr::Return {
                revision,
                ..saw(&[None])
            },
        )
    };
    assert!(run(1, (Write(2, 2), wrote(6))).is_valid());
    assert!(run(3, (Write(2, 2), wrote(4))).is_valid(), "they overlap");
    assert!(run(1, (Write(2, 2), wrote(4))).has("revision-backwards"));
    assert!(run(1, read(5)).is_valid() && run(3, read(4)).is_valid());
    assert!(run(1, read(4)).has("revision-backwards"));
}

/// One after the other; `None`: nobody knows the end.
fn in_turn(txns: Vec<(wr::Step, Option<wr::Return>)>) -> Verdict {
    let mut history = History::new();
    for (step, answer) in txns {
        history.invoke(1, 0, vec![step]);
        match answer {
            Some(answer) => history.ok(1, 0, answer),
            None => history.info(1, 0, "timeout"),
        };
    }
    wr::check(&history.operations().unwrap())
}

/// A read as today's recorders tell it: at that revision, of what was written then.
fn read_at(revision: i64, seen: Option<(i64, i64)>) -> wr::Return {
    wr::Return {
        revision: Some(revision),
        reads: vec![seen.map(|(value, _)| value)],
        modified: vec![seen.map(|(_, modified)| modified)],
    }
}

#[test]
fn real_time_orders_the_values_of_writes_whose_end_nobody_knows() {
    use wr::Step::{Read, Write};
    let read = |value| (Read(1), Some(saw(&[Some(value)])));
    let overtaken = |reads: &[i64]| {
        let writes = vec![(Write(1, 5), Some(wrote(9))), (Write(1, 6), None)];
        in_turn(
            writes
                .into_iter()
                .chain(reads.iter().map(|value| read(*value)))
                .collect(),
        )
    };
    for fine in [&[5, 5][..], &[6, 6], &[5, 6], &[]] {
        assert!(overtaken(fine).is_valid(), "{fine:?}");
    }
    assert!(overtaken(&[6, 5]).has("cyclic-versions"));
    let unknown = |reads: &[i64]| {
        let writes = vec![(Write(1, 5), None), (Write(1, 6), None)];
        in_turn(
            writes
                .into_iter()
                .chain(reads.iter().map(|value| read(*value)))
                .collect(),
        )
    };
    assert!(
        unknown(&[5, 6]).is_valid() && unknown(&[6, 5]).is_valid(),
        "either may come late"
    );
    assert!(unknown(&[5, 6, 5]).has("cyclic-versions"));
    let absent = in_turn(vec![(Write(1, 5), None), read(5), (Read(1), Some(saw(&[None])))]);
    assert!(absent.is_invalid());
}

/// The write of 6 took effect before who read it wrote to the second key, and the last one, which saw that, missed the 6.
#[test]
fn a_circle_that_needs_the_order_of_values_in_real_time_is_found() {
    use wr::Step::{Read, Write};
    let run = |seen| {
        let mut history = History::new();
        history.invoke(1, 0, vec![Write(1, 5)]);
        history.ok(1, 0, saw(&[]));
        history.invoke(1, 0, vec![Write(1, 6)]);
        history.info(1, 0, "timeout");
        history.invoke(2, 0, vec![Read(1), Write(2, 1)]);
        history.invoke(3, 0, vec![Read(2), Read(1)]);
        history.ok(2, 0, saw(&[Some(6)]));
        history.ok(3, 0, saw(&[Some(1), Some(seen)]));
        wr::check(&history.operations().unwrap())
    };
    assert!(run(6).is_valid());
    let verdict = run(5);
    assert!(
        verdict.has("G-single-realtime") && !verdict.has("G-single"),
        "{verdict:?}"
    );
}

#[test]
fn a_read_is_what_was_there_at_its_revision() {
    use wr::Step::{Read, Write};
    let run = |read: wr::Return| registers(&[(vec![Write(1, 5)], wrote(9)), (vec![Read(1)], read)]);
    assert!(run(read_at(8, None)).is_valid());
    assert!(run(read_at(9, Some((5, 9)))).is_valid() && run(read_at(12, Some((5, 9)))).is_valid());
    assert!(run(read_at(10, None)).has("stale-read"));
    assert!(run(read_at(9, None)).has("stale-read"));
    assert!(run(read_at(8, Some((5, 9)))).has("future-read"));
    assert!(run(read_at(8, Some((5, 8)))).has("two-revisions"));
    let replaced = |read| {
        registers(&[
            (vec![Write(1, 5)], wrote(9)),
            (vec![Write(1, 6)], wrote(11)),
            (vec![Read(1)], read),
        ])
    };
    assert!(replaced(read_at(10, Some((5, 9)))).is_valid());
    assert!(replaced(read_at(11, Some((5, 9)))).has("stale-read"));
    let writes_too = |revision| {
        let answer = wr::Return {
            revision: Some(revision),
            ..saw(&[None])
        };
        registers(&[(vec![Write(1, 5)], wrote(9)), (vec![Read(1), Write(2, 1)], answer)])
    };
    assert!(writes_too(8).is_valid());
    assert!(writes_too(10).has("stale-read"));
}

#[test]
fn reads_tell_the_revision_of_a_write_whose_end_nobody_knows() {
    use wr::Step::{Read, Write};
    let run = |reads: Vec<(u64, wr::Return)>| {
        let mut history = History::new();
        for (process, step) in [(1, Write(1, 5)), (2, Write(2, 6))] {
            history.invoke(process, 0, vec![step]);
        }
        for process in [1, 2] {
            history.info(process, 0, "timeout");
        }
        let reads = reads.into_iter().zip(3..);
        let reads: Vec<_> = reads.collect();
        for ((key, _), process) in &reads {
            history.invoke(*process, 0, vec![Read(*key)]);
        }
        for ((_, answer), process) in reads {
            history.ok(process, 0, answer);
        }
        wr::check(&history.operations().unwrap())
    };
    let (at, five, six) = (read_at, Some((5, 8)), |at| Some((6, at)));
    assert!(run(vec![(1, at(8, five)), (1, at(7, None))]).is_valid());
    assert!(run(vec![(1, at(8, five)), (1, at(9, None))]).has("stale-read"));
    assert!(run(vec![(1, at(7, five))]).has("future-read"));
    assert!(run(vec![(1, at(9, five)), (1, at(9, Some((5, 9))))]).has("two-revisions"));
    assert!(run(vec![(1, at(9, five)), (2, at(9, six(9)))]).is_valid());
    assert!(run(vec![(1, at(9, five)), (2, at(9, six(8)))]).has("revision-given-twice"));

    let begun_late = |modified| {
        let writes = vec![(Write(1, 5), Some(wrote(9))), (Write(2, 6), None)];
        let read = (Read(2), Some(read_at(12, Some((6, modified)))));
        in_turn(writes.into_iter().chain([read]).collect())
    };
    assert!(begun_late(10).is_valid());
    assert!(begun_late(8).has("revision-backwards"));
}

/// Random histories of a store that tells all revisions.
#[test]
fn reads_of_a_sequential_store_fit_their_revisions_and_a_read_of_the_past_does_not() {
    let mut found = 0;
    for seed in 0..200 {
        let mut random = rng(seed);
        let (mut history, mut open) = (History::new(), BTreeMap::new());
        let (mut revision, mut state) = (1, BTreeMap::<u64, (i64, i64)>::new());
        let mut past = Vec::new();
        for number in 0..80 {
            let process = random.random_range(0..4_u64);
            if let Some(answer) = open.remove(&process) {
                match random.random_ratio(1, 6) {
                    true => history.info(process, 0, "timeout"),
                    false => history.ok(process, 0, answer),
                };
                continue;
            }
            let write = random.random_bool(0.5);
            let steps = [wr::Step::Read(0), wr::Step::Write(random.random_range(0..2), number)];
            history.invoke(process, 0, steps[..1 + usize::from(write)].to_vec());
            let seen = state.get(&0).copied();
            if write && let wr::Step::Write(key, value) = steps[1] {
                revision += 1;
                state.insert(key, (value, revision));
            } else {
                past.push(read_at(revision, seen));
            }
            open.insert(process, read_at(revision, seen));
        }
        let verdict = wr::check(&history.operations().unwrap());
        assert!(verdict.is_valid(), "seed {seed}: {verdict:?}");
        // The last read is answered what the first one was, as of now.
        let last = history.events.iter_mut().rev().find_map(|event| match &mut event.what {
            What::Ok { result } if result.reads.len() == 1 => Some(result),
            _ => None,
        });
        let (last, early) = (last.unwrap(), past[0].clone());
        let changed = last.reads != early.reads;
        (last.reads, last.modified) = (early.reads, early.modified);
        found += u64::from(changed && wr::check(&history.operations().unwrap()).is_invalid());
    }
    assert!(found >= 150, "only {found} of 200 reads of the past were found");
}

#[test]
fn a_register_history_of_an_older_recorder_is_read() {
    let old: wr::Return = serde_json::from_str(r#"{"reads":[5,null]}"#).unwrap();
    assert_eq!(old, saw(&[Some(5), None]));
}

#[test]
fn an_append_that_nobody_read_after_is_not_judged() {
    let run = |read: Vec<append::Step>, seen: &[i64]| {
        let reads = read.iter().map(|_| seen.to_vec()).collect();
        let txns = [(0, 1, vec![Append(1, 1)], vec![]), (2, 3, read, reads)];
        append::check(&timed(&txns))
    };
    assert!(run(vec![Read(1)], &[1]).is_valid());
    assert!(run(vec![Read(1)], &[]).is_invalid());
    assert_eq!(run(vec![], &[]).validity, checker::Validity::Unknown);
    assert_eq!(run(vec![Read(2)], &[]).validity, checker::Validity::Unknown);
}

/// Cycles are proofs: whenever one is found, no order of the transactions explains the history; and a history of a real
/// store has none.
#[test]
fn cycles_never_accuse_a_history_that_an_order_explains() {
    let (mut accused, mut unexplained) = (0, 0);
    for seed in 0..600 {
        let mut value = 0;
        let call = |random: &mut rand::rngs::StdRng| {
            let steps = (0..random.random_range(1..4)).map(|_| {
                value += 1;
                let key = random.random_range(0..3);
                if random.random_bool(0.5) {
                    txn::Step::Write(key, value)
                } else {
                    txn::Step::Read(key)
                }
            });
            txn::Call {
                guards: vec![],
                steps: steps.collect(),
            }
        };
        let answer = |before: &BTreeMap<u64, i64>, call: &txn::Call, _: &BTreeMap<u64, i64>| {
            let (mut state, mut reads) = (before.clone(), Vec::new());
            for step in &call.steps {
                match step {
                    txn::Step::Read(key) => reads.push(state.get(key).copied()),
                    txn::Step::Write(key, value) => {
                        state.insert(*key, *value);
                    }
                }
            }
            txn::Return { committed: true, reads }
        };
        let mut random = rng(seed);
        let mut history = random_run(&mut random, &txn::Registers, 14, 3, call, answer);
        assert!(judge_both(&history) == (true, true), "seed {seed}");
        spoil_a_read(&mut history, random.random_range(1..20));
        let (explained, acyclic) = judge_both(&history);
        assert!(acyclic || !explained, "seed {seed}: an innocent history was accused");
        accused += u64::from(!acyclic);
        unexplained += u64::from(!explained);
    }
    assert!(
        accused > 50 && accused * 2 > unexplained,
        "{accused} of {unexplained} bad histories were found"
    );
}

/// Whether an order explains the history, and whether it has no anomaly.
fn judge_both(history: &History<txn::Call, txn::Return>) -> (bool, bool) {
    let operations = history.operations().unwrap();
    let explained = linear::check("txn", &txn::Registers, &operations, Bounds::default()).is_valid();
    let convert = |operation: &linear::OperationOf<txn::Registers>| {
        let steps = operation.call.steps.iter().map(|step| match step {
            txn::Step::Read(key) => wr::Step::Read(*key),
            txn::Step::Write(key, value) => wr::Step::Write(*key, *value),
        });
        let outcome = match &operation.outcome {
            Outcome::Ok(answer) => Outcome::Ok(saw(&answer.reads)),
            Outcome::Fail(error) => Outcome::Fail(error.clone()),
            Outcome::Info(error) => Outcome::Info(error.clone()),
        };
        operation.with(steps.collect(), outcome)
    };
    let converted: Vec<_> = operations.iter().map(convert).collect();
    (explained, wr::check(&converted).is_valid())
}

fn spoil_a_read(history: &mut History<txn::Call, txn::Return>, value: i64) {
    for event in history.events.iter_mut().rev() {
        if let What::Ok { result } = &mut event.what
            && let Some(read) = result.reads.first_mut()
        {
            *read = Some(value).filter(|value| value % 4 != 0);
            return;
        }
    }
}
