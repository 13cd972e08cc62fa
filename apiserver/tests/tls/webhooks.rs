//! Services that judge tokens and permissions for the server: what they are asked, what their answers do, and what their silence does.

use super::service::{Asked, Service};
use super::*;
use serde_json::{Value, json};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

fn token_review(status: Value) -> (u16, Value) {
    (
        200,
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}),
    )
}

/// `<name>-token` is that user's; everything else is nobody's.
fn by_name(asked: &Asked) -> (u16, Value) {
    let token = asked.body["spec"]["token"].as_str().unwrap_or_default();
    token_review(match token.strip_suffix("-token") {
        Some(name) => json!({"authenticated": true, "user": {"username": name, "uid": "7", "groups": ["devs"],
            "extra": {"from": ["webhook"]}}}),
        None => json!({"authenticated": false, "error": "no such token"}),
    })
}

async fn judged(answers: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> (Cluster, Service) {
    let mut started = None;
    let cluster = Cluster::with(|directory, options| {
        let service = Service::start(directory, answers);
        options.authentication_token_webhook_config_file = Some(service.kubeconfig(directory));
        started = Some(service);
    })
    .await;
    (cluster, started.unwrap())
}

fn bearer(token: &str) -> [(&'static str, String); 1] {
    [("authorization", format!("Bearer {token}"))]
}

impl Cluster {
    async fn user_of(&self, token: &str) -> Result<Value, StatusCode> {
        let headers = bearer(token);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.whoami(None, &headers).await
    }
}

#[tokio::test]
async fn a_token_is_whose_the_webhook_says() {
    let (cluster, service) = judged(by_name).await;
    assert_eq!(
        cluster.user_of("anna-token").await.unwrap(),
        json!({"username": "anna", "uid": "7", "groups": ["devs", "system:authenticated"], "extra": {"from": ["webhook"]}})
    );
    let first = service.asked()[0].clone();
    assert_eq!(
        (first.path.as_str(), first.authorization.as_str()),
        ("/review", "Bearer server-token")
    );
    assert_eq!(first.body["kind"], "TokenReview");
    assert_eq!(
        first.body["spec"],
        json!({"token": "anna-token", "audiences": [ISSUER]})
    );
    // Answers of both kinds are remembered; another token is another question.
    for _ in 0..3 {
        cluster.user_of("anna-token").await.unwrap();
        assert_eq!(cluster.user_of("bad").await, Err(StatusCode::UNAUTHORIZED));
    }
    assert_eq!(service.asked().len(), 2, "{:?}", service.asked());
    assert_eq!(cluster.user_of("anna-token2").await, Err(StatusCode::UNAUTHORIZED));
    assert_eq!(service.asked().len(), 3);
}

#[tokio::test]
async fn an_answer_that_is_unclear_lets_nobody_in_and_is_forgotten() {
    let (cluster, service) = judged(|_| (500, json!({}))).await;
    assert_eq!(cluster.user_of("anna-token").await, Err(StatusCode::UNAUTHORIZED));
    let yes = json!({"authenticated": true, "user": {"username": "anna"}});
    let old = json!({"apiVersion": "authentication.k8s.io/v1beta1", "kind": "TokenReview", "status": yes});
    let redirect = (302, token_review(yes.clone()).1);
    let nameless = token_review(json!({"authenticated": true, "user": {"groups": ["system:masters"]}}));
    let elsewhere = token_review(json!({"authenticated": true, "user": {"username": "anna"}, "audiences": ["vault"]}));
    for answer in [(200, old), redirect, nameless, (200, json!("yes"))] {
        let given = answer.clone();
        service.answer_by(move |_| given.clone());
        assert_eq!(
            cluster.user_of("anna-token").await,
            Err(StatusCode::UNAUTHORIZED),
            "{answer:?}"
        );
    }
    // It works as soon as the answer is clear: failures are not remembered.
    service.answer_by(by_name);
    cluster.user_of("anna-token").await.unwrap();
    service.answer_by(move |_| elsewhere.clone());
    assert_eq!(
        cluster.user_of("bob-token").await,
        Err(StatusCode::UNAUTHORIZED),
        "meant for others"
    );
    // The others who sign in do not depend on it.
    assert_eq!(
        cluster
            .send("h2", Some("admin"), get("/api/v1/namespaces"))
            .await
            .status(),
        StatusCode::OK
    );
}

/// Answers to SubjectAccessReviews by the user's name.
fn by_user(asked: &Asked) -> (u16, Value) {
    let status = match asked.body["spec"]["user"].as_str().unwrap_or_default() {
        "anna" => json!({"allowed": true, "reason": "she may"}),
        "bob" => json!({"allowed": false, "denied": true, "reason": "he must not"}),
        "broken" => return (500, json!({})),
        _ => json!({"allowed": false, "reason": "not known here"}),
    };
    (
        200,
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "status": status}),
    )
}

/// A cluster whose permissions are judged by a webhook before roles, with static tokens `<name>-token`.
async fn permitted(failure_policy: &'static str) -> (Cluster, Service) {
    let mut started = None;
    let cluster = Cluster::with(|directory, options| {
        let service = Service::start(directory, by_user);
        let file = directory.join("authorization.yaml");
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n\
             - type: Webhook\n  name: judge\n  webhook:\n    timeout: 5s\n    subjectAccessReviewVersion: v1\n    \
             failurePolicy: {failure_policy}\n    connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {}}}\n\
             - {{type: RBAC, name: rbac}}\n",
            service.kubeconfig(directory).display()
        );
        std::fs::write(&file, text).unwrap();
        options.authorization_config = Some(file);
        let tokens: Vec<String> = ["anna", "bob", "carla", "broken"]
            .iter()
            .map(|name| format!("{name}-token,{name},1,devs\n"))
            .collect();
        std::fs::write(directory.join("tokens.csv"), tokens.concat()).unwrap();
        options.token_auth_file = Some(directory.join("tokens.csv"));
        started = Some(service);
    })
    .await;
    let cluster_role_binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "devs"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "devs"}]});
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(
        cluster.write("POST", path, &cluster_role_binding).await,
        StatusCode::CREATED
    );
    (cluster, started.unwrap())
}

#[tokio::test]
async fn the_first_opinion_decides_and_a_denial_ends_the_matter() {
    let (cluster, service) = permitted("NoOpinion").await;
    let (pods, secrets) = ("/api/v1/pods", "/api/v1/secrets");
    assert_eq!(
        cluster.with_token("anna-token", secrets).await,
        StatusCode::OK,
        "the webhook alone allows it"
    );
    assert_eq!(
        cluster.with_token("bob-token", pods).await,
        StatusCode::FORBIDDEN,
        "a role does not undo a denial"
    );
    assert_eq!(
        cluster.with_token("carla-token", pods).await,
        StatusCode::OK,
        "without an opinion the roles decide"
    );
    assert_eq!(cluster.with_token("carla-token", secrets).await, StatusCode::FORBIDDEN);
    assert_eq!(
        cluster.with_token("broken-token", pods).await,
        StatusCode::OK,
        "a failure is no opinion here"
    );
    let asked = service.asked();
    assert_eq!(
        asked[0].body["spec"],
        json!({"user": "anna", "uid": "1", "groups": ["devs", "system:authenticated"],
            "resourceAttributes": {"verb": "list", "version": "v1", "resource": "secrets"}})
    );
    let count = asked.len();
    for _ in 0..3 {
        assert_eq!(cluster.with_token("anna-token", secrets).await, StatusCode::OK);
        assert_eq!(cluster.with_token("bob-token", pods).await, StatusCode::FORBIDDEN);
    }
    assert_eq!(service.asked().len(), count, "both kinds of answers are remembered");
    assert_eq!(cluster.with_token("anna-token", pods).await, StatusCode::OK);
    assert_eq!(service.asked().len(), count + 1, "another request is another question");
    // Masters are asked about nobody: somebody has to be able to mend a webhook.
    assert!(asked.iter().all(|asked| asked.body["spec"]["user"] != "admin"));
}

#[tokio::test]
async fn a_webhook_that_fails_denies_where_it_shall() {
    let (cluster, service) = permitted("Deny").await;
    assert_eq!(
        cluster.with_token("broken-token", "/api/v1/pods").await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(cluster.with_token("carla-token", "/api/v1/pods").await, StatusCode::OK);
    let unclear = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "status": {"allowed": true, "denied": true}});
    service.answer_by(move |_| (200, unclear.clone()));
    assert_eq!(
        cluster.with_token("anna-token", "/api/v1/secrets").await,
        StatusCode::FORBIDDEN
    );
    // And once it answers again, nothing of its failure is remembered.
    service.answer_by(by_user);
    assert_eq!(
        cluster.with_token("anna-token", "/api/v1/secrets").await,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_policy_file_grants_what_its_lines_say() {
    let cluster = Cluster::with(|directory, options| {
        let line = |spec: Value| {
            json!({"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": spec})
                .to_string()
        };
        let lines = [
            line(json!({"user": "anna", "namespace": "default", "resource": "configmaps", "readonly": true})),
            line(json!({"group": "system:authenticated", "readonly": true, "nonResourcePath": "/version"})),
        ];
        std::fs::write(directory.join("policies"), lines.join("\n")).unwrap();
        options.authorization_policy_file = Some(directory.join("policies"));
        options.authorization_mode = vec!["ABAC".into()];
        std::fs::write(directory.join("tokens.csv"), "anna-token,anna,1\nbob-token,bob,2\n").unwrap();
        options.token_auth_file = Some(directory.join("tokens.csv"));
    })
    .await;
    let own = "/api/v1/namespaces/default/configmaps";
    assert_eq!(cluster.with_token("anna-token", own).await, StatusCode::OK);
    assert_eq!(cluster.with_token("anna-token", "/version").await, StatusCode::OK);
    for path in [
        "/api/v1/configmaps",
        "/api/v1/namespaces/default/secrets",
        "/api/v1/namespaces/kube-system/configmaps",
        "/apis",
    ] {
        assert_eq!(
            cluster.with_token("anna-token", path).await,
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
    assert_eq!(cluster.with_token("bob-token", own).await, StatusCode::FORBIDDEN);
    // Masters still may everything, and roles count for nothing where the mode is not named.
    assert_eq!(
        cluster.send("h2", Some("admin"), get("/api/v1/secrets")).await.status(),
        StatusCode::OK
    );
    assert_eq!(
        cluster.with_token("anna-token", "/healthz").await,
        StatusCode::FORBIDDEN
    );
}
