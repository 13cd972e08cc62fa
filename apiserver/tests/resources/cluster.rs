use crate::harness::Cluster;
use serde_json::{Value, json};

#[tokio::test]
async fn a_cluster_starts_with_its_namespaces_roles_and_the_api_service() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let namespace = admin.get(&format!("/api/v1/namespaces/{name}")).await.expect(200);
        assert_eq!(namespace["status"]["phase"], "Active");
    }
    let service = admin
        .get("/api/v1/namespaces/default/services/kubernetes")
        .await
        .expect(200);
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
    let endpoints = admin
        .get("/api/v1/namespaces/default/endpoints/kubernetes")
        .await
        .expect(200);
    assert_eq!(endpoints["subsets"][0]["addresses"], json!([{"ip": "10.0.0.1"}]));
    let slice = admin
        .get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
        .await
        .expect(200);
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["10.0.0.1"]));
    // A second member, or a restart, finds everything done.
    cluster.server.bootstrap().await.unwrap();
}

#[tokio::test]
async fn a_namespace_is_emptied_before_it_goes() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}});
    admin.post("/api/v1/namespaces", namespace).await.expect(201);
    admin.delete("/api/v1/namespaces/a", Value::Null).await.expect(200);
    let mut going = admin.get("/api/v1/namespaces/a").await.expect(200);
    assert_eq!(going["status"]["phase"], "Terminating");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}});
    let refused = admin.post("/api/v1/namespaces/a/configmaps", map).await.message(403);
    assert!(refused.contains("because it is being terminated"), "{refused}");
    going["spec"]["finalizers"] = json!([]);
    admin.put("/api/v1/namespaces/a/finalize", going).await.expect(200);
    admin.get("/api/v1/namespaces/a").await.expect(404);
    let kept = admin
        .delete("/api/v1/namespaces/default", Value::Null)
        .await
        .message(403);
    assert!(kept.contains("this namespace may not be deleted"), "{kept}");
}

/// Whoever empties a namespace lists it once it is marked: what is created after the mark would never be found.
#[tokio::test]
async fn nothing_is_created_behind_the_mark_of_a_namespace() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}});
    admin.post("/api/v1/namespaces", namespace).await.expect(201);
    let creates = (0..40).map(|i| {
        let admin = admin.clone();
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{i}")}});
        tokio::spawn(async move { admin.post("/api/v1/namespaces/a/configmaps", map).await })
    });
    let creates: Vec<_> = creates.collect();
    admin.delete("/api/v1/namespaces/a", Value::Null).await.expect(200);
    let version = |object: &Value| -> u64 { object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap() };
    let mark = version(&admin.get("/api/v1/namespaces/a").await.expect(200));
    for create in creates {
        let answer = create.await.unwrap();
        match answer.code {
            201 => assert!(version(&answer.body) < mark, "{}", answer.body),
            _ => drop(answer.expect(403)),
        }
    }
}

#[tokio::test]
async fn members_that_start_together_agree() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin
        .delete("/api/v1/namespaces/default/services/kubernetes", Value::Null)
        .await
        .expect(200);
    let (a, b, c) = tokio::join!(
        cluster.server.bootstrap(),
        cluster.server.bootstrap(),
        cluster.server.bootstrap()
    );
    a.and(b).and(c).unwrap();
    let mut thief = admin
        .get("/api/v1/namespaces/default/services/kubernetes")
        .await
        .expect(200);
    assert_eq!(thief["spec"]["clusterIP"], "10.96.0.1");
    // The loser of the race has not given back what the winner holds.
    thief["metadata"] = json!({"name": "thief"});
    admin
        .post("/api/v1/namespaces/default/services", thief)
        .await
        .expect(422);
}
