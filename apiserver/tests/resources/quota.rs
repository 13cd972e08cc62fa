//! Quotas, limit ranges and pod security: what a namespace allows.

use crate::harness::{Client, Cluster};
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn quota(admin: &Client, hard: Value) {
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}});
    admin
        .post("/api/v1/namespaces/default/resourcequotas", quota)
        .await
        .expect(201);
}

fn pod(name: &str, resources: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

const QUOTA: &str = "/api/v1/namespaces/default/resourcequotas/q";

#[tokio::test]
async fn a_quotas_status_follows_what_is_used() {
    let (_cluster, admin) = Cluster::ready().await;
    quota(&admin, json!({"pods": "2", "requests.cpu": "1", "services": "3"})).await;
    let shows = |used: Value| move |answer: &crate::harness::Answer| answer.body["status"]["used"] == used;
    admin
        .until(QUOTA, shows(json!({"pods": "0", "requests.cpu": "0", "services": "1"})))
        .await;
    admin
        .post(PODS, pod("a", json!({"requests": {"cpu": "600m"}})))
        .await
        .expect(201);
    admin
        .until(
            QUOTA,
            shows(json!({"pods": "1", "requests.cpu": "600m", "services": "1"})),
        )
        .await;
    let done = json!({"status": {"phase": "Succeeded"}});
    admin.merge(&format!("{PODS}/a/status"), done).await.expect(200);
    admin
        .until(QUOTA, shows(json!({"pods": "0", "requests.cpu": "0", "services": "1"})))
        .await;
    admin
        .post(PODS, pod("b", json!({"requests": {"cpu": "1"}})))
        .await
        .expect(201);
    admin
        .delete(&format!("{PODS}/b"), json!({"gracePeriodSeconds": 0}))
        .await
        .expect(200);
    admin
        .until(QUOTA, shows(json!({"pods": "0", "requests.cpu": "0", "services": "1"})))
        .await;
    admin
        .merge(QUOTA, json!({"spec": {"hard": {"pods": null, "configmaps": "9"}}}))
        .await
        .expect(200);
    let counted = |answer: &crate::harness::Answer| answer.body["status"]["hard"]["configmaps"] == "9";
    assert!(
        admin.until(QUOTA, counted).await["status"]["used"]
            .get("pods")
            .is_none()
    );
}

#[tokio::test]
async fn an_update_is_charged_with_what_it_adds() {
    let (_cluster, admin) = Cluster::ready().await;
    quota(
        &admin,
        json!({"services.nodeports": "1", "services.loadbalancers": "0"}),
    )
    .await;
    let services = "/api/v1/namespaces/default/services";
    let service = |ports: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"type": "NodePort", "selector": {"a": "b"}, "ports": ports}})
    };
    admin
        .post(services, service(json!([{"name": "a", "port": 80}])))
        .await
        .expect(201);
    let path = format!("{services}/s");
    let more = json!({"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}});
    let refused = admin.merge(&path, more).await.message(403);
    assert!(
        refused.contains("exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1"),
        "{refused}"
    );
    let refused = admin
        .merge(&path, json!({"spec": {"type": "LoadBalancer"}}))
        .await
        .message(403);
    assert!(refused.contains("services.loadbalancers=1"), "{refused}");
    // What uses nothing more goes through, and what uses less makes room.
    admin
        .merge(&path, json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .expect(200);
    admin
        .merge(
            &path,
            json!({"spec": {"type": "ClusterIP", "ports": [{"name": "a", "port": 80, "nodePort": null}]}}),
        )
        .await
        .expect(200);
    let mut other = service(json!([{"port": 80}]));
    other["metadata"]["name"] = json!("t");
    admin.post(services, other).await.expect(201);
}

/// The promise that counts: whoever races whom, there is never more than the quota allows.
#[tokio::test]
async fn a_quota_is_exact_under_concurrent_creates() {
    let (cluster, admin) = Cluster::ready().await;
    quota(&admin, json!({"count/configmaps": "5"})).await;
    let before = cluster.admin().get(MAPS).await.expect(200)["items"]
        .as_array()
        .unwrap()
        .len();
    let creates: Vec<_> = (0..20)
        .map(|i| {
            let admin = admin.clone();
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{i}")}});
            tokio::spawn(async move { admin.post(MAPS, map).await })
        })
        .collect();
    let mut made = 0;
    for create in creates {
        let answer = create.await.unwrap();
        match answer.code {
            201 => made += 1,
            _ => {
                let refused = answer.message(403);
                assert!(
                    refused.contains("exceeded quota: q, requested: count/configmaps=1, used: "),
                    "{refused}"
                );
            }
        }
    }
    assert_eq!(before + made, 5);
    let quota = admin
        .get("/api/v1/namespaces/default/resourcequotas/q")
        .await
        .expect(200);
    assert_eq!(
        quota["status"],
        json!({"hard": {"count/configmaps": "5"}, "used": {"count/configmaps": "5"}})
    );
    // What is deleted can be made again.
    let first = admin.get(MAPS).await.expect(200)["items"][0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    admin.delete(&format!("{MAPS}/{first}"), Value::Null).await.expect(200);
    let again = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "again"}});
    admin.post(MAPS, again).await.expect(201);
}

#[tokio::test]
async fn a_quota_on_amounts_wants_them_said() {
    let (_cluster, admin) = Cluster::ready().await;
    quota(&admin, json!({"requests.cpu": "1", "pods": "10"})).await;
    let silent = admin.post(PODS, pod("a", json!({}))).await.message(403);
    assert!(
        silent.ends_with("failed quota: q: must specify requests.cpu for: c"),
        "{silent}"
    );
    admin
        .post(PODS, pod("a", json!({"requests": {"cpu": "700m"}})))
        .await
        .expect(201);
    let beyond = admin
        .post(PODS, pod("b", json!({"requests": {"cpu": "400m"}})))
        .await
        .message(403);
    assert_eq!(
        beyond,
        "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=400m, used: requests.cpu=700m, limited: requests.cpu=1"
    );
    let dry = admin
        .post(
            &format!("{PODS}?dryRun=All"),
            pod("b", json!({"requests": {"cpu": "400m"}})),
        )
        .await;
    dry.expect(403);
}

#[tokio::test]
async fn a_limit_range_fills_in_and_bounds() {
    let (_cluster, admin) = Cluster::ready().await;
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "r"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "500m"}, "max": {"cpu": "1"}}]}});
    admin
        .post("/api/v1/namespaces/default/limitranges", range)
        .await
        .expect(201);
    let made = admin.post(PODS, pod("a", json!({}))).await.expect(201);
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}})
    );
    let refused = admin
        .post(PODS, pod("b", json!({"limits": {"cpu": "2"}})))
        .await
        .message(403);
    assert_eq!(
        refused,
        "pods \"b\" is forbidden: maximum cpu usage per Container is 1, but limit is 2"
    );
}

/// Whoever labels a namespace is promised that nothing privileged runs in it, however it is created.
#[tokio::test]
async fn a_namespace_holds_its_pods_to_a_standard() {
    let (_cluster, admin) = Cluster::ready().await;
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    admin.patch("/api/v1/namespaces/default", label).await.expect(200);
    let mut bad = pod("bad", json!({}));
    bad["spec"]["hostNetwork"] = json!(true);
    let refused = admin.post(PODS, bad.clone()).await.message(403);
    assert_eq!(
        refused,
        "pods \"bad\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );
    admin.post(PODS, pod("good", json!({}))).await.expect(201);
    // A template is let in: its pods are what is refused.
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": bad["spec"]}}});
    admin
        .post("/apis/apps/v1/namespaces/default/deployments", deployment)
        .await
        .expect(201);
}
