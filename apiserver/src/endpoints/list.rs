//! list. The body is made of stored bytes, in chunks, while it is being sent.

use super::negotiate::{Encoding, JSON, Output, PROTOBUF, Shape};
use super::transform::{self, IncludeObject, has_protobuf};
use super::{Answer, Call, negotiate, options, respond, selection};
use crate::filters::compress::ExpectedBytes;
use crate::registry::Served;
use crate::status::from_storage;
use crate::{ApiError, Body, limits};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use storage::{Item, ListQuery, Page};

pub(super) async fn list(call: Call<'_>, headers: &HeaderMap) -> Answer {
    let output = negotiate::output(headers, has_protobuf(&call.served))?;
    let include = IncludeObject::parse(&call.query)?;
    let page = page(&call).await?;
    match output {
        Output {
            encoding: Encoding::Protobuf,
            ..
        } => protobuf(&call.served, page),
        Output { shape, .. } => Ok(stream(call.served.clone(), page, shape, include)),
    }
}

/// The objects that a list (or a deletecollection) is about.
pub(super) async fn page(call: &Call<'_>) -> Result<Page, ApiError> {
    let selection = selection::parse(&call.served, call.namespace, &call.query)?;
    let query = ListQuery {
        namespace: selection.namespace,
        name: selection.name,
        matcher: selection.matcher,
        limit: usize::try_from(call.query.number("limit")?.unwrap_or(0)).unwrap_or(0),
        continuation: Some(call.query.text("continue"))
            .filter(|token| !token.is_empty())
            .map(str::to_string),
        freshness: Some(options::of_list(&call.query)?),
    };
    let storage = call.server.registry.reader().storage();
    let page = storage.list(&call.served.collection, &query).await;
    page.map_err(|error| from_storage(error, &call.served.name, ""))
}

fn metadata(page: &Page) -> Value {
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let Some(token) = &page.continuation {
        metadata["continue"] = token.as_str().into();
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    metadata
}

/// Protobuf needs the whole list as an object; JSON does not.
fn protobuf(served: &Served, page: Page) -> Answer {
    let items: Result<Vec<Value>, _> = page
        .items
        .iter()
        .map(|item| item.value().map(|object| served.to_shown(object)))
        .collect();
    let list = json!({
        "kind": served.info.list_kind, "apiVersion": served.info.api_version(), "metadata": metadata(&page),
        "items": items.map_err(ApiError::internal)?,
    });
    Ok(respond::bytes(200, PROTOBUF, transform::protobuf(&list)?))
}

fn stream(served: Arc<Served>, page: Page, shape: Shape, include: IncludeObject) -> Response<Body> {
    let expected: usize = page.items.iter().map(Item::json_len).sum();
    let writer = Writer::new(served, page, shape, include);
    let mut response = if expected <= limits::LIST_CHUNK_BYTES {
        // Small enough for one buffer, which spares the chunked encoding.
        let mut writer = writer;
        match writer.all() {
            Ok(bytes) => respond::bytes(200, JSON, bytes),
            Err(error) => error.response(),
        }
    } else {
        let chunks = futures::stream::unfold(writer, |mut writer| async move {
            let chunk = writer.chunk().transpose()?;
            Some((chunk, writer))
        });
        respond::bytes(200, JSON, Body::from_stream(chunks))
    };
    response.extensions_mut().insert(ExpectedBytes(expected));
    response
}

/// Writes the list piece by piece.
struct Writer {
    served: Arc<Served>,
    shape: Shape,
    include: IncludeObject,
    now: Timestamp,
    items: std::vec::IntoIter<Item>,
    /// Taken by the first chunk.
    head: Option<String>,
    first: bool,
    ended: bool,
}

impl Writer {
    fn new(served: Arc<Served>, page: Page, shape: Shape, include: IncludeObject) -> Writer {
        let metadata = metadata(&page);
        let (kind, version) = (&served.info.list_kind, served.info.api_version());
        let head = match shape {
            Shape::Object => format!(r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":{metadata},"items":["#),
            Shape::Partial => format!(
                r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{metadata},"items":["#
            ),
            Shape::Table => transform::table_head(&served, &metadata),
        };
        Writer {
            served,
            shape,
            include,
            now: Timestamp::now(),
            items: page.items.into_iter(),
            head: Some(head),
            first: true,
            ended: false,
        }
    }

    fn all(&mut self) -> Result<Bytes, ApiError> {
        let mut out = BytesMut::new();
        while let Some(chunk) = self.chunk()? {
            if self.ended && out.is_empty() {
                return Ok(chunk);
            }
            out.put_slice(&chunk);
        }
        Ok(out.freeze())
    }

    /// The next piece, or `None` behind the last.
    fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        if self.ended {
            return Ok(None);
        }
        let mut out = BytesMut::with_capacity(limits::LIST_CHUNK_BYTES / 4);
        if let Some(head) = self.head.take() {
            out.put_slice(head.as_bytes());
        }
        while out.len() < limits::LIST_CHUNK_BYTES {
            let Some(item) = self.items.next() else {
                // All three forms end alike.
                out.put_slice(transform::TABLE_TAIL.as_bytes());
                self.ended = true;
                break;
            };
            self.write(&mut out, &item)?;
            self.first = false;
        }
        Ok(Some(out.freeze()))
    }

    fn write(&self, out: &mut BytesMut, item: &Item) -> Result<(), ApiError> {
        if self.shape == Shape::Object && self.served.conversion.is_none() {
            transform::write_item(out, item, self.first);
            return Ok(());
        }
        if !self.first {
            out.put_slice(b",");
        }
        match self.shape {
            Shape::Object => {
                out.put_slice(&self.served.show(item.json())?);
                Ok(())
            }
            Shape::Table => {
                let json = self.served.show_row(item.json())?;
                transform::write_row(out, &self.served, &json, self.include, self.now)
            }
            Shape::Partial => transform::write_partial(out, &item.json()),
        }
    }
}
