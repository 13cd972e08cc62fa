//! The whole agent against an API, in a network namespace of its own.

#[path = "../../client/tests/fixed_api/mod.rs"]
mod api;

use std::{net::SocketAddr, process::Command};

use api::{HANG, client, isolated};
use client::Informers;
use dns::{Config, run};
use hickory_server::proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RecordType},
};
use serde_json::json;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

const CLUSTER_DNS: &str = "10.96.0.10:53";

/// Asks until the agent answers at all, and knows its zone.
async fn ask(name: &str) -> Message {
    let server: SocketAddr = CLUSTER_DNS.parse().unwrap();
    loop {
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        // Before the address is there, sending or receiving fails at once.
        let mut buffer = vec![0; 4096];
        let exchange = async {
            socket.connect(server).await?;
            socket.send(&query.to_vec().unwrap()).await?;
            socket.recv(&mut buffer).await
        };
        if let Ok(length) = exchange.await {
            let answer = Message::from_vec(&buffer[..length]).unwrap();
            if answer.metadata.response_code != ResponseCode::ServFail {
                return answer;
            }
        }
        tokio::task::yield_now().await;
    }
}

fn addresses() -> String {
    let output = Command::new("ip")
        .args(["-o", "address", "show", "dev", "lo"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_cluster_address_answers_while_the_agent_runs() {
    isolated(|| async {
        let services = json!([{
            "metadata": { "name": "web", "namespace": "default", "resourceVersion": "1" },
            "spec": { "clusterIP": "10.96.0.50", "ports": [{ "port": 80 }] },
        }]);
        let api = client(&[("services", services)]);
        let config = Config {
            resolv_conf: None,
            ..Config::new(CLUSTER_DNS.parse().unwrap())
        };
        let stop = CancellationToken::new();
        let informers = Informers::new(api, stop.clone());
        let agent = tokio::spawn(run(config, informers, stop.clone()));
        let answer = tokio::time::timeout(HANG, ask("web.default.svc.cluster.local."))
            .await
            .expect("no answer");
        assert_eq!(answer.answers[0].data.to_string(), "10.96.0.50");
        assert!(addresses().contains("10.96.0.10/32"));
        stop.cancel();
        agent.await.unwrap().unwrap();
        assert!(!addresses().contains("10.96.0.10"), "the address is left behind");
    });
}
