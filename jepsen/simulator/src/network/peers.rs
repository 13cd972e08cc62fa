//! A member's way to its peers: openraft's network traits, and questions.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::RaftNetworkFactory;
use proto::raft as wire;
use raftstore::consensus::{Peer, Types};
use raftstore::limits::ASK_TIMEOUT;
use raftstore::transport::{AskError, Peers};

use super::link::Link;
use super::{Broken, Network};
use crate::runtime::{Simulated, timeout};

/// How one member calls its peers.
#[derive(Clone)]
pub struct SimulatedPeers {
    network: Arc<Network>,
    member: u64,
}

impl SimulatedPeers {
    /// The peers of a member.
    pub fn new(network: Arc<Network>, member: u64) -> Self {
        Self { network, member }
    }
}

impl Peers<Simulated> for SimulatedPeers {
    fn refuses(&self, to: u64, _: &Peer) -> BoxFuture<'static, bool> {
        let Self { network, member: from } = self.clone();
        async move { network.refuses(from, to).await }.boxed()
    }

    fn ask(&self, to: u64, _: &Peer, question: wire::Question) -> BoxFuture<'static, Result<wire::Reply, AskError>> {
        let Self { network, member: from } = self.clone();
        let error = move |broken| {
            let reason = format!("{broken:?}");
            match broken {
                Broken::NotSent => AskError::NotSent { member: to, reason },
                Broken::Unanswered => AskError::Unanswered { member: to, reason },
            }
        };
        async move {
            let asked = network.call(from, to, |inbound| async move { inbound.ask(question).await }.boxed());
            match timeout(ASK_TIMEOUT, asked).await {
                Ok(answered) => answered.map_err(error),
                Err(_) => Err(error(Broken::Unanswered)),
            }
        }
        .boxed()
    }
}

impl RaftNetworkFactory<Types<Simulated>> for SimulatedPeers {
    type Network = Link;

    async fn new_client(&mut self, to: u64, _: &Peer) -> Link {
        Link::new(self.network.clone(), self.member, to)
    }
}

/// The pauses of the real transport after a stream failed.
pub const BACKOFF: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
];
