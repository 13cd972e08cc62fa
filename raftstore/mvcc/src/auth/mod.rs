//! Users, roles and permissions, as etcd has them.
//!
//! # Theory
//!
//! A user has roles, a role has permissions to read or write ranges of keys. While authentication is enabled, a request on
//! somebody's behalf ([`Identity`](proto::raft::Identity)) is judged by a [`Caller`]: at apply, where every member judges
//! alike, or against the very state that a read is answered from. So no change of users or roles can slip between judging
//! and doing. Who somebody *is* was decided before, outside: by a token or a certificate. That knowledge is as old as the
//! auth revision that comes with it; requests that have been overtaken by a change are refused, and clients ask again.
//!
//! What a user may do is kept merged ([`Ranges`]), so that a check costs two searches, however many roles there are.
//!
//! # Promises
//!
//! - A request without an identity is the member's own and may do everything; the door never sends one.
//! - A refused change changes nothing. Every other one moves the auth revision, except for enabling.
//! - The role `root` may do everything; while authentication is enabled, the user `root` cannot lose it.
//!
//! # Left out
//!
//! Passwords and tokens: only their hashes and the secret that signs tokens are kept here.

mod caller;
mod change;
mod ranges;
mod refusal;
mod table;

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use proto::etcd::{
    authpb::{Permission, permission::Type},
    etcdserverpb::{
        AuthRoleGetRequest, AuthRoleGetResponse, AuthRoleListResponse, AuthUserGetRequest, AuthUserGetResponse,
        AuthUserListResponse,
    },
};

pub use caller::Caller;
pub use refusal::AuthRefusal;

pub(crate) use table::{WHOLE, load, role_key, user_key};

use crate::RangeEnd;
use ranges::Ranges;

/// The user and the role that may do everything.
pub const ROOT: &str = "root";

/// Everything about authentication.
#[derive(Clone, Debug)]
pub struct Auth {
    enabled: bool,
    /// Starts at 1, as etcd's.
    revision: u64,
    /// Empty unless enabled.
    secret: Bytes,
    users: OrdMap<String, Arc<User>>,
    roles: OrdMap<String, Arc<Role>>,
}

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// In bcrypt's form; empty without a password.
    pub password_hash: Bytes,
    /// Known by certificate only.
    pub no_password: bool,
    /// The auth revision at which the password was set.
    pub since: u64,
    /// Ascending.
    roles: Vec<String>,
    /// Exactly what the roles permit; follows every change of them.
    reads: Ranges,
    writes: Ranges,
}

/// A role.
#[derive(Clone, Debug, Default)]
pub(crate) struct Role {
    /// Ascending by key; no two of one range.
    permissions: Vec<Permission>,
}

/// What is to be done with keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Access {
    Read,
    Write,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            enabled: false,
            revision: 1,
            secret: Bytes::new(),
            users: OrdMap::new(),
            roles: OrdMap::new(),
        }
    }
}

impl Auth {
    /// Whether requests are judged.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// Moves with every change of users and roles.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What tokens are signed with; empty unless enabled.
    #[must_use]
    pub fn secret(&self) -> &Bytes {
        &self.secret
    }

    /// A user.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name).map(|user| &**user)
    }

    /// All users in etcd's form, by name.
    pub fn users(&self) -> impl Iterator<Item = proto::etcd::authpb::User> {
        self.users.iter().map(|(name, user)| user.to_wire(name))
    }

    /// All roles in etcd's form, by name.
    pub fn roles(&self) -> impl Iterator<Item = proto::etcd::authpb::Role> {
        self.roles.iter().map(|(name, role)| role.to_wire(name))
    }

    /// Answers a request for a user, whoever asks.
    pub fn user_get(&self, request: &AuthUserGetRequest) -> Result<AuthUserGetResponse, AuthRefusal> {
        let user = self.users.get(&request.name).ok_or(AuthRefusal::UserNotFound)?;
        Ok(AuthUserGetResponse {
            header: None,
            roles: user.roles.clone(),
        })
    }

    /// Answers a request for all users, whoever asks.
    #[must_use]
    pub fn user_list(&self) -> AuthUserListResponse {
        AuthUserListResponse {
            header: None,
            users: self.users.keys().cloned().collect(),
        }
    }

    /// Answers a request for a role, whoever asks.
    pub fn role_get(&self, request: &AuthRoleGetRequest) -> Result<AuthRoleGetResponse, AuthRefusal> {
        let role = self.roles.get(&request.role).ok_or(AuthRefusal::RoleNotFound)?;
        let perm = if request.role == ROOT {
            vec![everything()]
        } else {
            role.permissions.clone()
        };
        Ok(AuthRoleGetResponse { header: None, perm })
    }

    /// Answers a request for all roles, whoever asks.
    #[must_use]
    pub fn role_list(&self) -> AuthRoleListResponse {
        AuthRoleListResponse {
            header: None,
            roles: self.roles.keys().cloned().collect(),
        }
    }

    /// Merges again what the roles of a user permit.
    fn merge(&self, user: &mut User) {
        let of = |wanted: Type| {
            let roles = user.roles.iter().filter_map(|name| self.roles.get(name));
            let permissions = roles.flat_map(|role| &role.permissions);
            // An unknown type permits nothing.
            Ranges::of(permissions.filter(|permission| {
                Type::try_from(permission.perm_type).is_ok_and(|given| given == Type::Readwrite || given == wanted)
            }))
        };
        let (reads, writes) = (of(Type::Read), of(Type::Write));
        (user.reads, user.writes) = (reads, writes);
    }
}

impl User {
    fn is_root(&self) -> bool {
        self.has_role(ROOT)
    }

    fn has_role(&self, role: &str) -> bool {
        self.roles.binary_search_by(|name| name.as_str().cmp(role)).is_ok()
    }

    fn may(&self, access: Access, start: &[u8], end: RangeEnd<'_>) -> bool {
        let ranges = match access {
            Access::Read => &self.reads,
            Access::Write => &self.writes,
        };
        self.is_root() || ranges.cover(start, end)
    }
}

/// What the role `root` shows.
fn everything() -> Permission {
    Permission {
        perm_type: Type::Readwrite.into(),
        key: Bytes::new(),
        range_end: Bytes::from_static(b"\0"),
    }
}
