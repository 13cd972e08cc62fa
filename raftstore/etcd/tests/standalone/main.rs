//! The keyspace alone, started as the `etcd` binary is started. Its tables are in memory; everything else is as shipped.

mod joining;
mod member;
mod restoring;

use etcd::services::etcdserverpb::{cluster_client::ClusterClient, kv_client::KvClient};
use etcd::standalone::{Plan, run};
use proto::etcd::etcdserverpb::{MemberListRequest, PutRequest};
use raftstore::{Setup, Store};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use member::{Running, flags, free_port};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_make_a_cluster_and_a_metrics_address_has_only_pages() {
    let data = tempfile::tempdir().unwrap();
    let peers = [free_port(), free_port(), free_port()];
    let names = ["a", "b", "c"];
    let member = |(name, port): (&&str, &u16)| format!("{name}=http://127.0.0.1:{port}");
    let cluster = names.iter().zip(&peers).map(member).collect::<Vec<_>>().join(",");
    let start = |(name, peer): (&&str, &u16)| {
        let line = flags(name, *peer, data.path());
        let cluster = [
            format!("--initial-cluster={cluster}"),
            "--initial-cluster-token=standalone".into(),
        ];
        Running::start([&line[..], &cluster].concat(), vec![])
    };
    let mut starting = names.iter().zip(&peers).map(start);
    let first = starting.next().unwrap();
    let mut alone = ClusterClient::new(first.channel().await);
    let early = tokio::spawn(async move { alone.member_list(MemberListRequest { linearizable: false }).await });
    let members: Vec<Running> = [first].into_iter().chain(starting).collect();
    if let Ok(early) = early.await.unwrap() {
        assert_eq!(
            early.into_inner().members.len(),
            3,
            "nobody is told that there are no members"
        );
    }
    members[0].put("k", "v").await;
    for running in &members {
        assert_eq!(running.get("k").await, "v");
        let list = running.members().await;
        let mut listed: Vec<&str> = list.iter().map(|member| member.name.as_str()).collect();
        listed.sort_unstable();
        assert_eq!(listed, names);
    }
    let pages = Channel::from_shared(format!("http://127.0.0.1:{}", members[0].metrics_port)).unwrap();
    let refused = KvClient::new(pages.connect().await.unwrap())
        .put(PutRequest::default())
        .await;
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
