//! Every bound of the checkers, in one place. Beyond a bound a verdict is `Unknown`, never a guess.

/// How much one search may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// States tried by one search.
    pub steps_max: u64,
    /// Bytes that the configurations already tried may take, estimated.
    pub cache_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            steps_max: 50_000_000,
            cache_bytes_max: 1 << 30,
        }
    }
}

/// Operations that a counterexample shows before the one that fits nowhere.
pub const COUNTEREXAMPLE_PREFIX_MAX: usize = 8;
/// Operations that a counterexample shows beside it.
pub const COUNTEREXAMPLE_CONCURRENT_MAX: usize = 16;
/// Anomalies that one verdict lists; the rest are counted.
pub const ANOMALIES_MAX: usize = 50;
