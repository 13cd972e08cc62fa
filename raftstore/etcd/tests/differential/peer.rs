//! One of the two that are compared, and how an answer is brought into a form that can be.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd::restore::{Checksum, Snapshot};
use etcd::services::etcdserverpb::{
    auth_client::AuthClient, kv_client::KvClient, lease_client::LeaseClient, maintenance_client::MaintenanceClient,
    watch_client::WatchClient,
};
use etcd::standalone::Plan;
use etcd::{EtcdConfig, serve};
use proto::etcd::etcdserverpb::{self as pb, ResponseHeader, response_op};
use raftstore::Store;
use raftstore::restore::establish;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

use crate::generator::Op;

/// Nothing here takes long; what takes this long never ends.
pub const HANG: Duration = Duration::from_secs(60);

/// A running etcd; ends with the value.
pub struct Etcd {
    process: Child,
    pub client_url: String,
    _data: tempfile::TempDir,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Etcd {
    pub async fn start() -> Option<Self> {
        let data = tempfile::tempdir().unwrap();
        Self::spawn(data, free_port())
    }

    /// An etcd on the content of a snapshot.
    pub fn restore(snapshot: &[u8]) -> Option<Self> {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("snapshot.db");
        std::fs::write(&file, snapshot).unwrap();
        let peer_port = free_port();
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let restored = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["snapshot", "restore"])
            .arg(&file)
            .arg("--data-dir")
            .arg(data.path().join("etcd"))
            .args(["--name", "one", "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("one={peer_url}")])
            .output();
        let Ok(restored) = restored else {
            skip::skip("there is no etcdctl (Debian: etcd-client)");
            return None;
        };
        let errors = String::from_utf8_lossy(&restored.stderr);
        assert!(restored.status.success(), "etcdctl snapshot restore: {errors}");
        Self::spawn(data, peer_port)
    }

    fn spawn(data: tempfile::TempDir, peer_port: u16) -> Option<Self> {
        let client_url = format!("http://127.0.0.1:{}", free_port());
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let spawned = Command::new("etcd")
            .args([
                "--name",
                "one",
                "--log-level",
                "error",
                "--unsafe-no-fsync",
                "--bcrypt-cost",
                "4",
            ])
            .arg("--data-dir")
            .arg(data.path().join("etcd"))
            .args([
                "--listen-client-urls",
                &client_url,
                "--advertise-client-urls",
                &client_url,
            ])
            .args([
                "--listen-peer-urls",
                &peer_url,
                "--initial-advertise-peer-urls",
                &peer_url,
            ])
            .args(["--initial-cluster", &format!("one={peer_url}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = spawned else {
            skip::skip("there is no etcd (Debian: etcd-server)");
            return None;
        };
        Some(Self {
            process,
            client_url,
            _data: data,
        })
    }

    pub async fn peer(&self) -> Peer {
        let wait = async {
            loop {
                let channel = Channel::from_shared(self.client_url.clone()).unwrap();
                if let Ok(channel) = channel.connect().await {
                    let mut peer = Peer::over(self.client_url.clone(), channel, None);
                    // Answered once there is a leader.
                    if peer
                        .kv
                        .range(pb::RangeRequest {
                            key: "x".into(),
                            ..Default::default()
                        })
                        .await
                        .is_ok()
                    {
                        return peer;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(HANG, wait).await.expect("etcd does not start")
    }
}

pub struct Peer {
    /// Where it is reached.
    pub url: String,
    pub kv: KvClient<Channel>,
    pub watch: WatchClient<Channel>,
    pub auth: AuthClient<Channel>,
    lease: LeaseClient<Channel>,
    maintenance: MaintenanceClient<Channel>,
    _stop: Option<DropGuard>,
    _data: Option<tempfile::TempDir>,
}

/// An answer without what tells members apart, or the code and text of an error.
macro_rules! normal {
    ($call:expr) => {
        match $call.await {
            Ok(response) => {
                let mut response = response.into_inner();
                normalize(&mut response.header);
                Ok(response)
            }
            Err(status) => Err(format!("{:?}: {}", status.code(), status.message())),
        }
    };
}

pub fn shown<T: std::fmt::Debug>(result: Result<T, String>) -> String {
    result.map_or_else(|error| error, |response| format!("{response:#?}"))
}

pub fn normalize(header: &mut Option<ResponseHeader>) {
    if let Some(header) = header {
        (header.cluster_id, header.member_id, header.raft_term) = (0, 0, 0);
    }
}

impl Peer {
    fn over(url: String, channel: Channel, stop: Option<DropGuard>) -> Self {
        Self {
            url,
            kv: KvClient::new(channel.clone()),
            watch: WatchClient::new(channel.clone()),
            auth: AuthClient::new(channel.clone()),
            lease: LeaseClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel),
            _stop: stop,
            _data: None,
        }
    }

    /// The door over a store in memory.
    pub async fn door() -> Self {
        Self::door_of(memory::store().await.unwrap()).await
    }

    /// The door over a store that was restored from a snapshot.
    pub async fn restored(snapshot: &[u8]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("snapshot.db");
        std::fs::write(&file, snapshot).unwrap();
        let snapshot = Snapshot::open(&file, Checksum::Needed).unwrap();
        let listen = format!("http://127.0.0.1:{}", free_port());
        let flags = [
            format!("--data-dir={}", data.path().join("member").display()),
            format!("--listen-peer-urls={listen}"),
            format!("--initial-advertise-peer-urls={listen}"),
        ];
        let plan = Plan::read(flags, []).unwrap();
        let mut options = plan.options().clone();
        options.restored(&[snapshot.digest()], true);
        let tables = mvcc::Memory::new();
        snapshot.restore(&tables, &options.members, 0).unwrap();
        std::fs::create_dir_all(&plan.data_directory).unwrap();
        establish(&plan.data_directory, &options).await.unwrap();
        let store = memory::open_over(plan.setup().unwrap().0, tables).await.unwrap();
        let mut leadership = store.leadership();
        leadership.wait_for(|known| known.leading).await.unwrap();
        Self {
            _data: Some(data),
            ..Self::door_of(store).await
        }
    }

    async fn door_of(store: Store) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let mut config = EtcdConfig::new("one", vec![]);
        config.bcrypt_cost = 4;
        tokio::spawn(serve(listener, None, store, config, stop.clone()));
        let channel = Channel::from_shared(url.clone()).unwrap().connect().await.unwrap();
        Self::over(url, channel, Some(stop.drop_guard()))
    }

    pub async fn put(&mut self, key: &str, value: &str) {
        let request = pb::PutRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            ..Default::default()
        };
        self.kv.put(request).await.unwrap();
    }

    /// Where it is.
    pub async fn revision(&mut self) -> i64 {
        let range = self.kv.range(pb::RangeRequest {
            key: "x".into(),
            ..Default::default()
        });
        range.await.unwrap().into_inner().header.unwrap().revision
    }

    /// The bytes of a snapshot.
    pub async fn snapshot(&mut self) -> Vec<u8> {
        let mut parts = self
            .maintenance
            .snapshot(pb::SnapshotRequest {})
            .await
            .unwrap()
            .into_inner();
        let mut snapshot = Vec::new();
        while let Some(part) = parts.message().await.unwrap() {
            snapshot.extend_from_slice(&part.blob);
        }
        snapshot
    }

    /// What the peer answers, as text.
    pub async fn apply(&mut self, op: &Op) -> String {
        tokio::time::timeout(HANG, self.answer(op.clone()))
            .await
            .expect("an answer")
    }

    async fn answer(&mut self, op: Op) -> String {
        match op {
            Op::Range(request) => shown(normal!(self.kv.range(request))),
            Op::Put(request) => shown(normal!(self.kv.put(request))),
            Op::DeleteRange(request) => shown(normal!(self.kv.delete_range(request))),
            Op::Txn(request) => shown(normal!(self.kv.txn(request)).map(without_inner_headers)),
            Op::Compact(request) => shown(normal!(self.kv.compact(request))),
            Op::Grant(request) => shown(normal!(self.lease.lease_grant(request))),
            Op::Revoke(request) => shown(normal!(self.lease.lease_revoke(request))),
            Op::TimeToLive(request) => shown(normal!(self.lease.lease_time_to_live(request)).map(|mut response| {
                // The clocks are not the same.
                response.ttl = response.ttl.signum();
                response.keys.sort();
                response
            })),
            Op::Leases => shown(
                normal!(self.lease.lease_leases(pb::LeaseLeasesRequest {})).map(|mut response| {
                    response.leases.sort_by_key(|lease| lease.id);
                    response
                }),
            ),
            Op::HashKv(request) => shown(normal!(self.maintenance.hash_kv(request)).map(|mut response| {
                // Newer than the etcd at hand.
                response.hash_revision = 0;
                response
            })),
        }
    }
}

/// Inside a transaction etcd says of some operations at which revision they happened and of others nothing.
pub fn without_inner_headers(mut response: pb::TxnResponse) -> pb::TxnResponse {
    for operation in &mut response.responses {
        match &mut operation.response {
            Some(response_op::Response::ResponseRange(range)) => normalize(&mut range.header),
            Some(response_op::Response::ResponsePut(put)) => normalize(&mut put.header),
            Some(response_op::Response::ResponseDeleteRange(delete)) => normalize(&mut delete.header),
            Some(response_op::Response::ResponseTxn(nested)) => {
                normalize(&mut nested.header);
                *nested = without_inner_headers(std::mem::take(nested));
            }
            None => {}
        }
    }
    response
}
