//! Clients in a closed loop: each sends its next request when it has the answer to the last one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::database::{Database, processor_time_of};

/// What clients saw in one span.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Answers a second.
    pub rate: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// Processor time of this process and of the members, in cores.
    pub generator: f64,
    pub members: f64,
}

/// How long a load runs unmeasured and measured.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub warm: Duration,
    pub measured: Duration,
}

/// No request takes this long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs clients, each of which repeats what `client` makes for it, and tells what they saw in the measured part. The rate is of
/// what was answered in it, the latencies are of all that was sent in it. A client that is refused, a member that ended and a
/// leader that changed make it fail.
pub async fn closed<C, O>(database: &Database, span: Span, clients: Vec<C>) -> anyhow::Result<Seen>
where
    C: FnMut() -> O + Send + 'static,
    O: Future<Output = anyhow::Result<u64>> + Send,
{
    let leader = database.leader().await?;
    let begin = Instant::now() + span.warm;
    let end = begin + span.measured;
    let counted = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for mut client in clients {
        let counted = counted.clone();
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let sent = Instant::now();
                if sent >= end {
                    return anyhow::Ok(latencies);
                }
                let answer = tokio::time::timeout(REQUEST_TIMEOUT, client()).await;
                let count = answer.context("a request takes too long")??;
                let answered = Instant::now();
                if answered >= begin && answered < end {
                    counted.fetch_add(count, Ordering::Relaxed);
                }
                if sent >= begin {
                    latencies.push(u32::try_from((answered - sent).as_micros()).unwrap_or(u32::MAX));
                }
            }
        }));
    }
    let used = || {
        let own = processor_time_of(std::process::id()).context("/proc/PID/stat")?;
        anyhow::Ok((Instant::now(), own, database.processor_time()?))
    };
    tokio::time::sleep_until(begin.into()).await;
    let before = used()?;
    tokio::time::sleep_until(end.into()).await;
    let after = used()?;
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.append(&mut task.await??);
    }
    ensure!(!latencies.is_empty(), "nothing was answered in {:?}", span.measured);
    latencies.sort_unstable();
    let at = |share: usize| Duration::from_micros(latencies[(latencies.len() - 1) * share / 100].into());
    ensure!(database.leader().await? == leader, "another member leads than before");
    let seconds = span.measured.as_secs_f64();
    let sampled = (after.0 - before.0).as_secs_f64();
    Ok(Seen {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        rate: counted.load(Ordering::Relaxed) as f64 / seconds,
        p50: at(50),
        p99: at(99),
        generator: (after.1 - before.1) / sampled,
        members: (after.2 - before.2) / sampled,
    })
}
