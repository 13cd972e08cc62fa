//! Tasks: a future, the process it belongs to, and how it is woken.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// Names a task; never reused within a run.
pub type TaskId = u64;
/// Names a process: one life of a member, or the world around the members.
pub type ProcessId = usize;

/// What a task runs.
pub type Work = Pin<Box<dyn Future<Output = ()>>>;

/// A task between two polls.
pub struct Task {
    /// Whose it is.
    pub process: ProcessId,
    /// Taken while it is polled.
    pub work: Option<Work>,
    /// Wakes it.
    pub bell: Arc<Bell>,
}

/// Tasks that were woken since the executor last looked.
pub type Woken = Arc<Mutex<Vec<TaskId>>>;

/// Wakes one task.
pub struct Bell {
    id: TaskId,
    rung: AtomicBool,
    woken: Woken,
}

impl Bell {
    /// The bell of a task.
    pub fn new(id: TaskId, woken: Woken) -> Arc<Self> {
        Arc::new(Self {
            id,
            rung: AtomicBool::new(false),
            woken,
        })
    }

    /// From here on it can be woken again.
    pub fn reset(&self) {
        self.rung.store(false, Ordering::Relaxed);
    }

    /// Wakes the task, unless it is woken already.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::Relaxed) {
            self.woken.lock().push(self.id);
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// Why a task gave no result: it panicked, or its process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the task ended without a result")]
pub struct Gone;

enum Outcome<T> {
    Pending(Option<Waker>),
    Done(Result<T, Gone>),
    Taken,
}

/// Waits for a task.
pub struct Handle<T> {
    outcome: Arc<Mutex<Outcome<T>>>,
}

/// Fills in the outcome, also when the task is dropped.
pub struct Promise<T> {
    outcome: Arc<Mutex<Outcome<T>>>,
}

/// Both ends.
pub fn promise<T>() -> (Promise<T>, Handle<T>) {
    let outcome = Arc::new(Mutex::new(Outcome::Pending(None)));
    (
        Promise {
            outcome: outcome.clone(),
        },
        Handle { outcome },
    )
}

impl<T> Promise<T> {
    /// Keeps it.
    pub fn keep(self, value: T) {
        self.settle(Ok(value));
    }

    fn settle(&self, result: Result<T, Gone>) {
        let mut outcome = self.outcome.lock();
        if let Outcome::Pending(waker) = &mut *outcome {
            let waker = waker.take();
            *outcome = Outcome::Done(result);
            drop(outcome);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.settle(Err(Gone));
    }
}

impl<T> Future for Handle<T> {
    type Output = Result<T, Gone>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = self.outcome.lock();
        match std::mem::replace(&mut *outcome, Outcome::Taken) {
            Outcome::Done(result) => Poll::Ready(result),
            Outcome::Pending(_) => {
                *outcome = Outcome::Pending(Some(context.waker().clone()));
                Poll::Pending
            }
            Outcome::Taken => panic!("a task's result was taken twice"),
        }
    }
}
