//! Certificates by request: what a machine that joins gets without anybody's approval, and what people approve.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::certificate::{self, Files, Wanted};
use http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::Cluster;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const BOOTSTRAPPERS: [&str; 2] = [
    "system:bootstrappers",
    "system:bootstrappers:kubeadm:default-node-token",
];

/// Sends a request for a certificate and returns its path and its private key.
async fn ask(client: &client::Client, name: &str, signer: &str, usages: &[&str], leaf: &pki::Leaf) -> (String, String) {
    let made = pki::csr::request(leaf).unwrap();
    let object = json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": { "name": name },
        "spec": { "request": STANDARD.encode(made.request_pem), "signerName": signer, "usages": usages,
            "expirationSeconds": 3600 },
    });
    let made_object: Value = client.json(Method::POST, REQUESTS, Some(&object)).await.unwrap();
    assert_eq!(made_object["metadata"]["name"], name);
    (format!("{REQUESTS}/{name}"), made.key_pem)
}

fn issued(object: &Value) -> Option<String> {
    let text = object["status"]["certificate"].as_str()?;
    Some(String::from_utf8(STANDARD.decode(text).unwrap()).unwrap())
}

fn says(kind: &'static str) -> impl Fn(&Value) -> bool {
    move |object| {
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == kind)
    }
}

const USAGES: [&str; 2] = ["client auth", "digital signature"];

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_a_token_gets_its_certificate_and_with_that_the_next() {
    let cluster = Cluster::start().await;
    let leaf = pki::kubeadm::client("system:node:n1", "system:nodes");
    for (name, user, groups) in [
        ("first", "system:bootstrap:abcdef", &BOOTSTRAPPERS[..]),
        ("next", "system:node:n1", &["system:nodes"][..]),
    ] {
        let machine = cluster.user(user, groups);
        let (path, key) = ask(&machine, name, KUBELET_CLIENT, &USAGES, &leaf).await;
        let object = cluster.until(&path, |object| issued(object).is_some()).await;
        let condition = &object["status"]["conditions"][0];
        assert_eq!(
            (&condition["type"], &condition["reason"]),
            (&json!("Approved"), &json!("AutoApproved"))
        );
        let own = condition["message"].as_str().unwrap().contains("self");
        assert_eq!(own, name == "next");
        assert!(pki::csr::is_for_key(&issued(&object).unwrap(), &key));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_may_have_by_itself_waits_for_a_person() {
    let cluster = Cluster::start().await;
    let stranger = cluster.user("system:bootstrap:fedcba", &BOOTSTRAPPERS[..1]);
    let leaf = pki::kubeadm::client("system:node:n2", "system:nodes");
    let denied = cluster
        .send(Method::GET, REQUESTS, &Value::Null)
        .await
        .map(|list| list["items"].as_array().map(Vec::len));
    assert_eq!(denied.unwrap(), Some(0));
    // Without the group of kubeadm's tokens nothing may be asked at all.
    let object = json!({ "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": { "name": "x" }, "spec": {} });
    let refused = stranger
        .json::<Value>(Method::POST, REQUESTS, Some(&object))
        .await
        .unwrap_err();
    assert!(refused.is_forbidden(), "{refused}");
    let anna = pki::kubeadm::client("anna", "dev");
    let signer = "kubernetes.io/kube-apiserver-client";
    let (mine, key) = ask(&cluster.api, "anna", signer, &["client auth"], &anna).await;
    let (wrong, _) = ask(&cluster.api, "wrong", signer, &["client auth", "server auth"], &anna).await;
    let (other, _) = ask(&cluster.api, "node", KUBELET_CLIENT, &USAGES, &leaf).await;
    for path in [&mine, &wrong] {
        let mut object = cluster.get(path).await;
        assert_eq!(object["status"], json!({}));
        object["status"]["conditions"] = json!([{ "type": "Approved", "status": "True", "reason": "KubectlApprove" }]);
        cluster
            .send(Method::PUT, &format!("{path}/approval"), &object)
            .await
            .unwrap();
    }
    let object = cluster.until(&mine, |object| issued(object).is_some()).await;
    assert!(pki::csr::is_for_key(&issued(&object).unwrap(), &key));
    let failed = cluster.until(&wrong, says("Failed")).await;
    assert_eq!(failed["status"]["conditions"][1]["reason"], "SignerValidationFailure");
    assert_eq!(issued(&failed), None);
    // The administrator may do everything, so also ask for a node.
    cluster.until(&other, |object| issued(object).is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelets_serving_certificate_is_approved_by_a_person() {
    let cluster = Cluster::start().await;
    let node = cluster.user("system:node:n1", &["system:nodes"]);
    let leaf = pki::Leaf {
        dns_names: vec!["n1".into()],
        ip_addresses: vec![[10, 0, 0, 1].into()],
        ..pki::kubeadm::client("system:node:n1", "system:nodes")
    };
    let usages = ["server auth", "digital signature"];
    let (path, key) = ask(&node, "serving", "kubernetes.io/kubelet-serving", &usages, &leaf).await;
    let mut object = cluster.get(&path).await;
    object["status"]["conditions"] = json!([{ "type": "Approved", "status": "True", "reason": "KubectlApprove" }]);
    cluster
        .send(Method::PUT, &format!("{path}/approval"), &object)
        .await
        .unwrap();
    let object = cluster.until(&path, |object| issued(object).is_some()).await;
    assert!(pki::csr::is_for_key(&issued(&object).unwrap(), &key));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_decision_is_forgotten() {
    let cluster = Cluster::start().await;
    let anna = pki::kubeadm::client("anna", "dev");
    let (path, _) = ask(&cluster.api, "old", "example.com/signer", &["client auth"], &anna).await;
    let mut object = cluster.get(&path).await;
    object["status"]["conditions"] =
        json!([{ "type": "Denied", "status": "True", "lastUpdateTime": "2020-01-01T00:00:00Z" }]);
    cluster
        .send(Method::PUT, &format!("{path}/approval"), &object)
        .await
        .unwrap();
    cluster.goes(&path).await;
}

/// An agent's own part in it: see `client::certificate`.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_joins_with_a_token_and_renews_what_it_got() {
    let cluster = Cluster::start().await;
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = (directory.path().join("a.crt"), directory.path().join("a.key"));
    let files = Files::new(&cert, &key);
    let wanted = Wanted::kubelet_client("n1");
    let machine = cluster.user("system:bootstrap:abcdef", &BOOTSTRAPPERS);
    certificate::obtain(&machine, &wanted, &files).await.unwrap();
    let (from, to) = files.validity().unwrap();
    assert!(to > from);
    // In place of it one whose time is over, as after a long sleep.
    let ended = pki::Leaf {
        days: Some(0),
        ..wanted.leaf.clone()
    };
    pki::Ca::generate("kubernetes")
        .unwrap()
        .issue(&ended)
        .unwrap()
        .write(&cert, &key)
        .unwrap();
    let stop = CancellationToken::new();
    let node = cluster.user("system:node:n1", &["system:nodes"]);
    let keeping = tokio::spawn(certificate::keep(node, wanted, files.clone(), stop.clone()));
    let renewed = || files.validity().is_some_and(|(_, to)| to > SystemTime::now());
    cluster.until(REQUESTS, |_| renewed()).await;
    stop.cancel();
    keeping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_refused_asks_with_another_key() {
    let cluster = Cluster::start().await;
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path().join("a.crt"), directory.path().join("a.key"));
    let wanted = Wanted {
        // For people to approve.
        signer: "kubernetes.io/kube-apiserver-client",
        ..Wanted::kubelet_client("n1")
    };
    for denied in 1..=2_usize {
        let asking = certificate::obtain(&cluster.api, &wanted, &files);
        let denying = async {
            let list = cluster.count(REQUESTS, denied).await;
            let open = list.into_iter().find(|object| object["status"] == json!({}));
            let mut object = open.unwrap();
            object["status"]["conditions"] = json!([{ "type": "Denied", "status": "True", "message": "not you" }]);
            let path = format!("{REQUESTS}/{}/approval", object["metadata"]["name"].as_str().unwrap());
            cluster.send(Method::PUT, &path, &object).await.unwrap();
        };
        let (asked, ()) = tokio::join!(asking, denying);
        let refused = asked.unwrap_err().to_string();
        assert!(
            refused.contains("a.crt") && refused.contains("Denied: not you"),
            "{refused}"
        );
        assert!(files.validity().is_none());
    }
}
