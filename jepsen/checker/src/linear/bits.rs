//! Which operations have been taken. Almost all of a long history is behind the search or ahead of it, so that what is
//! remembered of a configuration is only the window between the first operation not taken and the last one taken.

const WORD: usize = 64;

#[derive(Clone)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(super) fn new(len: usize) -> Bits {
        Bits {
            words: vec![0; len.div_ceil(WORD)],
        }
    }

    pub(super) fn set(&mut self, at: usize) {
        self.words[at / WORD] |= 1 << (at % WORD);
    }

    pub(super) fn clear(&mut self, at: usize) {
        self.words[at / WORD] &= !(1 << (at % WORD));
    }

    /// Appends the window: where it starts, how long it is, and its words. Two sets of one size have the same window
    /// exactly when they are equal.
    pub(super) fn window(&self, into: &mut Vec<u64>) {
        let first = self
            .words
            .iter()
            .position(|word| *word != u64::MAX)
            .unwrap_or(self.words.len());
        let last = self
            .words
            .iter()
            .rposition(|word| *word != 0)
            .map_or(first, |last| last + 1)
            .max(first);
        into.push(first as u64);
        into.push((last - first) as u64);
        into.extend_from_slice(&self.words[first..last]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_differ_exactly_when_sets_do() {
        let window = |set: &[usize]| {
            let mut bits = Bits::new(300);
            set.iter().for_each(|at| bits.set(*at));
            let mut words = Vec::new();
            bits.window(&mut words);
            words
        };
        let prefix: Vec<usize> = (0..130).collect();
        assert_eq!(window(&prefix), window(&prefix));
        assert_eq!(window(&prefix).len(), 3, "whole words behind the search are not kept");
        let mut skipping = prefix.clone();
        skipping[129] = 131;
        assert_ne!(window(&prefix), window(&skipping));
        assert_ne!(window(&[]), window(&[0]));
        let mut bits = Bits::new(70);
        bits.set(69);
        bits.clear(69);
        let mut words = Vec::new();
        bits.window(&mut words);
        assert_eq!(words, window(&[]));
    }
}
