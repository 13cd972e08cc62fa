//! Waits between attempts that grow while attempts keep failing.

use std::time::Duration;

use jiff::Timestamp;

/// The wait before one thing is tried again: the shortest at first, then doubling up to the longest. A thing that went
/// well for `reset` starts over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// `min <= delay <= max`.
    delay: Duration,
    /// The failure that `delay` counts from.
    since: Timestamp,
}

/// The shape of a growing wait.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The first wait.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    /// How long without a failure makes the next wait the first again.
    pub reset: Duration,
}

impl Backoff {
    /// The wait after a failure at `at`, given the wait after the failure before it.
    pub fn after(previous: Option<Backoff>, at: Timestamp, shape: Shape) -> Backoff {
        let delay = match previous {
            Some(p) if seconds_between(p.since, at) < shape.reset.as_secs_f64() => (p.delay * 2).min(shape.max),
            _ => shape.min,
        };
        Backoff { delay, since: at }
    }

    /// When the next attempt may be made.
    pub fn until(&self) -> Timestamp {
        self.since.saturating_add(self.delay).unwrap_or(Timestamp::MAX)
    }

    /// The wait.
    pub fn delay(&self) -> Duration {
        self.delay
    }
}

fn seconds_between(earlier: Timestamp, later: Timestamp) -> f64 {
    later.duration_since(earlier).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        min: Duration::from_secs(10),
        max: Duration::from_secs(300),
        reset: Duration::from_secs(600),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn it_doubles_up_to_the_longest() {
        let mut backoff = None;
        let mut delays = Vec::new();
        for n in 0..7 {
            let next = Backoff::after(backoff, at(n), SHAPE);
            delays.push(next.delay().as_secs());
            backoff = Some(next);
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_long_run_starts_over() {
        let first = Backoff::after(None, at(0), SHAPE);
        let second = Backoff::after(Some(first), at(20), SHAPE);
        assert_eq!(second.delay().as_secs(), 20);
        assert_eq!(Backoff::after(Some(second), at(620), SHAPE).delay().as_secs(), 10);
    }
}
