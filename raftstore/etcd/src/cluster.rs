//! The Cluster service. A member that is added learns first, and gets its vote by itself unless it was added as a learner.

use std::sync::Arc;

use proto::etcd::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest, MemberUpdateResponse,
};
use tonic::{Request, Response, Status};

use crate::{client::Client, door::Door, error::status, services::etcdserverpb::cluster_server::Cluster};

pub(crate) struct ClusterService(pub Arc<Door>);

type Answer<T> = Result<Response<T>, Status>;

impl ClusterService {
    /// What the store knows of its members; of this one, what it was told to say where the store knows nothing.
    fn members(&self) -> Vec<Member> {
        let own = self.0.member_id();
        let members = self.0.store.members().into_iter().map(|member| Member {
            id: member.id,
            name: member.name,
            peer_ur_ls: member.peer_urls,
            client_ur_ls: member.client_urls,
            is_learner: member.learner,
        });
        members
            .map(|member| {
                if member.id == own {
                    self.completed(member)
                } else {
                    member
                }
            })
            .collect()
    }

    fn completed(&self, mut member: Member) -> Member {
        if member.name.is_empty() {
            member.name.clone_from(&self.0.config.name);
        }
        if member.client_ur_ls.is_empty() {
            member.client_ur_ls.clone_from(&self.0.config.advertised_client_urls);
        }
        member
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_list(&self, request: Request<MemberListRequest>) -> Answer<MemberListResponse> {
        Client::of(&self.0, &request).somebodys_store()?;
        // A member that has just been started knows of no members. etcd's does not answer anything until it does.
        if request.into_inner().linearizable || self.0.store.members().is_empty() {
            self.0.store.barrier().await.map_err(status)?;
        }
        Ok(Response::new(MemberListResponse {
            header: self.0.header_now(),
            members: self.members(),
        }))
    }

    async fn member_add(&self, request: Request<MemberAddRequest>) -> Answer<MemberAddResponse> {
        let store = Client::of(&self.0, &request).roots_store()?;
        let MemberAddRequest { peer_ur_ls, is_learner } = request.into_inner();
        let added = store.add_member(peer_ur_ls.clone(), is_learner);
        let id = added.await.map_err(status)?;
        Ok(Response::new(MemberAddResponse {
            header: self.0.header_now(),
            // Every new member learns first; this is what it is to become.
            member: Some(Member {
                id,
                peer_ur_ls,
                is_learner,
                ..Default::default()
            }),
            members: self.members(),
        }))
    }

    async fn member_remove(&self, request: Request<MemberRemoveRequest>) -> Answer<MemberRemoveResponse> {
        let store = Client::of(&self.0, &request).roots_store()?;
        let removed = store.remove_member(request.into_inner().id);
        removed.await.map_err(status)?;
        Ok(Response::new(MemberRemoveResponse {
            header: self.0.header_now(),
            members: self.members(),
        }))
    }

    async fn member_update(&self, request: Request<MemberUpdateRequest>) -> Answer<MemberUpdateResponse> {
        let store = Client::of(&self.0, &request).roots_store()?;
        let MemberUpdateRequest { id, peer_ur_ls } = request.into_inner();
        let updated = store.update_member(id, peer_ur_ls);
        updated.await.map_err(status)?;
        Ok(Response::new(MemberUpdateResponse {
            header: self.0.header_now(),
            members: self.members(),
        }))
    }

    async fn member_promote(&self, request: Request<MemberPromoteRequest>) -> Answer<MemberPromoteResponse> {
        let store = Client::of(&self.0, &request).roots_store()?;
        let promoted = store.promote_member(request.into_inner().id);
        promoted.await.map_err(status)?;
        Ok(Response::new(MemberPromoteResponse {
            header: self.0.header_now(),
            members: self.members(),
        }))
    }
}
