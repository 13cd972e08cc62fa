//! Reading a bbolt file that somebody else wrote: every number in it is checked before it is used.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use thiserror::Error;

use super::{
    BRANCH_PAGE, BUCKET_ELEMENT, ELEMENT_BYTES, LEAF_PAGE, MAGIC, META_PAGE, PAGE_HEADER_BYTES, VERSION, checksum,
};

/// What follows a meta page's header.
const META_BYTES: usize = 64;
/// Page sizes are powers of two, those of the machines that wrote the files.
const PAGE_BYTES_RANGE: std::ops::RangeInclusive<u64> = 1 << 9..=1 << 16;
/// A tree this deep would hold more than any disk.
const DEPTH_MAX: usize = 40;
/// A bucket's root and sequence.
const BUCKET_BYTES: usize = 16;

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub enum BoltError {
    /// The file is not one, or is damaged.
    #[error("it is no intact bbolt file: at byte {offset}: {reason}")]
    Malformed {
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The disk failed.
    #[error("it cannot be read at byte {offset}: {source}")]
    Io {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
}

fn malformed(offset: u64, reason: impl Into<String>) -> BoltError {
    BoltError::Malformed {
        offset,
        reason: reason.into(),
    }
}

/// Takes a row; false ends the walk.
type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> bool + 'a;

/// Takes what is in a leaf: flags, key, value, and where its page begins. False ends the walk.
type Element<'a> = dyn FnMut(u32, &[u8], &[u8], u64) -> Result<bool, BoltError> + 'a;

/// An open file.
pub struct Reader {
    file: File,
    page_bytes: u64,
    /// Pages from here on are not in use, and none of them is behind the end of the file.
    end: u64,
    root: u64,
}

/// One page, or what is inside a bucket that has none.
struct Page {
    /// Where it begins, for messages.
    offset: u64,
    bytes: Vec<u8>,
}

/// A walk over one tree.
struct Walk<'a> {
    /// The key before; all ascend.
    last: Option<Vec<u8>>,
    /// Pages that may still be read: a tree has each once.
    pages_left: u64,
    visit: &'a mut Element<'a>,
}

impl Reader {
    /// Opens the first `length` bytes of a file.
    pub fn open(file: File, length: u64) -> Result<Self, BoltError> {
        // The second meta page is one page behind the first, whose size only a meta page tells.
        let mut sizes = PAGE_BYTES_RANGE;
        let mut offset = 0;
        let mut metas = Vec::new();
        loop {
            if let Some(meta) = Meta::read(&file, offset, length)? {
                metas.push(meta);
            }
            let size = metas.first().map(|meta: &Meta| meta.page_bytes);
            match size {
                Some(size) if offset == 0 => offset = size,
                Some(_) => break,
                None if sizes.is_empty() => break,
                None => {
                    offset = *sizes.start();
                    sizes = offset * 2..=*sizes.end();
                }
            }
        }
        let newest = metas.into_iter().max_by_key(|meta| meta.transaction);
        let meta = newest.ok_or_else(|| malformed(0, "neither of its first two pages is intact"))?;
        if meta.end > length / meta.page_bytes {
            let wanted = meta.end.saturating_mul(meta.page_bytes);
            return Err(malformed(length, format!("it is cut: it should have {wanted} bytes")));
        }
        Ok(Self {
            file,
            page_bytes: meta.page_bytes,
            end: meta.end,
            root: meta.root,
        })
    }

    /// Visits the rows of a bucket in order. False: there is no such bucket.
    pub fn each(&self, bucket: &[u8], visit: &mut Visit<'_>) -> Result<bool, BoltError> {
        let mut found = None;
        self.walk(&self.page(self.root)?, &mut |flags, key, value, offset| {
            if key != bucket {
                return Ok(true);
            }
            if flags & BUCKET_ELEMENT == 0 || value.len() < BUCKET_BYTES {
                return Err(malformed(offset, "a row stands where a bucket is expected"));
            }
            found = Some((number(value, 0, 8), value[BUCKET_BYTES..].to_vec(), offset));
            Ok(false)
        })?;
        let Some((root, inline, offset)) = found else {
            return Ok(false);
        };
        let page = match root {
            // So small that it is kept in the row itself.
            0 => Page { offset, bytes: inline },
            root => self.page(root)?,
        };
        self.walk(&page, &mut |flags, key, value, offset| {
            if flags & BUCKET_ELEMENT != 0 {
                return Err(malformed(offset, "a bucket stands where a row is expected"));
            }
            Ok(visit(key, value))
        })?;
        Ok(true)
    }

    fn walk(&self, root: &Page, visit: &mut Element<'_>) -> Result<(), BoltError> {
        let mut walk = Walk {
            last: None,
            pages_left: self.end,
            visit,
        };
        self.descend(root, &mut walk, 0).map(drop)
    }

    fn descend(&self, page: &Page, walk: &mut Walk<'_>, depth: usize) -> Result<bool, BoltError> {
        if depth > DEPTH_MAX {
            return Err(malformed(page.offset, "the tree is too deep"));
        }
        for index in 0..page.count() {
            let (at, element) = page.element(index)?;
            if page.kind() == LEAF_PAGE {
                let flags = number(element, 0, 4) as u32;
                let key_bytes = number(element, 8, 4);
                let row = page.part(at, number(element, 4, 4), key_bytes + number(element, 12, 4))?;
                let (key, value) = row.split_at(key_bytes as usize);
                if walk.last.as_deref().is_some_and(|last| last >= key) {
                    return Err(malformed(page.offset, "the keys do not ascend"));
                }
                walk.last = Some(key.to_vec());
                if !(walk.visit)(flags, key, value, page.offset)? {
                    return Ok(false);
                }
            } else {
                let child = self.page(number(element, 8, 8))?;
                // What overflows into further pages counts as these, so that no more is ever read than the file has.
                let pages = child.bytes.len() as u64 / self.page_bytes;
                walk.pages_left = walk
                    .pages_left
                    .checked_sub(pages)
                    .ok_or_else(|| malformed(page.offset, "it goes in circles"))?;
                if !self.descend(&child, walk, depth + 1)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn page(&self, id: u64) -> Result<Page, BoltError> {
        let offset = id.saturating_mul(self.page_bytes);
        if id >= self.end {
            return Err(malformed(offset, format!("page {id} is behind the last one")));
        }
        let mut bytes = vec![0; PAGE_HEADER_BYTES];
        read(&self.file, offset, &mut bytes)?;
        let overflow = number(&bytes, 12, 4);
        let kind = number(&bytes, 8, 2) as u16;
        if number(&bytes, 0, 8) != id || ![BRANCH_PAGE, LEAF_PAGE].contains(&kind) || overflow >= self.end - id {
            return Err(malformed(offset, format!("page {id} is not what it should be")));
        }
        bytes.resize(((overflow + 1) * self.page_bytes) as usize, 0);
        read(&self.file, offset, &mut bytes)?;
        Ok(Page { offset, bytes })
    }
}

impl Page {
    fn kind(&self) -> u16 {
        match self.bytes.len() {
            0..PAGE_HEADER_BYTES => LEAF_PAGE,
            _ => number(&self.bytes, 8, 2) as u16,
        }
    }

    fn count(&self) -> usize {
        match self.bytes.len() {
            0..PAGE_HEADER_BYTES => 0,
            _ => number(&self.bytes, 10, 2) as usize,
        }
    }

    /// Where an element is, and its bytes.
    fn element(&self, index: usize) -> Result<(usize, &[u8]), BoltError> {
        let at = PAGE_HEADER_BYTES + index * ELEMENT_BYTES;
        let element = self.bytes.get(at..at + ELEMENT_BYTES);
        let element = element.ok_or_else(|| malformed(self.offset, "it has more rows than fit"))?;
        Ok((at, element))
    }

    /// Some bytes, at a position counted from an element.
    fn part(&self, element: usize, position: u64, length: u64) -> Result<&[u8], BoltError> {
        let start = element as u64 + position;
        let part = self.bytes.get(start as usize..(start + length) as usize);
        part.ok_or_else(|| malformed(self.offset, "a row reaches out of its page"))
    }
}

/// A meta page.
struct Meta {
    page_bytes: u64,
    root: u64,
    end: u64,
    transaction: u64,
}

impl Meta {
    /// The meta page at `offset`, if there is an intact one.
    fn read(file: &File, offset: u64, length: u64) -> Result<Option<Self>, BoltError> {
        let mut bytes = [0; PAGE_HEADER_BYTES + META_BYTES];
        if offset + bytes.len() as u64 > length {
            return Ok(None);
        }
        read(file, offset, &mut bytes)?;
        let (header, meta) = bytes.split_at(PAGE_HEADER_BYTES);
        let (content, sum) = meta.split_at(META_BYTES - 8);
        let page_bytes = number(content, 8, 4);
        let intact = number(header, 8, 2) as u16 & META_PAGE != 0
            && number(content, 0, 4) as u32 == MAGIC
            && number(content, 4, 4) as u32 == VERSION
            && checksum(content) == number(sum, 0, 8)
            && page_bytes.is_power_of_two()
            && PAGE_BYTES_RANGE.contains(&page_bytes);
        Ok(intact.then(|| Self {
            page_bytes,
            root: number(content, 16, 8),
            end: number(content, 40, 8),
            transaction: number(content, 48, 8),
        }))
    }
}

fn read(file: &File, offset: u64, into: &mut [u8]) -> Result<(), BoltError> {
    file.read_exact_at(into, offset)
        .map_err(|source| BoltError::Io { offset, source })
}

/// `length` bytes at a place that is known to be there.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let mut number = [0; 8];
    number[..length].copy_from_slice(&bytes[at..at + length]);
    u64::from_le_bytes(number)
}
