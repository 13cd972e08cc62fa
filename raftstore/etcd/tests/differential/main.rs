//! Real etcd and the door side by side: random requests go to both, and answers, errors, hashes and watches must agree.
//! Skipped, visibly, where there is no `etcd` (Debian: `etcd-server`).
//!
//! `DIFFERENTIAL_SEEDS=100..200 DIFFERENTIAL_STEPS=2000 cargo test -p etcd --test differential` runs longer.
//!
//! Known differences, which the generator keeps away from: what is said of the compacted revision itself (hashes and
//! events at it changed between etcd's versions), compaction at revision 0, and watches from a negative revision (refused
//! with a reason only by etcds newer than Debian's). Of users and roles: [`auth`].

mod auth;
mod gateway;
mod generator;
mod peer;
mod watches;

use std::ops::Range;

use generator::{Generator, Op};
use peer::{Etcd, Peer};

const STEPS: usize = 250;
const SEEDS: Range<u64> = 1..7;
const WIDE_STEPS: usize = 400;
const WIDE_SEEDS: Range<u64> = 1..4;
const AUTH_STEPS: usize = 500;
const AUTH_SEEDS: Range<u64> = 1..3;

fn setting<T>(name: &str, parse: impl Fn(&str) -> Option<T>, otherwise: T) -> T {
    match std::env::var(name) {
        Ok(text) => parse(&text).unwrap_or_else(|| panic!("{name}={text} is not usable")),
        Err(_) => otherwise,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_agree_with_etcd() {
    let steps = setting("DIFFERENTIAL_STEPS", |text| text.parse().ok(), STEPS);
    for seed in setting("DIFFERENTIAL_SEEDS", seeds, SEEDS) {
        let Some(etcd) = Etcd::start().await else { return };
        run(seed, steps, etcd).await;
    }
}

/// Many keys, of which whole stretches come and go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_of_many_keys_agree_with_etcd() {
    for seed in setting("DIFFERENTIAL_SEEDS", seeds, WIDE_SEEDS) {
        let Some(etcd) = Etcd::start().await else { return };
        let (mut theirs, mut ours) = (etcd.peer().await, Peer::door().await);
        let mut generator = Generator::new(seed);
        let steps = setting("DIFFERENTIAL_STEPS", |text| text.parse().ok(), WIDE_STEPS);
        for step in 0..steps {
            let op = generator.wide_op();
            same(seed, step, &op, &mut generator, &mut theirs, &mut ours).await;
        }
        for op in Generator::everything() {
            same(seed, steps, &op, &mut generator, &mut theirs, &mut ours).await;
        }
    }
}

/// What is taken out of this store through its door, `etcdctl snapshot restore` takes in, and an etcd on it has the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_restored_by_etcd() {
    let mut ours = Peer::door().await;
    let mut generator = Generator::new(77);
    for _ in 0..STEPS {
        let op = generator.op();
        let answer = ours.apply(&op).await;
        generator.learn(&op, &answer);
    }
    auth::populate(&mut ours).await;
    // Enough for the file to have branches, and a row larger than a page.
    for index in 0..2_000 {
        let value = "x".repeat(if index == 7 { 10_000 } else { 40 });
        ours.put(&format!("more/{index}"), &value).await;
    }
    let snapshot = ours.snapshot().await;
    let Some(etcd) = Etcd::restore(&snapshot) else { return };
    let mut theirs = etcd.peer().await;
    for op in Generator::everything() {
        let (theirs, ours) = (theirs.apply(&op).await, ours.apply(&op).await);
        assert!(ours == theirs, "{op:?}\nours: {ours}\netcd: {theirs}");
    }
    auth::same_users(&mut theirs, &mut ours).await;
    // And both go on alike.
    for step in 0..STEPS {
        let op = generator.op();
        let (theirs, ours) = (theirs.apply(&op).await, ours.apply(&op).await);
        assert!(ours == theirs, "step {step}: {op:?}\nours: {ours}\netcd: {theirs}");
        generator.learn(&op, &theirs);
    }
}

/// What etcd saves is restored here, users and roles included, and both go on alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_etcd_saves_is_restored_here() {
    let Some(etcd) = Etcd::start().await else { return };
    let mut theirs = etcd.peer().await;
    let mut generator = Generator::new(78);
    for _ in 0..STEPS {
        let op = generator.op();
        let answer = theirs.apply(&op).await;
        generator.learn(&op, &answer);
    }
    auth::populate(&mut theirs).await;
    // Pages that are freed and used again, branches, and a row larger than a page.
    for round in 0..3 {
        for index in 0..500 {
            let filling = "x".repeat(if index == 7 { 10_000 } else { 40 + round });
            theirs.put(&format!("more/{index}"), &filling).await;
        }
    }
    let snapshot = theirs.snapshot().await;
    let mut ours = Peer::restored(&snapshot).await;
    for op in Generator::everything() {
        let (theirs, ours) = (theirs.apply(&op).await, ours.apply(&op).await);
        assert!(ours == theirs, "{op:?}\nours: {ours}\netcd: {theirs}");
    }
    auth::same_users(&mut theirs, &mut ours).await;
    // Etcd's sort leaves the order of equals open once there are many.
    for op in Generator::without("more/", theirs.revision().await) {
        let (theirs, ours) = (theirs.apply(&op).await, ours.apply(&op).await);
        assert!(ours == theirs, "{op:?}\nours: {ours}\netcd: {theirs}");
    }
    for step in 0..STEPS {
        let op = generator.op();
        let (theirs, ours) = (theirs.apply(&op).await, ours.apply(&op).await);
        assert!(ours == theirs, "step {step}: {op:?}\nours: {ours}\netcd: {theirs}");
        generator.learn(&op, &theirs);
    }
}

/// Users, roles and permissions change at random while somebody, or nobody, reads and writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_users_may_do_what_etcd_lets_them() {
    for seed in setting("DIFFERENTIAL_SEEDS", seeds, AUTH_SEEDS) {
        let Some(etcd) = Etcd::start().await else { return };
        let steps = setting("DIFFERENTIAL_STEPS", |text| text.parse().ok(), AUTH_STEPS);
        auth::run(seed, steps, &mut etcd.peer().await, &mut Peer::door().await).await;
    }
}

fn seeds(text: &str) -> Option<Range<u64>> {
    let (from, to) = text.split_once("..")?;
    Some(from.parse().ok()?..to.parse().ok()?)
}

async fn same(seed: u64, step: usize, op: &Op, generator: &mut Generator, theirs: &mut Peer, ours: &mut Peer) {
    let (theirs, ours) = (theirs.apply(op).await, ours.apply(op).await);
    assert!(
        ours == theirs,
        "seed {seed}, step {step}: {op:?}\nours: {ours}\netcd: {theirs}"
    );
    generator.learn(op, &theirs);
}

async fn run(seed: u64, steps: usize, etcd: Etcd) {
    let mut theirs = etcd.peer().await;
    let mut ours = Peer::door().await;
    let mut generator = Generator::new(seed);
    for step in 0..steps {
        let op = generator.op();
        same(seed, step, &op, &mut generator, &mut theirs, &mut ours).await;
    }
    watches::compare(seed, &mut generator, &mut theirs, &mut ours).await;
}
