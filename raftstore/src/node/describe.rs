//! Telling which cluster this is to who knows only an address.

use mvcc::Backend;
use openraft::AsyncRuntime;
use proto::raft as wire;

use super::Core;
use crate::log::Disk;
use crate::transport::Peers;

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    /// The cluster as of now, if there is a leader to confirm it; else as this member has heard of it.
    pub(super) async fn describe(&self) -> wire::Description {
        let confirmed = self.barrier().await.is_ok();
        let applied = self.shared.members.borrow().clone();
        let membership = applied.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let member = |(id, peer): (&u64, &crate::consensus::Peer)| wire::DescribedMember {
            id: *id,
            name: peer.name.clone(),
            peer_urls: peer.peer_urls.clone(),
            client_urls: peer.client_urls.clone(),
            learner: !voters.contains(id),
        };
        wire::Description {
            cluster: self.options.cluster_id(),
            members: membership.nodes().map(member).collect(),
            confirmed,
        }
    }
}
