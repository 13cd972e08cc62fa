//! Transactions of blind writes and reads, one request each, judged by cycles with the help of the store's revisions.

use std::sync::atomic::{AtomicI64, Ordering};

use checker::cycle::wr::{Call, Return, Step, check};
use checker::{History, Verdict};
use rand::RngExt;

use super::{Keys, Workload};
use crate::client::{Client, Failure, kv};
use crate::limits::FINAL_READS;
use crate::worker::Worker;

pub(crate) struct Wr {
    keys: Keys,
    value: AtomicI64,
}

impl Default for Wr {
    fn default() -> Wr {
        Wr {
            keys: Keys::new(4, 300),
            value: AtomicI64::new(0),
        }
    }
}

impl Workload for Wr {
    type Call = Call;
    type Return = Return;

    async fn work(&self, mut worker: Worker<Call, Return>) {
        while worker.next().await {
            let mut written = Vec::new();
            let steps = (0..worker.random.random_range(1..5)).map(|_| {
                let key = self.keys.next(&mut worker.random);
                if worker.random.random_bool(0.5) || written.contains(&key) {
                    return Step::Read(key);
                }
                written.push(key);
                Step::Write(key, self.value.fetch_add(1, Ordering::Relaxed))
            });
            let call: Call = steps.collect();
            run(&mut worker, call).await;
        }
    }

    async fn finish(&self, mut worker: Worker<Call, Return>) {
        for key in self.keys.all() {
            for _ in 0..FINAL_READS {
                if run(&mut worker, vec![Step::Read(key)]).await.is_some() {
                    break;
                }
            }
        }
    }

    fn check(&self, history: &History<Call, Return>, _: Option<u64>) -> Result<Vec<Verdict>, checker::Error> {
        Ok(vec![check(&history.operations()?)])
    }
}

async fn run(worker: &mut Worker<Call, Return>, call: Call) -> Option<Return> {
    let reads_only = call.iter().all(|step| matches!(step, Step::Read(_)));
    let (mut client, steps) = (worker.client.clone(), call.clone());
    let work = async move { execute(&mut client, &steps).await };
    if reads_only {
        worker.read(call, work).await
    } else {
        worker.write(call, work).await
    }
}

async fn execute(client: &mut Client, steps: &[Step]) -> Result<Return, Failure> {
    let name = |key: &u64| format!("wr/{key}");
    let operations = steps.iter().map(|step| match step {
        Step::Read(key) => kv::range_op(&name(key)),
        Step::Write(key, value) => kv::put_op(&name(key), &value.to_string()),
    });
    let done = kv::txn(client, vec![], operations.collect(), vec![]).await?;
    let reads = done.ranges().map(|found| found.map(|found| kv::number(&found.value)));
    let modified = done.ranges().map(|found| found.map(|found| found.mod_revision));
    Ok(Return {
        revision: Some(done.revision),
        reads: reads.collect(),
        modified: modified.collect(),
    })
}
