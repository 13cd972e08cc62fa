//! Tokens of an issuer outside of the cluster: which are believed, and every forgery that is known.

use super::service::Service;
use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// A key for tests; nothing else trusts it.
const RSA: &[u8] = include_bytes!("rsa.pem");

struct Issuer {
    cluster: Cluster,
    service: Service,
    url: String,
    ec: EncodingKey,
    rsa: EncodingKey,
}

fn ec_key(directory: &Path, name: &str) -> EncodingKey {
    let (key, public) = (
        directory.join(format!("{name}.key")),
        directory.join(format!("{name}.pub")),
    );
    pki::jwt::ensure_key_pair(&key, &public).unwrap();
    EncodingKey::from_ec_pem(&std::fs::read(key).unwrap()).unwrap()
}

fn published(key: &EncodingKey, algorithm: Algorithm, id: &str) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap();
    jwk["kid"] = json!(id);
    jwk["use"] = json!("sig");
    jwk
}

impl Issuer {
    async fn start() -> Issuer {
        let mut parts = None;
        let cluster = Cluster::with(|directory, options| {
            let (ec, rsa) = (ec_key(directory, "issuer"), EncodingKey::from_rsa_pem(RSA).unwrap());
            let shared = json!({"kty": "oct", "kid": "shared", "k": URL_SAFE_NO_PAD.encode("everybody knows this")});
            let keys = json!({"keys": [published(&ec, Algorithm::ES256, "ec"), published(&rsa, Algorithm::RS256, "rsa"),
                shared, {"kty": "strange", "kid": "strange"}]});
            let service = Service::start(directory, |_| (404, Value::Null));
            let url = format!("https://localhost:{}", service.port);
            let document = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
            service.answer_by(move |asked| match asked.path.as_str() {
                "/.well-known/openid-configuration" => (200, document.clone()),
                "/keys" => (200, keys.clone()),
                _ => (404, Value::Null),
            });
            let ca = std::fs::read_to_string(directory.join("ca.crt")).unwrap();
            let file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [{
                "issuer": {"url": url, "audiences": ["cluster"], "certificateAuthority": ca},
                "claimValidationRules": [{"claim": "hd", "requiredValue": "example.com"}],
                "claimMappings": {"username": {"claim": "sub", "prefix": "oidc:"},
                    "groups": {"claim": "groups", "prefix": ""}, "uid": {"claim": "id"}}}]});
            // JSON is YAML.
            std::fs::write(directory.join("authentication.yaml"), file.to_string()).unwrap();
            options.authentication_config = Some(directory.join("authentication.yaml"));
            parts = Some((service, url, ec, rsa));
        })
        .await;
        let (service, url, ec, rsa) = parts.unwrap();
        Issuer {
            cluster,
            service,
            url,
            ec,
            rsa,
        }
    }

    fn claims(&self, change: Value) -> Value {
        let mut claims = json!({"iss": self.url, "aud": "cluster", "exp": 4_000_000_000_u64, "sub": "anna", "id": "7",
            "groups": ["devs"], "hd": "example.com"});
        for (key, value) in change.as_object().unwrap() {
            claims[key] = value.clone();
        }
        claims
    }

    fn token(&self, change: Value) -> String {
        signed(&self.ec, Algorithm::ES256, Some("ec"), &self.claims(change))
    }

    async fn check(&self, token: &str) -> Result<Value, u16> {
        let value = format!("Bearer {token}");
        let answer = self.cluster.whoami(None, &[("authorization", &value)]).await;
        answer.map_err(|status| status.as_u16())
    }
}

fn signed(key: &EncodingKey, algorithm: Algorithm, id: Option<&str>, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = id.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

#[tokio::test]
async fn a_token_of_the_issuer_is_who_its_claims_say() {
    let issuer = Issuer::start().await;
    let anna = json!({"username": "oidc:anna", "uid": "7", "groups": ["devs", "system:authenticated"]});
    assert_eq!(issuer.check(&issuer.token(json!({}))).await, Ok(anna.clone()));
    let claims = issuer.claims(json!({}));
    let by_rsa = signed(&issuer.rsa, Algorithm::RS256, Some("rsa"), &claims);
    assert_eq!(issuer.check(&by_rsa).await, Ok(anna.clone()));
    let nameless = signed(&issuer.ec, Algorithm::ES256, None, &claims);
    assert_eq!(issuer.check(&nameless).await, Ok(anna));
    assert_eq!(issuer.service.asked().len(), 2, "the document and the keys, once");
}

#[tokio::test]
async fn a_token_that_says_something_else_is_nobodys() {
    let issuer = Issuer::start().await;
    for change in [
        json!({"iss": "https://localhost"}),
        json!({"iss": format!("{}/", issuer.url)}),
        json!({"aud": "other"}),
        json!({"exp": 1000}),
        json!({"exp": null}),
        json!({"nbf": 4_000_000_000_u64}),
        json!({"hd": "example.org"}),
        json!({"sub": null}),
        json!({"groups": ["system:masters"]}),
        json!({"groups": 7}),
    ] {
        assert_eq!(issuer.check(&issuer.token(change.clone())).await, Err(401), "{change}");
    }
}

#[tokio::test]
async fn a_forged_token_is_nobodys() {
    let issuer = Issuer::start().await;
    let claims = issuer.claims(json!({}));
    let foreign = ec_key(issuer.cluster.dir.path(), "foreign");
    let public = std::fs::read(issuer.cluster.path("issuer.pub")).unwrap();
    let good = issuer.token(json!({}));
    let (body, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = body.split_once('.').unwrap();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = part(&json!({"alg": "none", "typ": "JWT"}));
    let other = part(&issuer.claims(json!({"sub": "root"})));
    let hmac = |key: &[u8], id: &str| signed(&EncodingKey::from_secret(key), Algorithm::HS256, Some(id), &claims);
    let critical = part(&json!({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": false}));
    for (how, token) in [
        (
            "another key under a known id",
            signed(&foreign, Algorithm::ES256, Some("ec"), &claims),
        ),
        (
            "another key under no id",
            signed(&foreign, Algorithm::ES256, None, &claims),
        ),
        (
            "another key under another's id",
            signed(&foreign, Algorithm::ES256, Some("rsa"), &claims),
        ),
        (
            "an algorithm that the key is not for",
            signed(&issuer.rsa, Algorithm::RS512, Some("rsa"), &claims),
        ),
        ("no signature", format!("{none}.{payload}.")),
        ("no algorithm", format!("{none}.{payload}.{signature}")),
        ("no signature at all", format!("{header}.{payload}.")),
        ("other claims", format!("{header}.{other}.{signature}")),
        ("a published symmetric key", hmac(b"everybody knows this", "shared")),
        ("the public key as a secret", hmac(&public, "ec")),
        ("the public key as a secret, in other words", hmac(&public, "rsa")),
        ("an empty secret", hmac(b"", "ec")),
        ("critical parts", format!("{critical}.{payload}.{signature}")),
    ] {
        assert_eq!(issuer.check(&token).await, Err(401), "{how}");
    }
    issuer.check(&good).await.unwrap();
}

/// Strangers send tokens: they must not be able to make the server ask the issuer at their pace.
#[tokio::test]
async fn invented_key_ids_do_not_make_the_server_ask_again_and_again() {
    let issuer = Issuer::start().await;
    issuer.check(&issuer.token(json!({}))).await.unwrap();
    let claims = issuer.claims(json!({}));
    for number in 0..50 {
        let token = signed(&issuer.ec, Algorithm::ES256, Some(&format!("key-{number}")), &claims);
        assert_eq!(issuer.check(&token).await, Err(401));
    }
    let fetches = issuer
        .service
        .asked()
        .iter()
        .filter(|asked| asked.path == "/keys")
        .count();
    // How long fifty requests take is nobody's promise; that most of them cost nothing is.
    assert!(fetches < 10, "{fetches}");
}

#[tokio::test]
async fn an_issuer_that_names_another_is_not_believed() {
    let issuer = Issuer::start().await;
    let url = issuer.url.clone();
    issuer.service.answer_by(move |_| {
        (
            200,
            json!({"issuer": "https://other", "jwks_uri": format!("{url}/keys"), "keys": []}),
        )
    });
    assert_eq!(issuer.check(&issuer.token(json!({}))).await, Err(401));
}
