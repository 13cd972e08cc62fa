//! The stored form: canonical JSON without `metadata.resourceVersion`, and how the version gets back in without re-encoding.
//!
//! An object is written as `{"kind":..,"apiVersion":..,"metadata":{..},` and then its other fields in sorted order. Because kind and
//! apiVersion cannot contain a quote unescaped, the first `"metadata":{` of the bytes is the object's own, and the version is spliced
//! in right behind it. Equal objects have equal bytes, so "did anything change" is a comparison of bytes.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value};

/// What stands before the place where the version is spliced in.
const METADATA: &[u8] = b"\"metadata\":{";

/// Fields of metadata that are never stored: the version is the store's, the link is long gone upstream.
const NOT_STORED: [&str; 2] = ["resourceVersion", "selfLink"];

/// The stored form of an object. `None` when it is not an object with `metadata`.
pub fn canonical(object: &Value) -> Option<Bytes> {
    let map = object.as_object()?;
    let metadata = map.get("metadata")?.as_object()?;
    let mut out = BytesMut::with_capacity(1024).writer();
    out.get_mut().put_slice(b"{");
    for key in ["kind", "apiVersion"] {
        if let Some(value) = map.get(key) {
            field(&mut out, key, value)?;
            out.get_mut().put_slice(b",");
        }
    }
    out.get_mut().put_slice(METADATA);
    fields(&mut out, metadata, &NOT_STORED)?;
    out.get_mut().put_slice(b"}");
    let rest = ["kind", "apiVersion", "metadata"];
    if map.keys().any(|key| !rest.contains(&key.as_str())) {
        out.get_mut().put_slice(b",");
        fields(&mut out, map, &rest)?;
    }
    out.get_mut().put_slice(b"}");
    Some(out.into_inner().freeze())
}

fn fields(out: &mut bytes::buf::Writer<BytesMut>, map: &Map<String, Value>, skip: &[&str]) -> Option<()> {
    let mut first = true;
    for (key, value) in map.iter().filter(|(key, _)| !skip.contains(&key.as_str())) {
        if !first {
            out.get_mut().put_slice(b",");
        }
        first = false;
        field(out, key, value)?;
    }
    Some(())
}

fn field(out: &mut bytes::buf::Writer<BytesMut>, key: &str, value: &Value) -> Option<()> {
    serde_json::to_writer(&mut *out, key).ok()?;
    out.get_mut().put_slice(b":");
    serde_json::to_writer(&mut *out, value).ok()
}

/// Where the version goes in stored bytes; `None` when they are not in the stored form.
pub fn splice_point(stored: &[u8]) -> Option<usize> {
    // kind and apiVersion are short; whatever has its metadata further in was not written here.
    const SEARCH_BYTES_MAX: usize = 1024;
    let head = &stored[..stored.len().min(SEARCH_BYTES_MAX)];
    let at = head.windows(METADATA.len()).position(|window| window == METADATA)?;
    let before = head.get(..at)?;
    let canonical = before == b"{" || before.starts_with(b"{\"kind\":\"") || before.starts_with(b"{\"apiVersion\":\"");
    canonical.then_some(at + METADATA.len())
}

/// Appends stored bytes with the version spliced in at `point`.
pub fn splice(out: &mut BytesMut, stored: &[u8], point: usize, revision: i64) {
    const KEY: &[u8] = b"\"resourceVersion\":\"";
    let mut digits = [0u8; 20];
    let version = decimal(revision, &mut digits);
    out.reserve(spliced_len(stored.len()));
    out.put_slice(&stored[..point]);
    out.put_slice(KEY);
    out.put_slice(version);
    out.put_slice(if stored.get(point) == Some(&b'}') {
        b"\""
    } else {
        b"\","
    });
    out.put_slice(&stored[point..]);
}

/// An upper bound of what [`splice`] appends.
pub fn spliced_len(stored: usize) -> usize {
    stored + 19 + 20 + 2
}

/// A non-negative revision in decimal, without an allocation.
fn decimal(revision: i64, digits: &mut [u8; 20]) -> &[u8] {
    let mut rest = revision.max(0) as u64;
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stored_object_comes_back_with_its_version() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"metadata": "{\"metadata\":{"},
            "metadata": {"name": "a", "resourceVersion": "7", "selfLink": "/x"}});
        let stored = canonical(&object).unwrap();
        assert_eq!(
            std::str::from_utf8(&stored).unwrap(),
            r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"metadata":"{\"metadata\":{"}}"#
        );
        let mut out = BytesMut::new();
        splice(&mut out, &stored, splice_point(&stored).unwrap(), 1234567890123);
        let read: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            read["metadata"],
            json!({"name": "a", "resourceVersion": "1234567890123"})
        );
        assert_eq!(read["data"], object["data"]);
    }

    #[test]
    fn empty_metadata_stays_valid_json() {
        let stored = canonical(&json!({"metadata": {}})).unwrap();
        let mut out = BytesMut::new();
        splice(&mut out, &stored, splice_point(&stored).unwrap(), 0);
        assert_eq!(&out[..], br#"{"metadata":{"resourceVersion":"0"}}"#);
    }

    #[test]
    fn foreign_bytes_have_no_splice_point() {
        assert_eq!(splice_point(b"hello"), None);
        assert_eq!(splice_point(br#"{"data":{"metadata":{}},"metadata":{}}"#), None);
    }
}
