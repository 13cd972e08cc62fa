//! Clients in a closed loop: each sends its next request when it has the answer to the last one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;

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

/// Runs clients, each of which repeats what `client` makes for it, and tells what they saw in the measured part. One that is
/// refused ends the whole.
pub async fn closed<C, O>(database: Option<&Database>, span: Span, clients: Vec<C>) -> anyhow::Result<Seen>
where
    C: FnMut() -> O + Send + 'static,
    O: Future<Output = anyhow::Result<u64>> + Send,
{
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
                let count = client().await?;
                let answered = Instant::now();
                if answered >= begin && answered < end {
                    counted.fetch_add(count, Ordering::Relaxed);
                    latencies.push(u32::try_from((answered - sent).as_micros()).unwrap_or(u32::MAX));
                }
            }
        }));
    }
    let used = || {
        let own = processor_time_of(std::process::id()).unwrap_or(0.0);
        (own, database.map_or(0.0, Database::processor_time))
    };
    tokio::time::sleep_until(begin.into()).await;
    let before = used();
    tokio::time::sleep_until(end.into()).await;
    let after = used();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.append(&mut task.await??);
    }
    ensure!(!latencies.is_empty(), "nothing was answered in {:?}", span.measured);
    latencies.sort_unstable();
    let at = |share: usize| Duration::from_micros(latencies[(latencies.len() - 1) * share / 100].into());
    let seconds = span.measured.as_secs_f64();
    Ok(Seen {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        rate: counted.load(Ordering::Relaxed) as f64 / seconds,
        p50: at(50),
        p99: at(99),
        generator: (after.0 - before.0) / seconds,
        members: (after.1 - before.1) / seconds,
    })
}
