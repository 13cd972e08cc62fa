//! Members prove themselves to each other.

use pki::tls::{ClientAuth, client_config, server_config};
use pki::{Ca, Leaf};
use raftstore::Tls;

use crate::harness::{Cluster, read, write};

/// A member's certificates, from an authority in `directory`.
fn certificates(directory: &std::path::Path, addresses: Vec<std::net::IpAddr>) -> Tls {
    let ca = Ca::generate("peers").unwrap();
    let (ca_cert, ca_key) = (directory.join("ca.crt"), directory.join("ca.key"));
    ca.write(&ca_cert, &ca_key).unwrap();
    let leaf = Leaf {
        common_name: "member".into(),
        organizations: vec![],
        dns_names: vec![],
        ip_addresses: addresses,
        server: true,
        client: true,
        days: Some(1),
    };
    let identity = ca.issue(&leaf).unwrap();
    let (cert, key) = (directory.join("peer.crt"), directory.join("peer.key"));
    std::fs::write(&cert, &identity.cert_pem).unwrap();
    std::fs::write(&key, &identity.key_pem).unwrap();
    Tls {
        server: server_config(&cert, &key, Some(&ca_cert), ClientAuth::Required).unwrap(),
        client: client_config(&ca_cert, Some((&cert, &key))).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_works_over_mutual_tls() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::prepared(3).await;
    let addresses = cluster.hosts.iter().map(|host| host.address.ip()).collect();
    cluster.tls = Some(certificates(directory.path(), addresses));
    cluster.start_all().await;
    for i in 0..20 {
        write(&cluster.store(i % 3), "key", &i.to_string()).await;
    }
    let leader = cluster.wait_for_leader().await;
    cluster.kill(leader).await;
    let survivor = cluster.store(cluster.follower().await);
    assert_eq!(read(&survivor, "key").await, Some("19".into()));
}
