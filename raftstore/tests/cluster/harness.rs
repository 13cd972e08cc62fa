//! A cluster that can lose members and get them back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mvcc::View;
use openraft::impls::TokioRuntime;
use proto::etcd::etcdserverpb::{PutRequest, RangeRequest};
use raftstore::log::MemoryDisk;
use raftstore::transport::{Dialer, Identity, Inbound, serve};
use raftstore::{
    Delivery, Error, ErrorKind, Listen, Member, MembershipRefusal, Node, Options, Parts, Retention, Store, Timing, Tls,
    Watcher,
};
use tokio::net::TcpListener;

use crate::tables::Tables;

/// Longer than anything takes that works at all.
pub const BOUND: Duration = Duration::from_secs(120);

static CLUSTERS: AtomicU8 = AtomicU8::new(1);

/// One member's machine: what outlives its process.
pub struct Host {
    pub id: u64,
    pub address: SocketAddr,
    pub disk: MemoryDisk,
    pub backend: Arc<Tables>,
    pub store: Option<Store>,
    /// Was added to a cluster that existed.
    pub joined: bool,
}

pub struct Cluster {
    /// No two clusters share one, so that none ever talks to another.
    token: String,
    pub hosts: Vec<Host>,
    pub retention: Retention,
    pub request_timeout: Duration,
    pub tls: Option<Tls>,
    pub quota_bytes: u64,
    /// Least and most; the most is a leader's lease, too.
    pub election: (Duration, Duration),
}

impl Cluster {
    /// Hosts whose members are not started.
    pub async fn prepared(members: u64) -> Self {
        // RUST_LOG shows what the members say; set by the first cluster of the process.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .try_init();
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        // Addresses of its own for every member of every cluster of every process: a port that the system handed out
        // could go to somebody else while its member is down.
        let port = 10_000 + (std::process::id() % 20_000) as u16;
        let host = |id: u64| Host {
            id,
            address: SocketAddr::from(([127, 77, number, id as u8], port)),
            disk: MemoryDisk::new(),
            backend: Arc::default(),
            store: None,
            joined: false,
        };
        let hosts = (1..=members).map(host).collect();
        let token = format!("test-{}-{number}", std::process::id());
        let request_timeout = BOUND;
        Self {
            token,
            hosts,
            retention: Retention::default(),
            request_timeout,
            tls: None,
            quota_bytes: u64::MAX,
            // Slow: the tests share their processors with others, and a lapse of the leader is a legal answer to that.
            election: (Duration::from_millis(1_000), Duration::from_millis(2_000)),
        }
    }

    /// A running cluster with a leader.
    pub async fn start(members: u64) -> Self {
        let mut cluster = Self::prepared(members).await;
        cluster.start_all().await;
        cluster
    }

    pub async fn start_all(&mut self) {
        for index in 0..self.hosts.len() {
            self.start_member(index).await;
        }
        self.wait_for_leader().await;
    }

    pub fn members(&self) -> Vec<Member> {
        let member = |host: &Host| Member {
            id: host.id,
            name: format!("m{}", host.id),
            peer_urls: vec![format!("https://{}", host.address)],
            client_urls: vec![],
            learner: false,
        };
        self.hosts.iter().map(member).collect()
    }

    pub async fn start_member(&mut self, index: usize) {
        self.start_inbound(index).await;
    }

    /// Starts a member; gives what its transport calls.
    pub async fn start_inbound(&mut self, index: usize) -> Arc<dyn Inbound> {
        let members = self.members();
        let host = &mut self.hosts[index];
        let mut options = Options::new(host.id, self.token.clone(), members);
        options.retention = self.retention;
        options.space.quota_bytes = self.quota_bytes;
        options.founds = !host.joined;
        options.timing = Timing {
            heartbeat: Duration::from_millis(400),
            election_min: self.election.0,
            election_max: self.election.1,
            request: self.request_timeout,
        };
        options.log.segment_bytes = 8 << 20;
        options.on_fault = raftstore::FaultHandler::told();
        let identity = Identity {
            cluster: options.cluster_id(),
            member: host.id,
        };
        let peers = Dialer::new(identity, self.tls.clone(), options.metrics.clone());
        let parts = Parts {
            disk: host.disk.clone(),
            backend: host.backend.clone(),
            peers,
        };
        let node = Node::<TokioRuntime, _, _, _>::start(options, parts)
            .await
            .expect("the member starts");
        let listener = bind(host.address).await;
        let server = self.tls.as_ref().map(|tls| tls.server.clone());
        serve(
            Listen::Bound(listener),
            server,
            identity,
            node.inbound(),
            node.stopped(),
        )
        .await
        .unwrap();
        node.found_in_background();
        let inbound = node.inbound();
        host.store = Some(Store::of(node));
        inbound
    }

    /// Adds a member through another and starts it; gives its place. It joins with a vote, or waits for a promotion.
    pub async fn add(&mut self, through: usize, learner: bool) -> usize {
        let number = self.hosts.len() as u8 + 1;
        let mut address = self.hosts[0].address;
        if let std::net::IpAddr::V4(ip) = address.ip() {
            let [a, b, cluster, _] = ip.octets();
            address.set_ip([a, b, cluster, number].into());
        }
        let url = format!("https://{address}");
        let store = self.store(through);
        let id = eventually("the member is added", async || {
            match store.add_member(vec![url.clone()], learner).await {
                Ok(id) => Some(id),
                // It may have been added although nobody heard of it.
                Err(Error::Membership(MembershipRefusal::PeerUrlExists)) => {
                    let members = store.members();
                    Some(members.iter().find(|member| member.peer_urls.contains(&url))?.id)
                }
                Err(_) => None,
            }
        })
        .await;
        self.hosts.push(Host {
            id,
            address,
            disk: MemoryDisk::new(),
            backend: Arc::default(),
            store: None,
            joined: true,
        });
        let index = self.hosts.len() - 1;
        self.start_member(index).await;
        index
    }

    /// Waits until as many members as `voters` have a vote, in the eyes of `index`.
    pub async fn wait_for_voters(&self, index: usize, voters: usize) {
        eventually("the members have their votes", async || {
            let members = self.store(index).members();
            (members.iter().filter(|member| !member.learner).count() == voters).then_some(())
        })
        .await;
    }

    /// Ends a member's process; it loses what it had not synced or flushed.
    pub async fn kill(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let store = host.store.take().expect("the member runs");
        bounded("the member stops", store.shutdown()).await;
        host.disk.crash(|_, _| false);
        host.backend.memory.crash();
    }

    pub fn store(&self, index: usize) -> Store {
        self.hosts[index].store.clone().expect("the member runs")
    }

    pub fn running(&self) -> Vec<usize> {
        (0..self.hosts.len())
            .filter(|index| self.hosts[*index].store.is_some())
            .collect()
    }

    /// The member that leads.
    pub async fn wait_for_leader(&self) -> usize {
        eventually("a member leads", async || {
            let leads = |index: &usize| self.store(*index).leadership().borrow().leading;
            self.running().into_iter().find(leads)
        })
        .await
    }

    /// A running member that does not lead.
    pub async fn follower(&self) -> usize {
        let leader = self.wait_for_leader().await;
        self.running()
            .into_iter()
            .find(|index| *index != leader)
            .expect("more than one member runs")
    }
}

async fn bind(address: SocketAddr) -> TcpListener {
    eventually("the old listener is gone", async || {
        TcpListener::bind(address).await.ok()
    })
    .await
}

/// Waits for something that has to happen.
pub async fn bounded<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}

/// The next delivery.
pub async fn next(watcher: &mut Watcher) -> Delivery {
    bounded("a delivery", watcher.next()).await.expect("the watch goes on")
}

/// Waits until `condition` gives something.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(BOUND, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}

pub fn put_request(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..PutRequest::default()
    }
}

/// Writes a key and gives the revision.
pub async fn put(store: &Store, key: &str, value: &str) -> Result<i64, Error> {
    Ok(store
        .put(put_request(key, value))
        .await?
        .header
        .expect("answers have a header")
        .revision)
}

/// Writes a key until that is acknowledged, and gives the revision. A leader may lapse at any time when processors are
/// busy, so the write may have happened more than once.
pub async fn write(store: &Store, key: &str, value: &str) -> i64 {
    eventually("the write is acknowledged", async || {
        answered(put(store, key, value).await)
    })
    .await
}

/// The state that a linearizable read sees now, however long it takes until there is a leader to ask.
pub async fn read_all(store: &Store) -> View {
    eventually("a linearizable read is answered", async || {
        answered(store.linearizable_view().await)
    })
    .await
}

/// The value of a key by a linearizable read, however long it takes until there is a leader to ask.
pub async fn read(store: &Store, key: &str) -> Option<String> {
    eventually("a linearizable read is answered", async || {
        answered(get(store, key, false).await)
    })
    .await
}

/// What was answered; nothing where asking again may help.
fn answered<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(answer) => Some(answer),
        Err(error) if error.kind() == ErrorKind::Retryable => None,
        Err(error) => panic!("{error}"),
    }
}

/// Takes deliveries until `last` was seen; gives the revisions. They have to ascend.
pub async fn revisions_until(watcher: &mut Watcher, last: i64) -> Vec<i64> {
    let mut seen = Vec::new();
    while seen.last() < Some(&last) {
        match next(watcher).await {
            Delivery::Blocks { blocks, .. } => seen.extend(blocks.iter().map(|block| block.revision)),
            other => panic!("{other:?}"),
        }
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "twice or out of order: {seen:?}");
    seen
}

/// Reads a key.
pub async fn get(store: &Store, key: &str, serializable: bool) -> Result<Option<String>, Error> {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let response = store
        .range(RangeRequest {
            key,
            serializable,
            ..RangeRequest::default()
        })
        .await?;
    Ok(response
        .kvs
        .first()
        .map(|kv| String::from_utf8(kv.value.to_vec()).expect("values are text")))
}
