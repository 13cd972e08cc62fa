//! Authentication as rows: one for all of it, one for each user and each role.

use std::sync::Arc;

use proto::{
    etcd::authpb::{self, UserAddOptions},
    raft::auth_change::Change,
    state,
};

use super::{Auth, AuthRefusal, Role, User, ranges::Ranges};
use crate::{Direction, Family, Fault, Rows, Step, WriteBatch, encoding};

pub(crate) const WHOLE: &[u8] = b"auth";
const USER_PREFIX: &[u8] = b"user/";
const ROLE_PREFIX: &[u8] = b"role/";

pub(crate) fn user_key(name: &str) -> Vec<u8> {
    [USER_PREFIX, name.as_bytes()].concat()
}

pub(crate) fn role_key(name: &str) -> Vec<u8> {
    [ROLE_PREFIX, name.as_bytes()].concat()
}

impl User {
    /// etcd's record of it.
    pub(super) fn to_wire(&self, name: &str) -> authpb::User {
        authpb::User {
            name: name.to_owned().into(),
            password: self.password_hash.clone(),
            roles: self.roles.clone(),
            options: Some(UserAddOptions {
                no_password: self.no_password,
            }),
        }
    }
}

impl Role {
    /// etcd's record of it.
    pub(super) fn to_wire(&self, name: &str) -> authpb::Role {
        authpb::Role {
            name: name.to_owned().into(),
            key_permission: self.permissions.clone(),
        }
    }
}

impl Auth {
    /// Makes a change and writes the rows it touched, or refuses it and does neither.
    pub(crate) fn apply(self: &mut Arc<Self>, change: &Change, writes: &mut WriteBatch) -> Result<(), AuthRefusal> {
        let mut next = Self::clone(self);
        let touched = next.change(change)?;
        for name in &touched.users {
            match next.users.get(name) {
                Some(user) => {
                    let record = state::User {
                        user: Some(user.to_wire(name)),
                        since: user.since,
                    };
                    writes.put(Family::Auth, user_key(name), encoding::encode(&record));
                }
                None => writes.delete(Family::Auth, user_key(name)),
            }
        }
        for name in &touched.roles {
            match next.roles.get(name) {
                Some(role) => writes.put(Family::Auth, role_key(name), encoding::encode(&role.to_wire(name))),
                None => writes.delete(Family::Auth, role_key(name)),
            }
        }
        writes.put(Family::Auth, WHOLE, encoding::encode(&next.to_record()));
        *self = Arc::new(next);
        Ok(())
    }

    pub(crate) fn to_record(&self) -> state::Auth {
        state::Auth {
            enabled: self.enabled,
            revision: self.revision,
            secret: self.secret.clone(),
        }
    }
}

/// Loads everything from the tables.
pub(crate) fn load(rows: &impl Rows) -> Result<Auth, Fault> {
    let mut auth = Auth::default();
    let mut outcome = Ok(());
    rows.scan(Family::Auth, Direction::Forward, None, &mut |key, value| {
        outcome = auth.take(key, value);
        if outcome.is_ok() { Step::Next } else { Step::Stop }
    })?;
    outcome?;
    let names: Vec<String> = auth.users.keys().cloned().collect();
    for name in names {
        if let Some(mut user) = auth.users.get(&name).cloned() {
            auth.merge(Arc::make_mut(&mut user));
            auth.users.insert(name, user);
        }
    }
    Ok(auth)
}

impl Auth {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let named = |name: &[u8]| {
            String::from_utf8(name.to_vec()).map_err(|error| Fault::corrupt(Family::Auth, key, error.to_string()))
        };
        if key == WHOLE {
            let record: state::Auth = encoding::decode(Family::Auth, key, value)?;
            (self.enabled, self.revision, self.secret) = (record.enabled, record.revision, record.secret);
        } else if let Some(name) = key.strip_prefix(USER_PREFIX) {
            let record: state::User = encoding::decode(Family::Auth, key, value)?;
            let user = record
                .user
                .ok_or_else(|| Fault::corrupt(Family::Auth, key, "no user in it"))?;
            let user = User {
                password_hash: user.password,
                no_password: user.options.is_some_and(|options| options.no_password),
                since: record.since,
                roles: user.roles,
                reads: Ranges::default(),
                writes: Ranges::default(),
            };
            self.users.insert(named(name)?, Arc::new(user));
        } else if let Some(name) = key.strip_prefix(ROLE_PREFIX) {
            let record: authpb::Role = encoding::decode(Family::Auth, key, value)?;
            let role = Role {
                permissions: record.key_permission,
            };
            self.roles.insert(named(name)?, Arc::new(role));
        } else {
            return Err(Fault::corrupt(Family::Auth, key, "neither a user nor a role"));
        }
        Ok(())
    }
}
