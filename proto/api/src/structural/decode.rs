//! From bytes to a custom object: nothing is canonicalised, nulls and zeros stay what they are, and what the schema does not
//! know goes. Only `metadata` is of a known type.

use super::Node;
use super::prune::join;
use crate::codec::{FieldValidation, MediaType, check_value_identity, judge_fields, malformed_json, metadata};
use crate::error::DecodeError;
use crate::gvk::Gvk;
use crate::limits::STRICT_ERRORS_MAX;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::fmt;

const ACCEPTED: &str = "application/json, application/yaml";

/// Decodes a body that should be an object of a custom kind; yields it with warnings. Nothing is filled in.
pub fn decode(
    content_type: &str,
    body: &[u8],
    expected: &Gvk,
    node: &Node,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), DecodeError> {
    let duplicates = RefCell::new(Vec::new());
    let value = match MediaType::parse(content_type) {
        Some(MediaType::Json) => {
            let mut deserializer = serde_json::Deserializer::from_slice(body);
            let root = Seen {
                path: String::new(),
                duplicates: &duplicates,
            };
            let value = root.deserialize(&mut deserializer).map_err(malformed_json)?;
            deserializer.end().map_err(malformed_json)?;
            value
        }
        Some(MediaType::Yaml) => crate::codec::decode_yaml(body)?,
        _ => return Err(DecodeError::UnsupportedMediaType { accepted: ACCEPTED }),
    };
    finish(value, expected, node, validation, duplicates.into_inner())
}

/// Brings an object that did not come as bytes (a patched one) into the form of a decoded one.
pub fn conform(
    value: Value,
    expected: &Gvk,
    node: &Node,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), DecodeError> {
    finish(value, expected, node, validation, Vec::new())
}

fn finish(
    mut value: Value,
    expected: &Gvk,
    node: &Node,
    validation: FieldValidation,
    mut complaints: Vec<String>,
) -> Result<(Value, Vec<String>), DecodeError> {
    check_value_identity(&value, expected)?;
    let Some(map) = value.as_object_mut() else {
        return Err(DecodeError::malformed("the body is not an object"));
    };
    map.insert("apiVersion".into(), expected.api_version().into());
    map.insert("kind".into(), expected.kind.as_ref().into());
    let given = map.remove("metadata").unwrap_or_else(|| Value::Object(Map::new()));
    let (metadata, unknown) = metadata(given, expected)?;
    map.insert("metadata".into(), metadata);
    complaints.extend(unknown);
    let unknown = node.prune(&mut value);
    complaints.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
    complaints.truncate(STRICT_ERRORS_MAX);
    judge_fields(value, complaints, expected, validation)
}

/// Any JSON, with an eye on keys that come twice.
struct Seen<'a> {
    path: String,
    duplicates: &'a RefCell<Vec<String>>,
}

impl Seen<'_> {
    fn below(&self, path: String) -> Seen<'_> {
        Seen {
            path,
            duplicates: self.duplicates,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seen<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seen<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.below(format!("{}[{}]", self.path, list.len())))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = join(&self.path, &key);
            if map.contains_key(&key) && self.duplicates.borrow().len() < STRICT_ERRORS_MAX {
                self.duplicates.borrow_mut().push(format!("duplicate field {path:?}"));
            }
            let value = entries.next_value_seed(self.below(path))?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
