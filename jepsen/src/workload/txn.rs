//! Transactions with guards over a few registers, judged by linearizability of all registers of a group together.

use checker::limits::Bounds;
use checker::linear::txn::{Call, Registers, Return, Step};
use checker::{History, Verdict, linear};
use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::{Keys, Workload};
use crate::client::{Client, Failure, kv};
use crate::limits::FINAL_READS;
use crate::worker::Worker;

const REGISTERS: u64 = 4;
const VALUES: i64 = 3;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct On {
    /// Registers that are changed together.
    group: u64,
    call: Call,
}

pub(crate) struct Txn {
    groups: Keys,
}

impl Default for Txn {
    fn default() -> Txn {
        Txn {
            groups: Keys::new(2, 200),
        }
    }
}

impl Workload for Txn {
    type Call = On;
    type Return = Return;

    async fn work(&self, mut worker: Worker<On, Return>) {
        while worker.next().await {
            let group = self.groups.next(&mut worker.random);
            run(&mut worker, group, call).await;
        }
    }

    async fn finish(&self, mut worker: Worker<On, Return>) {
        for group in self.groups.all() {
            for _ in 0..FINAL_READS {
                if run(&mut worker, group, |_| all()).await.is_some() {
                    break;
                }
            }
        }
    }

    fn check(&self, history: &History<On, Return>, _: Option<u64>) -> Result<Vec<Verdict>, checker::Error> {
        let operations = history.operations()?;
        let parts = operations
            .iter()
            .map(|op| (op.call.group, op.with(op.call.call.clone(), op.outcome.clone())));
        Ok(vec![linear::check_by_key(
            "linearizable-txn",
            &Registers,
            parts,
            Bounds::default(),
        )])
    }
}

async fn run(worker: &mut Worker<On, Return>, group: u64, call: impl Fn(&mut StdRng) -> Call) -> Option<Return> {
    let call = call(&mut worker.random);
    let reads_only = call.steps.iter().all(|step| matches!(step, Step::Read(_)));
    let mut client = worker.client.clone();
    let on = On {
        group,
        call: call.clone(),
    };
    let work = async move { execute(&mut client, group, &call).await };
    if reads_only {
        worker.read(on, work).await
    } else {
        worker.write(on, work).await
    }
}

fn all() -> Call {
    Call {
        guards: Vec::new(),
        steps: (0..REGISTERS).map(Step::Read).collect(),
    }
}

/// Up to one guard, and up to three steps; a key is written once, as etcd demands.
fn call(random: &mut StdRng) -> Call {
    let guard = random.random_bool(0.4);
    let value = |random: &mut StdRng| random.random_range(0..VALUES);
    let guards = guard.then(|| (random.random_range(0..REGISTERS), Some(value(random))));
    let mut written = Vec::new();
    let steps = (0..random.random_range(1..4)).map(|_| {
        let key = random.random_range(0..REGISTERS);
        if random.random_bool(0.5) || written.contains(&key) {
            return Step::Read(key);
        }
        written.push(key);
        Step::Write(key, value(random))
    });
    let steps = steps.collect();
    Call {
        guards: guards.into_iter().collect(),
        steps,
    }
}

async fn execute(client: &mut Client, group: u64, call: &Call) -> Result<Return, Failure> {
    let name = |key: &u64| format!("txn/{group}/{key}");
    let guards = call.guards.iter().map(|(key, value)| match value {
        Some(value) => kv::value_is(&name(key), &value.to_string()),
        None => kv::created_at(&name(key), 0),
    });
    let steps = call.steps.iter().map(|step| match step {
        Step::Read(key) => kv::range_op(&name(key)),
        Step::Write(key, value) => kv::put_op(&name(key), &value.to_string()),
    });
    let done = kv::txn(client, guards.collect(), steps.collect(), vec![]).await?;
    let reads = done
        .ranges()
        .map(|found| found.map(|found| kv::number(&found.value)))
        .collect();
    Ok(Return {
        committed: done.succeeded,
        reads: if done.succeeded { reads } else { Vec::new() },
    })
}
