//! A member that is away for so long that the others have purged what it needs of the log: it gets a snapshot instead.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use proto::etcd::etcdserverpb::{CompactionRequest, PutRequest, StatusRequest};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::cluster::Cluster;

/// Bytes of a value: below the largest request that etcd takes.
const VALUE_BYTES: usize = 1 << 20;
/// Values written: more than the log keeps for members that are away, which is 256 MiB, and etcd's 5,000 entries are not
/// reached, so that etcd needs no snapshot for it.
const VALUES: usize = 320;
/// Keys that share them; the rest is history, which is compacted.
const KEYS: usize = 4;
/// The history is compacted after so many values.
const COMPACT_EVERY: usize = 32;
/// For all of it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(90);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Kills a member and writes until the log of the others has let go of where it stood. It stays down until this is mended.
pub(super) async fn leave_behind(cluster: &Cluster, random: &mut StdRng) -> anyhow::Result<String> {
    let member = leave(cluster, random, |_| true).await?;
    Ok(format!(
        "{} is down while {VALUES} MiB are written",
        cluster.name(member)
    ))
}

/// Does it to one of those that may be taken; which.
pub(super) async fn leave(
    cluster: &Cluster,
    random: &mut StdRng,
    may_be_taken: impl Fn(usize) -> bool,
) -> anyhow::Result<usize> {
    let mut running: Vec<usize> = (0..cluster.len()).collect();
    running.shuffle(random);
    running.retain(|member| cluster.is_running(*member));
    anyhow::ensure!(
        running.len() > cluster.len() / 2 + 1,
        "{} of {} members run: one less is no majority",
        running.len(),
        cluster.len()
    );
    let member = running.iter().copied().find(|member| may_be_taken(*member));
    let member = member.context("the one to be left behind does not run")?;
    let through = running.into_iter().find(|other| *other != member);
    let through = through.context("nobody else runs")?;
    cluster.kill(member);
    let deadline = Instant::now() + WRITE_TIMEOUT;
    let mut written = 0;
    while written < VALUES && Instant::now() < deadline {
        match write(cluster, through, written).await {
            Ok(()) => written += 1,
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    anyhow::ensure!(
        written == VALUES,
        "only {written} MiB were written while {} was down",
        cluster.name(member)
    );
    Ok(member)
}

/// Bytes that compress badly: a snapshot of them is as large as what was written.
fn value(number: usize) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(number as u64);
    let words = (0..VALUE_BYTES / 8).flat_map(|_| random.random::<u64>().to_be_bytes());
    words.collect()
}

async fn write(cluster: &Cluster, through: usize, number: usize) -> anyhow::Result<()> {
    let work = async {
        let mut client = cluster.target(through).connect()?;
        let value = value(number);
        let request = PutRequest {
            key: format!("jepsen/ballast/{}", number % KEYS).into(),
            value: Bytes::from(value),
            ..PutRequest::default()
        };
        client.kv.put(request).await?;
        if number % COMPACT_EVERY == COMPACT_EVERY - 1 {
            let status = client.maintenance.status(StatusRequest {}).await?.into_inner();
            let revision = status.header.unwrap_or_default().revision - 2 * KEYS as i64;
            client
                .kv
                .compact(CompactionRequest {
                    revision,
                    physical: false,
                })
                .await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(REQUEST_TIMEOUT, work).await?
}
