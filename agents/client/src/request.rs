//! Requests on objects of any resource, as JSON. A thin layer over `kube::Client` that names resources by value (so
//! that the garbage collector can walk all of them) and turns every failure into this crate's [`Error`].

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::core::Status;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::limits;
use crate::{Error, Key, Meta, Resource};

/// A handle on the API. Cloning is cheap; clones share connections.
#[derive(Clone)]
pub struct Client {
    /// The client of the `kube` crate over the same transport, for typed access and upgrades.
    pub kube: kube::Client,
    /// Keeps the background refresh of the masters' addresses running as long as a clone exists.
    pub(crate) background: Option<Arc<tokio_util::sync::DropGuard>>,
}

/// How a patch body is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7386.
    Merge,
    /// Merges lists by their keys, as kubectl does.
    Strategic,
    /// RFC 6902.
    Json,
}

impl Patch {
    fn content_type(self) -> &'static str {
        match self {
            Patch::Merge => "application/merge-patch+json",
            Patch::Strategic => "application/strategic-merge-patch+json",
            Patch::Json => "application/json-patch+json",
        }
    }
}

/// What happens to the dependents of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// They are kept and lose the owner.
    Orphan,
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
}

/// The body of a delete.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteOptions {
    /// Seconds the object gets to end; `None` leaves it to the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
    /// Delete only the object that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preconditions: Option<Preconditions>,
    /// What becomes of the dependents; `None` leaves it to the resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_policy: Option<Propagation>,
}

/// What must be true of an object for its deletion.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preconditions {
    /// The expected uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The expected resourceVersion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// Delete only the object with this uid, not a namesake.
    pub fn uid(uid: impl Into<String>) -> Self {
        let preconditions = Some(Preconditions {
            uid: Some(uid.into()),
            resource_version: None,
        });
        DeleteOptions {
            preconditions,
            ..Default::default()
        }
    }

    /// With a propagation policy.
    pub fn propagate(mut self, policy: Propagation) -> Self {
        self.propagation_policy = Some(policy);
        self
    }

    /// With a grace period.
    pub fn grace(mut self, seconds: i64) -> Self {
        self.grace_period_seconds = Some(seconds);
        self
    }
}

/// A page of a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
pub struct List<T> {
    /// Version of the list and the token of its next page.
    #[serde(default)]
    pub metadata: ListMeta,
    /// The objects.
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
}

/// The metadata of a list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMeta {
    /// Where a watch that continues this list begins.
    pub resource_version: String,
    /// The token of the next page; empty on the last.
    #[serde(rename = "continue")]
    pub next: String,
}

impl Client {
    /// A client over a service in this process, such as the API server's own router: no socket, no TLS.
    pub fn local<S, B>(service: S) -> Self
    where
        S: tower::Service<Request<Body>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<tower::BoxError>,
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<tower::BoxError>,
    {
        Client {
            kube: kube::Client::new(service, "default"),
            background: None,
        }
    }

    /// Reads one object.
    pub async fn get<T: DeserializeOwned>(&self, resource: &Resource, key: &Key) -> Result<T, Error> {
        self.json(Method::GET, &resource.object(key, None), None::<&()>).await
    }

    /// Reads one object, or `None` if there is none.
    pub async fn find<T: DeserializeOwned>(&self, resource: &Resource, key: &Key) -> Result<Option<T>, Error> {
        match self.get(resource, key).await {
            Ok(object) => Ok(Some(object)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Lists a collection, all pages of it. `query` holds further parameters, as `labelSelector=a%3Db`.
    pub async fn list<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        query: &str,
    ) -> Result<List<T>, Error> {
        let path = resource.collection(namespace);
        let mut all: Option<List<T>> = None;
        loop {
            let next = all
                .as_ref()
                .map_or(String::new(), |l| format!("&continue={}", escape(&l.metadata.next)));
            let extra = if query.is_empty() {
                String::new()
            } else {
                format!("&{query}")
            };
            let url = format!("{path}?limit={}{extra}{next}", limits::LIST_PAGE_SIZE);
            let page: List<T> = self.json(Method::GET, &url, None::<&()>).await?;
            let merged = match all.take() {
                None => page,
                Some(mut list) => {
                    list.items.extend(page.items);
                    list.metadata = page.metadata;
                    list
                }
            };
            if merged.metadata.next.is_empty() {
                return Ok(merged);
            }
            all = Some(merged);
        }
    }

    /// Creates an object.
    pub async fn create<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        object: &impl Serialize,
    ) -> Result<T, Error> {
        self.json(
            Method::POST,
            &resource.collection(namespace),
            Some(&Typemeta::of(resource, object)?),
        )
        .await
    }

    /// Posts to a subresource, as `pods/x/binding`.
    pub async fn create_subresource<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        key: &Key,
        subresource: &str,
        object: &impl Serialize,
    ) -> Result<T, Error> {
        self.json(Method::POST, &resource.object(key, Some(subresource)), Some(object))
            .await
    }

    /// Replaces an object; its resourceVersion, if set, must still be the current one.
    pub async fn update<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        key: &Key,
        object: &impl Serialize,
    ) -> Result<T, Error> {
        self.json(
            Method::PUT,
            &resource.object(key, None),
            Some(&Typemeta::of(resource, object)?),
        )
        .await
    }

    /// Replaces a subresource, as `status`.
    pub async fn update_subresource<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        key: &Key,
        subresource: &str,
        object: &impl Serialize,
    ) -> Result<T, Error> {
        let body = Typemeta::of(resource, object)?;
        self.json(Method::PUT, &resource.object(key, Some(subresource)), Some(&body))
            .await
    }

    /// Patches an object, or a subresource of it.
    pub async fn patch<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        key: &Key,
        subresource: Option<&str>,
        patch: Patch,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let path = resource.object(key, subresource);
        let action = format!("PATCH {path}");
        let bytes = encode(&action, body)?;
        let request = Request::patch(&path)
            .header(http::header::CONTENT_TYPE, patch.content_type())
            .header(http::header::ACCEPT, "application/json")
            .body(Body::from(bytes));
        let request = request.map_err(|e| Error::Encode {
            action: action.clone(),
            reason: e.to_string(),
        })?;
        self.decode(action, request).await
    }

    /// Merges `status` into the object's status.
    pub async fn patch_status<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        key: &Key,
        status: &impl Serialize,
    ) -> Result<T, Error> {
        self.patch(
            resource,
            key,
            Some("status"),
            Patch::Merge,
            &json!({ "status": status }),
        )
        .await
    }

    /// Deletes an object. The answer is a Status or, while it lingers, the object.
    pub async fn delete(&self, resource: &Resource, key: &Key, options: &DeleteOptions) -> Result<Value, Error> {
        self.json(Method::DELETE, &resource.object(key, None), Some(options))
            .await
    }

    /// Deletes every object of a collection in one namespace.
    pub async fn delete_collection(
        &self,
        resource: &Resource,
        namespace: &str,
        options: &DeleteOptions,
    ) -> Result<Value, Error> {
        self.json(Method::DELETE, &resource.collection(Some(namespace)), Some(options))
            .await
    }

    /// Any JSON request by its path.
    pub async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Error> {
        let action = format!("{method} {path}");
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::ACCEPT, "application/json");
        let body = match body {
            None => Body::empty(),
            Some(body) => {
                request = request.header(http::header::CONTENT_TYPE, "application/json");
                Body::from(encode(&action, body)?)
            }
        };
        let request = request.body(body).map_err(|e| Error::Encode {
            action: action.clone(),
            reason: e.to_string(),
        })?;
        self.decode(action, request).await
    }

    async fn decode<T: DeserializeOwned>(&self, action: String, request: Request<Body>) -> Result<T, Error> {
        let response = self.send(&action, request).await?;
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|e| transport(&action, &e))?
            .to_bytes();
        serde_json::from_slice(&body).map_err(|e| Error::Decode {
            action,
            reason: e.to_string(),
        })
    }

    /// Sends a request and returns the answer once its head says success.
    pub async fn send(&self, action: &str, request: Request<Body>) -> Result<Response<Body>, Error> {
        let response = self.kube.send(request).await.map_err(|e| transport(action, &e))?;
        let code = response.status();
        if code.is_success() || code.is_informational() {
            return Ok(response);
        }
        let body = Limited::new(response.into_body(), limits::ERROR_BODY_BYTES_MAX)
            .collect()
            .await;
        let bytes = body.map(|b| b.to_bytes()).unwrap_or_default();
        Err(Error::from_status(action, parse_status(code, &bytes)))
    }
}

/// The Status in an error's body, or one made from the code if the body is something else (a proxy's page, say).
fn parse_status(code: http::StatusCode, body: &[u8]) -> Status {
    let parsed = serde_json::from_slice::<Status>(body)
        .ok()
        .filter(|s| s.code != 0 || !s.reason.is_empty());
    let mut status = parsed.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&body[..body.len().min(512)]);
        Status::failure(text.trim(), code.canonical_reason().unwrap_or_default())
    });
    status.code = code.as_u16();
    status
}

/// Walks to the innermost cause, which is the one that says something.
pub(crate) fn transport(action: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        source = inner.source();
    }
    Error::Transport {
        action: action.to_owned(),
        reason,
    }
}

fn encode(action: &str, body: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(body).map_err(|e| Error::Encode {
        action: action.to_owned(),
        reason: e.to_string(),
    })
}

/// Percent-encodes a query value.
pub(crate) fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// An object with its `apiVersion` and `kind`, which callers may leave out.
struct Typemeta;

impl Typemeta {
    fn of(resource: &Resource, object: &impl Serialize) -> Result<Value, Error> {
        let action = format!("encode {}", resource.kind);
        let mut value = serde_json::to_value(object).map_err(|e| Error::Encode {
            action: action.clone(),
            reason: e.to_string(),
        })?;
        let map = value.as_object_mut().ok_or(Error::Encode {
            action,
            reason: "not an object".to_owned(),
        })?;
        map.insert("apiVersion".to_owned(), resource.api_version().into());
        map.insert("kind".to_owned(), resource.kind.as_ref().into());
        Ok(value)
    }
}

/// An object of which only the metadata is read.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct MetaOnly {
    /// Its metadata.
    #[serde(default)]
    pub metadata: Meta,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_error_page_becomes_a_status() {
        let status = parse_status(http::StatusCode::BAD_GATEWAY, b"<html>no</html>");
        assert_eq!((status.code, status.reason.as_str()), (502, "Bad Gateway"));
        let ours = parse_status(
            http::StatusCode::CONFLICT,
            br#"{"kind":"Status","status":"Failure","code":409,"reason":"FenceLost","message":"m"}"#,
        );
        assert_eq!(ours.reason, "FenceLost");
    }

    #[test]
    fn query_values_are_escaped() {
        assert_eq!(escape("a=b,c in (d)"), "a%3Db%2Cc%20in%20%28d%29");
    }
}
