//! A set that grows, one key for each element: what was acknowledged must be in every later read.

use std::sync::atomic::{AtomicI64, Ordering};

use checker::set::{Call, Return, check};
use checker::{History, Verdict};
use rand::RngExt;

use super::Workload;
use crate::client::{Client, Failure, kv};
use crate::limits::FINAL_READS;
use crate::worker::Worker;

const PREFIX: &str = "set/";

#[derive(Default)]
pub(crate) struct Set {
    element: AtomicI64,
}

impl Workload for Set {
    type Call = Call;
    type Return = Return;

    const READS_STALE: bool = true;

    async fn work(&self, mut worker: Worker<Call, Return>) {
        while worker.next().await {
            let mut client = worker.client.clone();
            if worker.random.random_ratio(1, 30) {
                worker.read(Call::Read, async move { read(&mut client).await }).await;
                continue;
            }
            let element = self.element.fetch_add(1, Ordering::Relaxed);
            let add = async move {
                client.kv.put(kv::put(&format!("{PREFIX}{element}"), "")).await?;
                Ok(None)
            };
            worker.write(Call::Add(element), add).await;
        }
    }

    async fn finish(&self, mut worker: Worker<Call, Return>) {
        for _ in 0..FINAL_READS {
            let mut client = worker.client.clone();
            if worker
                .read(Call::Read, async move { read(&mut client).await })
                .await
                .is_some()
            {
                return;
            }
        }
    }

    fn check(&self, history: &History<Call, Return>, _: Option<u64>) -> Result<Vec<Verdict>, checker::Error> {
        Ok(vec![check(&history.operations()?)])
    }
}

async fn read(client: &mut Client) -> Result<Return, Failure> {
    let found = client.range(kv::get_prefix(PREFIX)).await?.kvs;
    let elements = found
        .iter()
        .map(|found| kv::number(found.key.strip_prefix(PREFIX.as_bytes()).unwrap_or_default()));
    Ok(Some(elements.collect()))
}
