//! The Accept header: which form and which encoding an answer has.

use crate::ApiError;
use http::{HeaderMap, header};

pub(crate) const JSON: &str = "application/json";
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What an answer shows of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Object,
    /// Rows for people.
    Table,
    /// Metadata only.
    Partial,
}

/// The bytes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Protobuf,
}

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub shape: Shape,
    pub encoding: Encoding,
}

impl Output {
    pub(crate) const JSON: Output = Output {
        shape: Shape::Object,
        encoding: Encoding::Json,
    };
}

/// One entry of an Accept header.
#[derive(Debug)]
struct Clause<'a> {
    media: &'a str,
    kind: &'a str,
    version: &'a str,
    group: &'a str,
}

/// The first acceptable clause. `protobuf`: whether this kind has a protobuf form here. Transformations are JSON only.
pub(crate) fn output(headers: &HeaderMap, protobuf: bool) -> Result<Output, ApiError> {
    let mut none = true;
    for value in headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
    {
        for clause in clauses(value) {
            none = false;
            if let Some(output) = offered(&clause, protobuf) {
                return Ok(output);
            }
        }
    }
    if none {
        Ok(Output::JSON)
    } else {
        Err(not_acceptable(protobuf))
    }
}

/// 406 with what could have been had.
fn not_acceptable(protobuf: bool) -> ApiError {
    if protobuf {
        ApiError::not_acceptable(&[JSON, PROTOBUF])
    } else {
        ApiError::not_acceptable(&[JSON])
    }
}

fn offered(clause: &Clause<'_>, protobuf: bool) -> Option<Output> {
    let encoding = match clause.media {
        JSON | "*/*" | "application/*" => Encoding::Json,
        PROTOBUF if protobuf && clause.kind.is_empty() => Encoding::Protobuf,
        _ => return None,
    };
    let shape = match (clause.kind, clause.group, clause.version) {
        ("", ..) => Shape::Object,
        ("Table", "meta.k8s.io", "v1") => Shape::Table,
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => Shape::Partial,
        _ => return None,
    };
    Some(Output { shape, encoding })
}

fn clauses(value: &str) -> impl Iterator<Item = Clause<'_>> {
    value
        .split(',')
        .map(str::trim)
        .filter(|clause| !clause.is_empty())
        .map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let mut parsed = Clause {
                media: parts.next().unwrap_or_default(),
                kind: "",
                version: "",
                group: "",
            };
            for (key, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
                match key {
                    "as" => parsed.kind = value,
                    "v" => parsed.version = value,
                    "g" => parsed.group = value,
                    _ => {}
                }
            }
            parsed
        })
}

/// The media types that a client accepts, in its order, without parameters.
pub(crate) fn media_types(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::ACCEPT).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(clauses).map(|clause| clause.media.to_owned()).collect()
}

/// The version of aggregated discovery that is asked for before anything else, if any.
pub(crate) fn aggregated_discovery(headers: &HeaderMap) -> Option<&'static str> {
    for value in headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
    {
        for clause in clauses(value).filter(|clause| clause.media == JSON) {
            match (clause.kind, clause.group, clause.version) {
                ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => return Some("v2"),
                ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => return Some("v2beta1"),
                ("", ..) => return None,
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, http::HeaderValue::from_static(accept));
        headers
    }

    #[test]
    fn the_first_clause_that_can_be_served_wins() {
        let check = |accept, protobuf, shape, encoding| {
            assert_eq!(
                output(&headers(accept), protobuf).unwrap(),
                Output { shape, encoding },
                "{accept}"
            );
        };
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            true,
            Shape::Table,
            Encoding::Json,
        );
        check(
            "application/vnd.kubernetes.protobuf,application/json",
            true,
            Shape::Object,
            Encoding::Protobuf,
        );
        check(
            "application/vnd.kubernetes.protobuf, application/json",
            false,
            Shape::Object,
            Encoding::Json,
        );
        check(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            true,
            Shape::Partial,
            Encoding::Json,
        );
        check("*/*", true, Shape::Object, Encoding::Json);
        assert_eq!(output(&HeaderMap::new(), true).unwrap(), Output::JSON);
    }

    #[test]
    fn what_nobody_offers_is_406() {
        assert_eq!(
            output(&headers("application/json;as=Table;v=v2;g=meta.k8s.io"), true)
                .unwrap_err()
                .code,
            406
        );
        assert_eq!(output(&headers("text/html"), true).unwrap_err().code, 406);
        assert_eq!(
            output(&headers("application/vnd.kubernetes.protobuf"), false)
                .unwrap_err()
                .code,
            406
        );
    }
}
