//! Applying one request of a log entry: a flat dispatcher and the requests that are not reads or writes of keys.

use std::{cell::OnceCell, sync::Arc};

use proto::{
    etcd::etcdserverpb::{
        AlarmMember, AlarmRequest, AlarmResponse, AlarmType, CompactionRequest, CompactionResponse,
        LeaseCheckpointRequest, LeaseCheckpointResponse, LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeResponse,
        alarm_request::AlarmAction, request_op,
    },
    raft::{self, AuthChange, AuthChanged, Batch, request::Op},
    state::Alarms,
};

use crate::{
    Backend, Block, Caller, DeterministicError, Family, Fault, Lease, LeaseChange, LogId, RangeEnd, ReadError,
    Response, WriteBatch,
    change::Change,
    encoding, limits, past,
    range::{self, Found},
    txn::{self, Past},
    view::State,
};

/// What applying a log entry has gathered so far.
pub(crate) struct Applier<'a, B: Backend> {
    pub id: LogId,
    pub state: &'a mut State,
    pub writes: WriteBatch,
    pub blocks: Vec<Arc<Block>>,
    pub leases: Vec<LeaseChange>,
    earlier: Earlier<'a, B>,
}

/// Ranges at older revisions. The tables lack what this entry has written so far, so if it asks for older revisions at all,
/// the states at its own revisions are kept until it is done.
struct Earlier<'a, B: Backend> {
    backend: &'a B,
    pinned: OnceCell<B::Pinned>,
    /// Ascending by revision, beginning with the one before this entry. Empty if nothing will ask.
    states: Vec<State>,
}

impl<B: Backend> Past for Earlier<'_, B> {
    fn find(&self, start: &[u8], end: RangeEnd<'_>, revision: i64, wanted: usize) -> Result<Found, ReadError> {
        if let Some(state) = self.states.iter().rev().find(|state| state.revision == revision) {
            return Ok(state.find(start, end, wanted));
        }
        Ok(past::find(
            self.pinned.get_or_init(|| self.backend.pin()),
            start,
            end,
            revision,
            wanted,
        )?)
    }
}

impl<'a, B: Backend> Applier<'a, B> {
    pub(crate) fn new(backend: &'a B, state: &'a mut State, id: LogId, batch: &Batch) -> Self {
        let states = if batch.requests.iter().any(asks_for_the_past) {
            vec![state.clone()]
        } else {
            Vec::new()
        };
        Self {
            id,
            state,
            writes: WriteBatch::new(),
            blocks: Vec::new(),
            leases: Vec::new(),
            earlier: Earlier {
                backend,
                pinned: OnceCell::new(),
                states,
            },
        }
    }

    /// Applies one request. A refusal is an answer; a fault is the end.
    pub(crate) fn apply(&mut self, request: &raft::Request) -> Result<Result<Response, DeterministicError>, Fault> {
        let before = self.state.revision;
        let outcome = match self.dispatch(request) {
            Ok(response) => Ok(response),
            Err(ReadError::Refused(refusal)) => Err(refusal),
            Err(ReadError::Fault(fault)) => return Err(fault),
        };
        if self.state.revision > before && !self.earlier.states.is_empty() {
            self.earlier.states.push(self.state.clone());
        }
        Ok(outcome)
    }

    fn dispatch(&mut self, request: &raft::Request) -> Result<Response, ReadError> {
        let op = request.op.as_ref().ok_or(DeterministicError::UnknownRequest)?;
        Caller::new(self.state, request.identity.as_ref())
            .request(request)
            .map_err(DeterministicError::Auth)?;
        self.check_alarms(op)?;
        match op {
            Op::Put(request) => {
                txn::check_put(self.state, request)?;
                self.write(|change, _| Ok(Response::Put(txn::put(change, request))))
            }
            Op::DeleteRange(request) => {
                self.write(|change, _| Ok(Response::DeleteRange(txn::delete_range(change, request))))
            }
            Op::Txn(request) => self.write(|change, past| Ok(Response::Txn(txn::txn(change, past, request)?))),
            Op::Compaction(request) => Ok(Response::Compaction(self.compact(request)?)),
            Op::LeaseGrant(request) => Ok(Response::LeaseGrant(self.grant(request)?)),
            Op::LeaseRevoke(request) => Ok(Response::LeaseRevoke(self.revoke(request)?)),
            Op::LeaseCheckpoint(request) => Ok(Response::LeaseCheckpoint(self.checkpoint(request))),
            Op::Alarm(request) => Ok(Response::Alarm(self.alarm(request))),
            Op::Auth(request) => Ok(Response::Auth(self.auth(request)?)),
        }
    }

    fn write(
        &mut self,
        act: impl FnOnce(&mut Change<'_>, &dyn Past) -> Result<Response, ReadError>,
    ) -> Result<Response, ReadError> {
        let mut change = Change::begin(self.state, &mut self.writes);
        let response = act(&mut change, &self.earlier)?;
        self.blocks.extend(change.finish());
        Ok(response)
    }

    /// Out of space, what needs more is refused and what frees some is not. A corrupt member refuses all but alarms.
    fn check_alarms(&self, op: &Op) -> Result<(), DeterministicError> {
        if self.state.alarms.is_empty() {
            return Ok(());
        }
        let needs_space = match op {
            Op::Put(_) | Op::LeaseGrant(_) => true,
            Op::Txn(request) => txn::any(request, &|operation| {
                matches!(operation, request_op::Request::RequestPut(_))
            }),
            _ => false,
        };
        if !matches!(op, Op::Alarm(_)) && self.state.has_alarm(AlarmType::Corrupt) {
            Err(DeterministicError::Corrupt)
        } else if needs_space && self.state.has_alarm(AlarmType::Nospace) {
            Err(DeterministicError::NoSpace)
        } else {
            Ok(())
        }
    }

    fn compact(&mut self, request: &CompactionRequest) -> Result<CompactionResponse, DeterministicError> {
        let State {
            compacted,
            revision: current,
            ..
        } = *self.state;
        if request.revision <= compacted {
            return Err(DeterministicError::Compacted { compacted });
        }
        if request.revision > current {
            return Err(DeterministicError::FutureRevision { current });
        }
        self.state.compacted = request.revision;
        Ok(CompactionResponse {
            header: range::header(current),
        })
    }

    fn grant(&mut self, request: &LeaseGrantRequest) -> Result<LeaseGrantResponse, DeterministicError> {
        if request.id == 0 {
            // The proposer picks ids; here there is no randomness to do so.
            return Err(DeterministicError::LeaseNotFound);
        }
        if request.ttl > limits::LEASE_TTL_S_MAX {
            return Err(DeterministicError::LeaseTtlTooLarge);
        }
        if self.state.leases.contains_key(&request.id) {
            return Err(DeterministicError::LeaseExists);
        }
        let ttl_s = request.ttl.max(1);
        let lease = Lease {
            id: request.id,
            ttl_s,
            remaining_ttl_s: 0,
            keys: imbl::OrdSet::new(),
        };
        self.writes.put(
            Family::Lease,
            encoding::lease_key(lease.id),
            encoding::encode(&lease.to_record()),
        );
        self.state.leases.insert(lease.id, Arc::new(lease));
        self.leases.push(LeaseChange::Granted { id: request.id, ttl_s });
        Ok(LeaseGrantResponse {
            header: range::header(self.state.revision),
            id: request.id,
            ttl: ttl_s,
            error: String::new(),
        })
    }

    /// Removes a lease and deletes its keys, in key order and one revision.
    fn revoke(&mut self, request: &raft::LeaseRevoke) -> Result<LeaseRevokeResponse, DeterministicError> {
        let stale = request.expired_in_term != 0 && request.expired_in_term != self.id.term;
        if !stale {
            let lease = self
                .state
                .leases
                .remove(&request.id)
                .ok_or(DeterministicError::LeaseNotFound)?;
            self.writes.delete(Family::Lease, encoding::lease_key(request.id));
            let mut change = Change::begin(self.state, &mut self.writes);
            for key in &lease.keys {
                change.delete_range(key, RangeEnd::Single);
            }
            self.blocks.extend(change.finish());
            self.leases.push(LeaseChange::Revoked { id: request.id });
        }
        Ok(LeaseRevokeResponse {
            header: range::header(self.state.revision),
        })
    }

    /// Notes how much of some leases is left. Those that are gone meanwhile are passed over.
    fn checkpoint(&mut self, request: &LeaseCheckpointRequest) -> LeaseCheckpointResponse {
        for checkpoint in &request.checkpoints {
            let Some(mut lease) = self.state.leases.get(&checkpoint.id).cloned() else {
                continue;
            };
            let remaining_ttl_s = checkpoint.remaining_ttl.clamp(0, lease.ttl_s);
            Arc::make_mut(&mut lease).remaining_ttl_s = remaining_ttl_s;
            self.writes.put(
                Family::Lease,
                encoding::lease_key(lease.id),
                encoding::encode(&lease.to_record()),
            );
            self.state.leases.insert(lease.id, lease);
            self.leases.push(LeaseChange::Checkpointed {
                id: checkpoint.id,
                remaining_ttl_s,
            });
        }
        LeaseCheckpointResponse {
            header: range::header(self.state.revision),
        }
    }

    /// Raises, clears or lists alarms; answers with those concerned.
    fn alarm(&mut self, request: &AlarmRequest) -> AlarmResponse {
        let named = AlarmMember {
            member_id: request.member_id,
            alarm: request.alarm,
        };
        let concerned = match request.action() {
            AlarmAction::Get => self.listed(request.alarm()),
            AlarmAction::Activate if request.alarm() == AlarmType::None => Vec::new(),
            AlarmAction::Activate => {
                self.set_alarms(|alarms| {
                    if !alarms.contains(&named) {
                        alarms.push(named);
                    }
                });
                vec![named]
            }
            AlarmAction::Deactivate => {
                let known = self.state.alarms.contains(&named);
                self.set_alarms(|alarms| alarms.retain(|alarm| *alarm != named));
                if known { vec![named] } else { Vec::new() }
            }
        };
        AlarmResponse {
            header: range::header(self.state.revision),
            alarms: concerned,
        }
    }

    fn auth(&mut self, request: &AuthChange) -> Result<AuthChanged, DeterministicError> {
        let change = request.change.as_ref().ok_or(DeterministicError::UnknownRequest)?;
        self.state.auth.apply(change, &mut self.writes)?;
        Ok(AuthChanged {
            revision: self.state.revision,
        })
    }

    fn listed(&self, kind: AlarmType) -> Vec<AlarmMember> {
        let alarms = self.state.alarms.iter();
        alarms
            .filter(|alarm| kind == AlarmType::None || alarm.alarm() == kind)
            .cloned()
            .collect()
    }

    fn set_alarms(&mut self, set: impl FnOnce(&mut Vec<AlarmMember>)) {
        let mut alarms = self.state.alarms.to_vec();
        set(&mut alarms);
        self.writes.put(
            Family::Meta,
            encoding::ALARMS,
            encoding::encode(&Alarms { alarms: alarms.clone() }),
        );
        self.state.alarms = Arc::new(alarms);
    }
}

fn asks_for_the_past(request: &raft::Request) -> bool {
    let old = |operation: &request_op::Request| match operation {
        request_op::Request::RequestRange(range) => range.revision > 0,
        _ => false,
    };
    matches!(&request.op, Some(Op::Txn(request)) if txn::any(request, &old))
}
