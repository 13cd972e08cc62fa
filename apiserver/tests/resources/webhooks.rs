//! Admission webhooks: a real HTTPS server that is asked about writes.

use super::harness::{Client, Cluster};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pki::tls::{self, ClientAuth};
use pki::{Ca, Leaf};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// What a path of the server answers to a request (`review.request`).
type Judge = fn(path: &str, request: &Value) -> Value;

/// A webhook server and what it was asked.
struct Hooks {
    port: u16,
    bundle: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Hooks {
    async fn start(judge: Judge) -> Hooks {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::generate("webhooks").unwrap();
        let leaf = Leaf {
            common_name: "webhook".into(),
            ip_addresses: vec![[127, 0, 0, 1].into()],
            server: true,
            ..Leaf::default()
        };
        let (cert, key) = (dir.path().join("crt"), dir.path().join("key"));
        ca.issue(&leaf).unwrap().write(&cert, &key).unwrap();
        let config = tls::server_config(&cert, &key, None, ClientAuth::None).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hooks = Hooks {
            port: listener.local_addr().unwrap().port(),
            bundle: STANDARD.encode(ca.cert_pem()),
            asked: Arc::default(),
        };
        let asked = hooks.asked.clone();
        tokio::spawn(async move {
            let acceptor = tokio_rustls::TlsAcceptor::from(config);
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, asked) = (acceptor.clone(), asked.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request| answer(request, judge, asked.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        hooks
    }

    /// A webhook about creates and updates of config maps (and more, with `more`) at a path of the server.
    fn webhook(&self, path: &str, more: Value) -> Value {
        let mut webhook = json!({"name": format!("{path}.example.com"), "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "rules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": ["*"],
                "apiVersions": ["*"], "resources": ["configmaps", "crontabs"]}],
            "clientConfig": {"url": format!("https://127.0.0.1:{}/{path}", self.port), "caBundle": self.bundle}});
        webhook
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        webhook
    }

    fn asked_at(&self, path: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|(at, _)| at == path)
            .map(|(_, request)| request.clone())
            .collect()
    }
}

async fn answer(
    request: Request<Incoming>,
    judge: Judge,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let mut response = judge(&path, &review["request"]);
    response["uid"] = review["request"]["uid"].clone();
    asked.lock().unwrap().push((path, review["request"].clone()));
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(Response::new(Full::new(Bytes::from(review.to_string()))))
}

fn patched(patch: Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string())})
}

fn judge(path: &str, request: &Value) -> Value {
    let object = &request["object"];
    match path {
        "label" => match object["metadata"]["labels"].is_object() {
            true => patched(json!([{"op": "add", "path": "/metadata/labels/seen", "value": "yes"}])),
            false => patched(json!([{"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}])),
        },
        "data" if object["data"]["second"].is_null() => {
            patched(json!([{"op": "add", "path": "/data", "value": {"second": "yes"}}]))
        }
        "spec" => patched(json!([{"op": "add", "path": "/spec/image", "value": "patched"},
            {"op": "add", "path": "/spec/odd", "value": 1}])),
        "deny" => json!({"allowed": false, "status": {"message": format!("saw {}", object["metadata"]["labels"])}}),
        "broken" => json!({"allowed": true, "patchType": "JSONPatch",
            "patch": STANDARD.encode(r#"[{"op":"add","path":"/data","value":5}]"#)}),
        _ => json!({"allowed": true}),
    }
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

async fn configure(admin: &Client, kind: &str, name: &str, webhooks: Vec<Value>) {
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "webhooks": webhooks});
    let path = format!("{CONFIGURATIONS}/{}s", kind.to_lowercase());
    admin.post(&path, object).await.expect(201);
}

const MUTATING: &str = "MutatingWebhookConfiguration";
const VALIDATING: &str = "ValidatingWebhookConfiguration";

#[tokio::test]
async fn mutating_webhooks_change_and_validating_ones_judge_the_result() {
    let cluster = Cluster::start().await;
    let (admin, hooks) = (cluster.admin(), Hooks::start(judge).await);
    configure(&admin, MUTATING, "m", vec![hooks.webhook("label", json!({}))]).await;
    let made = admin.post(MAPS, map("a")).await.expect(201);
    assert_eq!(made["metadata"]["labels"], json!({"seen": "yes"}));
    let asked = &hooks.asked_at("label")[0];
    assert_eq!(
        (&asked["operation"], &asked["kind"]["kind"], &asked["namespace"]),
        (&json!("CREATE"), &json!("ConfigMap"), &json!("default"))
    );
    assert_eq!(
        (&asked["userInfo"]["username"], &asked["dryRun"]),
        (&json!("kubernetes-admin"), &json!(false))
    );
    configure(&admin, VALIDATING, "v", vec![hooks.webhook("deny", json!({}))]).await;
    let denied = admin.post(MAPS, map("b")).await.message(403);
    assert_eq!(
        denied,
        r#"admission webhook "deny.example.com" denied the request: saw {"seen":"yes"}"#
    );
    assert_eq!(admin.get(&format!("{MAPS}/b")).await.code, 404);
    // Webhooks cannot keep themselves from being repaired.
    admin
        .delete(
            &format!("{CONFIGURATIONS}/validatingwebhookconfigurations/v"),
            Value::Null,
        )
        .await
        .expect(200);
    let dry = admin.post(&format!("{MAPS}?dryRun=All"), map("c")).await.expect(201);
    assert_eq!(dry["metadata"]["labels"]["seen"], "yes");
    assert_eq!(hooks.asked_at("label").last().unwrap()["dryRun"], true);
}

#[tokio::test]
async fn a_webhook_that_cannot_be_asked_counts_as_its_policy_says() {
    let cluster = Cluster::start().await;
    let (admin, hooks) = (cluster.admin(), Hooks::start(judge).await);
    // Nobody listens there.
    let gone = |policy: &str| {
        let client = json!({"url": "https://127.0.0.1:1/x", "caBundle": hooks.bundle});
        hooks.webhook("gone", json!({"clientConfig": client, "failurePolicy": policy}))
    };
    configure(&admin, VALIDATING, "open", vec![gone("Ignore")]).await;
    admin.post(MAPS, map("a")).await.expect(201);
    configure(&admin, VALIDATING, "shut", vec![gone("Fail")]).await;
    let failed = admin.post(MAPS, map("b")).await.message(500);
    assert!(
        failed.starts_with(
            "Internal error occurred: failed calling webhook \"gone.example.com\": failed to call webhook: Post"
        ),
        "{failed}"
    );
    admin
        .delete(
            &format!("{CONFIGURATIONS}/validatingwebhookconfigurations/shut"),
            Value::Null,
        )
        .await
        .expect(200);
    // What a patch makes of an object is decoded like what a client sends.
    configure(&admin, MUTATING, "broken", vec![hooks.webhook("broken", json!({}))]).await;
    let failed = admin.post(MAPS, map("c")).await.message(500);
    assert!(
        failed.contains("failed to apply the patch of webhook") && failed.contains("data"),
        "{failed}"
    );
}

#[tokio::test]
async fn who_changed_too_early_is_asked_again() {
    let cluster = Cluster::start().await;
    let (admin, hooks) = (cluster.admin(), Hooks::start(judge).await);
    let first = hooks.webhook("label", json!({"reinvocationPolicy": "IfNeeded"}));
    let second = hooks.webhook("data", json!({}));
    configure(&admin, MUTATING, "m", vec![first, second]).await;
    let made = admin.post(MAPS, map("a")).await.expect(201);
    assert_eq!(
        (&made["data"]["second"], &made["metadata"]["labels"]["seen"]),
        (&json!("yes"), &json!("yes"))
    );
    assert_eq!((hooks.asked_at("label").len(), hooks.asked_at("data").len()), (2, 1));
    assert_eq!(hooks.asked_at("label")[1]["object"]["data"]["second"], "yes");
}

#[tokio::test]
async fn selectors_keep_webhooks_away_and_custom_resources_are_asked_about() {
    let (cluster, admin) = super::custom::defined().await;
    let hooks = Hooks::start(judge).await;
    let only = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}});
    configure(&admin, VALIDATING, "v", vec![hooks.webhook("deny", only)]).await;
    admin.post(MAPS, map("a")).await.expect(201);
    admin
        .post("/api/v1/namespaces/kube-system/configmaps", map("a"))
        .await
        .message(403);
    configure(
        &admin,
        MUTATING,
        "m",
        vec![hooks.webhook(
            "spec",
            json!({"rules": [{"operations": ["CREATE"],
        "apiGroups": ["stable.example.com"], "apiVersions": ["v1"], "resources": ["crontabs"]}]}),
        )],
    )
    .await;
    let crontab = json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "a"},
        "spec": {"cronSpec": "1"}});
    let made = admin
        .post("/apis/stable.example.com/v1/namespaces/default/crontabs", crontab)
        .await
        .expect(201);
    assert_eq!(
        made["spec"],
        json!({"cronSpec": "1", "image": "patched"}),
        "what the schema does not know goes"
    );
    drop(cluster);
}
