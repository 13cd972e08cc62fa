//! What happened, as one number: two runs of a seed have to agree on it.

/// A running hash over everything that happens, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142)
    }
}

impl Trace {
    /// Takes in a number.
    pub fn number(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9fb2_1c65_1e98_df25);
    }

    /// Takes in bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.number(u64::from_le_bytes(word));
        }
    }

    /// The hash so far.
    pub fn value(self) -> u64 {
        self.0
    }
}

/// The hash of some bytes alone.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut trace = Trace::default();
    trace.bytes(bytes);
    trace.value()
}
