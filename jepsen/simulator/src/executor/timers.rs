//! Timers, each on the clock of its machine.

use std::collections::BTreeMap;
use std::task::Waker;

use super::clock::Clock;

/// Names a timer that was set.
pub type TimerId = (u64, u64);

/// The timers of one clock.
#[derive(Debug, Default)]
pub struct Timers {
    /// The clock.
    pub clock: Clock,
    /// By the reading at which they are due, then by when they were set.
    due: BTreeMap<TimerId, Waker>,
}

impl Timers {
    /// Sets a timer.
    pub fn set(&mut self, reading: u64, number: u64, waker: Waker) -> TimerId {
        let id = (reading, number);
        self.due.insert(id, waker);
        id
    }

    /// Wakes another task instead.
    pub fn update(&mut self, id: TimerId, waker: &Waker) {
        if let Some(known) = self.due.get_mut(&id) {
            known.clone_from(waker);
        }
    }

    /// Takes a timer back.
    pub fn cancel(&mut self, id: TimerId) -> Option<Waker> {
        self.due.remove(&id)
    }

    /// When the next one is due, in true time.
    pub fn next(&self) -> Option<u64> {
        let ((reading, _), _) = self.due.first_key_value()?;
        Some(self.clock.when(*reading))
    }

    /// Takes one that is due.
    pub fn take_due(&mut self, now: u64) -> Option<Waker> {
        let entry = self.due.first_entry()?;
        (entry.key().0 <= self.clock.read(now)).then(|| entry.remove())
    }
}
