//! Static tokens, front proxies, anonymous requests and impersonation over real connections: who is believed, and above all who is not.

use super::*;
use serde_json::{Value, json};

const ME: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

impl Cluster {
    /// Whom the server takes the sender for; the code of the answer if for nobody.
    pub async fn whoami(&self, identity: Option<&str>, headers: &[(&str, &str)]) -> Result<Value, StatusCode> {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("https://localhost{ME}"))
            .header("host", "localhost")
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = http_body_util::Full::new(Bytes::from(review.to_string()));
        let answer = self.send("h2", identity, request.body(body).unwrap()).await;
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        match status {
            StatusCode::CREATED => Ok(serde_json::from_slice::<Value>(&body).unwrap()["status"]["userInfo"].clone()),
            status => Err(status),
        }
    }

    async fn name(&self, identity: Option<&str>, headers: &[(&str, &str)]) -> Result<String, u16> {
        let user = self.whoami(identity, headers).await.map_err(|status| status.as_u16())?;
        Ok(user["username"].as_str().unwrap().to_owned())
    }
}

fn of_proxies(directory: &Path, options: &mut Options) {
    options.requestheader_client_ca_file = Some(directory.join("proxies.crt"));
    options.requestheader_allowed_names = vec!["front-proxy-client".into()];
}

fn with_tokens(directory: &Path, options: &mut Options) {
    let file = directory.join("tokens.csv");
    std::fs::write(&file, "good-token,anna,7,\"devs,ops\"\nother-token,bob,8\n").unwrap();
    options.token_auth_file = Some(file);
}

const TOKEN_OF_ANNA: (&str, &str) = ("authorization", "Bearer good-token");

#[tokio::test]
async fn a_static_token_is_who_its_line_says() {
    let cluster = Cluster::with(with_tokens).await;
    let anna = cluster.whoami(None, &[TOKEN_OF_ANNA]).await.unwrap();
    assert_eq!(
        anna,
        json!({"username": "anna", "uid": "7", "groups": ["devs", "ops", "system:authenticated"]})
    );
    for bad in [
        "Bearer good-toke",
        "Bearer good-tokens",
        "Bearer good-token,anna",
        "Bearer anna",
    ] {
        assert_eq!(cluster.name(None, &[("authorization", bad)]).await, Err(401), "{bad}");
    }
    // A bad token is no stranger: not even what is open to everybody is answered.
    let mut probe = get("/livez");
    probe
        .headers_mut()
        .insert("authorization", "Bearer bad".parse().unwrap());
    assert_eq!(cluster.send("h2", None, probe).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn tokens_of_every_kind_are_reviewed() {
    let cluster = Cluster::with(with_tokens).await;
    let review = async |spec: Value| {
        let object = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec});
        let request = Request::post("https://localhost/apis/authentication.k8s.io/v1/tokenreviews")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(http_body_util::Full::new(Bytes::from(object.to_string())))
            .unwrap();
        let body = cluster.send("h2", Some("admin"), request).await.into_body();
        serde_json::from_slice::<Value>(&body.collect().await.unwrap().to_bytes()).unwrap()["status"].clone()
    };
    let good = review(json!({"token": "good-token"})).await;
    assert_eq!(good["user"]["username"], "anna", "{good}");
    assert_eq!(good["user"]["groups"], json!(["devs", "ops", "system:authenticated"]));
    assert_eq!(
        good["audiences"],
        json!(["https://kubernetes.default.svc.cluster.local"])
    );
    let elsewhere = review(json!({"token": "good-token", "audiences": ["vault"]})).await;
    assert_eq!(elsewhere["authenticated"], false);
    let bad = review(json!({"token": "bad-token"})).await;
    assert_eq!(bad["authenticated"], false);
    assert!(
        !bad.to_string().contains("bad-token"),
        "an error never shows the token: {bad}"
    );
}

#[tokio::test]
async fn a_front_proxy_says_who_sends_a_request() {
    let cluster = Cluster::with(of_proxies).await;
    let headers = [
        ("x-remote-user", "carla"),
        ("x-remote-uid", "9"),
        ("x-remote-group", "devs"),
        ("x-remote-group", "ops"),
        ("x-remote-extra-scopes", "read"),
        ("x-remote-extra-acme.com%2fteam", "blue"),
    ];
    let carla = cluster.whoami(Some("proxy"), &headers).await.unwrap();
    assert_eq!(
        carla,
        json!({"username": "carla", "uid": "9", "groups": ["devs", "ops", "system:authenticated"],
            "extra": {"scopes": ["read"], "acme.com/team": ["blue"]}})
    );
}

/// Each of these would be a way to be anybody.
#[tokio::test]
async fn headers_of_anybody_but_the_proxy_mean_nothing() {
    let claim = [("x-remote-user", "root"), ("x-remote-group", "system:masters")];
    let cluster = Cluster::with(|directory, options| {
        of_proxies(directory, options);
        with_tokens(directory, options);
    })
    .await;
    assert_eq!(cluster.name(None, &claim).await, Err(401), "no certificate at all");
    assert_eq!(
        cluster.name(Some("node"), &claim).await.as_deref(),
        Ok("system:node:n"),
        "a user's certificate is that user's"
    );
    assert_eq!(
        cluster.name(Some("other-proxy"), &claim).await,
        Err(401),
        "another name"
    );
    assert_eq!(
        cluster.name(Some("proxy"), &[]).await,
        Err(401),
        "a proxy's subject, system:masters in it, is no user"
    );
    assert_eq!(
        cluster.name(Some("proxy"), &claim[1..]).await,
        Err(401),
        "a group is not a user"
    );
    assert_eq!(cluster.name(Some("proxy"), &[("x-remote-user", "")]).await, Err(401));
    let with_token = [claim[0], claim[1], TOKEN_OF_ANNA];
    assert_eq!(cluster.name(None, &with_token).await.as_deref(), Ok("anna"));
    assert_eq!(
        cluster.name(Some("other-proxy"), &with_token).await.as_deref(),
        Ok("anna")
    );
    let closed = Cluster::start().await;
    assert_eq!(closed.name(Some("node"), &claim).await.as_deref(), Ok("system:node:n"));
}

/// Where no proxies are configured, TLS does not even accept their certificates.
#[tokio::test]
async fn without_the_option_a_proxys_certificate_is_a_strangers() {
    let cluster = Cluster::start().await;
    let (cert, key) = (cluster.path("proxy.crt"), cluster.path("proxy.key"));
    let config = tls::client_config(&cluster.path("ca.crt"), Some((&cert, &key))).unwrap();
    let stream = tokio::net::TcpStream::connect(cluster.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let outcome = async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await?;
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await?;
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).await
    };
    assert!(outcome.await.is_err());
}

#[tokio::test]
async fn strangers_are_let_in_where_the_configuration_says() {
    let with = async |text: &'static str| {
        Cluster::with(move |directory, options| {
            let file = directory.join("authentication.yaml");
            let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
            std::fs::write(&file, format!("{head}{text}")).unwrap();
            options.authentication_config = Some(file);
        })
        .await
    };
    let some = with("anonymous: {enabled: true, conditions: [{path: /livez}]}").await;
    let ask = async |cluster: &Cluster, path: &str| cluster.send("h2", None, get(path)).await.status().as_u16();
    assert_eq!(ask(&some, "/livez").await, 200);
    for path in ["/livez/ping", "/readyz", "/version", "/api/v1/pods", "//livez"] {
        assert_eq!(ask(&some, path).await, 401, "{path}");
    }
    let none = with("anonymous: {enabled: false}").await;
    assert_eq!(ask(&none, "/livez").await, 401);
    let all = with("anonymous: {enabled: true}").await;
    assert_eq!(ask(&all, "/livez").await, 200);
    assert_eq!(ask(&all, "/api/v1/pods").await, 403, "let in is not permitted");
}

fn grant(user: &str, rules: Value) -> [(&'static str, Value); 2] {
    let group = "rbac.authorization.k8s.io";
    let role =
        json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": {"name": user}, "rules": rules});
    let binding = json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": user},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": user},
        "subjects": [{"kind": "User", "name": user, "apiGroup": group}]});
    [("clusterroles", role), ("clusterrolebindings", binding)]
}

#[tokio::test]
async fn each_impersonated_attribute_is_permitted_on_its_own() {
    let cluster = Cluster::with(with_tokens).await;
    let rules = json!([
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["carla", "system:anonymous"]},
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"], "resourceNames": ["devs"]},
        {"verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"], "resources": ["uids"], "resourceNames": ["9"]},
        {"verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"], "resources": ["userextras/acme.com/team"],
            "resourceNames": ["blue"]},
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["bot"]}
    ]);
    for (resource, object) in grant("anna", rules) {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{resource}");
        assert_eq!(cluster.write("POST", &path, &object).await, StatusCode::CREATED);
    }
    let as_anna = async |claims: &[(&str, &str)]| {
        let headers = [&[TOKEN_OF_ANNA][..], claims].concat();
        cluster.whoami(None, &headers).await.map_err(|status| status.as_u16())
    };
    let all = as_anna(&[
        ("impersonate-user", "carla"),
        ("impersonate-group", "devs"),
        ("impersonate-uid", "9"),
        ("Impersonate-Extra-Acme.com%2fteam", "blue"),
    ]);
    assert_eq!(
        all.await.unwrap(),
        json!({"username": "carla", "uid": "9", "groups": ["devs", "system:authenticated"],
            "extra": {"acme.com/team": ["blue"]}})
    );
    let bot = as_anna(&[("impersonate-user", "system:serviceaccount:a:bot")])
        .await
        .unwrap();
    let groups = [
        "system:serviceaccounts",
        "system:serviceaccounts:a",
        "system:authenticated",
    ];
    assert_eq!(bot["groups"], json!(groups));
    // Being anonymous is permitted, but reviews are for those who signed in.
    assert_eq!(as_anna(&[("impersonate-user", "system:anonymous")]).await, Err(403));
    let carla = ("impersonate-user", "carla");
    for (why, claims, code) in [
        ("another user", vec![("impersonate-user", "root")], 403),
        (
            "another group",
            vec![carla, ("impersonate-group", "system:masters")],
            403,
        ),
        (
            "one group of two",
            vec![carla, ("impersonate-group", "devs"), ("impersonate-group", "ops")],
            403,
        ),
        ("another uid", vec![carla, ("impersonate-uid", "10")], 403),
        (
            "another value",
            vec![carla, ("impersonate-extra-acme.com%2fteam", "red")],
            403,
        ),
        ("another key", vec![carla, ("impersonate-extra-team", "blue")], 403),
        (
            "another account",
            vec![("impersonate-user", "system:serviceaccount:a:root")],
            403,
        ),
        (
            "an account that is none",
            vec![("impersonate-user", "system:serviceaccount:a:bot:x")],
            403,
        ),
        ("a node", vec![("impersonate-user", "system:node:n")], 403),
        ("no user", vec![("impersonate-group", "devs")], 400),
        ("no key", vec![carla, ("impersonate-extra-", "blue")], 400),
    ] {
        assert_eq!(as_anna(&claims).await, Err(code), "{why}");
    }
}

#[tokio::test]
async fn a_refused_impersonation_says_what_a_role_would_have_to_name() {
    let cluster = Cluster::with(with_tokens).await;
    let refused = async |claims: &[(&str, &str)]| {
        let mut request = get("/api/v1/pods");
        for (name, value) in [&[TOKEN_OF_ANNA][..], claims].concat() {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let body = cluster.send("h2", None, request).await.into_body().collect().await;
        let status: Value = serde_json::from_slice(&body.unwrap().to_bytes()).unwrap();
        status["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        refused(&[("impersonate-user", "root")]).await,
        "users \"root\" is forbidden: User \"anna\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
    );
    assert_eq!(
        refused(&[("impersonate-user", "system:serviceaccount:a:bot")]).await,
        "serviceaccounts \"bot\" is forbidden: User \"anna\" cannot impersonate resource \"serviceaccounts\" in API group \"\" in \
         the namespace \"a\""
    );
}
