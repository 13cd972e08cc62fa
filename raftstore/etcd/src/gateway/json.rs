//! Between JSON and messages, by the descriptors of the services.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions,
};
use serde_json::Value;
use tonic::Status;

use super::{PREFIX, routes::ROUTES};
use crate::calls::Call;

/// The services and all their messages, as the compiler of their .proto files wrote them down.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/services.bin"));

/// etcd's way: names as in the .proto files, nothing that has its default.
const RESPONSE: SerializeOptions = SerializeOptions::new()
    .use_proto_field_name(true)
    .stringify_64_bit_integers(true)
    .skip_default_fields(true);
/// Clients of a newer etcd may send more.
const REQUEST: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(false);

/// A method of a service.
pub(super) struct Method {
    /// As gRPC clients call it.
    pub path: &'static str,
    pub takes_stream: bool,
    pub gives_stream: bool,
    input: MessageDescriptor,
    output: MessageDescriptor,
}

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the compiler's own descriptors are whole"));

static METHODS: LazyLock<HashMap<&'static str, Method>> = LazyLock::new(|| {
    let pool = &*POOL;
    let known = ROUTES
        .iter()
        .filter_map(|(route, path)| Some((*route, method(pool, path)?)));
    return known.collect();

    fn method(pool: &DescriptorPool, path: &'static str) -> Option<Method> {
        let (service, name) = path.strip_prefix('/')?.split_once('/')?;
        let service = pool.get_service_by_name(service)?;
        let method = service.methods().find(|method| method.name() == name)?;
        Some(Method {
            path,
            takes_stream: method.is_client_streaming(),
            gives_stream: method.is_server_streaming(),
            input: method.input(),
            output: method.output(),
        })
    }
});

/// A counter for every method of every service, by its path.
pub(crate) fn calls() -> BTreeMap<String, Arc<Call>> {
    let methods = POOL
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>());
    let call = |method: MethodDescriptor| {
        let (service, name) = (method.parent_service().full_name().to_owned(), method.name().to_owned());
        let streams = (method.is_client_streaming(), method.is_server_streaming());
        (
            format!("/{service}/{name}"),
            Arc::new(Call::new(service, name, streams)),
        )
    };
    methods.map(call).collect()
}

/// The method at a path.
pub(super) fn method(path: &str) -> Option<&'static Method> {
    METHODS.get(path.strip_prefix(PREFIX)?)
}

impl Method {
    /// A request's message from its JSON; nothing at all is an empty message.
    pub(super) fn request(&self, json: &[u8]) -> Result<Bytes, Status> {
        if json.trim_ascii().is_empty() {
            return Ok(Bytes::new());
        }
        let value = serde_json::from_slice(json).map_err(|error| unreadable(&error))?;
        self.request_of(value)
    }

    pub(super) fn request_of(&self, value: Value) -> Result<Bytes, Status> {
        let message = DynamicMessage::deserialize_with_options(self.input.clone(), value, &REQUEST);
        Ok(message.map_err(|error| unreadable(&error))?.encode_to_vec().into())
    }

    /// The JSON of a response.
    pub(super) fn response(&self, message: Bytes) -> Result<Value, Status> {
        let failed = |error: &dyn std::fmt::Display| Status::internal(format!("an answer cannot be shown: {error}"));
        let message = DynamicMessage::decode(self.output.clone(), message).map_err(|error| failed(&error))?;
        let shown = message.serialize_with_options(serde_json::value::Serializer, &RESPONSE);
        shown.map_err(|error| failed(&error))
    }
}

pub(super) fn unreadable(error: &dyn std::fmt::Display) -> Status {
    Status::invalid_argument(format!("the request cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_leads_to_a_method() {
        for (route, path) in ROUTES {
            let found = method(&format!("/v3/{route}"));
            assert!(found.is_some_and(|method| method.path == path), "{route}: {path}");
        }
        assert!(method("/v3/kv").is_none() && method("/kv/range").is_none());
    }

    #[test]
    fn numbers_are_taken_as_numbers_or_text_and_given_as_text() {
        let range = method("/v3/kv/range").unwrap();
        let asked = |json: &str| {
            range
                .request(json.as_bytes())
                .map_err(|status| status.message().to_owned())
        };
        let one = asked(r#"{"key": "Zm9v", "limit": "5", "sort_order": "DESCEND", "novelty": 1}"#).unwrap();
        assert_eq!(one, asked(r#"{"key": "Zm9v", "limit": 5, "sortOrder": 2}"#).unwrap());
        assert_eq!(asked("").unwrap(), asked("{}").unwrap());
        assert!(asked("{").is_err() && asked(r#"{"key": 7}"#).is_err() && asked("[]").is_err());
        let status = method("/v3/lease/timetolive").unwrap();
        let response = proto::etcd::etcdserverpb::LeaseTimeToLiveResponse {
            id: i64::MAX,
            ttl: -1,
            keys: vec!["foo".into()],
            ..Default::default()
        };
        let shown = status.response(response.encode_to_vec().into()).unwrap();
        assert_eq!(
            shown.to_string(),
            r#"{"ID":"9223372036854775807","TTL":"-1","keys":["Zm9v"]}"#
        );
    }
}
