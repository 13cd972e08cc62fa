//! The Cluster service. Members join and leave through proreus' own commands, which also copy their data and certificates.

use std::sync::Arc;

use proto::etcd::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest, MemberUpdateResponse,
};
use tonic::{Request, Response, Status};

use crate::{
    door::Door,
    error::{status, unimplemented},
    services::etcdserverpb::cluster_server::Cluster,
};

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

fn membership_change(what: &str) -> Status {
    unimplemented(what, "use the proreus command to add or remove masters")
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_list(&self, request: Request<MemberListRequest>) -> Answer<MemberListResponse> {
        if request.into_inner().linearizable {
            self.0.store.barrier().await.map_err(status)?;
        }
        Ok(Response::new(MemberListResponse {
            header: self.0.header_now(),
            members: self.members(),
        }))
    }

    async fn member_add(&self, _request: Request<MemberAddRequest>) -> Answer<MemberAddResponse> {
        Err(membership_change("MemberAdd"))
    }

    async fn member_remove(&self, _request: Request<MemberRemoveRequest>) -> Answer<MemberRemoveResponse> {
        Err(membership_change("MemberRemove"))
    }

    async fn member_update(&self, _request: Request<MemberUpdateRequest>) -> Answer<MemberUpdateResponse> {
        Err(membership_change("MemberUpdate"))
    }

    async fn member_promote(&self, _request: Request<MemberPromoteRequest>) -> Answer<MemberPromoteResponse> {
        Err(membership_change("MemberPromote"))
    }
}
