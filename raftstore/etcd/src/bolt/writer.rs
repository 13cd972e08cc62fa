//! Writing a bbolt file. Keys come in order, so each tree is written from left to right, its open pages the only thing in
//! memory; the meta pages, which say where the root is, come last.

use std::io::{self, Seek, SeekFrom, Write};

use super::{
    BRANCH_PAGE, BUCKET_ELEMENT, ELEMENT_BYTES, FREELIST_PAGE, LEAF_PAGE, MAGIC, META_PAGE, PAGE_HEADER_BYTES, VERSION,
    checksum,
};

const PAGE_BYTES: usize = 4096;
/// Pages 0 and 1 are the meta pages.
const FREELIST_PAGE_ID: u64 = 2;
const FIRST_PAGE_ID: u64 = 3;
/// Elements in one page, bounded by the width of their count.
const ELEMENTS_MAX: usize = 1_000;

/// A file in the making.
pub struct Writer<W> {
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

impl<W: Write + Seek> Writer<W> {
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
    let checksum = checksum(&meta);
    meta.extend(checksum.to_le_bytes());
    meta
}
