//! Transactions that append to lists and read them, judged by cycles. A list is one key; a transaction reads all it needs,
//! and writes on condition that nothing of it has changed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use checker::cycle::append::{Call, Return, Step, check};
use checker::{History, Verdict};
use rand::RngExt;

use super::{Keys, Workload};
use crate::client::{Client, Failure, kv};
use crate::limits::FINAL_READS;
use crate::worker::Worker;

pub(crate) struct Append {
    keys: Keys,
    element: AtomicI64,
}

impl Default for Append {
    fn default() -> Append {
        Append {
            keys: Keys::new(3, 100),
            element: AtomicI64::new(0),
        }
    }
}

impl Workload for Append {
    type Call = Call;
    type Return = Return;

    async fn work(&self, mut worker: Worker<Call, Return>) {
        while worker.next().await {
            let steps = (0..worker.random.random_range(1..5)).map(|_| {
                let key = self.keys.next(&mut worker.random);
                match worker.random.random_bool(0.5) {
                    true => Step::Read(key),
                    false => Step::Append(key, self.element.fetch_add(1, Ordering::Relaxed)),
                }
            });
            let call: Call = steps.collect();
            let mut client = worker.client.clone();
            let steps = call.clone();
            let reads_only = call.iter().all(|step| matches!(step, Step::Read(_)));
            let work = async move { execute(&mut client, &steps).await };
            let _ = if reads_only {
                worker.read(call, work).await
            } else {
                worker.write(call, work).await
            };
        }
    }

    async fn finish(&self, mut worker: Worker<Call, Return>) {
        for key in self.keys.all() {
            for _ in 0..FINAL_READS {
                let mut client = worker.client.clone();
                let call = vec![Step::Read(key)];
                let steps = call.clone();
                if worker
                    .read(call, async move { execute(&mut client, &steps).await })
                    .await
                    .is_some()
                {
                    break;
                }
            }
        }
    }

    fn check(&self, history: &History<Call, Return>, _: Option<u64>) -> Result<Vec<Verdict>, checker::Error> {
        Ok(vec![check(&history.operations()?)])
    }
}

fn name(key: u64) -> String {
    format!("append/{key}")
}

async fn execute(client: &mut Client, steps: &[Step]) -> Result<Return, Failure> {
    // Nothing is written before the last request: until then every failure is definite.
    let definite = |failure| match failure {
        Failure::Unknown(error) | Failure::Definite(error) => Failure::Definite(format!("before any write: {error}")),
    };
    let mut keys: Vec<u64> = steps
        .iter()
        .map(|step| match step {
            Step::Append(key, _) | Step::Read(key) => *key,
        })
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let ranges = keys.iter().map(|key| kv::range_op(&name(*key))).collect();
    let before = kv::txn(client, vec![], ranges, vec![]).await.map_err(definite)?;
    let mut lists: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
    let mut guards = Vec::new();
    for (key, found) in keys.iter().zip(before.ranges()) {
        guards.push(kv::modified_at(
            &name(*key),
            found.map_or(0, |found| found.mod_revision),
        ));
        lists.insert(*key, found.map(|found| decode(&found.value)).unwrap_or_default());
    }
    let (mut reads, mut changed) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Read(key) => reads.push(lists[key].clone()),
            Step::Append(key, element) => {
                lists.entry(*key).or_default().push(*element);
                changed.push(*key);
            }
        }
    }
    changed.sort_unstable();
    changed.dedup();
    if changed.is_empty() {
        return Ok(reads);
    }
    let puts = changed
        .iter()
        .map(|key| kv::put_op(&name(*key), &encode(&lists[key])))
        .collect();
    let done = kv::txn(client, guards, puts, vec![]).await?;
    if done.succeeded {
        Ok(reads)
    } else {
        Err(Failure::Definite("a list changed meanwhile".into()))
    }
}

fn encode(list: &[i64]) -> String {
    list.iter().map(i64::to_string).collect::<Vec<_>>().join(" ")
}

fn decode(value: &[u8]) -> Vec<i64> {
    kv::text(value)
        .split(' ')
        .map(|word| kv::number(word.as_bytes()))
        .collect()
}
