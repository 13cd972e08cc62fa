//! What is measured, each on databases of its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use clap::ValueEnum;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use proto::etcd::etcdserverpb::request_op::Request;
use proto::etcd::etcdserverpb::watch_request::RequestUnion;
use proto::etcd::etcdserverpb::{
    PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest, WatchResponse,
};
use rand::RngExt;
use tonic::Streaming;
use tonic::transport::Channel;

use super::database::{Database, Peer, get};
use super::load::{Seen, Span, closed};
use crate::services::{kv_client::KvClient, watch_client::WatchClient};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// 256 clients put 256 B to the leader of three members
    Put,
    /// One client does
    PutOne,
    /// 256 clients put 256 B to a member that is alone
    PutAlone,
    /// 256 clients read a key of 256 B from the leader, then from a follower, of three members
    Get,
    /// 128 clients read from the leader while others put 1,000 times a second
    Burst,
    /// 16 clients read 500 keys of 1 KiB each at once
    Range,
    /// 1,000 watchers are sent what 16 clients put
    Watch,
    /// 64 clients put while 16 watchers of all that take nothing
    Stalled,
    /// A million keys of 256 B in a member that is alone
    Memory,
    /// A member with 500,000 keys of 256 B is killed and started again
    Restart,
    /// The leader of three is killed, ten times
    Failover,
}

/// One figure of a work.
#[derive(Clone)]
pub struct Figure {
    pub work: String,
    pub unit: &'static str,
    pub value: f64,
}

const CONNECTIONS: usize = 16;
/// What is waited for comes within this time, or not at all.
const ANSWER: Duration = Duration::from_secs(60);
/// Keys that are written, at random.
const KEYS: u64 = 100_000;
const VALUE: usize = 256;
/// After much was written.
const SETTLING: Duration = Duration::from_secs(10);
/// Puts a transaction when a database is filled.
const FILL: u64 = 100;

impl Work {
    /// Whether a server that does nothing can be measured by it: the most that any can reach.
    pub fn has_ceiling(self) -> bool {
        matches!(self, Work::Put | Work::PutOne | Work::Get)
    }

    pub async fn measure(self, peer: &Peer, place: &Path, span: Span) -> anyhow::Result<Vec<Figure>> {
        let start = async |members| Database::start(peer, members, place).await;
        match self {
            Work::Put => puts("put, 3 members, 256 clients", &start(3).await?, span, 256).await,
            Work::PutOne => puts("put, 3 members, 1 client", &start(3).await?, span, 1).await,
            Work::PutAlone => puts("put, 1 member, 256 clients", &start(1).await?, span, 256).await,
            Work::Get => gets(&start(3).await?, span).await,
            Work::Burst => burst(&start(3).await?, span).await,
            Work::Range => ranges(&start(3).await?, span).await,
            Work::Watch => watched(&start(3).await?, span).await,
            Work::Stalled => stalled(&start(3).await?, span).await,
            Work::Memory => memory(&start(1).await?).await,
            Work::Restart => restart(start(1).await?).await,
            Work::Failover => failover(start(3).await?).await,
        }
    }
}

fn figures(work: &str, seen: Seen) -> Vec<Figure> {
    let figure = |unit, value| Figure {
        work: work.to_owned(),
        unit,
        value,
    };
    vec![
        figure("a second", seen.rate),
        figure("p50 ms", seen.p50.as_secs_f64() * 1e3),
        figure("p99 ms", seen.p99.as_secs_f64() * 1e3),
        figure("cores of clients", seen.generator),
        figure("cores of members", seen.members),
    ]
}

/// Values that do not compress, cut out of one buffer.
#[derive(Clone)]
struct Values(Bytes);

impl Values {
    fn new() -> Values {
        let mut bytes = vec![0; 1 << 20];
        rand::rng().fill(&mut bytes[..]);
        Values(bytes.into())
    }

    fn cut(&self, size: usize) -> Bytes {
        let start = rand::rng().random_range(0..self.0.len() - size);
        self.0.slice(start..start + size)
    }
}

fn key(number: u64) -> Bytes {
    format!("k{number:011}").into()
}

fn put(values: &Values, number: u64, size: usize) -> PutRequest {
    PutRequest {
        key: key(number),
        value: values.cut(size),
        ..Default::default()
    }
}

/// Clients over a few connections to one member.
async fn clients(database: &Database, member: usize, count: usize) -> anyhow::Result<Vec<KvClient<Channel>>> {
    let channels = database.connections(member, count.min(CONNECTIONS)).await?;
    let clients = channels.into_iter().map(KvClient::new).cycle().take(count);
    Ok(clients.collect())
}

/// What each of `clients` repeats: a put of a random key.
fn putting(
    clients: Vec<KvClient<Channel>>,
) -> Vec<impl FnMut() -> futures::future::BoxFuture<'static, anyhow::Result<u64>>> {
    let values = Values::new();
    let putting = |client: KvClient<Channel>| {
        let values = values.clone();
        move || -> futures::future::BoxFuture<'static, anyhow::Result<u64>> {
            let request = put(&values, rand::rng().random_range(0..KEYS), VALUE);
            let mut client = client.clone();
            Box::pin(async move {
                client.put(request).await?;
                Ok(1)
            })
        }
    };
    clients.into_iter().map(putting).collect()
}

/// What each of `clients` repeats: a range, which has to find so many keys.
fn reading(
    clients: Vec<KvClient<Channel>>,
    request: impl Fn() -> RangeRequest + Clone + Send + 'static,
    finds: usize,
) -> Vec<impl FnMut() -> futures::future::BoxFuture<'static, anyhow::Result<u64>>> {
    let reading = |client: KvClient<Channel>| {
        let request = request.clone();
        move || -> futures::future::BoxFuture<'static, anyhow::Result<u64>> {
            let request = request();
            let mut client = client.clone();
            Box::pin(async move {
                let found = client.range(request).await?.into_inner().kvs.len();
                anyhow::ensure!(found == finds, "a range finds {found} keys instead of {finds}");
                Ok(1)
            })
        }
    };
    clients.into_iter().map(reading).collect()
}

/// Writes keys 0 to `keys`, many at a time.
async fn fill(database: &Database, keys: u64, size: usize) -> anyhow::Result<()> {
    let values = Values::new();
    let next = Arc::new(AtomicU64::new(0));
    let fillers = clients(database, database.leader().await?, 8).await?;
    let filling = fillers.into_iter().map(|mut client| {
        let (next, values) = (next.clone(), values.clone());
        tokio::spawn(async move {
            loop {
                let first = next.fetch_add(FILL, Ordering::Relaxed);
                if first >= keys {
                    return anyhow::Ok(());
                }
                let op = |number| RequestOp {
                    request: Some(Request::RequestPut(put(&values, number, size))),
                };
                let success = (first..keys.min(first + FILL)).map(op).collect();
                let txn = TxnRequest {
                    success,
                    ..Default::default()
                };
                client.txn(txn).await?;
            }
        })
    });
    for filled in futures::future::join_all(filling).await {
        filled??;
    }
    Ok(())
}

async fn puts(work: &str, database: &Database, span: Span, count: usize) -> anyhow::Result<Vec<Figure>> {
    let clients = clients(database, database.leader().await?, count).await?;
    Ok(figures(work, closed(database, span, putting(clients)).await?))
}

async fn gets(database: &Database, span: Span) -> anyhow::Result<Vec<Figure>> {
    const READ: u64 = 10_000;
    fill(database, READ, VALUE).await?;
    let leader = database.leader().await?;
    let request = || get(&format!("k{:011}", rand::rng().random_range(0..READ)));
    let mut all = Vec::new();
    for (work, member) in [
        ("get, leader, 256 clients", leader),
        ("get, follower, 256 clients", (leader + 1) % 3),
    ] {
        let clients = clients(database, member, 256).await?;
        let seen = closed(database, span, reading(clients, request, 1)).await?;
        all.append(&mut figures(work, seen));
    }
    Ok(all)
}

async fn burst(database: &Database, span: Span) -> anyhow::Result<Vec<Figure>> {
    const READ: u64 = 10_000;
    const WRITERS: u32 = 64;
    const PUTS: u32 = 1_000;
    fill(database, READ, VALUE).await?;
    let leader = database.leader().await?;
    let request = || get(&format!("k{:011}", rand::rng().random_range(0..READ)));
    let readers = async || anyhow::Ok(reading(clients(database, leader, 128).await?, request, 1));
    let before = closed(database, span, readers().await?).await?;
    let written = Arc::new(AtomicU64::new(0));
    let writers = clients(database, leader, WRITERS as usize).await?;
    let mut writing = tokio::task::JoinSet::<anyhow::Result<()>>::new();
    let period = Duration::from_secs(1) * WRITERS / PUTS;
    let start = Instant::now();
    for (number, mut write) in (0..).zip(putting(writers)) {
        let written = written.clone();
        let mut pace = tokio::time::interval_at((start + period * number / WRITERS).into(), period);
        writing.spawn(async move {
            loop {
                pace.tick().await;
                write().await?;
                written.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let seen = closed(database, span, readers().await?).await?;
    let took = start.elapsed();
    all_running(&mut writing)?;
    writing.shutdown().await;
    let after = closed(database, span, readers().await?).await?;
    let alone = f64::midpoint(before.rate, after.rate);
    let work = "get during 1,000 puts a second, 128 clients";
    let mut all = figures(work, seen);
    let more = |unit, value| Figure {
        work: work.into(),
        unit,
        value,
    };
    all.push(more("% fewer than without", 100.0 * (1.0 - seen.rate / alone)));
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    all.push(more(
        "puts a second",
        written.load(Ordering::Relaxed) as f64 / took.as_secs_f64(),
    ));
    Ok(all)
}

/// None of the tasks beside a load may have ended.
fn all_running(tasks: &mut tokio::task::JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    match tasks.try_join_next() {
        None => Ok(()),
        Some(ended) => Err(ended?
            .err()
            .unwrap_or_else(|| anyhow::anyhow!("a task beside the load ended"))),
    }
}

async fn ranges(database: &Database, span: Span) -> anyhow::Result<Vec<Figure>> {
    const KEYS: u64 = 500;
    fill(database, KEYS, 1024).await?;
    let request = || RangeRequest {
        key: key(0),
        range_end: key(KEYS),
        ..Default::default()
    };
    let clients = clients(database, database.leader().await?, 16).await?;
    let seen = closed(database, span, reading(clients, request, 500)).await?;
    Ok(figures("range of 500 keys of 1 KiB, 16 clients", seen))
}

/// A stream with some watches of every key.
async fn watch(channel: Channel, watches: usize) -> anyhow::Result<Streaming<WatchResponse>> {
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key: "k".into(),
            range_end: "l".into(),
            ..Default::default()
        })),
    };
    let requests = tokio_stream::iter(vec![create; watches]).chain(tokio_stream::pending());
    let mut responses = WatchClient::new(channel).watch(requests).await?.into_inner();
    for _ in 0..watches {
        let created = responses.message().await?.context("a watch ends")?;
        anyhow::ensure!(created.created, "a watch is not created: {created:?}");
    }
    Ok(responses)
}

async fn watched(database: &Database, span: Span) -> anyhow::Result<Vec<Figure>> {
    let leader = database.leader().await?;
    let mut channels = database.connections(leader, 10).await?.into_iter().cycle();
    let delivered = Arc::new(AtomicU64::new(0));
    let mut watching = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let mut responses = watch(channels.next().context("connections")?, 10).await?;
        let delivered = delivered.clone();
        watching.spawn(async move {
            while let Some(response) = responses.message().await? {
                anyhow::ensure!(!response.canceled, "a watch is cancelled: {}", response.cancel_reason);
                delivered.fetch_add(response.events.len() as u64, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    // One client asks how many there were, while the others go on: the span is that of the load.
    let clients = clients(database, leader, 16).await?;
    let counted = {
        let delivered = delivered.clone();
        tokio::spawn(async move {
            tokio::time::sleep(span.warm).await;
            let (start, before) = (Instant::now(), delivered.load(Ordering::Relaxed));
            tokio::time::sleep(span.measured).await;
            (delivered.load(Ordering::Relaxed) - before, start.elapsed())
        })
    };
    let seen = closed(database, span, putting(clients)).await?;
    let (events, took) = counted.await?;
    all_running(&mut watching)?;
    watching.shutdown().await;
    let mut all = figures("put, 16 clients, watched by 1,000", seen);
    all.push(Figure {
        work: "events to 1,000 watchers".into(),
        unit: "a second",
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        value: events as f64 / took.as_secs_f64(),
    });
    Ok(all)
}

async fn stalled(database: &Database, span: Span) -> anyhow::Result<Vec<Figure>> {
    let leader = database.leader().await?;
    let putters = async || anyhow::Ok(putting(clients(database, leader, 64).await?));
    let before = closed(database, span, putters().await?).await?;
    let mut stalled = Vec::new();
    for _ in 0..16 {
        stalled.push(watch(database.connect_narrow(leader).await?, 1).await?);
    }
    let beside = closed(database, span, putters().await?).await?;
    // They were not dropped, which would cost nothing.
    for mut responses in stalled {
        let late = tokio::time::timeout(ANSWER, responses.message())
            .await??
            .context("a watch ended")?;
        anyhow::ensure!(
            !late.canceled && !late.events.is_empty(),
            "a watch has no events: {late:?}"
        );
    }
    let after = closed(database, span, putters().await?).await?;
    let alone = f64::midpoint(before.rate, after.rate);
    Ok(vec![Figure {
        work: "put beside 16 watchers that take nothing".into(),
        unit: "% fewer than without",
        value: 100.0 * (1.0 - beside.rate / alone),
    }])
}

async fn memory(database: &Database) -> anyhow::Result<Vec<Figure>> {
    const KEYS: u64 = 1_000_000;
    fill(database, KEYS, VALUE).await?;
    // What was needed for filling it only is given back.
    tokio::time::sleep(SETTLING).await;
    let (all, own) = database.memory()?;
    holds(database, KEYS).await?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let figure = |unit, bytes| Figure {
        work: "a million keys of 256 B".into(),
        unit,
        value: bytes as f64 / 1e6,
    };
    Ok(vec![figure("MB RSS", all), figure("MB RSS, no file's", own)])
}

async fn restart(mut database: Database) -> anyhow::Result<Vec<Figure>> {
    const KEYS: u64 = 500_000;
    fill(&database, KEYS, VALUE).await?;
    database.kill(0)?;
    let start = Instant::now();
    database.run(0)?;
    database.wait(0).await?;
    let took = start.elapsed();
    holds(&database, KEYS).await?;
    Ok(vec![Figure {
        work: "killed with 500,000 keys, until it serves again".into(),
        unit: "ms",
        value: took.as_secs_f64() * 1e3,
    }])
}

/// Checks that all keys that were written are there.
async fn holds(database: &Database, keys: u64) -> anyhow::Result<()> {
    let request = RangeRequest {
        key: key(0),
        range_end: key(keys),
        count_only: true,
        ..Default::default()
    };
    let mut client = KvClient::new(database.connect(database.leader().await?).await?);
    let count = client.range(request).await?.into_inner().count;
    anyhow::ensure!(u64::try_from(count)? == keys, "{count} keys are there of {keys}");
    Ok(())
}

async fn failover(mut database: Database) -> anyhow::Result<Vec<Figure>> {
    const KILLS: usize = 10;
    let values = Values::new();
    let mut all = Vec::new();
    let mut acknowledged = 0;
    for _ in 0..KILLS {
        let leader = database.leader().await?;
        let survivors = [(leader + 1) % 3, (leader + 2) % 3];
        let mut clients = Vec::new();
        for survivor in survivors {
            let mut client = KvClient::new(database.connect(survivor).await?);
            client.put(put(&values, acknowledged, VALUE)).await?;
            acknowledged += 1;
            clients.push(client);
        }
        let start = Instant::now();
        database.kill(leader)?;
        // A put that is given to a member without a leader may wait for long: the first answer to any of many counts.
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        let mut asked = FuturesUnordered::new();
        let mut turn = clients.iter().cycle();
        while start.elapsed() < ANSWER {
            tokio::select! {
                _ = pace.tick() => {
                    let mut client = turn.next().context("a survivor")?.clone();
                    // The one key until one is acknowledged.
                    let request = put(&values, acknowledged, VALUE);
                    asked.push(async move { client.put(request).await });
                }
                Some(answer) = asked.next() => {
                    if answer.is_ok() {
                        break;
                    }
                }
            }
        }
        let took = start.elapsed();
        anyhow::ensure!(
            took < ANSWER,
            "no put is answered {ANSWER:?} after the leader was killed"
        );
        acknowledged += 1;
        all.push(Figure {
            work: "leader killed, until a put is answered".into(),
            unit: "ms",
            value: took.as_secs_f64() * 1e3,
        });
        drop(asked);
        database.run(leader)?;
        database.wait(leader).await?;
        // It catches up, and whatever the kill left behind calms down.
        tokio::time::sleep(Duration::from_secs(2)).await;
        holds(&database, acknowledged).await?;
    }
    Ok(all)
}
