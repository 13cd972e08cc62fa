//! Why somebody is not let through, or a change of users and roles is refused.

use proto::raft::refusal::Reason;
use thiserror::Error;

macro_rules! refusals {
    ($($name:ident $reason:ident $text:literal)*) => {
        /// A refusal about users, roles or permissions.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
        #[allow(missing_docs)]
        pub enum AuthRefusal {
            $(#[error($text)] $name),*
        }

        impl AuthRefusal {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            pub(crate) fn reason(self) -> Reason {
                match self {
                    $(Self::$name => Reason::$reason),*
                }
            }

            pub(crate) fn from_reason(reason: Reason) -> Option<Self> {
                match reason {
                    $(Reason::$reason => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

refusals! {
    UserEmpty UserEmpty "user name is empty"
    UserExists UserExists "user name already exists"
    UserNotFound UserNotFound "user name not found"
    RoleEmpty RoleEmpty "role name is empty"
    RoleExists RoleExists "role name already exists"
    RoleNotFound RoleNotFound "role name not found"
    RootUserMissing RootUserMissing "root user does not exist"
    RootRoleMissing RootRoleMissing "root user does not have root role"
    PermissionNotGiven PermissionNotGiven "permission not given"
    PermissionDenied PermissionDenied "permission denied"
    RoleNotGranted RoleNotGranted "role is not granted to the user"
    PermissionNotGranted PermissionNotGranted "permission is not granted to the role"
    OldRevision OldAuthRevision "users or roles changed while the request was under way"
    BadChange BadAuthChange "invalid change of users or roles"
}
