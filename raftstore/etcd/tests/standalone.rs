//! The keyspace alone, started as the `etcd` binary is started. Its tables are in memory; everything else is as shipped.

use std::{path::Path, time::Duration};

use etcd::services::etcdserverpb::{cluster_client::ClusterClient, kv_client::KvClient};
use etcd::standalone::{Plan, run};
use proto::etcd::etcdserverpb::{MemberListRequest, PutRequest, RangeRequest};
use raftstore::{Setup, Store};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Nothing here takes long; what takes this long never ends.
const HANG: Duration = Duration::from_secs(120);

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

struct Running {
    client: u16,
    metrics: u16,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), String>>,
}

/// Starts a member by a command line.
fn start(name: &str, peer: u16, cluster: &str, data: &Path) -> Running {
    let (client, metrics) = (free_port(), free_port());
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let line = [
        format!("--name={name}"),
        format!("--data-dir={}", data.join(name).display()),
        format!("--listen-client-urls={}", url(client)),
        format!("--advertise-client-urls={}", url(client)),
        format!("--listen-metrics-urls={}", url(metrics)),
        format!("--listen-peer-urls={}", url(peer)),
        format!("--initial-advertise-peer-urls={}", url(peer)),
        format!("--initial-cluster={cluster}"),
        "--initial-cluster-token=standalone".into(),
        "--heartbeat-interval=200".into(),
        "--election-timeout=2000".into(),
    ];
    let plan = Plan::read(line, []).unwrap();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let ended = tokio::spawn(async move {
        // Not all of what opens a member may move between threads.
        tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(run(plan, async |setup| memory::open(setup).await, stopped))
        })
        .await
        .unwrap()
        .map_err(|error| error.to_string())
    });
    Running {
        client,
        metrics,
        stop,
        ended,
    }
}

impl Running {
    async fn channel(&self) -> Channel {
        let connect = async {
            loop {
                let channel = Channel::from_shared(format!("http://127.0.0.1:{}", self.client)).unwrap();
                if let Ok(channel) = channel.connect().await {
                    return channel;
                }
                assert!(!self.ended.is_finished(), "the member ended");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(HANG, connect).await.expect("the door opens")
    }

    async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(HANG, self.ended).await;
        ended.expect("it stops").unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_make_a_cluster_and_a_metrics_address_has_only_pages() {
    let data = tempfile::tempdir().unwrap();
    let peers = [free_port(), free_port(), free_port()];
    let names = ["a", "b", "c"];
    let member = |(name, port): (&&str, &u16)| format!("{name}=http://127.0.0.1:{port}");
    let cluster = names.iter().zip(&peers).map(member).collect::<Vec<_>>().join(",");
    let mut members = Vec::new();
    for (name, peer) in names.iter().zip(peers) {
        members.push(start(name, peer, &cluster, data.path()));
    }
    let put = PutRequest {
        key: "k".into(),
        value: "v".into(),
        ..Default::default()
    };
    let mut first = KvClient::new(members[0].channel().await);
    let written = async {
        while first.put(put.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(HANG, written)
        .await
        .expect("the cluster is founded");
    for running in &members {
        let get = RangeRequest {
            key: "k".into(),
            ..Default::default()
        };
        let range = KvClient::new(running.channel().await)
            .range(get)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(range.kvs[0].value, "v");
        let list = MemberListRequest { linearizable: true };
        let list = ClusterClient::new(running.channel().await)
            .member_list(list)
            .await
            .unwrap()
            .into_inner();
        let mut listed: Vec<&str> = list.members.iter().map(|member| member.name.as_str()).collect();
        listed.sort_unstable();
        assert_eq!(listed, names);
    }
    let pages = Channel::from_shared(format!("http://127.0.0.1:{}", members[0].metrics)).unwrap();
    let refused = KvClient::new(pages.connect().await.unwrap()).put(put).await;
    assert!(refused.is_err(), "keys are no page");
    for running in members {
        running.stop().await;
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let data = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let line = [
        format!("--data-dir={}", data.path().display()),
        format!("--listen-client-urls=http://127.0.0.1:{port}"),
        format!("--advertise-client-urls=http://127.0.0.1:{port}"),
    ];
    let plan = Plan::read(line, []).unwrap();
    let open = async |_: Setup| -> Result<Store, raftstore::Error> { panic!("the address comes before the store") };
    let error = run(plan, open, CancellationToken::new()).await.unwrap_err().to_string();
    assert!(
        error.contains("--listen-client-urls") && error.contains(&port.to_string()),
        "{error}"
    );
}
