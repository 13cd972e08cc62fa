//! Registers with reads, writes and compare-and-set, judged by linearizability of each key, versions included.

use checker::limits::Bounds;
use checker::linear::register::{Call, Register as Model, Return};
use checker::{History, Verdict, linear};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{Keys, Workload};
use crate::client::{Client, Failure, kv};
use crate::limits::FINAL_READS;
use crate::worker::Worker;

/// Values are few, so that compare-and-set often succeeds.
const VALUES: i64 = 5;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct On {
    key: u64,
    call: Call,
}

pub(crate) struct Register {
    keys: Keys,
}

impl Default for Register {
    fn default() -> Register {
        Register {
            keys: Keys::new(4, 250),
        }
    }
}

fn name(key: u64) -> String {
    format!("register/{key}")
}

impl Workload for Register {
    type Call = On;
    type Return = Return;

    const READS_STALE: bool = true;

    async fn work(&self, mut worker: Worker<On, Return>) {
        while worker.next().await {
            let key = self.keys.next(&mut worker.random);
            let mut value = || worker.random.random_range(0..VALUES);
            let call = match value() {
                0 | 1 => Call::Read,
                2 => Call::Write(value()),
                3 if value() == 0 => Call::Delete,
                _ => Call::Cas(value(), value()),
            };
            let mut client = worker.client.clone();
            let on = On {
                key,
                call: call.clone(),
            };
            if call == Call::Read {
                worker.read(on, async move { read(&mut client, key).await }).await;
            } else {
                worker
                    .write(on, async move { write(&mut client, key, &call).await })
                    .await;
            }
        }
    }

    async fn finish(&self, mut worker: Worker<On, Return>) {
        for key in self.keys.all() {
            for _ in 0..FINAL_READS {
                let mut client = worker.client.clone();
                let on = On { key, call: Call::Read };
                if worker
                    .read(on, async move { read(&mut client, key).await })
                    .await
                    .is_some()
                {
                    break;
                }
            }
        }
    }

    fn check(&self, history: &History<On, Return>, _: Option<u64>) -> Result<Vec<Verdict>, checker::Error> {
        let operations = history.operations()?;
        let parts = operations
            .iter()
            .map(|op| (op.call.key, op.with(op.call.call.clone(), op.outcome.clone())));
        Ok(vec![linear::check_by_key(
            "linearizable-register",
            &Model::default(),
            parts,
            Bounds::default(),
        )])
    }
}

async fn read(client: &mut Client, key: u64) -> Result<Return, Failure> {
    let answer = client.range(kv::get(&name(key))).await?;
    let found = answer.kvs.first();
    let value = Return::value(found.map(|found| kv::number(&found.value)));
    Ok(value.at_version(found.map_or(0, |found| found.version as u64)))
}

async fn write(client: &mut Client, key: u64, call: &Call) -> Result<Return, Failure> {
    let name = name(key);
    match call {
        Call::Write(value) => {
            let mut request = kv::put(&name, &value.to_string());
            request.prev_kv = true;
            let before = client.kv.put(request).await?.into_inner().prev_kv;
            Ok(Return::default().at_version(before.map_or(0, |before| before.version as u64) + 1))
        }
        Call::Cas(from, to) => {
            let guard = vec![kv::value_is(&name, &from.to_string())];
            let success = vec![kv::put_op(&name, &to.to_string()), kv::range_op(&name)];
            let done = kv::txn(client, guard, success, vec![kv::range_op(&name)]).await?;
            let version = done.ranges().next().flatten().map_or(0, |found| found.version as u64);
            Ok(Return::swapped(done.succeeded).at_version(version))
        }
        Call::Delete => {
            client.kv.delete_range(kv::delete(&name)).await?;
            Ok(Return::default().at_version(0))
        }
        Call::Read => read(client, key).await,
    }
}
