use crate::harness::Cluster;
use serde_json::{Value, json};
use std::collections::HashSet;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, kind: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": kind, "selector": {"app": "x"}, "ports": [{"port": 80}]}})
}

#[tokio::test]
async fn addresses_and_ports_are_unique_and_given_back() {
    let (_cluster, admin) = Cluster::ready().await;
    let mut seen = HashSet::new();
    for index in 0..5 {
        let made = admin
            .post(SERVICES, service(&format!("s{index}"), "NodePort"))
            .await
            .expect(201);
        let (address, port) = (&made["spec"]["clusterIP"], &made["spec"]["ports"][0]["nodePort"]);
        assert!(seen.insert(address.to_string()) && seen.insert(port.to_string()));
        assert_eq!(made["spec"]["clusterIPs"], json!([address]));
    }
    let held = admin.get(&format!("{SERVICES}/s0")).await.expect(200);
    let mut same = service("thief", "NodePort");
    same["spec"]["clusterIP"] = held["spec"]["clusterIP"].clone();
    let refused = admin.post(SERVICES, same.clone()).await.message(422);
    assert!(refused.contains("provided IP is already allocated"), "{refused}");
    admin.delete(&format!("{SERVICES}/s0"), Value::Null).await.expect(200);
    same["spec"]["ports"][0]["nodePort"] = held["spec"]["ports"][0]["nodePort"].clone();
    admin.post(SERVICES, same).await.expect(201);
}

#[tokio::test]
async fn what_a_failed_create_took_is_free_again() {
    let (_cluster, admin) = Cluster::ready().await;
    let mut wanted = service("a", "NodePort");
    wanted["spec"]["clusterIP"] = json!("10.96.0.10");
    wanted["spec"]["ports"][0]["nodePort"] = json!(30100);
    admin.post(SERVICES, service("a", "ClusterIP")).await.expect(201);
    admin.post(SERVICES, wanted.clone()).await.expect(409);
    wanted["metadata"]["name"] = json!("b");
    admin.post(SERVICES, wanted).await.expect(201);
}

#[tokio::test]
async fn an_address_stays_while_the_type_changes() {
    let (_cluster, admin) = Cluster::ready().await;
    let made = admin.post(SERVICES, service("s", "ClusterIP")).await.expect(201);
    let wider = admin
        .patch(&format!("{SERVICES}/s"), json!({"spec": {"type": "NodePort"}}))
        .await
        .expect(200);
    assert_eq!(wider["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    assert!(
        wider["spec"]["ports"][0]["nodePort"]
            .as_i64()
            .is_some_and(|p| (30000..=32767).contains(&p))
    );
    let back = admin
        .patch(&format!("{SERVICES}/s"), json!({"spec": {"type": "ClusterIP"}}))
        .await
        .expect(200);
    assert_eq!(back["spec"]["ports"][0].get("nodePort"), None);
    let moved = json!({"spec": {"clusterIP": "10.96.7.7", "clusterIPs": ["10.96.7.7"]}});
    let refused = admin.patch(&format!("{SERVICES}/s"), moved).await.message(422);
    assert!(refused.contains("may not change once set"), "{refused}");
}

#[tokio::test]
async fn headless_services_have_no_address() {
    let (_cluster, admin) = Cluster::ready().await;
    let mut headless = service("h", "ClusterIP");
    headless["spec"]["clusterIP"] = json!("None");
    let made = admin.post(SERVICES, headless).await.expect(201);
    assert_eq!(
        (&made["spec"]["clusterIP"], &made["spec"]["clusterIPs"]),
        (&json!("None"), &json!(["None"]))
    );
    let external = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "e"},
        "spec": {"type": "ExternalName", "externalName": "example.com"}});
    let made = admin.post(SERVICES, external).await.expect(201);
    assert_eq!(made["spec"].get("clusterIP"), None);
}

#[tokio::test]
async fn a_dry_run_takes_nothing() {
    let (_cluster, admin) = Cluster::ready().await;
    let mut wanted = service("d", "ClusterIP");
    wanted["spec"]["clusterIP"] = json!("10.96.0.50");
    admin
        .post(&format!("{SERVICES}?dryRun=All"), wanted.clone())
        .await
        .expect(201);
    admin.get(&format!("{SERVICES}/d")).await.expect(404);
    admin.post(SERVICES, wanted).await.expect(201);
}
