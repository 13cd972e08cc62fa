//! The monitor: everything that happens comes by here, becomes part of the trace and the history, and is shown to every
//! invariant. The first one that objects ends the run.

use std::collections::BTreeMap;
use std::sync::Arc;

use mvcc::{Block, DeterministicError, LogId, WriteBatch};
use parking_lot::Mutex;
use proto::raft as wire;
use raftstore::Leadership;

use crate::call::{Answer, Begun, Outcome};
use crate::executor;
use crate::history::{Effects, History};
use crate::invariants::{self, Invariant};

/// Something that happened.
#[derive(Debug)]
pub enum Observation<'a> {
    /// A member's tables took in an entry; the history does not have it yet if it is the first.
    Applied {
        member: u64,
        id: LogId,
        effects: &'a Effects,
    },
    /// A snapshot took the place of a member's tables.
    Installed {
        member: u64,
    },
    /// A member's process began, or ended.
    Started {
        member: u64,
    },
    Ended {
        member: u64,
    },
    /// A member sent entries, or a heartbeat.
    AppendSent {
        from: u64,
        request: &'a wire::AppendRequest,
    },
    /// A member granted its vote.
    Voted {
        voter: u64,
        candidate: u64,
        term: u64,
    },
    /// What a member says about who leads.
    Leads {
        member: u64,
        known: Leadership,
    },
    /// A client's call began.
    Begun {
        begun: &'a Begun,
    },
    /// It ended, for the client.
    Done {
        begun: &'a Begun,
        outcome: &'a Outcome,
    },
    /// A watcher starts, or starts over at another member, behind what it saw.
    Watching {
        watcher: u64,
        member: u64,
        from: i64,
    },
    /// It was given these blocks, and everything up to a revision.
    Watched {
        watcher: u64,
        blocks: &'a [Arc<Block>],
        revision: i64,
    },
    /// It was told that it is too late.
    WatchCompacted {
        watcher: u64,
        compact_revision: i64,
    },
    /// All faults are over and the cluster had time to recover; the revision each running member shows, and the members
    /// it knows, with a vote (true) or without.
    Settled {
        revisions: &'a BTreeMap<u64, i64>,
        members: &'a BTreeMap<u64, BTreeMap<u64, bool>>,
    },
}

/// What was found to be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: &'static str,
    /// In words.
    pub what: String,
}

struct State {
    history: History,
    invariants: Vec<Box<dyn Invariant>>,
    violation: Option<Violation>,
    counts: Counts,
}

/// What a run consisted of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that certainly failed or were refused.
    pub failed: u64,
    /// Calls of unknown outcome.
    pub unknown: u64,
    /// Entries applied, by any member.
    pub applied: u64,
    /// Snapshots installed.
    pub installed: u64,
    /// Blocks given to watchers.
    pub watched: u64,
    /// Faults of all kinds.
    pub faults: u64,
    /// Elections won.
    pub elections: u64,
    /// Members added, and removed, as acknowledged.
    pub added: u64,
    pub removed: u64,
    /// Calls that were refused for want of room.
    pub no_room: u64,
}

/// The monitor of a run.
pub struct Monitor {
    state: Mutex<State>,
    /// Whether to tell on stderr what happens.
    aloud: bool,
}

impl Monitor {
    /// A monitor with every invariant.
    pub fn new(aloud: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                history: History::new(),
                invariants: invariants::all(),
                violation: None,
                counts: Counts::default(),
            }),
            aloud,
        })
    }

    /// Tells what happens, when that is wanted.
    pub fn tell(&self, what: impl FnOnce() -> String) {
        if self.aloud {
            let now = executor::now();
            eprintln!("[{:>4}.{:06}] {}", now / 1_000_000_000, now / 1_000 % 1_000_000, what());
        }
    }

    /// Records a violation, unless there is one already.
    pub fn violate(&self, invariant: &'static str, what: String) {
        self.tell(|| format!("VIOLATION of {invariant}: {what}"));
        self.state.lock().violation.get_or_insert(Violation { invariant, what });
    }

    /// What was found.
    pub fn violation(&self) -> Option<Violation> {
        self.state.lock().violation.clone()
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    /// Notes which clock a member follows.
    pub fn follows(&self, member: u64, clock: usize) {
        self.state.lock().history.clocks.insert(member, clock);
    }

    /// Counts something.
    pub fn count(&self, act: impl FnOnce(&mut Counts)) {
        act(&mut self.state.lock().counts);
    }

    /// Asks the history.
    pub fn history<T>(&self, ask: impl FnOnce(&History) -> T) -> T {
        ask(&self.state.lock().history)
    }

    /// Shows something to all invariants.
    pub fn observe(&self, observation: &Observation<'_>) {
        let mut found = None;
        {
            let state = &mut *self.state.lock();
            for invariant in &mut state.invariants {
                if let Err(what) = invariant.observe(&state.history, observation) {
                    found.get_or_insert((invariant.name(), what));
                }
            }
        }
        if let Some((name, what)) = found {
            self.violate(name, what);
        }
    }

    /// A member's tables take in an entry.
    pub fn applied(&self, member: u64, id: LogId, batch: &WriteBatch) {
        let effects = match Effects::read(batch) {
            Ok(effects) => effects,
            Err(what) => return self.violate("readable_rows", what),
        };
        executor::trace(effects.hash ^ id.index ^ member.rotate_left(48));
        self.tell(|| {
            format!(
                "m{member} applies {}.{} revisions {:?} leases {:?}",
                id.term,
                id.index,
                effects.blocks.keys(),
                effects.leases
            )
        });
        self.observe(&Observation::Applied {
            member,
            id,
            effects: &effects,
        });
        let mut state = self.state.lock();
        state.counts.applied += 1;
        state.history.took_part.insert(member);
        if !state.history.entries.contains_key(&id.index) {
            state.history.extend(id, &effects);
        }
    }

    /// A snapshot took the place of a member's tables.
    pub fn installed(&self, member: u64) {
        self.tell(|| format!("m{member} installs a snapshot"));
        self.count(|counts| counts.installed += 1);
        self.observe(&Observation::Installed { member });
    }

    /// A member sends a request on a stream.
    pub fn append_sent(&self, from: u64, to: u64, request: &wire::AppendRequest) {
        executor::trace(from.rotate_left(32) ^ to.rotate_left(16) ^ request.entries.len() as u64);
        self.observe(&Observation::AppendSent { from, request });
        let Some(vote) = request.vote.as_ref().filter(|vote| vote.committed) else {
            return;
        };
        let state = &mut *self.state.lock();
        if state.history.leaders.insert(vote.term, vote.member).is_none() {
            state.counts.elections += 1;
        }
    }

    /// A member answered a candidate.
    pub fn vote_answered(&self, from: u64, to: u64, pre: bool, asked: &wire::VoteRequest, reply: &wire::VoteReply) {
        executor::trace(from.rotate_left(32) ^ to.rotate_left(16) ^ u64::from(reply.granted) ^ (u64::from(pre) << 1));
        let term = asked.vote.as_ref().map_or(0, |vote| vote.term);
        self.tell(|| {
            format!(
                "m{to} answers m{from}'s {}vote of term {term}: {}",
                if pre { "pre-" } else { "" },
                reply.granted
            )
        });
        if reply.granted && !pre {
            self.observe(&Observation::Voted {
                voter: to,
                candidate: from,
                term,
            });
        }
    }

    /// A client's call ended.
    pub fn done(&self, begun: &Begun, outcome: &Outcome) {
        self.tell(|| format!("m{} {:?} -> {}", begun.member, begun.call, brief(outcome)));
        self.observe(&Observation::Done { begun, outcome });
        let state = &mut *self.state.lock();
        match outcome {
            Outcome::Answered(Answer::Added(_)) => state.counts.added += 1,
            Outcome::Answered(Answer::Removed) => state.counts.removed += 1,
            Outcome::Refused(DeterministicError::NoSpace) => state.counts.no_room += 1,
            _ => {}
        }
        match outcome {
            Outcome::Answered(answer) => {
                state.counts.answered += 1;
                if let Some(revision) = answer.revision() {
                    state.history.told = state.history.told.max(revision);
                }
            }
            Outcome::Refused(_) | Outcome::Unchanged(_) | Outcome::Failed(_) => state.counts.failed += 1,
            Outcome::Unknown(_) => state.counts.unknown += 1,
        }
    }
}

fn brief(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered(answer) => format!("answered at revision {:?}", answer.revision()),
        other => format!("{other:?}"),
    }
}
