//! The KV service.

use std::sync::Arc;

use futures::{Stream, stream};
use mvcc::validate;
use prost::Message;
use proto::etcd::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RangeStreamResponse, TxnRequest, TxnResponse,
    range_request::{SortOrder, SortTarget},
};
use tonic::{Request, Response, Status};

use crate::{
    Refusal,
    client::Client,
    door::Door,
    error::{status, unimplemented},
    limits,
    services::etcdserverpb::kv_server::Kv,
};

pub(crate) struct KvService(pub Arc<Door>);

type Answer<T> = Result<Response<T>, Status>;

fn refused(error: mvcc::DeterministicError) -> Status {
    Refusal::from(error).into()
}

impl KvService {
    fn check_size(&self, request: &impl Message) -> Result<(), Status> {
        if request.encoded_len() > self.0.config.request_bytes_max {
            return Err(Refusal::RequestTooLarge.into());
        }
        Ok(())
    }

    async fn read(&self, request: Request<RangeRequest>) -> Result<RangeResponse, Status> {
        validate::range(request.get_ref()).map_err(refused)?;
        if !request.get_ref().serializable {
            self.0.require_voter()?;
        }
        let store = Client::of(&self.0, &request).store()?;
        let mut response = store.range(request.into_inner()).await.map_err(status)?;
        self.0.stamp(&mut response.header);
        Ok(response)
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn range(&self, request: Request<RangeRequest>) -> Answer<RangeResponse> {
        self.read(request).await.map(Response::new)
    }

    type RangeStreamStream = std::pin::Pin<Box<dyn Stream<Item = Result<RangeStreamResponse, Status>> + Send>>;

    async fn range_stream(&self, request: Request<RangeRequest>) -> Answer<Self::RangeStreamStream> {
        let asked = request.get_ref();
        let sorted = asked.sort_order() != SortOrder::None || asked.sort_target() != SortTarget::Key;
        let filtered = asked.min_mod_revision != 0
            || asked.max_mod_revision != 0
            || asked.min_create_revision != 0
            || asked.max_create_revision != 0;
        if sorted || filtered {
            return Err(unimplemented(
                "a streamed range with an order or revision filters",
                "use Range",
            ));
        }
        let response = self.read(request).await?;
        Ok(Response::new(Box::pin(stream::iter(
            chunks(response).into_iter().map(Ok),
        ))))
    }

    async fn put(&self, request: Request<PutRequest>) -> Answer<PutResponse> {
        validate::put(request.get_ref()).map_err(refused)?;
        self.check_size(request.get_ref())?;
        let store = Client::of(&self.0, &request).store()?;
        let mut response = store.put(request.into_inner()).await.map_err(status)?;
        self.0.stamp(&mut response.header);
        Ok(Response::new(response))
    }

    async fn delete_range(&self, request: Request<DeleteRangeRequest>) -> Answer<DeleteRangeResponse> {
        validate::delete_range(request.get_ref()).map_err(refused)?;
        self.check_size(request.get_ref())?;
        let store = Client::of(&self.0, &request).store()?;
        let mut response = store.delete_range(request.into_inner()).await.map_err(status)?;
        self.0.stamp(&mut response.header);
        Ok(Response::new(response))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Answer<TxnResponse> {
        validate::txn(request.get_ref(), self.0.config.txn_operations_max).map_err(refused)?;
        self.check_size(request.get_ref())?;
        let store = Client::of(&self.0, &request).store()?;
        let mut response = store.txn(request.into_inner()).await.map_err(status)?;
        self.0.stamp(&mut response.header);
        Ok(Response::new(response))
    }

    async fn compact(&self, request: Request<CompactionRequest>) -> Answer<CompactionResponse> {
        let store = Client::of(&self.0, &request).roots_store()?;
        let mut response = store.compact(request.into_inner()).await.map_err(status)?;
        self.0.stamp(&mut response.header);
        Ok(Response::new(response))
    }
}

/// Cuts a range into messages. Only the last says what is true of the whole: header, `more` and `count`.
fn chunks(mut response: RangeResponse) -> Vec<RangeStreamResponse> {
    let mut rest = std::mem::take(&mut response.kvs);
    let mut chunks = Vec::with_capacity(rest.len() / limits::RANGE_STREAM_KEYS + 1);
    while rest.len() > limits::RANGE_STREAM_KEYS {
        let later = rest.split_off(limits::RANGE_STREAM_KEYS);
        let kvs = std::mem::replace(&mut rest, later);
        chunks.push(RangeStreamResponse {
            range_response: Some(RangeResponse {
                kvs,
                ..Default::default()
            }),
        });
    }
    response.kvs = rest;
    chunks.push(RangeStreamResponse {
        range_response: Some(response),
    });
    chunks
}
