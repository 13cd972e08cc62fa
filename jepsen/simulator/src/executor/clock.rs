//! A machine's clock: monotonic, running faster or slower than the others, and jumping forward when told to.

/// True time is counted in nanoseconds since the run began; so is each clock's own.
const PARTS: u128 = 1_000_000;

/// A clock. Its reading never goes back, whatever is done to it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    since: u64,
    reading: u64,
    /// Own nanoseconds per million true ones.
    rate: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            since: 0,
            reading: START,
            rate: PARTS as u64,
        }
    }
}

/// Clocks do not start at zero: subtracting from an instant must not reach below it.
const START: u64 = 1_000_000_000_000;

impl Clock {
    /// What the clock shows at true time `now`.
    pub fn read(&self, now: u64) -> u64 {
        let passed = now - self.since;
        // Nearly all clocks run as they should, and this is asked all the time.
        if self.rate == PARTS as u64 {
            return self.reading + passed;
        }
        self.reading + (u128::from(passed) * u128::from(self.rate) / PARTS) as u64
    }

    /// The first true time at which the clock shows `reading` or more, unless it is changed meanwhile.
    pub fn when(&self, reading: u64) -> u64 {
        let ahead = reading.saturating_sub(self.reading);
        if self.rate == PARTS as u64 {
            return self.since + ahead;
        }
        self.since + (u128::from(ahead) * PARTS).div_ceil(u128::from(self.rate)) as u64
    }

    /// From true time `now` on, runs at `rate` parts per million.
    pub fn set_rate(&mut self, now: u64, rate: u64) {
        *self = Self {
            since: now,
            reading: self.read(now),
            rate: rate.max(1),
        };
    }

    /// Jumps forward.
    pub fn jump(&mut self, by: u64) {
        self.reading += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_shows_what_was_predicted_and_never_goes_back() {
        let mut clock = Clock::default();
        clock.set_rate(1_000, 1_100_000);
        let target = clock.read(1_000) + 555;
        let when = clock.when(target);
        assert!(clock.read(when) >= target && clock.read(when - 1) < target);
        let before = clock.read(5_000);
        clock.set_rate(5_000, 900_000);
        assert_eq!(clock.read(5_000), before);
        clock.jump(10);
        assert_eq!(clock.read(5_000), before + 10);
    }
}
