//! Segment files: their names, and the header block each opens with.

use std::io;

use bytes::{Buf, BufMut};

use super::disk::DiskFile;

/// The header block; batches start behind it.
pub const SEGMENT_HEADER_BYTES: u64 = 4096;

const MAGIC: &[u8; 8] = b"proreus\x01";
const ENCODED_BYTES: usize = 8 + 8 + 8 + 4 + 4;

/// What the header block of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Counts segments; a recycled file gets a new number.
    pub sequence: u64,
    /// Number of the first batch in it.
    pub first_batch: u64,
    /// Checksum of the batch before that one.
    pub previous: u32,
}

impl SegmentHeader {
    /// Writes the header block; durable with the first sync of the segment.
    pub fn write<F: DiskFile>(&self, file: &F) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(ENCODED_BYTES);
        bytes.put_slice(MAGIC);
        bytes.put_u64_le(self.sequence);
        bytes.put_u64_le(self.first_batch);
        bytes.put_u32_le(self.previous);
        let checksum = crc32fast::hash(&bytes);
        bytes.put_u32_le(checksum);
        file.write_at(&bytes, 0)
    }

    /// Reads the header block; `None` when it holds no intact header.
    pub fn read<F: DiskFile>(file: &F) -> io::Result<Option<Self>> {
        if file.length()? < SEGMENT_HEADER_BYTES {
            return Ok(None);
        }
        let mut bytes = [0u8; ENCODED_BYTES];
        file.read_at(&mut bytes, 0)?;
        let stored = (&bytes[ENCODED_BYTES - 4..]).get_u32_le();
        if &bytes[..8] != MAGIC || crc32fast::hash(&bytes[..ENCODED_BYTES - 4]) != stored {
            return Ok(None);
        }
        let mut input = &bytes[8..];
        Ok(Some(Self {
            sequence: input.get_u64_le(),
            first_batch: input.get_u64_le(),
            previous: input.get_u32_le(),
        }))
    }

    /// What the checksums of this segment's batches are salted with.
    pub fn salt(&self) -> u32 {
        salt(self.sequence)
    }
}

/// The salt of a segment. Sequence numbers never repeat, so no two lives of a recycled file share one.
pub fn salt(sequence: u64) -> u32 {
    crc32fast::hash(&sequence.to_le_bytes())
}

/// File name of a segment in use.
pub fn segment_name(sequence: u64) -> String {
    format!("{sequence:016x}.log")
}

/// The sequence number in a file name.
pub fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 16)
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

/// File name of a segment waiting to be used.
pub fn spare_name(number: u64) -> String {
    format!("{number:016x}.spare")
}

/// The number in the name of a waiting segment.
pub fn parse_spare_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".spare")?;
    (digits.len() == 16)
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}
