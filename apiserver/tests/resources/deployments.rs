use crate::harness::Cluster;
use serde_json::{Value, json};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "busybox"}]}}}})
}

#[tokio::test]
async fn the_generation_counts_what_is_wanted() {
    let (_cluster, admin) = Cluster::ready().await;
    let path = format!("{DEPLOYMENTS}/web");
    let made = admin.post(DEPLOYMENTS, deployment("web")).await.expect(201);
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["spec"]["strategy"]["type"], "RollingUpdate");
    let labelled = admin
        .patch(&path, json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .expect(200);
    assert_eq!(labelled["metadata"]["generation"], 1);
    let scaled = admin.patch(&path, json!({"spec": {"replicas": 3}})).await.expect(200);
    assert_eq!(scaled["metadata"]["generation"], 2);
    let status = json!({"status": {"replicas": 3, "readyReplicas": 1, "observedGeneration": 2}});
    let reported = admin.patch(&format!("{path}/status"), status).await.expect(200);
    assert_eq!(reported["metadata"]["generation"], 2);
    assert_eq!(admin.table(DEPLOYMENTS).await[0][1], "1/3");
}

#[tokio::test]
async fn scale_is_a_view_of_the_replicas() {
    let (_cluster, admin) = Cluster::ready().await;
    admin.post(DEPLOYMENTS, deployment("web")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web/scale");
    let mut scale = admin.get(&path).await.expect(200);
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(2))
    );
    scale["spec"]["replicas"] = json!(5);
    admin.put(&path, scale).await.expect(200);
    assert_eq!(
        admin.get(&format!("{DEPLOYMENTS}/web")).await.expect(200)["spec"]["replicas"],
        5
    );
}

#[tokio::test]
async fn the_selector_matches_and_stays() {
    let (_cluster, admin) = Cluster::ready().await;
    let mut wrong = deployment("web");
    wrong["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    let refused = admin.post(DEPLOYMENTS, wrong).await.message(422);
    assert!(
        refused.starts_with("Deployment.apps \"web\" is invalid: spec.template.metadata.labels"),
        "{refused}"
    );
    admin.post(DEPLOYMENTS, deployment("web")).await.expect(201);
    let change = json!({"spec": {"selector": {"matchLabels": {"x": "y"}},
        "template": {"metadata": {"labels": {"x": "y"}}}}});
    let refused = admin.patch(&format!("{DEPLOYMENTS}/web"), change).await.message(422);
    assert!(
        refused.contains("spec.selector") && refused.contains("field is immutable"),
        "{refused}"
    );
}
