//! Leases live their time: one that its holder keeps alive is not taken away, and only whoever leads takes any away.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use proto::raft::Batch;
use proto::raft::request::Op;

use super::{Invariant, ensure};
use crate::call::{Answer, Begun, Call, Outcome};
use crate::executor;
use crate::history::History;
use crate::monitor::Observation;

/// Kind of a log entry that carries requests.
const REQUESTS: u32 = 1;
const SECOND_NS: u64 = 1_000_000_000;
/// Once all is well, a lease that nobody extends is gone this long after its time.
const OVERDUE_NS: u64 = 15 * SECOND_NS;

#[derive(Default)]
struct Life {
    /// What the clocks showed when the last call began that gave it its whole time.
    since: Vec<u64>,
    /// A client asked for its end.
    given_up: bool,
}

/// A lease ends because a client revoked it, or because the leader of the entry's term saw its time pass on its own clock.
/// Extending one tells the truth about it. Without faults, one that nobody extends ends.
#[derive(Default)]
pub struct LeasesLiveTheirTime {
    lives: BTreeMap<i64, Life>,
    /// Revocations in the log: by entry, the leases and the term their timer belongs to (0: a client's).
    revocations: BTreeMap<(u64, u64), Vec<(i64, u64)>>,
    seen: BTreeSet<(u64, u64)>,
}

impl Invariant for LeasesLiveTheirTime {
    fn name(&self) -> &'static str {
        "leases_live_their_time"
    }

    fn observe(&mut self, history: &History, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Begun { begun } => {
                self.begun(begun);
                Ok(())
            }
            Observation::Done {
                begun,
                outcome: Outcome::Answered(answer),
            } => self.answered(history, begun, answer),
            Observation::AppendSent { request, .. } => {
                let requests = request.entries.iter().filter(|entry| entry.kind == REQUESTS);
                for entry in requests {
                    if self.seen.insert((entry.index, entry.term)) {
                        self.logged(entry.index, entry.term, &entry.data)?;
                    }
                }
                Ok(())
            }
            Observation::Applied { id, effects, .. } if !history.entries.contains_key(&id.index) => {
                let ended = effects.leases.iter().filter(|(_, ttl_s)| ttl_s.is_none());
                for (lease, _) in ended {
                    self.ended(history, *lease, id.term, id.index)?;
                }
                Ok(())
            }
            Observation::Settled { .. } => self.settled(history),
            _ => Ok(()),
        }
    }
}

/// How much time passed on each clock.
fn passed(since: &[u64]) -> Vec<u64> {
    executor::clock_readings()
        .iter()
        .zip(since)
        .map(|(now, then)| now - then)
        .collect()
}

impl LeasesLiveTheirTime {
    fn begun(&mut self, begun: &Begun) {
        match begun.call {
            Call::Grant { lease, .. } => {
                self.lives.entry(lease).or_insert_with(|| Life {
                    since: begun.readings.clone(),
                    given_up: false,
                });
            }
            Call::Revoke { lease } => self.lives.entry(lease).or_default().given_up = true,
            _ => {}
        }
    }

    fn answered(&mut self, history: &History, begun: &Begun, answer: &Answer) -> Result<(), String> {
        let (lease, found) = match (&begun.call, answer) {
            (Call::KeepAlive { lease }, Answer::KeptAlive(answer)) => (*lease, (answer.ttl > 0).then_some(answer.ttl)),
            (Call::TimeToLive { lease }, Answer::Time(answer)) => {
                (*lease, (answer.ttl >= 0).then_some(answer.granted_ttl))
            }
            _ => return Ok(()),
        };
        let Some(life) = self.lives.get_mut(&lease) else {
            return Ok(());
        };
        let known = history.leases.get(&lease);
        match found {
            Some(ttl_s) => {
                let granted = known.map(|life| life.ttl_s);
                ensure(granted == Some(ttl_s), || {
                    format!("lease {lease} is said to have {ttl_s} s, not {granted:?}")
                })?;
                ensure(begun.lease_lived || !known.is_some_and(|life| life.gone), || {
                    format!(
                        "lease {lease} is said to live, but it was gone when {:?} began",
                        begun.call
                    )
                })?;
                if matches!(begun.call, Call::KeepAlive { .. }) && begun.readings > life.since {
                    life.since.clone_from(&begun.readings);
                }
                Ok(())
            }
            // Its time may be over; as long as it is there, so are its keys.
            None => ensure(!(begun.lease_lived && history.lease_lives(lease)), || {
                format!(
                    "lease {lease} is said to be gone by {:?} at member {}, but it lives",
                    begun.call, begun.member
                )
            }),
        }
    }

    fn logged(&mut self, index: u64, term: u64, data: &[u8]) -> Result<(), String> {
        let batch = Batch::decode(data).map_err(|error| format!("entry {term}.{index} cannot be read: {error}"))?;
        for request in batch.requests {
            let Some(Op::LeaseRevoke(revoke)) = request.op else {
                continue;
            };
            let asked = self.lives.get(&revoke.id).is_some_and(|life| life.given_up);
            ensure(revoke.expired_in_term != 0 || asked, || {
                format!(
                    "entry {term}.{index} revokes lease {} in the name of a client, but none asked for it",
                    revoke.id
                )
            })?;
            let revocations = self.revocations.entry((index, term)).or_default();
            revocations.push((revoke.id, revoke.expired_in_term));
        }
        Ok(())
    }

    fn ended(&self, history: &History, lease: i64, term: u64, index: u64) -> Result<(), String> {
        let Some(life) = self.lives.get(&lease) else {
            return Err(format!(
                "entry {term}.{index} ends lease {lease}, which nobody asked for"
            ));
        };
        // Entries of a cluster of one are never sent.
        if let Some(revocations) = self.revocations.get(&(index, term)) {
            let rightful = |(id, expired): &(i64, u64)| *id == lease && (*expired == 0 || *expired == term);
            ensure(revocations.iter().any(rightful), || {
                format!("entry {term}.{index} ends lease {lease} for a leader of another term: {revocations:?}")
            })?;
        }
        if life.given_up {
            return Ok(());
        }
        let (Some(leader), Some(granted)) = (history.leaders.get(&term), history.leases.get(&lease)) else {
            return Ok(());
        };
        let Some(clock) = history.clocks.get(leader) else {
            return Err(format!(
                "lease {lease} was taken away by member {leader}, which has no machine"
            ));
        };
        let passed = passed(&life.since)[*clock];
        let needed = granted.ttl_s as u64 * SECOND_NS;
        ensure(passed >= needed, || {
            format!(
                "lease {lease} of {} s was taken away by member {leader} after {} ms of its clock",
                granted.ttl_s,
                passed / 1_000_000
            )
        })
    }

    fn settled(&self, history: &History) -> Result<(), String> {
        for (lease, life) in &self.lives {
            let Some(granted) = history.leases.get(lease).filter(|granted| !granted.gone) else {
                continue;
            };
            let due = granted.ttl_s as u64 * SECOND_NS + OVERDUE_NS;
            let overdue = !life.since.is_empty() && passed(&life.since).into_iter().all(|passed| passed > due);
            ensure(!overdue, || format!("lease {lease} of {} s never ended", granted.ttl_s))?;
        }
        Ok(())
    }
}
