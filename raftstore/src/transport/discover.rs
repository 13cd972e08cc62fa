//! Asking whoever listens at an address which cluster it is of: what a member does that is to join one it knows nothing of
//! but addresses.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use proto::raft as wire;
use rustls::ClientConfig;
use tonic::{Request, Response, Status};

use super::Inbound;
use super::connect::channel;
use super::generated::discovery_client::DiscoveryClient;
use super::generated::discovery_server::{Discovery, DiscoveryServer};
use crate::limits::REQUEST_TIMEOUT;
use crate::status::Member;

/// The asked member waits for a leader, so this is longer than a request may take.
const DESCRIBE_TIMEOUT: Duration = REQUEST_TIMEOUT.saturating_add(Duration::from_secs(3));

/// A cluster, as one of its members describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its id.
    pub cluster: u64,
    /// Its members; none if it was not founded yet.
    pub members: Vec<Member>,
    /// Whether it was so at some moment after the question. Otherwise it is what the asked member has heard of.
    pub confirmed: bool,
}

/// Asks the member that listens for peers at `url` to describe its cluster. The error says why it did not.
pub async fn describe(url: &str, tls: Option<Arc<ClientConfig>>) -> Result<Description, String> {
    let mut client = DiscoveryClient::new(channel(url, tls)?);
    let answer = tokio::time::timeout(DESCRIBE_TIMEOUT, client.describe(wire::DescribeRequest {})).await;
    let answer = answer.map_err(|_| format!("no answer within {DESCRIBE_TIMEOUT:?}"))?;
    let wire::Description {
        cluster,
        members,
        confirmed,
    } = answer.map_err(|status| reason(&status))?.into_inner();
    let member = |member: wire::DescribedMember| Member {
        id: member.id,
        name: member.name,
        peer_urls: member.peer_urls,
        client_urls: member.client_urls,
        learner: member.learner,
    };
    Ok(Description {
        cluster,
        members: members.into_iter().map(member).collect(),
        confirmed,
    })
}

/// What lies behind a failed call: the outermost text is only `transport error`.
fn reason(status: &Status) -> String {
    let mut innermost: Option<&dyn std::error::Error> = status.source();
    while let Some(next) = innermost.and_then(|error| error.source()) {
        innermost = Some(next);
    }
    innermost.map_or_else(|| status.message().to_owned(), ToString::to_string)
}

/// Answers [`describe`].
pub struct Describer {
    inbound: Arc<dyn Inbound>,
}

impl Describer {
    /// The service of a member.
    pub fn service(inbound: Arc<dyn Inbound>) -> DiscoveryServer<Self> {
        DiscoveryServer::new(Self { inbound })
    }
}

#[tonic::async_trait]
impl Discovery for Describer {
    async fn describe(&self, _: Request<wire::DescribeRequest>) -> Result<Response<wire::Description>, Status> {
        Ok(Response::new(self.inbound.describe().await))
    }
}
