//! The thin loop around a reconcile: take a key, work on it, decide when again.

use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use tokio_util::sync::CancellationToken;

use crate::{Error, WorkQueue};

/// When a key whose reconcile succeeded is to be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// When it changes.
    Done,
    /// When it changes, or after this long.
    After(Duration),
}

/// Runs `workers` loops over `queue` until `stop`. A key whose reconcile fails is retried with a growing delay; a lost
/// fence ends all loops with that error, because whoever holds the fence now does the work.
pub async fn work<K, F, R>(
    component: &'static str,
    queue: Arc<WorkQueue<K>>,
    workers: usize,
    stop: CancellationToken,
    reconcile: R,
) -> Result<(), Error>
where
    K: Hash + Eq + Clone + Display,
    R: Fn(K) -> F,
    F: Future<Output = Result<Outcome, Error>>,
{
    let loops = (0..workers).map(|_| one(component, &queue, &reconcile));
    let result = tokio::select! {
        () = stop.cancelled() => Ok(()),
        result = try_join_all(loops) => result.map(|_| ()),
    };
    queue.stop();
    result
}

async fn one<K, F, R>(component: &str, queue: &WorkQueue<K>, reconcile: &R) -> Result<(), Error>
where
    K: Hash + Eq + Clone + Display,
    R: Fn(K) -> F,
    F: Future<Output = Result<Outcome, Error>>,
{
    while let Some(key) = queue.next().await {
        let result = reconcile(key.clone()).await;
        match result {
            Ok(outcome) => {
                queue.forget(&key);
                if let Outcome::After(delay) = outcome {
                    queue.add_after(key.clone(), delay);
                }
            }
            Err(error) if error.is_fence_lost() => return Err(error),
            Err(error) => {
                // A conflict means that the cache is behind; the newer object is on its way.
                match error.is_conflict() {
                    true => tracing::debug!(component, %key, %error, "retrying"),
                    false => tracing::warn!(component, %key, %error, failures = queue.failures(&key), "retrying"),
                }
                queue.retry(key.clone());
            }
        }
        queue.done(&key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn failure(reason: &str) -> Error {
        Error::from_status("PUT /x", Status::failure("no", reason).with_code(409))
    }

    #[tokio::test]
    async fn a_failing_key_is_tried_again() {
        let (queue, stop) = (Arc::new(WorkQueue::new()), CancellationToken::new());
        queue.add("a");
        let tries = AtomicU32::new(0);
        let reconcile = |_| async {
            match tries.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Err(failure("Conflict")),
                _ => {
                    stop.cancel();
                    Ok(Outcome::Done)
                }
            }
        };
        work("test", queue.clone(), 2, stop.clone(), reconcile).await.unwrap();
        assert_eq!(tries.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_lost_fence_ends_the_work() {
        let queue = Arc::new(WorkQueue::new());
        queue.add("a");
        let result = work("test", queue, 1, CancellationToken::new(), |_| async {
            Err(failure("FenceLost"))
        })
        .await;
        assert!(result.unwrap_err().is_fence_lost());
    }
}
