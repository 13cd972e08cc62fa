//! Requests for certificates: who may ask for what, approve and sign.

use crate::harness::{Client, Cluster};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const PATH: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET: &str = "kubernetes.io/kube-apiserver-client-kubelet";

/// A request as `spec.request` holds it.
pub fn request(common_name: &str, organizations: &[&str]) -> String {
    let leaf = pki::Leaf {
        common_name: common_name.into(),
        organizations: organizations.iter().map(|name| (*name).to_owned()).collect(),
        ..pki::Leaf::default()
    };
    STANDARD.encode(pki::csr::request(&leaf).unwrap().request_pem)
}

fn object(name: &str, signer: &str, request: String) -> Value {
    json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {"request": request, "signerName": signer, "usages": ["client auth", "digital signature"],
            "username": "somebody-else", "expirationSeconds": 7200}})
}

/// What `kubectl certificate approve` and `deny` send.
async fn decide(who: &Client, name: &str, decision: &str) -> (u16, Value) {
    let mut object = who.get(&format!("{PATH}/{name}")).await.body;
    object["status"]["conditions"] =
        json!([{"type": decision, "status": "True", "reason": format!("Kubectl{decision}"), "message": "m"}]);
    let answer = who.put(&format!("{PATH}/{name}/approval"), object).await;
    (answer.code, answer.body)
}

/// A role on signers, bound to a user who may also read and update requests.
async fn grant(admin: &Client, user: &str, verb: &str, signer: &str) {
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": user}, "rules": [
        {"verbs": [verb], "apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": [signer]},
        {"verbs": ["get", "update"], "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests",
            "certificatesigningrequests/approval", "certificatesigningrequests/status"]}]});
    admin.post(&format!("{RBAC}/clusterroles"), role).await.expect(201);
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]});
    admin
        .post(&format!("{RBAC}/clusterrolebindings"), binding)
        .await
        .expect(201);
}

#[tokio::test]
async fn a_request_is_the_callers_and_is_approved_by_others() {
    let (cluster, admin) = Cluster::ready().await;
    let made = admin
        .post(PATH, object("x", CLIENT, request("anna", &["dev"])))
        .await
        .expect(201);
    assert_eq!(made["spec"]["username"], "kubernetes-admin");
    let stranger = cluster.user("stranger", &["system:authenticated"]);
    stranger
        .put(&format!("{PATH}/x/approval"), made.clone())
        .await
        .expect(403);
    let mut changed = made.clone();
    changed["spec"]["usages"] = json!(["server auth"]);
    let kept = admin.put(&format!("{PATH}/x"), changed).await.expect(200);
    assert_eq!(kept["spec"], made["spec"]);
    let row = |rows: Vec<Vec<Value>>| rows[0].clone();
    assert_eq!(
        row(admin.table(PATH).await)[2..],
        [
            json!(CLIENT),
            json!("kubernetes-admin"),
            json!("120m"),
            json!("Pending")
        ]
    );
    let (code, approved) = decide(&admin, "x", "Approved").await;
    assert_eq!(code, 200, "{approved}");
    assert_eq!(approved["status"]["conditions"][0]["reason"], "KubectlApproved");
    assert!(approved["status"]["conditions"][0]["lastUpdateTime"].is_string());
    assert_eq!(row(admin.table(PATH).await)[5], "Approved");
    let (code, refused) = decide(&admin, "x", "Denied").await;
    assert_eq!(code, 422, "{refused}");
    let columns = admin.columns(PATH).await;
    assert_eq!(
        columns,
        [
            "Name",
            "Age",
            "SignerName",
            "Requestor",
            "RequestedDuration",
            "Condition"
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_signed_is_not_taken() {
    let (_cluster, admin) = Cluster::ready().await;
    let refused = admin
        .post(PATH, object("x", CLIENT, STANDARD.encode("x")))
        .await
        .message(422);
    assert!(
        refused.contains("spec.request") && refused.contains("PEM block type"),
        "{refused}"
    );
    let masters = object("x", CLIENT, request("anna", &["system:masters"]));
    let refused = admin.post(PATH, masters).await.message(403);
    assert!(
        refused.contains("use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"),
        "{refused}"
    );
    let elsewhere = object("x", "example.com/signer", request("anna", &["system:masters"]));
    admin.post(PATH, elsewhere).await.expect(201);
}

#[tokio::test]
async fn approving_and_signing_are_rights_on_the_signer() {
    let (cluster, admin) = Cluster::ready().await;
    grant(&admin, "approver", "approve", CLIENT).await;
    grant(&admin, "signer", "sign", "kubernetes.io/*").await;
    let (approver, signer) = (cluster.user("approver", &[]), cluster.user("signer", &[]));
    for (name, of) in [("mine", CLIENT), ("theirs", KUBELET)] {
        let request = request("system:node:n", &["system:nodes"]);
        admin.post(PATH, object(name, of, request)).await.expect(201);
    }
    assert_eq!(decide(&approver, "mine", "Approved").await.0, 200);
    let (code, refused) = decide(&approver, "theirs", "Denied").await;
    let message = refused["message"].as_str().unwrap();
    assert_eq!(code, 403);
    assert!(
        message.contains(
            "user not permitted to approve requests with signerName \"kubernetes.io/kube-apiserver-client-kubelet\""
        ),
        "{message}"
    );
    assert_eq!(decide(&signer, "theirs", "Denied").await.0, 403);
    let mut issued = admin.get(&format!("{PATH}/mine")).await.expect(200);
    let certificate = pki::Ca::generate("x").unwrap().cert_pem().to_owned();
    issued["status"]["certificate"] = json!(STANDARD.encode(certificate));
    let status = format!("{PATH}/mine/status");
    let refused = approver.put(&status, issued.clone()).await.message(403);
    assert!(
        refused.contains("user not permitted to sign requests with signerName"),
        "{refused}"
    );
    let issued = signer.put(&status, issued).await.expect(200);
    assert_eq!(admin.table(PATH).await[0][5], "Approved,Issued");
    // Reporting nothing new about it is nobody's right.
    approver.put(&status, issued).await.expect(200);
}

#[tokio::test]
async fn a_node_asks_for_itself_only() {
    let (cluster, _admin) = Cluster::ready().await;
    let node = cluster.user("system:node:n1", &["system:nodes"]);
    let ask = |name: &str, of: &str| object(name, KUBELET, request(of, &["system:nodes"]));
    node.post(PATH, ask("own", "system:node:n1")).await.expect(201);
    let refused = node.post(PATH, ask("other", "system:node:n2")).await.message(403);
    assert!(
        refused.contains("can only create a node CSR with CN=system:node:n1"),
        "{refused}"
    );
}
