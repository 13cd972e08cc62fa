//! Writing a bbolt file, the format of etcd's database and of its snapshots.
//!
//! The file is pages of 4 KiB, all integers little-endian: two meta pages, a free list (empty here), then B+trees. A bucket
//! is a tree of its own; the tree of all buckets has their names as keys and the page of their root as values. Keys come in
//! order, so each tree is written from left to right, its open pages the only thing in memory; the meta pages, which say
//! where the root is, come last.

use std::io::{self, Seek, SeekFrom, Write};

const PAGE_BYTES: usize = 4096;
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
/// Pages 0 and 1 are the meta pages.
const FREELIST_PAGE_ID: u64 = 2;
const FIRST_PAGE_ID: u64 = 3;
/// Elements in one page, bounded by the width of their count.
const ELEMENTS_MAX: usize = 1_000;

/// A file in the making.
pub struct Bolt<W> {
    out: W,
    next_page: u64,
    /// Names and roots of the buckets that are done.
    buckets: Vec<(Vec<u8>, u64)>,
    tree: Tree,
}

/// The open pages of the bucket that is being written, leaves first.
#[derive(Default)]
struct Tree {
    leaf: Elements,
    branches: Vec<Elements>,
}

#[derive(Default)]
struct Elements {
    /// Flags, key and, of a leaf, value; of a branch, the page.
    list: Vec<(u32, Vec<u8>, Vec<u8>, u64)>,
    bytes: usize,
}

impl Elements {
    fn fits(&self, bytes: usize) -> bool {
        self.list.len() < ELEMENTS_MAX && PAGE_HEADER_BYTES + self.bytes + ELEMENT_BYTES + bytes <= PAGE_BYTES
    }

    fn push(&mut self, flags: u32, key: Vec<u8>, value: Vec<u8>, page: u64) {
        self.bytes += ELEMENT_BYTES + key.len() + value.len();
        self.list.push((flags, key, value, page));
    }
}

impl<W: Write + Seek> Bolt<W> {
    /// An empty file.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.seek(SeekFrom::Start(FIRST_PAGE_ID * PAGE_BYTES as u64))?;
        Ok(Self {
            out,
            next_page: FIRST_PAGE_ID,
            buckets: Vec::new(),
            tree: Tree::default(),
        })
    }

    /// Adds a row to the open bucket. Keys have to ascend.
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.leaf(0, key, value)
    }

    fn leaf(&mut self, flags: u32, key: &[u8], value: &[u8]) -> io::Result<()> {
        if !self.tree.leaf.list.is_empty() && !self.tree.leaf.fits(key.len() + value.len()) {
            let full = std::mem::take(&mut self.tree.leaf);
            self.close(LEAF_PAGE, full, 0)?;
        }
        self.tree.leaf.push(flags, key.to_vec(), value.to_vec(), 0);
        Ok(())
    }

    /// Writes a full page and notes it in the level above.
    fn close(&mut self, kind: u16, full: Elements, level: usize) -> io::Result<()> {
        let first = full.list.first().map(|element| element.1.clone()).unwrap_or_default();
        let page = self.write(kind, &full)?;
        self.branch(level, first, page)
    }

    fn branch(&mut self, level: usize, key: Vec<u8>, page: u64) -> io::Result<()> {
        if self.tree.branches.len() == level {
            self.tree.branches.push(Elements::default());
        }
        // A branch with one child would not divide anything, however long its keys are.
        let open = &mut self.tree.branches[level];
        if open.list.len() >= 2 && !open.fits(key.len()) {
            let full = std::mem::take(open);
            self.close(BRANCH_PAGE, full, level + 1)?;
        }
        self.tree.branches[level].push(0, key, Vec::new(), page);
        Ok(())
    }

    /// Ends the open bucket under a name.
    pub fn finish_bucket(&mut self, name: &[u8]) -> io::Result<()> {
        let root = self.finish_tree()?;
        self.buckets.push((name.to_vec(), root));
        Ok(())
    }

    /// Closes all open pages, from the leaves up, and gives the root.
    fn finish_tree(&mut self) -> io::Result<u64> {
        let leaf = std::mem::take(&mut self.tree.leaf);
        if self.tree.branches.is_empty() {
            return self.write(LEAF_PAGE, &leaf);
        }
        self.close(LEAF_PAGE, leaf, 0)?;
        let mut level = 0;
        loop {
            let open = std::mem::take(&mut self.tree.branches[level]);
            if level + 1 == self.tree.branches.len() {
                self.tree.branches.clear();
                return match &open.list[..] {
                    [only] => Ok(only.3),
                    _ => self.write(BRANCH_PAGE, &open),
                };
            }
            self.close(BRANCH_PAGE, open, level + 1)?;
            level += 1;
        }
    }

    fn write(&mut self, kind: u16, elements: &Elements) -> io::Result<u64> {
        let id = self.next_page;
        let bytes = PAGE_HEADER_BYTES + elements.bytes;
        let pages = bytes.div_ceil(PAGE_BYTES);
        let mut page = header(id, kind, elements.list.len() as u16, pages as u32 - 1);
        page.reserve(pages * PAGE_BYTES);
        // Positions are counted from the element that has them.
        let mut content = elements.list.len() * ELEMENT_BYTES;
        for (index, (flags, key, value, child)) in elements.list.iter().enumerate() {
            let position = (content - index * ELEMENT_BYTES) as u32;
            if kind == LEAF_PAGE {
                page.extend(flags.to_le_bytes());
                page.extend(position.to_le_bytes());
                page.extend((key.len() as u32).to_le_bytes());
                page.extend((value.len() as u32).to_le_bytes());
            } else {
                page.extend(position.to_le_bytes());
                page.extend((key.len() as u32).to_le_bytes());
                page.extend(child.to_le_bytes());
            }
            content += key.len() + value.len();
        }
        for (_, key, value, _) in &elements.list {
            page.extend_from_slice(key);
            page.extend_from_slice(value);
        }
        page.resize(pages * PAGE_BYTES, 0);
        self.out.write_all(&page)?;
        self.next_page += pages as u64;
        Ok(id)
    }

    /// Completes the file and gives it back, with its length.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        let mut buckets = std::mem::take(&mut self.buckets);
        buckets.sort();
        for (name, root) in buckets {
            let mut value = root.to_le_bytes().to_vec();
            value.extend(0u64.to_le_bytes());
            self.leaf(BUCKET_ELEMENT, &name, &value)?;
        }
        let root = self.finish_tree()?;
        let end = self.next_page;
        self.out.seek(SeekFrom::Start(0))?;
        for id in 0..FREELIST_PAGE_ID {
            let mut page = header(id, META_PAGE, 0, 0);
            page.extend(meta(root, end, id));
            page.resize(PAGE_BYTES, 0);
            self.out.write_all(&page)?;
        }
        let mut freelist = header(FREELIST_PAGE_ID, FREELIST_PAGE, 0, 0);
        freelist.resize(PAGE_BYTES, 0);
        self.out.write_all(&freelist)?;
        self.out.flush()?;
        Ok((self.out, end * PAGE_BYTES as u64))
    }
}

fn header(id: u64, kind: u16, count: u16, overflow: u32) -> Vec<u8> {
    let mut page = Vec::with_capacity(PAGE_BYTES);
    page.extend(id.to_le_bytes());
    page.extend(kind.to_le_bytes());
    page.extend(count.to_le_bytes());
    page.extend(overflow.to_le_bytes());
    page
}

fn meta(root: u64, end: u64, transaction: u64) -> Vec<u8> {
    let mut meta = Vec::new();
    for number in [MAGIC, VERSION, PAGE_BYTES as u32, 0] {
        meta.extend(number.to_le_bytes());
    }
    // The root bucket with its sequence, the free list, the first page behind the file, the transaction.
    for number in [root, 0, FREELIST_PAGE_ID, end, transaction] {
        meta.extend(number.to_le_bytes());
    }
    let checksum = meta.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    meta.extend(checksum.to_le_bytes());
    meta
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
        let mut number = [0; 8];
        number[..len].copy_from_slice(&bytes[at..at + len]);
        u64::from_le_bytes(number)
    }

    /// Reads a tree back, as bbolt would.
    fn rows(file: &[u8], page: u64, found: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        let start = page as usize * PAGE_BYTES;
        assert_eq!(number(file, start, 8), page);
        let kind = number(file, start + 8, 2) as u16;
        for index in 0..number(file, start + 10, 2) as usize {
            let element = start + PAGE_HEADER_BYTES + index * ELEMENT_BYTES;
            if kind == BRANCH_PAGE {
                let key = element + number(file, element, 4) as usize;
                let length = number(file, element + 4, 4) as usize;
                let before = found.len();
                rows(file, number(file, element + 8, 8), found);
                assert_eq!(
                    found[before].0,
                    file[key..key + length],
                    "a branch names its child's first key"
                );
            } else {
                let key = element + number(file, element + 4, 4) as usize;
                let value = key + number(file, element + 8, 4) as usize;
                let end = value + number(file, element + 12, 4) as usize;
                found.push((file[key..value].to_vec(), file[value..end].to_vec()));
            }
        }
    }

    #[test]
    fn what_is_written_reads_back_through_branches_and_large_rows() {
        let mut bolt = Bolt::new(io::Cursor::new(Vec::new())).unwrap();
        let row = |index: usize| {
            let length = if index % 500 == 7 { 20_000 } else { index % 90 };
            (format!("key-{index:06}").into_bytes(), vec![index as u8; length])
        };
        let written: Vec<_> = (0..30_000).map(row).collect();
        for (key, value) in &written {
            bolt.row(key, value).unwrap();
        }
        bolt.finish_bucket(b"many").unwrap();
        bolt.finish_bucket(b"empty").unwrap();
        let (file, length) = bolt.finish().unwrap();
        let file = file.into_inner();
        assert_eq!(file.len() as u64, length);
        let root = number(&file, PAGE_BYTES + PAGE_HEADER_BYTES + 16, 8);
        let mut buckets = Vec::new();
        rows(&file, root, &mut buckets);
        let names: Vec<&[u8]> = buckets.iter().map(|(name, _)| &name[..]).collect();
        assert_eq!(names, [&b"empty"[..], b"many"]);
        let mut read = Vec::new();
        rows(&file, number(&buckets[1].1, 0, 8), &mut read);
        assert!(read == written);
    }
}
