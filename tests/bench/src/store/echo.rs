//! A server that does nothing: it answers every put, and every range with one key of 256 B. What clients get of it is the
//! most that they could get of any database behind the same gRPC library, on the same processor.

use std::net::SocketAddr;

use anyhow::Context;
use proto::etcd::etcdserverpb::{
    PutRequest, PutResponse, RangeRequest, RangeResponse, ResponseHeader, StatusRequest, StatusResponse, TxnRequest,
    TxnResponse,
};
use proto::etcd::mvccpb::KeyValue;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::services::echo::{
    k_v_server::{KV, KVServer},
    maintenance_server::{Maintenance, MaintenanceServer},
};

type Answer<T> = Result<Response<T>, Status>;

struct Echo;

const MEMBER: u64 = 1;

fn header() -> Option<ResponseHeader> {
    Some(ResponseHeader {
        member_id: MEMBER,
        cluster_id: 1,
        revision: 1,
        raft_term: 1,
    })
}

#[tonic::async_trait]
impl KV for Echo {
    async fn range(&self, request: Request<RangeRequest>) -> Answer<RangeResponse> {
        let found = KeyValue {
            key: request.into_inner().key,
            value: vec![b'v'; 256].into(),
            create_revision: 1,
            mod_revision: 1,
            version: 1,
            lease: 0,
        };
        Ok(Response::new(RangeResponse {
            header: header(),
            kvs: vec![found],
            count: 1,
            ..Default::default()
        }))
    }

    async fn put(&self, _: Request<PutRequest>) -> Answer<PutResponse> {
        Ok(Response::new(PutResponse {
            header: header(),
            ..Default::default()
        }))
    }

    /// So that it can be filled.
    async fn txn(&self, _: Request<TxnRequest>) -> Answer<TxnResponse> {
        Ok(Response::new(TxnResponse {
            header: header(),
            succeeded: true,
            responses: Vec::new(),
        }))
    }
}

#[tonic::async_trait]
impl Maintenance for Echo {
    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusResponse> {
        Ok(Response::new(StatusResponse {
            header: header(),
            leader: MEMBER,
            ..Default::default()
        }))
    }
}

/// Serves where etcd's flags say that clients are served.
pub async fn serve(flags: &[String]) -> anyhow::Result<()> {
    let url = flags
        .iter()
        .find_map(|flag| flag.strip_prefix("--listen-client-urls=http://"));
    let address: SocketAddr = url.context("--listen-client-urls is missing")?.parse()?;
    let server = Server::builder()
        .add_service(KVServer::new(Echo))
        .add_service(MaintenanceServer::new(Echo));
    Ok(server.serve(address).await?)
}
