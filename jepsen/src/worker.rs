//! A worker: one logical process after another against one member, an operation at a time.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use checker::What;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use tokio::sync::watch;

use crate::client::{Api, Client, Failure, Target};
use crate::limits::OPERATION_TIMEOUT;
use crate::record::Recorder;

pub(crate) struct Worker<C, R> {
    /// Position among the workers.
    pub(crate) index: usize,
    pub(crate) workers: usize,
    members: usize,
    pub(crate) process: u64,
    pub(crate) client: Client,
    pub(crate) random: StdRng,
    /// Of other members, once they were used; new ones after any trouble.
    others: BTreeMap<usize, Client>,
    target: Target,
    /// All members'.
    targets: Arc<[Target]>,
    recorder: Recorder<C, R>,
    over: watch::Receiver<bool>,
    /// Mean pause between two operations of this worker.
    pause: Duration,
}

/// What all workers of a test have in common.
#[derive(Clone)]
pub(crate) struct Pace {
    pub(crate) seed: u64,
    pub(crate) workers: usize,
    pub(crate) members: usize,
    /// Operations a second, of all workers together.
    pub(crate) rate: f64,
    /// Becomes true, or nobody's, when they are to end.
    pub(crate) over: watch::Receiver<bool>,
}

impl<C, R> Worker<C, R>
where
    C: Clone + Serialize,
    R: Clone + Serialize,
{
    /// `first` is its first process; later ones follow in steps of the number of workers.
    pub(crate) fn new(
        index: usize,
        first: usize,
        pace: &Pace,
        targets: Arc<[Target]>,
        recorder: Recorder<C, R>,
    ) -> anyhow::Result<Self> {
        let target = targets[index % pace.members].clone();
        Ok(Worker {
            index,
            workers: pace.workers,
            members: pace.members,
            process: first as u64,
            client: target.connect()?,
            random: StdRng::seed_from_u64(pace.seed.wrapping_mul(0x9e37_79b9).wrapping_add(index as u64)),
            others: BTreeMap::new(),
            target,
            targets,
            recorder,
            over: pace.over.clone(),
            pause: Duration::from_secs_f64(pace.workers as f64 / pace.rate),
        })
    }

    /// The member that it talks to.
    pub(crate) fn member(&self) -> usize {
        self.index % self.members
    }

    /// Whether this is the one worker of its member that looks on while the others work. Half of the workers look on at most.
    pub(crate) fn looks_on(&self) -> bool {
        self.index < self.members.min(self.workers.div_ceil(2))
    }

    /// A new client of the Kubernetes API of this worker's member.
    pub(crate) fn api(&self) -> Api {
        Api::new(&self.target)
    }

    /// A new client of the Kubernetes API of the member that comes so many places behind this worker's own.
    pub(crate) fn api_further(&self, places: usize) -> Api {
        Api::new(&self.targets[(self.index + places) % self.members])
    }

    /// Waits until the next operation is due; false when the test's time is over.
    pub(crate) async fn next(&mut self) -> bool {
        let factor = self.random.random_range(0.0..2.0);
        self.sleep(self.pause.mul_f64(factor)).await
    }

    /// Waits some milliseconds out of a range; false when the test's time is over.
    pub(crate) async fn pause(&mut self, milliseconds: std::ops::Range<u64>) -> bool {
        let time = Duration::from_millis(self.random.random_range(milliseconds));
        self.sleep(time).await
    }

    async fn sleep(&mut self, time: Duration) -> bool {
        tokio::select! {
            biased;
            _ = self.over.wait_for(|over| *over) => false,
            () = tokio::time::sleep(time) => true,
        }
    }

    /// Makes an operation that writes and records it. `None` unless it was answered.
    pub(crate) async fn write(&mut self, call: C, work: impl Future<Output = Result<R, Failure>>) -> Option<R> {
        self.operation(call, false, OPERATION_TIMEOUT, work).await
    }

    /// Makes an operation that only reads: without an answer it simply failed.
    pub(crate) async fn read(&mut self, call: C, work: impl Future<Output = Result<R, Failure>>) -> Option<R> {
        self.operation(call, true, OPERATION_TIMEOUT, work).await
    }

    pub(crate) async fn operation(
        &mut self,
        call: C,
        reads_only: bool,
        timeout: Duration,
        work: impl Future<Output = Result<R, Failure>>,
    ) -> Option<R> {
        self.recorder.record(self.process, What::Invoke { call });
        let failure = match tokio::time::timeout(timeout, work).await {
            Ok(Ok(result)) => {
                self.recorder.record(self.process, What::Ok { result: result.clone() });
                return Some(result);
            }
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Unknown(format!("no answer within {timeout:?}")),
        };
        match failure {
            Failure::Definite(error) => self.recorder.record(self.process, What::Fail { error }),
            Failure::Unknown(error) if reads_only => {
                self.recorder.record(self.process, What::Fail { error });
                self.reconnect();
            }
            Failure::Unknown(error) => {
                self.recorder.record(self.process, What::Info { error });
                // The old process may still be at work somewhere; a new one takes its place.
                self.process += self.workers as u64;
                self.reconnect();
            }
        }
        None
    }

    /// Records what it was told without having asked.
    pub(crate) fn saw(&self, call: C, result: R) {
        self.recorder.record(self.process, What::Invoke { call });
        self.recorder.record(self.process, What::Ok { result });
    }

    /// A client of any member, drawn anew each time.
    pub(crate) fn client_of_any(&mut self) -> Client {
        let member = self.random.random_range(0..self.members);
        if member == self.member() {
            return self.client.clone();
        }
        if let Some(client) = self.others.get(&member) {
            return client.clone();
        }
        let Ok(client) = self.targets[member].connect() else {
            return self.client.clone();
        };
        self.others.insert(member, client.clone());
        client
    }

    /// New connections.
    pub(crate) fn reconnect(&mut self) {
        self.others.clear();
        if let Ok(client) = self.target.connect() {
            self.client = client;
        }
    }
}
