//! The Auth service: users, roles and their permissions, and tokens for passwords.
//!
//! Passwords are hashed on the member that gets the request, beside everything else and only so many at a time: that takes
//! long on purpose.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use proto::{
    etcd::etcdserverpb as pb,
    raft::{AuthEnable, UserAdd, UserChangePassword, auth_change::Change},
};
use ring::rand::{SecureRandom, SystemRandom};
use tonic::{Request, Response, Status};

use crate::{
    Refusal, client::Client, door::Door, error::status, limits, services::etcdserverpb::auth_server::Auth, token::Now,
};

pub(crate) struct AuthService(pub Arc<Door>);

type Answer<T> = Result<Response<T>, Status>;

impl AuthService {
    /// Has a change made; the header that goes with it.
    async fn change<T>(&self, request: &Request<T>, change: Change) -> Result<Option<pb::ResponseHeader>, Status> {
        let store = Client::of(&self.0, request).store()?;
        let revision = store.change_auth(change).await.map_err(status)?;
        Ok(self.0.header(revision))
    }

    /// Runs a computation that takes long, when its turn comes.
    async fn hashing<T: Send + 'static>(
        &self,
        compute: impl FnOnce() -> Result<T, bcrypt::BcryptError> + Send + 'static,
    ) -> Result<T, Status> {
        let turn = self.0.hashing.acquire().await;
        let computed = tokio::task::spawn_blocking(compute).await;
        drop(turn);
        let failed = |error: &dyn std::fmt::Display| Status::unknown(format!("the password cannot be used: {error}"));
        computed
            .map_err(|error| failed(&error))?
            .map_err(|error| failed(&error))
    }

    async fn hash(&self, password: String) -> Result<Bytes, Status> {
        let cost = self.0.config.bcrypt_cost;
        let hash = self
            .hashing(move || bcrypt::non_truncating_hash(password, cost))
            .await?;
        Ok(hash.into())
    }

    /// Whether the password is right. Without a hash something is computed all the same: how long it takes must not tell
    /// who exists.
    async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Status> {
        let cost = self.0.config.bcrypt_cost;
        let compute = move || match hash {
            Some(hash) => bcrypt::non_truncating_verify(password, &hash),
            None => bcrypt::non_truncating_hash(password, cost).map(|_| false),
        };
        self.hashing(compute).await
    }

    async fn token(&self, name: &str, password: String) -> Result<String, Status> {
        let failed = || Status::from(Refusal::AuthFailed);
        let view = self.0.store.linearizable_view().await.map_err(status)?;
        if !view.auth().enabled() {
            return Err(Refusal::AuthNotEnabled.into());
        }
        let hash = view.auth().user(name).filter(|user| !user.no_password);
        let hash = hash.and_then(|user| String::from_utf8(user.password_hash.to_vec()).ok());
        // A password that is too long, or a hash that is none, is not right.
        if !self.verify(password, hash).await.unwrap_or(false) {
            tracing::warn!(user = name, "a client gave a wrong name or password");
            return Err(failed());
        }
        // The token is for the password that was just verified: one that was set meanwhile voids it.
        self.0.tokens.issue(view.auth(), name, Now::read()).ok_or_else(failed)
    }
}

macro_rules! service {
    ($($method:ident($request:ident -> $change:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl Auth for AuthService {
            async fn auth_enable(&self, request: Request<pb::AuthEnableRequest>) -> Answer<pb::AuthEnableResponse> {
                let mut secret = vec![0; limits::TOKEN_SECRET_BYTES];
                SystemRandom::new()
                    .fill(&mut secret)
                    .map_err(|_| Status::internal("the system has no random numbers"))?;
                let change = Change::Enable(AuthEnable { secret: secret.into() });
                let header = self.change(&request, change).await?;
                Ok(Response::new(pb::AuthEnableResponse { header }))
            }

            async fn auth_disable(&self, request: Request<pb::AuthDisableRequest>) -> Answer<pb::AuthDisableResponse> {
                let header = self.change(&request, Change::Disable(*request.get_ref())).await?;
                Ok(Response::new(pb::AuthDisableResponse { header }))
            }

            async fn auth_status(&self, _request: Request<pb::AuthStatusRequest>) -> Answer<pb::AuthStatusResponse> {
                let mut response = self.0.store.auth_status().await.map_err(status)?;
                self.0.stamp(&mut response.header);
                Ok(Response::new(response))
            }

            async fn authenticate(&self, request: Request<pb::AuthenticateRequest>) -> Answer<pb::AuthenticateResponse> {
                let pb::AuthenticateRequest { name, password } = request.into_inner();
                let token = self.token(&name, password).await?;
                let header = self.0.header_now();
                Ok(Response::new(pb::AuthenticateResponse { header, token }))
            }

            async fn user_add(&self, request: Request<pb::AuthUserAddRequest>) -> Answer<pb::AuthUserAddResponse> {
                // Before anything is computed for it.
                Client::of(&self.0, &request).roots_store()?;
                let asked = request.get_ref();
                let no_password = asked.options.is_some_and(|options| options.no_password);
                let password_hash = if no_password {
                    Bytes::new()
                } else {
                    self.hash(asked.password.clone()).await?
                };
                let change = Change::UserAdd(UserAdd {
                    name: asked.name.clone(),
                    password_hash,
                    no_password,
                });
                let header = self.change(&request, change).await?;
                Ok(Response::new(pb::AuthUserAddResponse { header }))
            }

            async fn user_get(&self, request: Request<pb::AuthUserGetRequest>) -> Answer<pb::AuthUserGetResponse> {
                let store = Client::of(&self.0, &request).store()?;
                let mut response = store.user(request.into_inner()).await.map_err(status)?;
                self.0.stamp(&mut response.header);
                Ok(Response::new(response))
            }

            async fn user_list(&self, request: Request<pb::AuthUserListRequest>) -> Answer<pb::AuthUserListResponse> {
                let store = Client::of(&self.0, &request).store()?;
                let mut response = store.users().await.map_err(status)?;
                self.0.stamp(&mut response.header);
                Ok(Response::new(response))
            }

            async fn user_change_password(
                &self,
                request: Request<pb::AuthUserChangePasswordRequest>,
            ) -> Answer<pb::AuthUserChangePasswordResponse> {
                Client::of(&self.0, &request).roots_store()?;
                let asked = request.get_ref();
                let password_hash = if asked.password.is_empty() && !asked.hashed_password.is_empty() {
                    let decoded = STANDARD.decode(&asked.hashed_password);
                    decoded.map_err(|_| Status::from(Refusal::AuthFailed))?.into()
                } else {
                    self.hash(asked.password.clone()).await?
                };
                let change = Change::UserChangePassword(UserChangePassword {
                    name: asked.name.clone(),
                    password_hash,
                });
                let header = self.change(&request, change).await?;
                Ok(Response::new(pb::AuthUserChangePasswordResponse { header }))
            }

            async fn role_get(&self, request: Request<pb::AuthRoleGetRequest>) -> Answer<pb::AuthRoleGetResponse> {
                let store = Client::of(&self.0, &request).store()?;
                let mut response = store.role(request.into_inner()).await.map_err(status)?;
                self.0.stamp(&mut response.header);
                Ok(Response::new(response))
            }

            async fn role_list(&self, request: Request<pb::AuthRoleListRequest>) -> Answer<pb::AuthRoleListResponse> {
                let store = Client::of(&self.0, &request).store()?;
                let mut response = store.roles().await.map_err(status)?;
                self.0.stamp(&mut response.header);
                Ok(Response::new(response))
            }

            $(
                async fn $method(&self, request: Request<pb::$request>) -> Answer<pb::$response> {
                    let header = self.change(&request, Change::$change(request.get_ref().clone())).await?;
                    Ok(Response::new(pb::$response { header }))
                }
            )*
        }
    };
}

service! {
    user_delete(AuthUserDeleteRequest -> UserDelete) -> AuthUserDeleteResponse;
    user_grant_role(AuthUserGrantRoleRequest -> UserGrantRole) -> AuthUserGrantRoleResponse;
    user_revoke_role(AuthUserRevokeRoleRequest -> UserRevokeRole) -> AuthUserRevokeRoleResponse;
    role_add(AuthRoleAddRequest -> RoleAdd) -> AuthRoleAddResponse;
    role_delete(AuthRoleDeleteRequest -> RoleDelete) -> AuthRoleDeleteResponse;
    role_grant_permission(AuthRoleGrantPermissionRequest -> RoleGrantPermission) -> AuthRoleGrantPermissionResponse;
    role_revoke_permission(AuthRoleRevokePermissionRequest -> RoleRevokePermission) -> AuthRoleRevokePermissionResponse;
}
