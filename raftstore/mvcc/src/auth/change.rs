//! Changes of users, roles and of authentication itself.

use std::sync::Arc;

use bytes::Bytes;
use proto::{
    etcd::{
        authpb::Permission,
        etcdserverpb::{
            AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest, AuthUserGrantRoleRequest,
            AuthUserRevokeRoleRequest,
        },
    },
    raft::{UserAdd, UserChangePassword, auth_change::Change},
};

use super::{Auth, AuthRefusal, ROOT, Role, User, ranges::Ranges};
use crate::RangeEnd;

type Outcome = Result<(), AuthRefusal>;

/// What a change touched.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub users: Vec<String>,
    pub roles: Vec<String>,
}

impl Auth {
    /// Makes a change; a refused one may leave this value half changed.
    pub(super) fn change(&mut self, change: &Change) -> Result<Touched, AuthRefusal> {
        let mut touched = Touched::default();
        match change {
            // Moves no revision: who is known stays known.
            Change::Enable(request) => return self.enable(&request.secret).map(|()| touched),
            Change::Disable(_) if !self.enabled => return Ok(touched),
            Change::Disable(_) => (self.enabled, self.secret) = (false, Bytes::new()),
            Change::UserAdd(request) => self.add_user(request, &mut touched)?,
            Change::UserDelete(request) => self.delete_user(&request.name, &mut touched)?,
            Change::UserChangePassword(request) => self.change_password(request, &mut touched)?,
            Change::UserGrantRole(request) => {
                if !self.grant_role(request, &mut touched)? {
                    return Ok(touched);
                }
            }
            Change::UserRevokeRole(request) => self.revoke_role(request, &mut touched)?,
            Change::RoleAdd(request) => self.add_role(&request.name, &mut touched)?,
            Change::RoleDelete(request) => self.delete_role(&request.role, &mut touched)?,
            Change::RoleGrantPermission(request) => self.grant_permission(request, &mut touched)?,
            Change::RoleRevokePermission(request) => self.revoke_permission(request, &mut touched)?,
        }
        self.revision += 1;
        Ok(touched)
    }

    fn enable(&mut self, secret: &Bytes) -> Outcome {
        if self.enabled {
            return Ok(());
        }
        let root = self.users.get(ROOT).ok_or(AuthRefusal::RootUserMissing)?;
        if !root.is_root() {
            return Err(AuthRefusal::RootRoleMissing);
        }
        self.enabled = true;
        self.secret = secret.clone();
        Ok(())
    }

    fn add_user(&mut self, request: &UserAdd, touched: &mut Touched) -> Outcome {
        if request.name.is_empty() {
            return Err(AuthRefusal::UserEmpty);
        }
        if self.users.contains_key(&request.name) {
            return Err(AuthRefusal::UserExists);
        }
        let user = User {
            password_hash: if request.no_password {
                Bytes::new()
            } else {
                request.password_hash.clone()
            },
            no_password: request.no_password,
            since: self.revision + 1,
            roles: Vec::new(),
            reads: Ranges::default(),
            writes: Ranges::default(),
        };
        self.users.insert(request.name.clone(), Arc::new(user));
        touched.users.push(request.name.clone());
        Ok(())
    }

    fn delete_user(&mut self, name: &str, touched: &mut Touched) -> Outcome {
        if self.enabled && name == ROOT {
            return Err(AuthRefusal::BadChange);
        }
        self.users.remove(name).ok_or(AuthRefusal::UserNotFound)?;
        touched.users.push(name.to_owned());
        Ok(())
    }

    fn change_password(&mut self, request: &UserChangePassword, touched: &mut Touched) -> Outcome {
        let since = self.revision + 1;
        let user = self.user_mut(&request.name, touched)?;
        if !user.no_password {
            user.password_hash = request.password_hash.clone();
        }
        user.since = since;
        Ok(())
    }

    /// False if the user has the role already.
    fn grant_role(&mut self, request: &AuthUserGrantRoleRequest, touched: &mut Touched) -> Result<bool, AuthRefusal> {
        let role_exists = request.role == ROOT || self.roles.contains_key(&request.role);
        let user = self.user_mut(&request.user, touched)?;
        if !role_exists {
            return Err(AuthRefusal::RoleNotFound);
        }
        let Err(place) = user.roles.binary_search(&request.role) else {
            return Ok(false);
        };
        user.roles.insert(place, request.role.clone());
        self.merge_touched(touched);
        Ok(true)
    }

    fn revoke_role(&mut self, request: &AuthUserRevokeRoleRequest, touched: &mut Touched) -> Outcome {
        if self.enabled && request.name == ROOT && request.role == ROOT {
            return Err(AuthRefusal::BadChange);
        }
        let user = self.user_mut(&request.name, touched)?;
        let place = user.roles.binary_search(&request.role);
        user.roles.remove(place.map_err(|_| AuthRefusal::RoleNotGranted)?);
        self.merge_touched(touched);
        Ok(())
    }

    fn add_role(&mut self, name: &str, touched: &mut Touched) -> Outcome {
        if name.is_empty() {
            return Err(AuthRefusal::RoleEmpty);
        }
        if self.roles.contains_key(name) {
            return Err(AuthRefusal::RoleExists);
        }
        self.roles.insert(name.to_owned(), Arc::default());
        touched.roles.push(name.to_owned());
        Ok(())
    }

    /// Whoever had the role loses it.
    fn delete_role(&mut self, name: &str, touched: &mut Touched) -> Outcome {
        if self.enabled && name == ROOT {
            return Err(AuthRefusal::BadChange);
        }
        self.roles.remove(name).ok_or(AuthRefusal::RoleNotFound)?;
        touched.roles.push(name.to_owned());
        self.touch_holders(name, touched);
        for user in &touched.users {
            if let Some(user) = self.users.get_mut(user) {
                Arc::make_mut(user).roles.retain(|role| role != name);
            }
        }
        self.merge_touched(touched);
        Ok(())
    }

    fn grant_permission(&mut self, request: &AuthRoleGrantPermissionRequest, touched: &mut Touched) -> Outcome {
        let given = request.perm.as_ref().ok_or(AuthRefusal::PermissionNotGiven)?;
        if !is_range(given) {
            return Err(AuthRefusal::BadChange);
        }
        let role = self.role_mut(&request.name, touched)?;
        let same = |known: &&mut Permission| (&known.key, &known.range_end) == (&given.key, &given.range_end);
        match role.permissions.iter_mut().find(same) {
            Some(known) => known.perm_type = given.perm_type,
            None => {
                let place = role.permissions.partition_point(|known| known.key <= given.key);
                role.permissions.insert(place, given.clone());
            }
        }
        self.touch_holders(&request.name, touched);
        self.merge_touched(touched);
        Ok(())
    }

    fn revoke_permission(&mut self, request: &AuthRoleRevokePermissionRequest, touched: &mut Touched) -> Outcome {
        let role = self.role_mut(&request.role, touched)?;
        let before = role.permissions.len();
        let other = |known: &Permission| (&known.key, &known.range_end) != (&request.key, &request.range_end);
        role.permissions.retain(other);
        if role.permissions.len() == before {
            return Err(AuthRefusal::PermissionNotGranted);
        }
        self.touch_holders(&request.role, touched);
        self.merge_touched(touched);
        Ok(())
    }

    fn user_mut(&mut self, name: &str, touched: &mut Touched) -> Result<&mut User, AuthRefusal> {
        let user = self.users.get_mut(name).ok_or(AuthRefusal::UserNotFound)?;
        touched.users.push(name.to_owned());
        Ok(Arc::make_mut(user))
    }

    fn role_mut(&mut self, name: &str, touched: &mut Touched) -> Result<&mut Role, AuthRefusal> {
        let role = self.roles.get_mut(name).ok_or(AuthRefusal::RoleNotFound)?;
        touched.roles.push(name.to_owned());
        Ok(Arc::make_mut(role))
    }

    fn touch_holders(&self, role: &str, touched: &mut Touched) {
        let holders = self.users.iter().filter(|(_, user)| user.has_role(role));
        touched.users.extend(holders.map(|(name, _)| name.clone()));
    }

    fn merge_touched(&mut self, touched: &Touched) {
        for name in &touched.users {
            if let Some(mut user) = self.users.get(name).cloned() {
                self.merge(Arc::make_mut(&mut user));
                self.users.insert(name.clone(), user);
            }
        }
    }
}

/// Whether a permission is about any keys at all.
fn is_range(permission: &Permission) -> bool {
    !permission.key.is_empty()
        && match RangeEnd::from_wire(&permission.range_end) {
            RangeEnd::Single | RangeEnd::Unbounded => true,
            RangeEnd::Before(end) => &permission.key[..] < end,
        }
}
