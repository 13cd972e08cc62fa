//! Batches: what one write of the writer consists of. A batch is a header, records, and padding to eight bytes.
//!
//! Each header has its own checksum, salted by the segment so that a recycled segment's old batches are not taken for
//! new ones. It carries its number, the checksum of the batch before it (so the stream is one chain) and the place up to
//! which the log was known to be synced when it was written (so that recovery can tell corruption from a torn tail).

use bytes::{Buf, BufMut};

/// A place in the stream. Ordered as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// Sequence number of the segment.
    pub segment: u64,
    /// Byte offset inside it.
    pub offset: u64,
}

/// Header of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Bytes of records after the header, padding not counted.
    pub length: u32,
    /// CRC-32 of those bytes.
    pub body_checksum: u32,
    /// Counts batches; never restarts.
    pub number: u64,
    /// Checksum of the header before this one; it covers that batch's body through `body_checksum`.
    pub previous: u32,
    /// Everything before this place was durable when the batch was written.
    pub synced: Place,
}

/// Encoded length of a header.
pub const HEADER_BYTES: usize = 48;
/// Batches start at multiples of this.
pub const ALIGNMENT: u64 = 8;

const MAGIC: u32 = u32::from_le_bytes(*b"prB1");

impl BatchHeader {
    /// Encodes the header; returns it and its checksum, which the next batch carries.
    pub fn encode(&self, salt: u32) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0u8; HEADER_BYTES];
        let mut out = &mut bytes[..];
        out.put_u32_le(MAGIC);
        out.put_u32_le(self.length);
        out.put_u32_le(self.body_checksum);
        out.put_u32_le(self.previous);
        out.put_u64_le(self.number);
        out.put_u64_le(self.synced.segment);
        out.put_u64_le(self.synced.offset);
        let checksum = salted(salt, &bytes[..HEADER_BYTES - 8]);
        bytes[HEADER_BYTES - 8..HEADER_BYTES - 4].copy_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    /// Decodes a header and its checksum; `None` unless it is intact and was written under this salt.
    pub fn decode(bytes: &[u8], salt: u32) -> Option<(Self, u32)> {
        if bytes.len() < HEADER_BYTES || bytes[..4] != MAGIC.to_le_bytes() {
            return None;
        }
        let expected = salted(salt, &bytes[..HEADER_BYTES - 8]);
        let stored = (&bytes[HEADER_BYTES - 8..]).get_u32_le();
        if stored != expected {
            return None;
        }
        let mut input = &bytes[4..];
        let length = input.get_u32_le();
        let body_checksum = input.get_u32_le();
        let previous = input.get_u32_le();
        let number = input.get_u64_le();
        let synced = Place {
            segment: input.get_u64_le(),
            offset: input.get_u64_le(),
        };
        Some((
            Self {
                length,
                body_checksum,
                number,
                previous,
                synced,
            },
            stored,
        ))
    }

    /// Bytes the batch takes on disk.
    pub fn stored_bytes(&self) -> u64 {
        padded(HEADER_BYTES as u64 + u64::from(self.length))
    }
}

/// Rounds up to the alignment of batches.
pub fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}

fn salted(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: BatchHeader = BatchHeader {
        length: 100,
        body_checksum: 7,
        number: 12,
        previous: 99,
        synced: Place {
            segment: 3,
            offset: 4096,
        },
    };

    #[test]
    fn a_header_survives_its_encoding() {
        let (bytes, checksum) = HEADER.encode(5);
        assert_eq!(BatchHeader::decode(&bytes, 5), Some((HEADER, checksum)));
    }

    #[test]
    fn another_salt_or_any_flipped_bit_voids_it() {
        let (bytes, _) = HEADER.encode(5);
        assert_eq!(BatchHeader::decode(&bytes, 6), None);
        for bit in 0..(HEADER_BYTES - 4) * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BatchHeader::decode(&flipped, 5), None, "bit {bit}");
        }
    }
}
