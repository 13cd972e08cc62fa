//! A member started by a command line, as the `etcd` binary is.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use etcd::services::etcdserverpb::{
    cluster_client::ClusterClient, kv_client::KvClient, maintenance_client::MaintenanceClient,
};
use etcd::standalone::{Plan, run};
use mvcc::Memory;
use proto::etcd::etcdserverpb::{Member, MemberListRequest, PutRequest, RangeRequest, StatusRequest};
use raftstore::FaultHandler;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Nothing here takes long; what takes this long never ends.
pub const HANG: Duration = Duration::from_secs(120);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// What every member is started with, but for the cluster.
pub fn flags(name: &str, peer: u16, data: &Path) -> Vec<String> {
    let (client, metrics) = (free_port(), free_port());
    vec![
        format!("--name={name}"),
        format!("--data-dir={}", data.join(name).display()),
        format!("--listen-client-urls={}", url(client)),
        format!("--advertise-client-urls={}", url(client)),
        format!("--listen-metrics-urls={}", url(metrics)),
        format!("--listen-peer-urls={}", url(peer)),
        format!("--initial-advertise-peer-urls={}", url(peer)),
        "--heartbeat-interval=200".into(),
        "--election-timeout=2000".into(),
    ]
}

pub struct Running {
    pub client_port: u16,
    pub metrics_port: u16,
    /// Why it would have ended its process.
    fault: Arc<Mutex<Option<String>>>,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), String>>,
}

impl Running {
    pub fn start(line: Vec<String>, variables: Vec<(String, String)>) -> Self {
        Self::start_over(line, variables, Memory::new())
    }

    /// Starts a member whose tables are there already.
    pub fn start_over(line: Vec<String>, variables: Vec<(String, String)>, tables: Memory) -> Self {
        let plan = Plan::read(line, variables).unwrap();
        let (client_port, metrics_port) = (
            plan.listen_client[0].address.port(),
            plan.listen_metrics[0].address.port(),
        );
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let fault = Arc::new(Mutex::new(None));
        let noted = fault.clone();
        let ended = tokio::spawn(async move {
            // Not all of what opens a member may move between threads.
            tokio::task::spawn_blocking(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(run(
                    plan,
                    async |mut setup| {
                        setup.options.on_fault = FaultHandler(Arc::new(move |reason| {
                            *noted.lock().unwrap() = Some(reason.to_owned());
                        }));
                        memory::open_over(setup, tables).await
                    },
                    stopped,
                ))
            })
            .await
            .unwrap()
            .map_err(|error| error.to_string())
        });
        Self {
            client_port,
            metrics_port,
            fault,
            stop,
            ended,
        }
    }

    pub async fn channel(&self) -> Channel {
        let connect = async {
            loop {
                let channel = Channel::from_shared(url(self.client_port)).unwrap();
                if let Ok(channel) = channel.connect().await {
                    return channel;
                }
                assert!(!self.ended.is_finished(), "the member ended");
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(HANG, connect).await.expect("the door opens")
    }

    /// Puts a key, as soon as there is a leader.
    pub async fn put(&self, key: &str, value: &str) {
        let mut keys = KvClient::new(self.channel().await);
        let request = PutRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            ..Default::default()
        };
        let written = async {
            while keys.put(request.clone()).await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(HANG, written).await.expect("a put is taken");
    }

    /// The value of a key that is there, as soon as there is a leader.
    pub async fn get(&self, key: &str) -> String {
        let mut keys = KvClient::new(self.channel().await);
        let request = RangeRequest {
            key: key.to_owned().into(),
            ..Default::default()
        };
        let read = async {
            loop {
                match keys.range(request.clone()).await {
                    Ok(range) => return range.into_inner().kvs[0].value.clone(),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        let value = tokio::time::timeout(HANG, read).await.expect("a get is answered");
        String::from_utf8(value.to_vec()).unwrap()
    }

    /// The cluster's id and this member's.
    pub async fn ids(&self) -> (u64, u64) {
        let mut maintenance = MaintenanceClient::new(self.channel().await);
        let status = maintenance.status(StatusRequest {}).await.unwrap();
        let header = status.into_inner().header.unwrap();
        (header.cluster_id, header.member_id)
    }

    pub async fn members(&self) -> Vec<Member> {
        let list = MemberListRequest { linearizable: true };
        let list = ClusterClient::new(self.channel().await)
            .member_list(list)
            .await
            .unwrap();
        list.into_inner().members
    }

    /// Waits until there are so many members, all with a name and a vote.
    pub async fn wait_for_members(&self, count: usize) -> Vec<Member> {
        let mut cluster = ClusterClient::new(self.channel().await);
        let full = async {
            loop {
                let list = cluster.member_list(MemberListRequest { linearizable: true }).await;
                if let Ok(list) = list.map(|list| list.into_inner().members)
                    && list.len() == count
                    && list.iter().all(|member| !member.is_learner && !member.name.is_empty())
                {
                    return list;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(HANG, full).await.expect("the members are there")
    }

    /// Waits until it would have ended its process, and says why.
    pub async fn wait_for_fault(&self) -> String {
        let fault = async {
            loop {
                if let Some(fault) = self.fault.lock().unwrap().clone() {
                    return fault;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(HANG, fault).await.expect("it says why it stops")
    }

    /// Waits until it ends by itself, and says why.
    pub async fn refusal(mut self) -> String {
        let ended = tokio::time::timeout(HANG, &mut self.ended).await;
        ended.expect("it ends").unwrap().unwrap_err()
    }

    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(HANG, &mut self.ended).await;
        ended.expect("it stops").unwrap().unwrap();
    }
}

/// A test that fails must not wait for the members that it leaves.
impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
