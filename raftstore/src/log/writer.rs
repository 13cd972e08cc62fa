//! The one writer of the stream: turns queued records into batches, one pwrite a batch, one sync a round.
//!
//! A round takes everything that queued up while the previous one was being synced. Its callers are told once it is
//! durable. A round of nothing but committed ids is not synced: losing one only means replaying a little more.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use super::LogOptions;
use super::batch::{BatchHeader, HEADER_BYTES, Place, padded};
use super::disk::{Disk, DiskFile};
use super::index::{Index, Stored};
use super::record::{Claim, ENTRY_PREFIX_BYTES, LogId, Record, Vote};
use super::recover::{Recovered, Segment};
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, parse_spare_name, salt, segment_name, spare_name};
use crate::limits::{LOG_BATCH_BYTES, LOG_SPARE_SEGMENTS};
use crate::metrics::Metrics;

/// The stream's end and everything needed to extend it.
pub struct Writer<D: Disk> {
    disk: Arc<D>,
    segment_bytes: u64,
    metrics: Arc<Metrics>,
    segments: VecDeque<Segment<D::File>>,
    spares: Vec<String>,
    next_spare: u64,
    next_sequence: u64,
    next_batch: u64,
    previous: u32,
    offset: u64,
    /// Everything before this place is durable.
    synced: Place,
    state: Carried,
    body: Vec<u8>,
    /// Entries of the open batch, their places relative to its body.
    open: Vec<(LogId, Stored)>,
    placed: Vec<(LogId, Stored)>,
}

/// What each segment opens with, so that removing the older ones loses none of it.
#[derive(Debug, Default, Clone)]
struct Carried {
    vote: Option<Vote>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    claims: BTreeMap<u64, u64>,
}

/// What a round achieved.
#[derive(Debug, Default)]
pub struct Round {
    /// Entries that are durable now, and where.
    pub placed: Vec<(LogId, Stored)>,
    /// Segments that came into use.
    pub opened: Vec<u64>,
    /// Segments that are gone.
    pub removed: Vec<u64>,
}

impl<D: Disk> Writer<D> {
    /// Continues a recovered log.
    pub fn new(disk: Arc<D>, options: &LogOptions, recovered: Recovered<D::File>, index: &Index) -> Self {
        let state = Carried {
            vote: index.vote,
            purged: index.purged,
            committed: index.committed,
            claims: index.claims.clone(),
        };
        let segment = recovered.segments.back().map_or(0, |segment| segment.sequence);
        let next_spare = recovered
            .spares
            .iter()
            .filter_map(|name| parse_spare_name(name))
            .max()
            .map_or(1, |last| last + 1);
        Self {
            disk,
            segment_bytes: options.segment_bytes,
            metrics: options.metrics.clone(),
            segments: recovered.segments,
            spares: recovered.spares,
            next_spare,
            next_sequence: recovered.next_sequence,
            next_batch: recovered.next_batch,
            previous: recovered.previous,
            offset: recovered.offset,
            synced: Place {
                segment,
                offset: recovered.offset,
            },
            state,
            body: Vec::new(),
            open: Vec::new(),
            placed: Vec::new(),
        }
    }

    /// The file of a segment in use.
    pub fn file(&self, sequence: u64) -> Option<Arc<D::File>> {
        self.segments
            .iter()
            .find(|segment| segment.sequence == sequence)
            .map(|segment| segment.file.clone())
    }

    /// Writes `records`, and syncs them when `durable`.
    pub fn round(&mut self, records: &[Record], durable: bool) -> io::Result<Round> {
        let mut round = Round::default();
        for record in records {
            let bytes = record.encoded_len();
            if bytes > self.record_limit() {
                return Err(io::Error::other(format!(
                    "a record of {bytes} bytes does not fit a segment of {} bytes",
                    self.segment_bytes
                )));
            }
            if !self.body.is_empty() && self.body.len() + bytes > LOG_BATCH_BYTES {
                self.write_batch()?;
            }
            if !self.fits(self.body.len() + bytes) {
                self.write_batch()?;
                self.roll(&mut round)?;
            }
            self.add(record);
        }
        self.write_batch()?;
        if durable {
            self.sync()?;
            self.release(&mut round)?;
        }
        round.placed = std::mem::take(&mut self.placed);
        Ok(round)
    }

    /// Whether the next roll would have to wait for a new file: the name and length of the file to create.
    pub fn wants_spare(&mut self) -> Option<(String, u64)> {
        if !self.spares.is_empty() || self.offset < self.segment_bytes / 2 {
            return None;
        }
        Some((self.new_spare_name(), self.segment_bytes))
    }

    /// Adds the file that [`Writer::wants_spare`] asked for.
    pub fn add_spare(&mut self, name: String) {
        self.spares.push(name);
    }

    fn new_spare_name(&mut self) -> String {
        self.next_spare += 1;
        spare_name(self.next_spare - 1)
    }

    fn record_limit(&self) -> usize {
        // Half a segment, so that the state a segment opens with always fits beside it.
        (self.segment_bytes / 2) as usize
    }

    fn fits(&self, body: usize) -> bool {
        let Some(segment) = self.segments.back() else {
            return false;
        };
        self.offset + padded((HEADER_BYTES + body) as u64) <= segment.length
    }

    fn add(&mut self, record: &Record) {
        match record {
            Record::Entry(entry) => {
                let segment = self.segments.back_mut().expect("fits() saw a segment");
                segment.last_index = segment.last_index.max(Some(entry.id.index));
                let place = Place {
                    segment: segment.sequence,
                    offset: (self.body.len() + ENTRY_PREFIX_BYTES) as u64,
                };
                let checksum = crc32fast::hash(&entry.data);
                self.open.push((
                    entry.id,
                    Stored {
                        place,
                        length: entry.data.len() as u32,
                        checksum,
                    },
                ));
            }
            Record::Vote(vote) => self.state.vote = Some(*vote),
            Record::Purge(upto) => self.state.purged = self.state.purged.max(Some(*upto)),
            Record::Committed(id) => self.state.committed = self.state.committed.max(Some(*id)),
            Record::Claim(claim) => {
                self.state.claims.entry(claim.member).or_insert(claim.token);
            }
            Record::Truncate(_) => {}
        }
        record.encode(&mut self.body);
    }

    fn write_batch(&mut self) -> io::Result<()> {
        if self.body.is_empty() {
            return Ok(());
        }
        let segment = self.segments.back().expect("a batch is only opened in a segment");
        let header = BatchHeader {
            length: self.body.len() as u32,
            body_checksum: crc32fast::hash(&self.body),
            number: self.next_batch,
            previous: self.previous,
            synced: self.synced,
        };
        let (encoded, checksum) = header.encode(salt(segment.sequence));
        let mut bytes = Vec::with_capacity(header.stored_bytes() as usize);
        bytes.extend_from_slice(&encoded);
        bytes.append(&mut self.body);
        bytes.resize(header.stored_bytes() as usize, 0);
        segment.file.write_at(&bytes, self.offset)?;
        self.metrics.log_bytes.add(bytes.len() as u64);
        let body_start = self.offset + HEADER_BYTES as u64;
        for (id, mut stored) in self.open.drain(..) {
            stored.place.offset += body_start;
            self.placed.push((id, stored));
        }
        self.offset += header.stored_bytes();
        (self.next_batch, self.previous) = (self.next_batch + 1, checksum);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(segment) = self.segments.back() {
            self.metrics.log_sync.time(|| segment.file.sync())?;
            self.synced = Place {
                segment: segment.sequence,
                offset: self.offset,
            };
        }
        Ok(())
    }

    /// Starts the next segment. The old one is synced first: at most one segment ever holds writes that are not.
    fn roll(&mut self, round: &mut Round) -> io::Result<()> {
        self.sync()?;
        let sequence = self.next_sequence;
        let name = segment_name(sequence);
        let file = self.take_file(&name)?;
        let header = SegmentHeader {
            sequence,
            first_batch: self.next_batch,
            previous: self.previous,
        };
        header.write(&file)?;
        // Before any batch: recovery takes a batch without a header for damage.
        file.sync()?;
        let length = file.length()?;
        self.segments.push_back(Segment {
            sequence,
            file: Arc::new(file),
            length,
            last_index: None,
        });
        self.next_sequence += 1;
        self.offset = SEGMENT_HEADER_BYTES;
        round.opened.push(sequence);
        let Carried {
            vote,
            purged,
            committed,
            claims,
        } = &self.state;
        let carried = [
            vote.map(Record::Vote),
            purged.map(Record::Purge),
            committed.map(Record::Committed),
        ];
        let claims = claims
            .iter()
            .map(|(&member, &token)| Record::Claim(Claim { member, token }));
        carried
            .into_iter()
            .flatten()
            .chain(claims)
            .for_each(|record| record.encode(&mut self.body));
        Ok(())
    }

    fn take_file(&mut self, name: &str) -> io::Result<D::File> {
        let file = match self.spares.pop() {
            Some(spare) => self.use_spare(&spare, name)?,
            None => self.disk.create(name, self.segment_bytes)?,
        };
        self.disk.sync_directory()?;
        Ok(file)
    }

    fn use_spare(&self, spare: &str, name: &str) -> io::Result<D::File> {
        self.disk.rename(spare, name)?;
        let file = self.disk.open(name)?;
        if file.length()? == self.segment_bytes {
            return Ok(file);
        }
        // Left half-made by a crash, or made under another setting.
        self.disk.create(name, self.segment_bytes)
    }

    /// Lets go of the oldest segments that hold nothing but purged entries. The record that purged them is durable.
    fn release(&mut self, round: &mut Round) -> io::Result<()> {
        let Some(purged) = self.state.purged else { return Ok(()) };
        let mut released = false;
        while self.segments.len() > 1 && self.segments[0].last_index.is_none_or(|last| last <= purged.index) {
            let segment = self.segments.pop_front().expect("the length was checked");
            self.release_file(&segment)?;
            round.removed.push(segment.sequence);
            released = true;
        }
        if released {
            self.disk.sync_directory()?;
        }
        Ok(())
    }

    fn release_file(&mut self, segment: &Segment<D::File>) -> io::Result<()> {
        let name = segment_name(segment.sequence);
        if self.spares.len() >= LOG_SPARE_SEGMENTS || segment.length != self.segment_bytes {
            return self.disk.remove(&name);
        }
        let spare = self.new_spare_name();
        self.disk.rename(&name, &spare)?;
        self.add_spare(spare);
        Ok(())
    }
}
