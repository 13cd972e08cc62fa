//! ConfigMaps, secrets and service-account tokens, as pods on this node need them.
//!
//! Objects are read when they are needed and kept for a few seconds, so that thirty pods with one configMap ask once.
//! A token is kept until most of its life is over.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::Api;
use kube::api::PostParams;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{Error, limits};

/// Where objects come from; `None` is an object that does not exist.
#[async_trait]
pub trait Source: Send + Sync {
    /// A configMap.
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<Arc<ConfigMap>>, Error>;
    /// A secret.
    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Arc<Secret>>, Error>;
    /// A token bound to a pod.
    async fn token(&self, key: &TokenKey) -> Result<String, Error>;
    /// Forgets what was kept for a pod.
    fn forget(&self, pod_uid: &str);
}

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenKey {
    /// Namespace of pod and service account.
    pub namespace: String,
    /// Name of the service account.
    pub service_account: String,
    /// Name of the pod.
    pub pod_name: String,
    /// Uid of the pod.
    pub pod_uid: String,
    /// Audience; empty means the API server's own.
    pub audience: String,
    /// Wanted life in seconds.
    pub expiration_seconds: i64,
}

type Kept<T> = Mutex<HashMap<(String, String), (Instant, Option<Arc<T>>)>>;

/// The API, with a short memory.
pub struct ApiSource {
    client: kube::Client,
    config_maps: Kept<ConfigMap>,
    secrets: Kept<Secret>,
    tokens: Mutex<HashMap<TokenKey, Token>>,
}

struct Token {
    text: String,
    renew_at: Timestamp,
    /// Until then it is better than nothing.
    expires_at: Timestamp,
}

impl ApiSource {
    /// A source that asks with this client.
    pub fn new(client: kube::Client) -> Self {
        ApiSource {
            client,
            config_maps: Kept::default(),
            secrets: Kept::default(),
            tokens: Mutex::default(),
        }
    }
}

fn fresh<T>(kept: &Kept<T>, namespace: &str, name: &str) -> Option<Option<Arc<T>>> {
    let kept = kept.lock();
    let (at, object) = kept.get(&(namespace.to_owned(), name.to_owned()))?;
    (at.elapsed() < limits::OBJECT_AGE_MAX).then(|| object.clone())
}

fn keep<T>(kept: &Kept<T>, namespace: &str, name: &str, object: Option<T>) -> Option<Arc<T>> {
    let object = object.map(Arc::new);
    let mut kept = kept.lock();
    if kept.len() >= limits::OBJECTS_MAX {
        kept.retain(|_, (at, _)| at.elapsed() < limits::OBJECT_AGE_MAX);
    }
    // What does not exist yet is asked for again at once: a pod may be waiting for it.
    if object.is_some() && kept.len() < limits::OBJECTS_MAX {
        kept.insert(
            (namespace.to_owned(), name.to_owned()),
            (Instant::now(), object.clone()),
        );
    }
    object
}

#[async_trait]
impl Source for ApiSource {
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<Arc<ConfigMap>>, Error> {
        if let Some(object) = fresh(&self.config_maps, namespace, name) {
            return Ok(object);
        }
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let object = api
            .get_opt(name)
            .await
            .map_err(Error::api(format!("get configmap {namespace}/{name}")))?;
        Ok(keep(&self.config_maps, namespace, name, object))
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Arc<Secret>>, Error> {
        if let Some(object) = fresh(&self.secrets, namespace, name) {
            return Ok(object);
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let object = api
            .get_opt(name)
            .await
            .map_err(Error::api(format!("get secret {namespace}/{name}")))?;
        Ok(keep(&self.secrets, namespace, name, object))
    }

    async fn token(&self, key: &TokenKey) -> Result<String, Error> {
        let now = Timestamp::now();
        if let Some(token) = self.tokens.lock().get(key).filter(|t| now < t.renew_at) {
            return Ok(token.text.clone());
        }
        match request(&self.client, key).await {
            Ok(token) => {
                let text = token.text.clone();
                self.tokens.lock().insert(key.clone(), token);
                Ok(text)
            }
            Err(error) => match self.tokens.lock().get(key).filter(|t| now < t.expires_at) {
                Some(token) => Ok(token.text.clone()),
                None => Err(error),
            },
        }
    }

    fn forget(&self, pod_uid: &str) {
        self.tokens.lock().retain(|key, _| key.pod_uid != pod_uid);
    }
}

async fn request(client: &kube::Client, key: &TokenKey) -> Result<Token, Error> {
    let what = format!(
        "request a token of service account {}/{}",
        key.namespace, key.service_account
    );
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &key.namespace);
    let bound = BoundObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(key.pod_name.clone()),
        uid: Some(key.pod_uid.clone()),
    };
    let spec = TokenRequestSpec {
        audiences: (!key.audience.is_empty()).then(|| vec![key.audience.clone()]),
        bound_object_ref: Some(bound),
        expiration_seconds: Some(key.expiration_seconds),
    };
    let wanted = TokenRequest {
        spec: Some(spec),
        ..Default::default()
    };
    let requested_at = Timestamp::now();
    let answer = api
        .create_token_request(&key.service_account, &PostParams::default(), &wanted)
        .await
        .map_err(Error::api(what.clone()))?;
    let status = answer
        .status
        .ok_or_else(|| Error::Pod(format!("{what}: the answer has no token")))?;
    let (Some(text), Some(expires_at)) = (status.token, status.expiration_timestamp) else {
        return Err(Error::Pod(format!("{what}: the answer has no token")));
    };
    Ok(Token {
        text,
        renew_at: renew_at(requested_at, expires_at.0),
        expires_at: expires_at.0,
    })
}

/// When most of a token's life, or a day, is over.
fn renew_at(requested_at: Timestamp, expires_at: Timestamp) -> Timestamp {
    let life = expires_at.duration_since(requested_at).as_secs();
    let wait = (life * limits::TOKEN_RENEW_PERCENT / 100).min(limits::TOKEN_AGE_MAX.as_secs() as i64);
    requested_at
        .saturating_add(jiff::SignedDuration::from_secs(wait))
        .unwrap_or(expires_at)
}

#[cfg(test)]
pub(crate) mod testing {
    use k8s_openapi::ByteString;

    use super::*;

    /// One configMap `cm`, one secret `sec`, and the same token for everyone.
    pub(crate) struct Fixed;

    #[async_trait]
    impl Source for Fixed {
        async fn config_map(&self, _: &str, name: &str) -> Result<Option<Arc<ConfigMap>>, Error> {
            let data = [
                ("k".to_owned(), "from-map".to_owned()),
                ("x".to_owned(), "y".to_owned()),
            ]
            .into();
            Ok((name == "cm").then(|| {
                Arc::new(ConfigMap {
                    data: Some(data),
                    ..Default::default()
                })
            }))
        }
        async fn secret(&self, _: &str, name: &str) -> Result<Option<Arc<Secret>>, Error> {
            let data = [("s".to_owned(), ByteString(b"hush".to_vec()))].into();
            Ok((name == "sec").then(|| {
                Arc::new(Secret {
                    data: Some(data),
                    ..Default::default()
                })
            }))
        }
        async fn token(&self, _: &TokenKey) -> Result<String, Error> {
            Ok("a-token".into())
        }
        fn forget(&self, _: &str) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_before_they_end() {
        let at = |s| Timestamp::from_second(s).unwrap();
        assert_eq!(renew_at(at(0), at(3600)), at(2880));
        assert_eq!(renew_at(at(0), at(365 * 86400)), at(86400));
    }
}
