//! A whole typed object as a projection, for agents that need most of few objects (a kubelet its own Pods).

use std::ops::Deref;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{Meta, Projection, Resource};

/// The `k8s-openapi` object and its metadata as this crate reads it. Dereferences to the object.
#[derive(Debug, Clone)]
pub struct Typed<K> {
    meta: Meta,
    /// The object.
    pub object: K,
}

impl<K> Deref for Typed<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.object
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Typed<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let parts: crate::request::MetaOnly = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        Ok(Typed {
            meta: parts.metadata,
            object: serde_json::from_str(raw.get()).map_err(D::Error::custom)?,
        })
    }
}

impl<K> Projection for Typed<K>
where
    K: k8s_openapi::Resource + Named + DeserializeOwned + Clone + Send + Sync + 'static,
{
    const RESOURCE: Resource = Resource {
        group: std::borrow::Cow::Borrowed(K::GROUP),
        version: std::borrow::Cow::Borrowed(K::VERSION),
        kind: std::borrow::Cow::Borrowed(K::KIND),
        plural: std::borrow::Cow::Borrowed(K::URL_PATH_SEGMENT),
        namespaced: K::NAMESPACED,
    };

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// Whether a typed resource lives in namespaces.
pub trait Named {
    /// See [`Resource::namespaced`].
    const NAMESPACED: bool;
}

macro_rules! named {
    ($($kind:path = $namespaced:literal),* $(,)?) => {
        $(impl Named for $kind { const NAMESPACED: bool = $namespaced; })*
    };
}

named! {
    k8s_openapi::api::core::v1::Pod = true,
    k8s_openapi::api::core::v1::Service = true,
    k8s_openapi::api::core::v1::Endpoints = true,
    k8s_openapi::api::core::v1::ConfigMap = true,
    k8s_openapi::api::core::v1::Secret = true,
    k8s_openapi::api::core::v1::ServiceAccount = true,
    k8s_openapi::api::core::v1::Node = false,
    k8s_openapi::api::core::v1::Namespace = false,
    k8s_openapi::api::core::v1::PersistentVolume = false,
    k8s_openapi::api::core::v1::PersistentVolumeClaim = true,
    k8s_openapi::api::discovery::v1::EndpointSlice = true,
    k8s_openapi::api::coordination::v1::Lease = true,
    k8s_openapi::api::apps::v1::Deployment = true,
    k8s_openapi::api::apps::v1::ReplicaSet = true,
    k8s_openapi::api::node::v1::RuntimeClass = false,
}
