//! Users, roles and permissions.

use std::sync::Arc;

use mvcc::{AuthRefusal, Response};
use proto::etcd::etcdserverpb::{
    AuthRoleGetRequest, AuthRoleGetResponse, AuthRoleListResponse, AuthStatusResponse, AuthUserGetRequest,
    AuthUserGetResponse, AuthUserListResponse,
};
use proto::raft::auth_change::Change;
use proto::raft::request::Op;
use proto::raft::{AuthChange, Identity};

use super::Store;
use crate::error::Error;

impl Store {
    /// Changes users, roles or authentication itself; the store's revision, which does not move.
    pub async fn change_auth(&self, change: Change) -> Result<i64, Error> {
        match self.propose(Op::Auth(AuthChange { change: Some(change) })).await? {
            Response::Auth(changed) => Ok(changed.revision),
            _ => Err(Error::fault(
                "a change of users or roles was answered with something else",
            )),
        }
    }

    /// Whether authentication is enabled, and the revision of users and roles. Everybody may ask.
    pub async fn auth_status(&self) -> Result<AuthStatusResponse, Error> {
        let view = self.linearizable_view().await?;
        Ok(AuthStatusResponse {
            header: self.header(),
            enabled: view.auth().enabled(),
            auth_revision: view.auth().revision(),
        })
    }

    /// A user's roles.
    pub async fn user(&self, request: AuthUserGetRequest) -> Result<AuthUserGetResponse, Error> {
        let view = self.linearizable_view().await?;
        self.judge(&view, |caller| caller.see_user(&request.name))?;
        let response = view.auth().user_get(&request).map_err(refused)?;
        Ok(AuthUserGetResponse {
            header: self.header(),
            ..response
        })
    }

    /// The names of all users.
    pub async fn users(&self) -> Result<AuthUserListResponse, Error> {
        let view = self.linearizable_view().await?;
        self.judge(&view, |caller| caller.root())?;
        Ok(AuthUserListResponse {
            header: self.header(),
            ..view.auth().user_list()
        })
    }

    /// A role's permissions.
    pub async fn role(&self, request: AuthRoleGetRequest) -> Result<AuthRoleGetResponse, Error> {
        let view = self.linearizable_view().await?;
        self.judge(&view, |caller| caller.see_role(&request.role))?;
        let response = view.auth().role_get(&request).map_err(refused)?;
        Ok(AuthRoleGetResponse {
            header: self.header(),
            ..response
        })
    }

    /// The names of all roles.
    pub async fn roles(&self) -> Result<AuthRoleListResponse, Error> {
        let view = self.linearizable_view().await?;
        self.judge(&view, |caller| caller.root())?;
        Ok(AuthRoleListResponse {
            header: self.header(),
            ..view.auth().role_list()
        })
    }

    /// On whose behalf this handle asks; `None` is the member itself.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// Refuses who did not say who he is, while authentication is enabled.
    pub fn require_somebody(&self) -> Result<(), Error> {
        self.judge(&self.engine.view(), |caller| caller.somebody())
    }

    /// Refuses who lacks the role `root`, while authentication is enabled.
    pub fn require_root(&self) -> Result<(), Error> {
        self.judge(&self.engine.view(), |caller| caller.root())
    }
}

fn refused(refusal: AuthRefusal) -> Error {
    Error::Refused(refusal.into())
}
