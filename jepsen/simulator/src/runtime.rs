//! openraft's runtime over the [executor](crate::executor): spawn, sleep, clock and randomness of a simulated process.

use std::future::Future;
use std::io;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft::impls::TokioRuntime;
use openraft::{AsyncRuntime, OptionalSend};

use crate::executor::{self, Gone, Handle, Sleep};
use crate::random::Random;

/// The runtime of every simulated member.
#[derive(Debug)]
pub struct Simulated;

/// A reading of the clock of the machine that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl openraft::Instant for Instant {
    fn now() -> Self {
        Self(executor::clock_reading())
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanoseconds(duration)))
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// As of the real clock: nothing is left below zero.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A wait with a limit.
#[derive(Debug)]
pub struct Timeout<T> {
    work: Pin<Box<T>>,
    limit: Sleep,
}

/// The limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time limit was reached")]
pub struct Elapsed;

impl<T> Timeout<T> {
    fn new(work: T, limit: Sleep) -> Self {
        Self {
            work: Box::pin(work),
            limit,
        }
    }
}

impl<T: Future> Future for Timeout<T> {
    type Output = Result<T::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(done) = self.work.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        Pin::new(&mut self.limit).poll(context).map(|()| Err(Elapsed))
    }
}

/// Waits for `work` no longer than `limit` on the caller's clock.
pub fn timeout<T: Future>(limit: Duration, work: T) -> Timeout<T> {
    Timeout::new(work, executor::sleep(limit))
}

impl AsyncRuntime for Simulated {
    type JoinError = Gone;
    type JoinHandle<T: OptionalSend + 'static> = Handle<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = Random;
    // Channels that belong to no runtime.
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Handle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        executor::spawn(future)
    }

    fn sleep(duration: Duration) -> Sleep {
        executor::sleep(duration)
    }

    fn sleep_until(deadline: Instant) -> Sleep {
        Sleep::until(deadline.0)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Timeout<F> {
        timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Instant, future: F) -> Timeout<F> {
        Timeout::new(future, Sleep::until(deadline.0))
    }

    fn is_panic(_: &Gone) -> bool {
        // Panics are reported by the executor; what openraft does about them is not needed.
        false
    }

    fn thread_rng() -> Random {
        executor::random(Random::fork)
    }

    fn new(_: usize) -> Self {
        Self
    }

    /// # Panics
    ///
    /// Always: a simulation is entered through [`executor::run`].
    fn block_on<F, T>(&mut self, _: F) -> T
    where
        F: Future<Output = T>,
    {
        panic!("a simulated runtime is entered through executor::run")
    }

    /// At once and in line: a thread would bring back the order of threads.
    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let done = work();
        async move { Ok(done) }
    }
}
