//! The executor: one thread, virtual time, and chance in place of a scheduler.
//!
//! Theory. Of the tasks that are ready one is picked at random, so that a run of a seed is one of the orders that threads
//! could have produced. Every poll costs a little virtual time. When nothing is ready, time jumps to the next timer:
//! nothing ever really waits. A *process* is one life of a member: all its tasks can be paused, resumed, or dropped
//! together, as a kernel would do it. Each machine has a clock of its own that its timers follow.
//!
//! tokio's scheduler is not used: it has one clock and one fixed order. Its channels work on any executor, but draw by
//! chance whom they wake first; a seeded runtime around the whole run makes that repeatable.

mod clock;
mod task;
mod timers;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::RngSeed;

pub use clock::Clock;
use task::{Bell, Task, TaskId, Woken, Work, promise};
pub use task::{Gone, Handle, ProcessId};
use timers::{TimerId, Timers};

use crate::random::Random;
use crate::trace::Trace;

/// The process of the world around the members: clients, faults, the network. It is never paused.
pub const WORLD: ProcessId = 0;

/// A poll takes less than this, in nanoseconds.
const POLL_COST_NS: u64 = 8_000;

#[derive(Debug, Default)]
struct Process {
    clock: usize,
    paused: bool,
    tasks: BTreeSet<TaskId>,
    /// Woken while paused.
    parked: Vec<TaskId>,
}

/// Everything that runs.
struct Executor {
    now: u64,
    random: Random,
    trace: Trace,
    polls: u64,
    next_timer: u64,
    /// By id; `None` once a task has ended.
    tasks: Vec<Option<Task>>,
    processes: Vec<Process>,
    clocks: Vec<Timers>,
    /// No timer is due before this.
    next_due: u64,
    ready: Vec<TaskId>,
    woken: Woken,
    panics: Vec<(ProcessId, String)>,
}

thread_local! {
    static EXECUTOR: RefCell<Option<Executor>> = const { RefCell::new(None) };
    static CURRENT: Cell<ProcessId> = const { Cell::new(WORLD) };
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn with<T>(act: impl FnOnce(&mut Executor) -> T) -> T {
    EXECUTOR.with_borrow_mut(|executor| act(executor.as_mut().expect("a simulation runs on this thread")))
}

/// As [`with`], but quiet once the simulation is over: what is dropped last still takes its timers back.
fn try_with<T>(act: impl FnOnce(&mut Executor) -> T) -> Option<T> {
    EXECUTOR.with_borrow_mut(|executor| executor.as_mut().map(act))
}

/// What a run was, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Hash over everything that happened.
    pub trace: u64,
    /// Polls of tasks.
    pub polls: u64,
    /// Virtual time that passed.
    pub time: Duration,
}

/// Runs `main` as the world's first task until it ends, with `clocks` machines' clocks beside the world's.
///
/// # Panics
///
/// If `main` can never end because nothing is left that could wake it, or if it panics.
pub fn run<T: 'static>(seed: u64, clocks: usize, main: impl Future<Output = T> + 'static) -> (T, Summary) {
    capture_panics();
    silence();
    EXECUTOR.set(Some(Executor::new(seed, clocks)));
    CURRENT.set(WORLD);
    let mut main = spawn_in(WORLD, main);
    let result = with_seeded_chance(seed, || {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut main).poll(&mut Context::from_waker(Waker::noop())) {
                break result;
            }
            if !step() {
                panic!("the simulation can go on no more: nothing is ready and no timer is set");
            }
        }
    });
    let summary = with(|executor| Summary {
        trace: executor.trace.value(),
        polls: executor.polls,
        time: Duration::from_nanos(executor.now),
    });
    // Dropped outside: what is dropped may call back.
    let tasks = with(|executor| std::mem::take(&mut executor.tasks));
    drop(tasks);
    let executor = EXECUTOR.take();
    drop(executor);
    match result {
        Ok(result) => (result, summary),
        Err(Gone) => panic!("the simulation's main task panicked: {}", LAST_PANIC.take()),
    }
}

/// Has tokio draw by the seed what it draws by chance: which branch `select!` looks at first, and in which order its watch
/// channel wakes. It does so inside a seeded runtime only, which is entered for that and runs nothing of its own.
fn with_seeded_chance<T>(seed: u64, run: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .rng_seed(RngSeed::from_bytes(&seed.to_le_bytes()))
        .build()
        .expect("a runtime without drivers needs nothing that could be missing");
    // Unconstrained: otherwise its channels would ask for a pause that this executor never takes.
    runtime.block_on(tokio::task::unconstrained(async { run() }))
}

/// Nobody listens to what members log: told so, they do not even gather it.
fn silence() {
    // Somebody who listens after all was faster.
    let _ = tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::default());
}

/// Keeps panics of tasks for the report instead of printing them.
fn capture_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let simulating =
                EXECUTOR.try_with(|executor| executor.try_borrow().map_or(true, |executor| executor.is_some()));
            if simulating.unwrap_or(false) {
                let _ = LAST_PANIC.try_with(|last| last.replace(info.to_string()));
            } else {
                usual(info);
            }
        }));
    });
}

/// Polls one task, or moves time on. False if there is nothing to do, ever.
fn step() -> bool {
    let Some((id, process, work, bell)) = with(Executor::next_ready) else {
        return with(Executor::advance);
    };
    CURRENT.set(process);
    let waker = Waker::from(bell);
    let polled = catch_unwind(AssertUnwindSafe(|| poll(work, &waker)));
    match polled {
        Ok(None) => with(|executor| executor.forget(id)),
        Ok(Some(work)) => {
            // Its process may have ended while it ran.
            let dropped = with(|executor| match executor.task(id) {
                Some(task) => {
                    task.work = Some(work);
                    None
                }
                None => Some(work),
            });
            drop(dropped);
        }
        Err(_) => {
            let message = LAST_PANIC.take();
            with(|executor| {
                executor.panics.push((process, message));
                executor.forget(id);
            });
        }
    }
    CURRENT.set(WORLD);
    true
}

fn poll(mut work: Work, waker: &Waker) -> Option<Work> {
    match work.as_mut().poll(&mut Context::from_waker(waker)) {
        Poll::Ready(()) => None,
        Poll::Pending => Some(work),
    }
}

impl Executor {
    fn new(seed: u64, clocks: usize) -> Self {
        Self {
            now: 0,
            random: Random::new(seed),
            trace: Trace::default(),
            polls: 0,
            next_timer: 0,
            tasks: Vec::new(),
            processes: vec![Process::default()],
            clocks: (0..=clocks).map(|_| Timers::default()).collect(),
            next_due: 0,
            ready: Vec::new(),
            woken: Woken::default(),
            panics: Vec::new(),
        }
    }

    fn next_ready(&mut self) -> Option<(TaskId, ProcessId, Work, Arc<Bell>)> {
        self.fire();
        loop {
            self.ready.append(&mut self.woken.lock());
            if self.ready.is_empty() {
                return None;
            }
            let index = self.random.index(self.ready.len());
            let id = self.ready.swap_remove(index);
            let Some(task) = self.tasks[id as usize].as_mut() else {
                continue;
            };
            let process = &mut self.processes[task.process];
            if process.paused {
                process.parked.push(id);
                continue;
            }
            let Some(work) = task.work.take() else { continue };
            task.bell.reset();
            let found = (id, task.process, work, task.bell.clone());
            self.polls += 1;
            self.now += self.random.below(POLL_COST_NS);
            self.trace.number(self.now ^ (id << 40));
            return Some(found);
        }
    }

    fn fire(&mut self) {
        if self.now < self.next_due {
            return;
        }
        for timers in &mut self.clocks {
            while let Some(waker) = timers.take_due(self.now) {
                waker.wake();
            }
        }
        self.next_due = self.next_timer_due().unwrap_or(u64::MAX);
    }

    fn next_timer_due(&self) -> Option<u64> {
        self.clocks.iter().filter_map(Timers::next).min()
    }

    /// Jumps to the next timer.
    fn advance(&mut self) -> bool {
        let Some(next) = self.next_timer_due() else {
            return false;
        };
        self.now = self.now.max(next);
        true
    }

    fn task(&mut self, id: TaskId) -> Option<&mut Task> {
        self.tasks[id as usize].as_mut()
    }

    fn forget(&mut self, id: TaskId) {
        if let Some(task) = self.tasks[id as usize].take() {
            self.processes[task.process].tasks.remove(&id);
        }
    }

    fn insert(&mut self, process: ProcessId, work: Work) {
        let id = self.tasks.len() as TaskId;
        let bell = Bell::new(id, self.woken.clone());
        bell.ring();
        self.processes[process].tasks.insert(id);
        let task = Task {
            process,
            work: Some(work),
            bell,
        };
        self.tasks.push(Some(task));
    }
}

// For tasks.

/// Starts a task in the process of the caller.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Handle<T> {
    spawn_in(CURRENT.get(), future)
}

/// Starts a task in a process. Its result never comes if that process has ended.
pub fn spawn_in<T: 'static>(process: ProcessId, future: impl Future<Output = T> + 'static) -> Handle<T> {
    let (promise, handle) = promise();
    let work: Work = Box::pin(async move { promise.keep(future.await) });
    let refused = try_with(|executor| {
        if executor.processes[process].clock == ENDED {
            return Some(work);
        }
        executor.insert(process, work);
        None
    });
    drop(refused);
    handle
}

/// The process that runs.
pub fn current() -> ProcessId {
    CURRENT.get()
}

/// True time, in nanoseconds since the run began.
pub fn now() -> u64 {
    with(|executor| executor.now)
}

/// What the clock of the running process shows, in nanoseconds.
pub fn clock_reading() -> u64 {
    let process = CURRENT.get();
    try_with(|executor| {
        let clock = executor.processes[process].clock;
        executor
            .clocks
            .get(clock)
            .unwrap_or(&executor.clocks[0])
            .clock
            .read(executor.now)
    })
    .unwrap_or(0)
}

/// What all clocks show, the world's first.
pub fn clock_readings() -> Vec<u64> {
    with(|executor| {
        executor
            .clocks
            .iter()
            .map(|timers| timers.clock.read(executor.now))
            .collect()
    })
}

/// Random bits.
pub fn random<T>(draw: impl FnOnce(&mut Random) -> T) -> T {
    with(|executor| draw(&mut executor.random))
}

/// Makes a number part of the trace.
pub fn trace(number: u64) {
    with(|executor| executor.trace.number(number));
}

/// Panics since the last call.
pub fn take_panics() -> Vec<(ProcessId, String)> {
    with(|executor| std::mem::take(&mut executor.panics))
}

/// A timer on the clock of the process that made it.
#[derive(Debug)]
pub struct Sleep {
    clock: usize,
    reading: u64,
    set: Option<TimerId>,
}

impl Sleep {
    /// Until the running process' clock shows `reading`.
    pub fn until(reading: u64) -> Self {
        let process = CURRENT.get();
        let clock = try_with(|executor| executor.processes[process].clock).unwrap_or(0);
        Self {
            clock,
            reading,
            set: None,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { clock, reading, set } = &mut *self;
        with(|executor| {
            let Some(timers) = executor.clocks.get_mut(*clock) else {
                return Poll::Pending;
            };
            if timers.clock.read(executor.now) >= *reading {
                if let Some(id) = set.take() {
                    timers.cancel(id);
                }
                return Poll::Ready(());
            }
            match set {
                Some(id) => timers.update(*id, context.waker()),
                None => {
                    executor.next_timer += 1;
                    *set = Some(timers.set(*reading, executor.next_timer, context.waker().clone()));
                    executor.next_due = executor.next_due.min(timers.clock.when(*reading));
                }
            }
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.set.take() {
            let waker = try_with(|executor| executor.clocks.get_mut(self.clock).and_then(|timers| timers.cancel(id)));
            drop(waker);
        }
    }
}

/// Sleeps on the running process' clock.
pub fn sleep(duration: Duration) -> Sleep {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Sleep::until(clock_reading().saturating_add(nanoseconds))
}

// For the world.

/// The clock of a process that ended.
const ENDED: usize = usize::MAX;

/// A new process on the clock of machine `clock` (from 1).
pub fn new_process(clock: usize) -> ProcessId {
    with(|executor| {
        executor.processes.push(Process {
            clock,
            ..Process::default()
        });
        executor.processes.len() - 1
    })
}

/// Drops all tasks of a process, at once and in an order that does not depend on them.
pub fn end_process(process: ProcessId) {
    let tasks: Vec<Task> = with(|executor| {
        let Process { tasks, .. } = std::mem::take(&mut executor.processes[process]);
        executor.processes[process].clock = ENDED;
        tasks
            .iter()
            .filter_map(|id| executor.tasks[*id as usize].take())
            .collect()
    });
    let caller = CURRENT.replace(process);
    drop(tasks);
    CURRENT.set(caller);
}

/// Lets no task of a process run until [`resume`].
pub fn pause(process: ProcessId) {
    with(|executor| executor.processes[process].paused = true);
}

/// Lets them run again.
pub fn resume(process: ProcessId) {
    with(|executor| {
        let process = &mut executor.processes[process];
        process.paused = false;
        executor.ready.append(&mut process.parked);
    });
}

/// Changes the clock of machine `clock` (from 1).
pub fn set_clock(clock: usize, change: impl FnOnce(&mut Clock, u64)) {
    with(|executor| {
        let now = executor.now;
        change(&mut executor.clocks[clock].clock, now);
        executor.next_due = 0;
    });
}

#[cfg(test)]
mod tests;
