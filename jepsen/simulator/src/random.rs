//! The one source of chance of a run. Written out here rather than taken from a crate: a kept seed has to mean the same
//! run for as long as the simulator itself stays the same.

use std::convert::Infallible;
use std::ops::Range;

use rand::rand_core::TryRng;

/// A generator (SplitMix64). Equal seeds give equal sequences.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Self { state: seed };
        // Neighbouring seeds should not begin alike.
        random.draw();
        random
    }

    /// Another generator, independent of what is drawn from this one later.
    pub fn fork(&mut self) -> Self {
        Self::new(self.draw())
    }

    /// 64 random bits.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is at least 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(limit.max(1))) >> 64) as u64
    }

    /// A number in a range that is not empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// True so many times in a million.
    pub fn chance(&mut self, per_million: u32) -> bool {
        self.below(1_000_000) < u64::from(per_million)
    }

    /// An index into something of `length` elements, which is at least 1.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// One of some elements; `None` if there are none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.index(from.len())])
    }

    /// Puts elements in a random order.
    pub fn shuffle<T>(&mut self, elements: &mut [T]) {
        for last in (1..elements.len()).rev() {
            elements.swap(last, self.index(last + 1));
        }
    }

    /// A number whose magnitude is random: small ones are as likely as large ones.
    pub fn magnitude(&mut self, range: Range<u64>) -> u64 {
        let (low, high) = (range.start.max(1), range.end.max(2));
        let bits = self.within(u64::from(low.ilog2())..u64::from(high.ilog2()) + 1);
        let top = 1u64 << bits;
        self.within(top..top * 2).clamp(low, high - 1)
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.draw() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.draw())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_their_ranges() {
        let mut random = Random::new(7);
        for _ in 0..1_000 {
            assert!((3..9).contains(&random.within(3..9)));
            assert!((10..1_000).contains(&random.magnitude(10..1_000)));
        }
        assert_ne!(Random::new(1).draw(), Random::new(2).draw());
    }
}
