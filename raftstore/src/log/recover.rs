//! Reading the log back.
//!
//! The batches of all segments form one chain. Recovery follows it to the first batch that is not intact and asks one
//! question: does any intact header after that place claim that the place was synced?
//!
//! | after the break                                  | meaning            | done                            |
//! |--------------------------------------------------|--------------------|---------------------------------|
//! | nothing, or only headers that claim no more      | torn tail          | cut there, wipe the rest        |
//! | a header whose synced place lies beyond the break| corruption         | refuse to start                 |
//! | a segment file without a header, last in order   | never used         | removed                         |
//! | the same, but a batch of that segment is in it   | corruption         | refuse to start                 |
//! | a segment file without a header, others after it | corruption         | refuse to start                 |
//!
//! A header is durable before the first batch behind it is written, so a batch without a header is never a torn tail.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::{ALIGNMENT, BatchHeader, HEADER_BYTES, Place};
use super::disk::{Disk, DiskFile};
use super::error::LogError;
use super::index::{Index, Stored};
use super::record::{ENTRY_PREFIX_BYTES, Entry, LogId, Record, Vote};
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, parse_segment_name, parse_spare_name, salt, segment_name};

/// A segment in use.
#[derive(Debug)]
pub struct Segment<F> {
    /// Its number.
    pub sequence: u64,
    /// Its file.
    pub file: Arc<F>,
    /// Length of the file.
    pub length: u64,
    /// Largest index of an entry in it.
    pub last_index: Option<u64>,
}

/// What was found on disk.
#[derive(Debug)]
pub struct Recovered<F> {
    /// The entries and the rest of the state.
    pub index: Index,
    /// Segments in order; the last one is written to.
    pub segments: VecDeque<Segment<F>>,
    /// Names of files waiting to be used.
    pub spares: Vec<String>,
    /// Number of the next batch.
    pub next_batch: u64,
    /// Checksum of the last batch.
    pub previous: u32,
    /// Where the next batch goes in the last segment.
    pub offset: u64,
    /// Sequence number for the next segment.
    pub next_sequence: u64,
}

/// Recovers the log of `disk`, keeping at most `cache_bytes` of payloads in memory.
pub fn recover<D: Disk>(disk: &D, cache_bytes: usize) -> Result<Recovered<D::File>, LogError> {
    let names = list(disk)?;
    let spares = names.iter().filter(|name| parse_spare_name(name).is_some());
    let sequences = sequences(&names);
    let scan = Scan::all(disk, cache_bytes, &sequences)?;
    let spares = spares.cloned().collect();
    scan.finish(spares, sequences.last().map_or(1, |last| last + 1))
}

/// Looks at the log of `disk` as [`recover`] does, and changes nothing.
pub fn survey<D: Disk>(disk: &D) -> Result<Survey, LogError> {
    let sequences = sequences(&list(disk)?);
    let scan = Scan::all(disk, 0, &sequences)?;
    scan.check_hole()?;
    let torn = scan
        .torn()
        .map_err(|error| LogError::io("read the end of", disk.describe(), error))?;
    let index = scan.index;
    Ok(Survey {
        segments: sequences.len(),
        first_index: index.first_index(),
        last: index.last(),
        purged: index.purged,
        vote: index.vote,
        committed: index.committed,
        torn,
    })
}

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Files in use.
    pub segments: usize,
    /// The first entry present.
    pub first_index: Option<u64>,
    /// The last entry, or the last purged one when there is none.
    pub last: Option<LogId>,
    /// The last purged entry.
    pub purged: Option<LogId>,
    /// The last vote.
    pub vote: Option<Vote>,
    /// The last entry known here to be committed.
    pub committed: Option<LogId>,
    /// The file and the offset behind which something was written that was never known to be synced. The next start cuts
    /// it; nobody was promised anything of it.
    pub torn: Option<(String, u64)>,
}

fn list<D: Disk>(disk: &D) -> Result<Vec<String>, LogError> {
    disk.list()
        .map_err(|error| LogError::io("list the log directory", disk.describe(), error))
}

/// The numbers of the segments in use, ascending.
fn sequences(names: &[String]) -> Vec<u64> {
    let mut sequences: Vec<u64> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
    sequences.sort_unstable();
    sequences
}

/// Where the chain broke, and in which segment.
struct Break {
    place: Place,
    reason: &'static str,
}

struct Scan<'a, D: Disk> {
    disk: &'a D,
    cache_bytes: usize,
    index: Index,
    segments: VecDeque<Segment<D::File>>,
    /// `None` until the first segment's header told it.
    chain: Option<(u64, u32)>,
    offset: u64,
    broken: Option<Break>,
    /// Segments that lie wholly behind the break, or were never used.
    discarded: Vec<String>,
}

impl<'a, D: Disk> Scan<'a, D> {
    fn all(disk: &'a D, cache_bytes: usize, sequences: &[u64]) -> Result<Self, LogError> {
        let mut scan = Self::new(disk, cache_bytes);
        for (position, sequence) in sequences.iter().enumerate() {
            scan.segment(*sequence, position + 1 == sequences.len())?;
        }
        Ok(scan)
    }

    fn new(disk: &'a D, cache_bytes: usize) -> Self {
        Self {
            disk,
            cache_bytes,
            index: Index::default(),
            segments: VecDeque::new(),
            chain: None,
            offset: SEGMENT_HEADER_BYTES,
            broken: None,
            discarded: Vec::new(),
        }
    }

    fn segment(&mut self, sequence: u64, last: bool) -> Result<(), LogError> {
        let name = segment_name(sequence);
        let (file, content) = self.load(&name)?;
        let header = SegmentHeader::read(&file).map_err(|error| LogError::io("read", name.clone(), error))?;
        let Some(header) = header.filter(|header| header.sequence == sequence) else {
            if !last {
                return Err(self.corrupt(&name, 0, "the segment header is damaged but later segments exist"));
            }
            if holds_batch(&content, salt(sequence)) {
                return Err(self.corrupt(&name, 0, "the segment header is damaged but batches follow it"));
            }
            self.discarded.push(name);
            return Ok(());
        };
        if let Some(broken) = &self.broken {
            if claims_synced(&content, SEGMENT_HEADER_BYTES, header.salt(), broken.place) {
                return Err(self.corrupt_break());
            }
            self.discarded.push(name);
            return Ok(());
        }
        if self
            .chain
            .is_some_and(|chain| chain != (header.first_batch, header.previous))
        {
            self.break_chain("the next segment does not continue it");
            return self.segment_after_break(name, &content, header);
        }
        self.chain = Some((header.first_batch, header.previous));
        let length = content.len() as u64;
        self.segments.push_back(Segment {
            sequence,
            file: Arc::new(file),
            length,
            last_index: None,
        });
        self.offset = SEGMENT_HEADER_BYTES;
        self.batches(&name, &content, header)
    }

    fn segment_after_break(&mut self, name: String, content: &Bytes, header: SegmentHeader) -> Result<(), LogError> {
        let place = self.broken.as_ref().expect("set by the caller").place;
        if claims_synced(content, SEGMENT_HEADER_BYTES, header.salt(), place) {
            return Err(self.corrupt_break());
        }
        self.discarded.push(name);
        Ok(())
    }

    fn load(&self, name: &str) -> Result<(D::File, Bytes), LogError> {
        let fail = |error| LogError::io("read", name.to_owned(), error);
        let file = self.disk.open(name).map_err(fail)?;
        let mut content = vec![0; file.length().map_err(fail)? as usize];
        file.read_at(&mut content, 0).map_err(fail)?;
        Ok((file, Bytes::from(content)))
    }

    /// Follows the chain through one segment.
    fn batches(&mut self, name: &str, content: &Bytes, segment: SegmentHeader) -> Result<(), LogError> {
        let (mut number, mut previous) = self.chain.expect("set by the caller");
        loop {
            let start = self.offset as usize;
            let Some((header, checksum)) = content
                .get(start..)
                .and_then(|rest| BatchHeader::decode(rest, segment.salt()))
            else {
                break;
            };
            let body_start = start + HEADER_BYTES;
            let body_end = body_start + header.length as usize;
            if header.number != number || header.previous != previous || body_end > content.len() {
                break;
            }
            let body = content.slice(body_start..body_end);
            if crc32fast::hash(&body) != header.body_checksum {
                break;
            }
            self.replay(name, segment.sequence, body_start as u64, body)?;
            (number, previous) = (number + 1, checksum);
            self.offset += header.stored_bytes();
        }
        self.chain = Some((number, previous));
        let place = Place {
            segment: segment.sequence,
            offset: self.offset,
        };
        if claims_synced(content, self.offset, segment.salt(), place) {
            return Err(self.corrupt(name, self.offset, "a later batch says that this one was synced"));
        }
        Ok(())
    }

    fn replay(&mut self, name: &str, segment: u64, start: u64, body: Bytes) -> Result<(), LogError> {
        let mut rest = body.clone();
        while !rest.is_empty() {
            let offset = start + (body.len() - rest.len()) as u64;
            let record = Record::decode(&mut rest).ok_or_else(|| {
                self.corrupt(
                    name,
                    offset,
                    "an intact batch holds a record this version does not know",
                )
            })?;
            self.replay_record(name, Place { segment, offset }, record)?;
        }
        Ok(())
    }

    fn replay_record(&mut self, name: &str, place: Place, record: Record) -> Result<(), LogError> {
        match record {
            Record::Entry(entry) => {
                if !self.index.accepts(entry.id.index, true) {
                    return Err(self.corrupt(name, place.offset, "the entry does not follow the one before it"));
                }
                self.push(place, entry);
            }
            Record::Truncate(after) => self.index.truncate(after),
            Record::Purge(upto) => self.index.purge(upto),
            Record::Vote(vote) => self.index.vote = Some(vote),
            Record::Committed(id) => self.index.committed = self.index.committed.max(Some(id)),
            Record::Claim(claim) => {
                self.index.claims.entry(claim.member).or_insert(claim.token);
            }
        }
        Ok(())
    }

    fn push(&mut self, place: Place, entry: Entry) {
        let stored = Stored {
            place: Place {
                offset: place.offset + ENTRY_PREFIX_BYTES as u64,
                ..place
            },
            length: entry.data.len() as u32,
            checksum: crc32fast::hash(&entry.data),
        };
        let segment = self.segments.back_mut().expect("a segment is being scanned");
        segment.last_index = segment.last_index.max(Some(entry.id.index));
        // Copied: a slice would keep the whole segment in memory.
        let data = Bytes::copy_from_slice(&entry.data);
        self.index.push(Entry { data, ..entry }, Some(stored));
        self.index.evict(self.cache_bytes);
    }

    fn break_chain(&mut self, reason: &'static str) {
        let segment = self.segments.back().map_or(0, |segment| segment.sequence);
        self.broken = Some(Break {
            place: Place {
                segment,
                offset: self.offset,
            },
            reason,
        });
    }

    fn corrupt(&self, name: &str, offset: u64, reason: &'static str) -> LogError {
        LogError::Corrupt {
            directory: self.disk.describe(),
            file: name.to_owned(),
            offset,
            reason,
        }
    }

    fn corrupt_break(&self) -> LogError {
        let broken = self.broken.as_ref().expect("only asked after a break");
        self.corrupt(&segment_name(broken.place.segment), broken.place.offset, broken.reason)
    }

    fn finish(mut self, spares: Vec<String>, next_sequence: u64) -> Result<Recovered<D::File>, LogError> {
        self.check_hole()?;
        self.drop_empty_segment();
        self.wipe()
            .map_err(|error| LogError::io("cut the torn tail of", self.disk.describe(), error))?;
        let (next_batch, previous) = self.chain.unwrap_or((1, 0));
        Ok(Recovered {
            index: self.index,
            segments: self.segments,
            spares,
            next_batch,
            previous,
            offset: self.offset,
            next_sequence,
        })
    }

    /// A segment whose first batch is not intact does not carry the state that segments open with. It goes, so that the
    /// next one does; the one before it is full.
    fn drop_empty_segment(&mut self) {
        if self.offset > SEGMENT_HEADER_BYTES {
            return;
        }
        if let Some(empty) = self.segments.pop_back() {
            self.discarded.push(segment_name(empty.sequence));
            self.offset = self
                .segments
                .back()
                .map_or(SEGMENT_HEADER_BYTES, |segment| segment.length);
        }
    }

    /// Entries between the purged one and the first one present would be a loss nobody noticed.
    fn check_hole(&self) -> Result<(), LogError> {
        let expected = self.index.purged.map_or(0, |purged| purged.index + 1);
        match self.index.first_index() {
            Some(first) if first > expected => {
                let segment = self.segments.front().map_or(0, |segment| segment.sequence);
                Err(self.corrupt(&segment_name(segment), 0, "entries before the first one are missing"))
            }
            _ => Ok(()),
        }
    }

    /// Where something lies behind the end.
    fn torn(&self) -> io::Result<Option<(String, u64)>> {
        if let Some(segment) = self.segments.back()
            && rest(&*segment.file, self.offset, segment.length)?
                .iter()
                .any(|byte| *byte != 0)
        {
            return Ok(Some((segment_name(segment.sequence), self.offset)));
        }
        Ok(self.discarded.first().map(|name| (name.clone(), 0)))
    }

    /// Removes what lies behind the end, so that it can never be taken for a continuation, and makes the rest durable: a
    /// killed process may have left writes that were seen here but are not on the disk yet.
    fn wipe(&mut self) -> io::Result<()> {
        for name in &self.discarded {
            self.disk.remove(name)?;
        }
        if let Some(segment) = self.segments.back() {
            zero_rest(&*segment.file, self.offset, segment.length)?;
        }
        for segment in &self.segments {
            segment.file.sync()?;
        }
        self.disk.sync_directory()
    }
}

fn zero_rest<F: DiskFile>(file: &F, from: u64, length: u64) -> io::Result<()> {
    let rest = rest(file, from, length)?;
    match rest.iter().rposition(|byte| *byte != 0) {
        Some(last) => file.write_at(&vec![0; last + 1], from),
        None => Ok(()),
    }
}

fn rest<F: DiskFile>(file: &F, from: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut rest = vec![0; length.saturating_sub(from) as usize];
    file.read_at(&mut rest, from)?;
    Ok(rest)
}

/// Whether any batch of the segment with this salt is there.
fn holds_batch(content: &[u8], salt: u32) -> bool {
    any_header(content, SEGMENT_HEADER_BYTES, salt, |_| true)
}

/// Whether an intact header at or after `from` claims that more than `place` was synced.
fn claims_synced(content: &[u8], from: u64, salt: u32, place: Place) -> bool {
    any_header(content, from, salt, |header| header.synced > place)
}

fn any_header(content: &[u8], from: u64, salt: u32, matches: impl Fn(&BatchHeader) -> bool) -> bool {
    let mut offset = from.next_multiple_of(ALIGNMENT) as usize;
    while offset + HEADER_BYTES <= content.len() {
        if let Some((header, _)) = BatchHeader::decode(&content[offset..], salt)
            && matches(&header)
        {
            return true;
        }
        offset += ALIGNMENT as usize;
    }
    false
}
