//! The Auth service: says that authentication is off. Clients are told apart by their certificates before they get here.

use std::sync::Arc;

use proto::etcd::etcdserverpb as pb;
use tonic::{Request, Response, Status};

use crate::{Refusal, door::Door, error::unimplemented, services::etcdserverpb::auth_server::Auth};

pub(crate) struct AuthService(pub Arc<Door>);

type Answer<T> = Result<Response<T>, Status>;

macro_rules! no_users {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl Auth for AuthService {
            async fn auth_status(&self, _request: Request<pb::AuthStatusRequest>) -> Answer<pb::AuthStatusResponse> {
                let header = self.0.header_now();
                Ok(Response::new(pb::AuthStatusResponse { header, enabled: false, auth_revision: 0 }))
            }

            /// Clients with a user name read this as "go on without a token".
            async fn authenticate(
                &self,
                _request: Request<pb::AuthenticateRequest>,
            ) -> Answer<pb::AuthenticateResponse> {
                Err(Refusal::AuthNotEnabled.into())
            }

            /// It is disabled already.
            async fn auth_disable(&self, _request: Request<pb::AuthDisableRequest>) -> Answer<pb::AuthDisableResponse> {
                Ok(Response::new(pb::AuthDisableResponse { header: self.0.header_now() }))
            }

            $(
                async fn $method(&self, _request: Request<pb::$request>) -> Answer<pb::$response> {
                    Err(unimplemented("user and role management", "access is decided by client certificates"))
                }
            )*
        }
    };
}

no_users! {
    auth_enable(AuthEnableRequest) -> AuthEnableResponse;
    user_add(AuthUserAddRequest) -> AuthUserAddResponse;
    user_get(AuthUserGetRequest) -> AuthUserGetResponse;
    user_list(AuthUserListRequest) -> AuthUserListResponse;
    user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse;
    user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse;
    user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse;
    user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse;
    role_add(AuthRoleAddRequest) -> AuthRoleAddResponse;
    role_get(AuthRoleGetRequest) -> AuthRoleGetResponse;
    role_list(AuthRoleListRequest) -> AuthRoleListResponse;
    role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse;
    role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse;
    role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse;
}
