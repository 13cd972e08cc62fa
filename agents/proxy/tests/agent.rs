//! The whole agent against an API, in a network namespace of its own.

#[path = "../../client/tests/fixed_api/mod.rs"]
mod api;

use std::process::Command;

use api::{HANG, client, isolated};
use client::Informers;
use proxy::{Config, cleanup, run};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// What nft says, or nothing if it refuses.
fn nft(arguments: &[&str]) -> String {
    let output = Command::new("nft").args(arguments).output().expect("nft is installed");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn services_become_rules_that_stay_until_cleanup() {
    isolated(|| async {
        let services = json!([{
            "metadata": { "name": "web", "namespace": "default", "resourceVersion": "1" },
            "spec": { "clusterIP": "10.96.0.50", "ports": [{ "port": 80 }] },
        }]);
        let slices = json!([{
            "metadata": {
                "name": "web-1", "namespace": "default", "resourceVersion": "1",
                "labels": { "kubernetes.io/service-name": "web" },
            },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": ["10.244.1.2"] }],
            "ports": [{ "port": 8080 }],
        }]);
        let api = client(&[("services", services), ("endpointslices", slices)]);
        let config = Config::new("node-1");
        let stop = CancellationToken::new();
        let informers = Informers::new(api, stop.clone());
        let agent = tokio::spawn(run(config.clone(), informers, stop.clone()));
        let rules = || nft(&["list", "table", "ip", &config.table]);
        let loaded = async {
            while !rules().contains("dnat to 10.244.1.2:8080") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(HANG, loaded).await.expect("the rules never came");
        assert!(rules().contains("10.96.0.50 . tcp . 80 : goto svc-default/web/tcp/80"));
        assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), "1\n");
        stop.cancel();
        agent.await.unwrap().unwrap();
        assert!(
            rules().contains("10.244.1.2"),
            "a restart of the agent must interrupt nothing"
        );
        cleanup(&config).await.unwrap();
        assert_eq!(nft(&["list", "ruleset"]), "");
    });
}
