//! Schedulers: beside each member one that places pods on nodes while its member leads, as the binary does it: it raises a
//! fence when its tenure begins, reads what there is, and acts behind the fence from then on.
//!
//! Real: leadership, and `storage` with its fence and its compares. Simulated: what to place where; a node has room for a
//! pod or two. A scheduler reads its own member's state and trusts in being the only one, so that one that was deposed and
//! did not notice would put a second pod where there is room for one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use raftstore::Store;
use raftstore::pb::PutRequest;
use serde_json::{Value, json};
use storage::{Attempt, Collection, Current, Error, Fence, Fields, Freshness, ListQuery, Storage};
use tokio::sync::mpsc;

use crate::cluster::Cluster;
use crate::executor;
use crate::monitor::Monitor;
use crate::random::Random;
use crate::runtime::timeout;

/// What the keys of all pods begin with.
pub const POD_PREFIX: &str = "/registry/pods/";
/// Pods that fit on a node.
pub const PODS_PER_NODE: usize = 1;

const FENCE_KEY: &[u8] = b"/proreus/fence";
const NAMESPACE: &str = "default";
const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// Pods at a time.
const PODS_MAX: usize = 6;
/// Between two tenures.
const PAUSE: Duration = Duration::from_millis(100);
/// A user gives a request up after this.
const PATIENCE: Duration = Duration::from_secs(3);

fn pods() -> Collection {
    Collection::builtin("pods", true, Fields::default())
}

/// The node that a pod is bound to.
pub fn node_of(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str()
}

/// A pod as this member has it.
#[derive(Clone)]
struct Pod {
    name: String,
    node: Option<String>,
    current: Current,
    object: Value,
}

async fn list(storage: &Storage, freshness: Freshness) -> Result<Vec<Pod>, Error> {
    let query = ListQuery {
        freshness: Some(freshness),
        ..ListQuery::default()
    };
    let items = storage.list(&pods(), &query).await?.items.into_iter();
    let pod = |item: storage::Item| {
        let object = item.value()?;
        Ok(Pod {
            name: item.meta().name.to_string(),
            node: node_of(&object).map(str::to_owned),
            current: Current { item, fresh: false },
            object,
        })
    };
    items.map(pod).collect()
}

/// The scheduler beside a member.
pub struct Scheduler {
    monitor: Arc<Monitor>,
    member: u64,
    store: Store,
    storage: Storage,
}

impl Scheduler {
    /// One that does nothing until its member leads.
    pub fn new(monitor: Arc<Monitor>, member: u64, store: Store) -> Self {
        let storage = Storage::new(store.clone());
        Self {
            monitor,
            member,
            store,
            storage,
        }
    }

    /// Follows its member's leadership, for as long as it is polled.
    pub async fn run(self) {
        let mut leadership = self.store.leadership();
        loop {
            let Ok(led) = leadership.wait_for(|known| known.leading).await.map(|known| *known) else {
                return;
            };
            let deposed = leadership.wait_for(|known| !known.leading || known.tenure != led.tenure);
            tokio::select! {
                biased;
                _ = deposed => {}
                result = self.lead() => {
                    self.monitor.tell(|| format!("m{} stops scheduling: {:?}", self.member, result.err()));
                }
            }
            executor::sleep(PAUSE).await;
        }
    }

    /// One tenure. Whatever goes wrong ends it: the next one's fence then keeps away what may still be under way.
    async fn lead(&self) -> Result<(), Error> {
        let fence = self.raise_fence().await?;
        list(&self.storage, Freshness::Latest).await?;
        // Placed here, and perhaps not seen here yet.
        let mut assumed: BTreeMap<String, &str> = BTreeMap::new();
        let (done, mut results) = mpsc::unbounded_channel();
        loop {
            executor::sleep(Duration::from_micros(draw(|random| random.magnitude(1_000..50_000)))).await;
            while let Ok((name, bound)) = results.try_recv() {
                if !bound? {
                    assumed.remove(&name);
                }
            }
            let known = list(&self.storage, Freshness::Any).await?;
            let present: BTreeSet<&str> = known.iter().map(|pod| pod.name.as_str()).collect();
            assumed.retain(|name, _| present.contains(name.as_str()));
            let Some((pod, node)) = choose(&known, &assumed) else {
                continue;
            };
            assumed.insert(pod.name.clone(), node);
            let bind = Bind {
                storage: self.storage.clone(),
                pod,
                node,
                fence: fence.clone(),
            };
            // Beside the next cycles, and not called back when the tenure ends: what keeps it away then is the fence alone.
            let done = done.clone();
            drop(executor::spawn(async move {
                let name = bind.pod.name.clone();
                let _ = done.send((name, bind.perform().await));
            }));
        }
    }

    async fn raise_fence(&self) -> Result<Fence, Error> {
        let request = PutRequest {
            key: FENCE_KEY.into(),
            value: format!("m{}", self.member).into(),
            ..PutRequest::default()
        };
        let token = self
            .store
            .put(request)
            .await?
            .header
            .map_or(0, |header| header.revision);
        self.monitor
            .tell(|| format!("m{} schedules behind fence {token}", self.member));
        Ok(Fence {
            key: FENCE_KEY.into(),
            token,
        })
    }
}

/// A pod that waits, and a node that has room for it.
fn choose(known: &[Pod], assumed: &BTreeMap<String, &'static str>) -> Option<(Pod, &'static str)> {
    let place = |pod: &Pod| {
        pod.node
            .clone()
            .or_else(|| assumed.get(&pod.name).map(|node| (*node).to_owned()))
    };
    let places: Vec<Option<String>> = known.iter().map(place).collect();
    let pods_on = |node: &str| places.iter().filter(|place| place.as_deref() == Some(node)).count();
    let free: Vec<&'static str> = NODES.into_iter().filter(|node| pods_on(node) < PODS_PER_NODE).collect();
    let waiting: Vec<&Pod> = known
        .iter()
        .zip(&places)
        .filter(|(_, place)| place.is_none())
        .map(|(pod, _)| pod)
        .collect();
    draw(|random| Some(((*random.pick(&waiting)?).clone(), *random.pick(&free)?)))
}

/// A binding under way.
struct Bind {
    storage: Storage,
    pod: Pod,
    node: &'static str,
    fence: Fence,
}

impl Bind {
    /// Takes a while to get as far as the store. False if the pod was deleted meanwhile.
    async fn perform(&self) -> Result<bool, Error> {
        executor::sleep(Duration::from_micros(draw(|random| random.magnitude(10..300_000)))).await;
        let mut object = self.pod.object.clone();
        object["spec"]["nodeName"] = self.node.into();
        let (pods, fence) = (pods(), Some(&self.fence));
        let Pod { name, current, .. } = &self.pod;
        let written = self
            .storage
            .replace(&pods, NAMESPACE, name, current, &object, fence)
            .await?;
        Ok(matches!(written, Attempt::Written(_)))
    }
}

fn draw<T>(draw: impl FnOnce(&mut Random) -> T) -> T {
    executor::random(draw)
}

/// Somebody who makes pods and deletes them.
pub struct User {
    /// Where.
    pub cluster: Arc<Cluster>,
    /// Its chance.
    pub random: Random,
}

impl User {
    /// Does one thing after the other, for as long as it is polled.
    pub async fn run(mut self) {
        for number in 0u64.. {
            executor::sleep(Duration::from_micros(self.random.magnitude(1_000..200_000))).await;
            let member = self.cluster.draw(&mut self.random);
            let Some((store, process)) = member.and_then(|member| self.cluster.store(member)) else {
                continue;
            };
            let doing = step(Storage::new(store), number, self.random.fork());
            // What came of it is seen in the store.
            let _ = timeout(PATIENCE, executor::spawn_in(process, doing)).await;
        }
    }
}

async fn step(storage: Storage, number: u64, mut random: Random) -> Result<(), Error> {
    let known = list(&storage, Freshness::Any).await?;
    let (pods, bound) = (
        pods(),
        known.iter().filter(|pod| pod.node.is_some()).collect::<Vec<_>>(),
    );
    if known.len() < PODS_MAX && random.chance(600_000) {
        let name = format!("p{number}");
        let pod =
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {}});
        storage.create(&pods, NAMESPACE, &name, &pod, None).await?;
    } else if let Some(pod) = random.pick(&bound) {
        storage.remove(&pods, NAMESPACE, &pod.name, &pod.current, None).await?;
    }
    Ok(())
}
