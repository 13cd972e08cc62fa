//! Bytes of a file on a disk in memory: what a reader sees, and what a crash leaves of it.

use std::collections::BTreeSet;
use std::io;

/// A file's bytes. What is written is seen at once and survives a crash once it is synced; of the rest a crash keeps or
/// loses whole units, in any combination, like a kernel that was writing some of them back when the power went.
#[derive(Debug, Default)]
pub struct Volatile {
    unit: usize,
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Units of `seen` written since the last sync.
    dirty: BTreeSet<usize>,
}

impl Volatile {
    /// So many zeros, which are durable. `unit` is the bytes of what a crash keeps or loses whole, at least 1.
    pub fn zeros(length: usize, unit: usize) -> Self {
        Self {
            unit: unit.max(1),
            seen: vec![0; length],
            durable: vec![0; length],
            dirty: BTreeSet::new(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Fills `buffer` from `offset`; fails where there is less.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = offset as usize;
        let bytes = self.seen.get(start..start + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    /// Writes all of `buffer` at `offset` and gives the end of it (0 where there is nothing to write); fails where there is no room for it.
    pub fn write_at(&mut self, buffer: &[u8], offset: u64) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let start = offset as usize;
        let end = start + buffer.len();
        if end > self.seen.len() {
            return Err(io::Error::other("write past the end of a preallocated file"));
        }
        self.seen[start..end].copy_from_slice(buffer);
        self.dirty.extend(start / self.unit..=(end - 1) / self.unit);
        Ok(end)
    }

    /// Makes everything durable.
    pub fn sync(&mut self) {
        for unit in std::mem::take(&mut self.dirty) {
            self.keep(unit);
        }
    }

    fn keep(&mut self, unit: usize) {
        let start = unit * self.unit;
        let end = (start + self.unit).min(self.seen.len());
        self.durable[start..end].copy_from_slice(&self.seen[start..end]);
    }

    /// What a crash leaves: of the units that were not synced those for which `survives` says so. Nothing is left of `self`.
    pub fn crash(&mut self, mut survives: impl FnMut(usize) -> bool) -> Self {
        for unit in std::mem::take(&mut self.dirty) {
            if survives(unit) {
                self.keep(unit);
            }
        }
        let durable = std::mem::take(&mut self.durable);
        self.seen.clear();
        Self {
            unit: self.unit,
            seen: durable.clone(),
            durable,
            dirty: BTreeSet::new(),
        }
    }

    /// Flips a bit, in what is seen and in what is durable.
    pub fn flip_bit(&mut self, offset: usize, bit: u8) {
        self.seen[offset] ^= 1 << bit;
        self.durable[offset] ^= 1 << bit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_what_was_synced_and_whole_units_of_the_rest() {
        let mut file = Volatile::zeros(8, 2);
        file.write_at(b"aaaaaaaa", 0).unwrap();
        file.sync();
        file.write_at(b"bbbbb", 1).unwrap();
        let left = file.crash(|unit| unit == 1);
        let mut bytes = [0; 8];
        left.read_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"aabbaaaa");
        assert!(file.read_at(&mut bytes, 0).is_err(), "old handles are cut off");
        assert!(file.write_at(b"x", 0).is_err());
    }
}
