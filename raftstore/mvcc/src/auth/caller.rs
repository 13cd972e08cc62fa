//! Judging a request: whether who asks may do what is asked.

use proto::{
    etcd::etcdserverpb::{
        DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, alarm_request::AlarmAction,
        request_op::Request,
    },
    raft::{self, Identity, request::Op},
};

use super::{Access, Auth, AuthRefusal, User};
use crate::{Lease, RangeEnd, view::State};

type Judgement = Result<(), AuthRefusal>;

/// Who asks, before one state of the store.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    state: &'a State,
    /// `None`: nobody to be judged, everything is allowed.
    identity: Option<&'a Identity>,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(state: &'a State, identity: Option<&'a Identity>) -> Self {
        Self {
            state,
            identity: identity.filter(|_| state.auth.enabled),
        }
    }

    fn auth(&self) -> &'a Auth {
        &self.state.auth
    }

    /// Judges a request that changes the store.
    pub(crate) fn request(&self, request: &raft::Request) -> Judgement {
        match &request.op {
            Some(Op::Put(put)) => self.put(put),
            Some(Op::DeleteRange(delete)) => self.delete_range(delete),
            Some(Op::Txn(txn)) => self.txn(txn),
            Some(Op::LeaseGrant(_)) => self.somebody(),
            Some(Op::LeaseRevoke(revoke)) => self.revoke(revoke.id),
            Some(Op::Alarm(alarm)) if alarm.action() == AlarmAction::Get => self.somebody(),
            Some(Op::Alarm(_) | Op::Compaction(_) | Op::LeaseCheckpoint(_) | Op::Auth(_)) => self.root(),
            None => Ok(()),
        }
    }

    /// Anybody who said who he is.
    pub fn somebody(&self) -> Judgement {
        match self.identity {
            Some(identity) if identity.user.is_empty() => Err(AuthRefusal::UserEmpty),
            _ => Ok(()),
        }
    }

    /// Somebody with the role `root`.
    pub fn root(&self) -> Judgement {
        self.somebody()?;
        match self.identity.map(|identity| self.auth().user(&identity.user)) {
            None => Ok(()),
            Some(None) => Err(AuthRefusal::UserNotFound),
            Some(Some(user)) if user.is_root() => Ok(()),
            Some(Some(_)) => Err(AuthRefusal::PermissionDenied),
        }
    }

    /// Who may see a user: the user itself, too.
    pub fn see_user(&self, name: &str) -> Judgement {
        match self.identity {
            Some(identity) if identity.user == name && !name.is_empty() => Ok(()),
            _ => self.root(),
        }
    }

    /// Who may see a role: whoever has it, too.
    pub fn see_role(&self, name: &str) -> Judgement {
        match self.user() {
            Some(user) if user.has_role(name) => Ok(()),
            _ => self.root(),
        }
    }

    /// Reading a range of keys.
    pub fn range(&self, key: &[u8], range_end: &[u8]) -> Judgement {
        self.keys(Access::Read, key, range_end)
    }

    /// A transaction: both branches, whichever is taken, and what is nested in them.
    pub fn txn(&self, txn: &TxnRequest) -> Judgement {
        for compare in &txn.compare {
            self.range(&compare.key, &compare.range_end)?;
        }
        let mut operations = txn.success.iter().chain(&txn.failure);
        operations.try_for_each(|operation| self.operation(operation))
    }

    fn operation(&self, operation: &RequestOp) -> Judgement {
        match &operation.request {
            Some(Request::RequestRange(RangeRequest { key, range_end, .. })) => self.range(key, range_end),
            Some(Request::RequestPut(put)) => self.put(put),
            Some(Request::RequestDeleteRange(delete)) => self.delete_range(delete),
            Some(Request::RequestTxn(txn)) => self.txn(txn),
            None => Ok(()),
        }
    }

    fn put(&self, put: &PutRequest) -> Judgement {
        self.keys(Access::Write, &put.key, &[])?;
        // Whoever may not delete a lease's keys must not add his own to it either.
        self.lease(put.lease, Access::Write)?;
        if put.prev_kv {
            self.range(&put.key, &[])?;
        }
        Ok(())
    }

    fn delete_range(&self, delete: &DeleteRangeRequest) -> Judgement {
        self.keys(Access::Write, &delete.key, &delete.range_end)?;
        if delete.prev_kv {
            self.range(&delete.key, &delete.range_end)?;
        }
        Ok(())
    }

    fn revoke(&self, lease: i64) -> Judgement {
        self.somebody()?;
        self.lease(lease, Access::Write)
    }

    /// Extending a lease: like revoking it, it decides about its keys.
    pub fn extend_lease(&self, lease: i64) -> Judgement {
        self.revoke(lease)
    }

    /// Being told of a lease's keys.
    pub fn see_lease(&self, lease: i64) -> Judgement {
        self.somebody()?;
        self.lease(lease, Access::Read)
    }

    /// Being told of all leases.
    pub fn see_leases(&self) -> Judgement {
        self.somebody()?;
        let mut leases = self.state.leases.values();
        leases.try_for_each(|lease| self.lease_keys(lease, Access::Read))
    }

    fn lease(&self, id: i64, access: Access) -> Judgement {
        self.state
            .leases
            .get(&id)
            .map_or(Ok(()), |lease| self.lease_keys(lease, access))
    }

    fn lease_keys(&self, lease: &Lease, access: Access) -> Judgement {
        if self.identity.is_none() || self.user().is_some_and(User::is_root) {
            return Ok(());
        }
        lease.keys.iter().try_for_each(|key| self.keys(access, key, &[]))
    }

    fn user(&self) -> Option<&'a User> {
        self.auth().user(&self.identity?.user)
    }

    fn keys(&self, access: Access, key: &[u8], range_end: &[u8]) -> Judgement {
        let Some(identity) = self.identity else { return Ok(()) };
        self.somebody()?;
        if identity.auth_revision < self.auth().revision {
            return Err(AuthRefusal::OldRevision);
        }
        let may = |user: &User| user.may(access, key, RangeEnd::from_wire(range_end));
        if self.user().is_some_and(may) {
            Ok(())
        } else {
            Err(AuthRefusal::PermissionDenied)
        }
    }
}
