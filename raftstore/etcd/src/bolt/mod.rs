//! bbolt files, the format of etcd's database and of its snapshots.
//!
//! The file is pages of one size, all integers little-endian: two meta pages, a free list (empty in what is written here),
//! then B+trees. A bucket is a tree of its own; the tree of all buckets has their names as keys and the page of their root as
//! values. The meta page with the higher transaction counts, if it is whole.

mod reader;
mod writer;

pub use reader::{BoltError, Reader};
pub use writer::Writer;

const PAGE_HEADER_BYTES: usize = 16;
const ELEMENT_BYTES: usize = 16;

const BRANCH_PAGE: u16 = 0x01;
const LEAF_PAGE: u16 = 0x02;
const META_PAGE: u16 = 0x04;
const FREELIST_PAGE: u16 = 0x10;
/// Of a leaf's element: the value is a bucket.
const BUCKET_ELEMENT: u32 = 0x01;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;

/// Of a meta page: FNV-1a of what comes before it.
fn checksum(meta: &[u8]) -> u64 {
    meta.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    type Rows = Vec<(Vec<u8>, Vec<u8>)>;

    fn rows(reader: &Reader, bucket: &[u8]) -> Result<Option<Rows>, BoltError> {
        let mut found = Vec::new();
        let there = reader.each(bucket, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            true
        })?;
        Ok(there.then_some(found))
    }

    fn written(count: usize) -> (File, u64, Rows) {
        let mut bolt = Writer::new(tempfile::tempfile().unwrap()).unwrap();
        let row = |index: usize| {
            let length = if index % 500 == 7 { 20_000 } else { index % 90 };
            (format!("key-{index:06}").into_bytes(), vec![index as u8; length])
        };
        let rows: Rows = (0..count).map(row).collect();
        for (key, value) in &rows {
            bolt.row(key, value).unwrap();
        }
        bolt.finish_bucket(b"many").unwrap();
        bolt.finish_bucket(b"empty").unwrap();
        let (file, length) = bolt.finish().unwrap();
        (file, length, rows)
    }

    #[test]
    fn what_is_written_reads_back_through_branches_and_large_rows() {
        let (file, length, expected) = written(30_000);
        assert_eq!(file.metadata().unwrap().len(), length);
        let reader = Reader::open(file, length).unwrap();
        assert_eq!(rows(&reader, b"many").unwrap().unwrap(), expected);
        assert_eq!(rows(&reader, b"empty").unwrap().unwrap(), []);
        assert!(rows(&reader, b"other").unwrap().is_none());
    }

    /// Whatever is changed in a file, reading it ends, with rows or with an error; a panic or an endless walk fails.
    #[test]
    fn a_damaged_file_never_brings_the_reader_down() {
        use std::os::unix::fs::FileExt;
        let (file, length, _) = written(1_000);
        let mut refused = 0;
        for at in (0..length).step_by(97) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            for flipped in [byte[0] ^ 0x01, byte[0] ^ 0x80, 0xff] {
                file.write_all_at(&[flipped], at).unwrap();
                let read = Reader::open(file.try_clone().unwrap(), length).and_then(|reader| rows(&reader, b"many"));
                refused += usize::from(read.is_err());
            }
            file.write_all_at(&byte, at).unwrap();
        }
        assert!(refused > 0);
        for length in (0..length).step_by(4096) {
            assert!(
                Reader::open(file.try_clone().unwrap(), length)
                    .and_then(|reader| rows(&reader, b"many"))
                    .is_err()
            );
        }
    }
}
