//! A machine's disk for the log.
//!
//! What is written is seen at once and durable after a sync. A crash keeps, of what was not synced, any set of sectors, and
//! a prefix of the directory's changes, as a journaling file system does. A *fuse* cuts the power between any two
//! operations. Space can run out, syncs can fail or be slow, and sectors that were synced can rot.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raftstore::log::{Disk, DiskFile, Volatile};
use tokio::sync::Notify;

use crate::executor;
use crate::plant::{self, Plant};
use crate::random::Random;

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
struct Content {
    bytes: Volatile,
    /// End of what was written before the last syncs that had something to sync, newest first: below the oldest, a later batch
    /// calls the bytes synced.
    marks: [usize; 3],
    written: usize,
}

type Shared = Arc<Mutex<Content>>;

/// A change of the directory that is not durable yet.
#[derive(Debug)]
enum Change {
    Link(String, Shared),
    Rename(String, String),
    Unlink(String),
}

/// How a disk behaves.
#[derive(Debug, Clone, Copy)]
pub struct Temper {
    /// An operation takes less than this.
    pub latency: Duration,
    /// Bytes that fit.
    pub capacity: u64,
    /// Syncs fail.
    pub syncs_fail: bool,
}

/// A disk that does what it should.
pub const SOUND: Temper = Temper {
    latency: Duration::from_micros(300),
    capacity: u64::MAX,
    syncs_fail: false,
};

struct State {
    names: BTreeMap<String, Shared>,
    durable_names: BTreeMap<String, Shared>,
    journal: Vec<Change>,
    temper: Temper,
    /// Operations left before the power goes.
    fuse: Option<u64>,
    dead: bool,
}

/// The disk; clones share it.
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    died: Arc<Notify>,
}

/// How much of what was not synced a crash keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survivors {
    /// Nothing.
    None,
    /// Each sector by the toss of a coin.
    Some,
    /// Everything.
    All,
}

fn power_lost() -> io::Error {
    io::Error::other("the power is gone")
}

fn no_space() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "no space left on the simulated disk")
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name} on the simulated disk"))
}

impl Default for SimulatedDisk {
    fn default() -> Self {
        let state = State {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            journal: Vec::new(),
            temper: SOUND,
            fuse: None,
            dead: false,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            died: Arc::new(Notify::new()),
        }
    }
}

impl State {
    /// Counts an operation; fails from the one on that the power is cut at.
    fn operate(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.fuse {
            *left = left.saturating_sub(1);
            self.dead |= *left == 0;
        }
        if self.dead { Err(power_lost()) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| file.lock().bytes.len() as u64).sum()
    }

    fn note(&mut self, change: Change) {
        self.journal.push(change);
    }
}

fn replay(names: &mut BTreeMap<String, Shared>, change: Change) {
    match change {
        Change::Link(name, file) => drop(names.insert(name, file)),
        Change::Rename(from, to) => {
            if let Some(file) = names.remove(&from) {
                names.insert(to, file);
            }
        }
        Change::Unlink(name) => drop(names.remove(&name)),
    }
}

impl SimulatedDisk {
    /// Changes how the disk behaves.
    pub fn set_temper(&self, temper: Temper) {
        self.state.lock().temper = temper;
    }

    /// How it behaves.
    pub fn temper(&self) -> Temper {
        self.state.lock().temper
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.state.lock().used()
    }

    /// Bytes that still fit.
    pub fn free(&self) -> u64 {
        let state = self.state.lock();
        state.temper.capacity.saturating_sub(state.used())
    }

    /// Cuts the power when so many more operations were done.
    pub fn light_fuse(&self, operations: u64) {
        self.state.lock().fuse = Some(operations.max(1));
    }

    /// Takes a fuse back that has not burnt down.
    pub fn quench(&self) {
        self.state.lock().fuse = None;
    }

    /// Returns once the power is gone.
    pub async fn wait_dead(&self) {
        while !self.state.lock().dead {
            self.died.notified().await;
        }
    }

    /// Whether the power went.
    pub fn is_dead(&self) -> bool {
        self.state.lock().dead
    }

    /// Cuts the power, and gives it back: the files are now what survived. Handles from before are cut off.
    pub fn crash(&self, survivors: Survivors, random: &mut Random) {
        let mut state = self.state.lock();
        let keep = match survivors {
            Survivors::None => 0,
            Survivors::Some => random.index(state.journal.len() + 1),
            Survivors::All => state.journal.len(),
        };
        let journal: Vec<Change> = std::mem::take(&mut state.journal);
        for change in journal.into_iter().take(keep) {
            replay(&mut state.durable_names, change);
        }
        let files = state.durable_names.iter();
        let names: BTreeMap<String, Shared> = files
            .map(|(name, file)| (name.clone(), survive(&mut file.lock(), survivors, random)))
            .collect();
        state.names = names.clone();
        state.durable_names = names;
        (state.fuse, state.dead) = (None, false);
    }

    /// Flips a bit somewhere that a later batch calls synced. Says where.
    pub fn rot(&self, random: &mut Random) -> Option<String> {
        let state = self.state.lock();
        let files: Vec<_> = state
            .names
            .iter()
            .filter(|(_, file)| file.lock().marks[2] > 0)
            .collect();
        let (name, file) = random.pick(&files)?;
        let mut file = file.lock();
        let offset = random.index(file.marks[2]);
        file.bytes.flip_bit(offset, random.below(8) as u8);
        Some(format!("{name} at byte {offset}"))
    }

    /// Loses everything.
    pub fn wipe(&self) {
        let mut state = self.state.lock();
        state.names.clear();
        state.durable_names.clear();
        state.journal.clear();
    }
}

fn survive(file: &mut Content, survivors: Survivors, random: &mut Random) -> Shared {
    let bytes = file.bytes.crash(|_| match survivors {
        Survivors::None => false,
        Survivors::Some => random.chance(500_000),
        Survivors::All => true,
    });
    Arc::new(Mutex::new(Content {
        bytes,
        marks: file.marks,
        written: file.marks[0],
    }))
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<SimulatedFile> {
        let state = self.state.lock();
        let content = state.names.get(name).cloned().ok_or_else(|| missing(name))?;
        Ok(SimulatedFile {
            content,
            disk: self.clone(),
        })
    }

    fn create(&self, name: &str, length: u64) -> io::Result<SimulatedFile> {
        let mut state = self.state.lock();
        state.operate()?;
        let replaced = state.names.get(name).map_or(0, |file| file.lock().bytes.len() as u64);
        if state.used() - replaced + length > state.temper.capacity {
            return Err(no_space());
        }
        let content = Arc::new(Mutex::new(Content {
            bytes: Volatile::zeros(length as usize, SECTOR_BYTES),
            ..Content::default()
        }));
        state.names.insert(name.to_owned(), content.clone());
        state.note(Change::Link(name.to_owned(), content.clone()));
        Ok(SimulatedFile {
            content,
            disk: self.clone(),
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operate()?;
        let file = state.names.remove(from).ok_or_else(|| missing(from))?;
        {
            // Used anew: what its bytes were called before says nothing about them.
            let mut content = file.lock();
            (content.marks, content.written) = ([0; 3], 0);
        }
        state.names.insert(to.to_owned(), file);
        state.note(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operate()?;
        state.names.remove(name).ok_or_else(|| missing(name))?;
        state.note(Change::Unlink(name.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operate()?;
        if state.temper.syncs_fail {
            return Err(io::Error::other("the simulated disk was told to fail syncs"));
        }
        if !plant::is(Plant::LostSync) {
            let journal = std::mem::take(&mut state.journal);
            for change in journal {
                replay(&mut state.durable_names, change);
            }
        }
        Ok(())
    }

    /// Takes its time before and after, so that a crash can come between the work and its report.
    async fn offload<T, W>(&self, work: W) -> io::Result<T>
    where
        T: Send + 'static,
        W: FnOnce() -> io::Result<T> + Send + 'static,
    {
        self.dawdle().await;
        let done = work();
        if self.is_dead() {
            // The machine is gone: nobody is left to be told.
            self.died.notify_one();
            return std::future::pending().await;
        }
        self.dawdle().await;
        done
    }

    fn describe(&self) -> String {
        "simulated".to_owned()
    }
}

impl SimulatedDisk {
    async fn dawdle(&self) {
        let latency = self.temper().latency.as_nanos() as u64;
        executor::sleep(Duration::from_nanos(executor::random(|random| random.below(latency)))).await;
    }
}

/// A file of a [`SimulatedDisk`].
pub struct SimulatedFile {
    content: Shared,
    disk: SimulatedDisk,
}

impl DiskFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.content.lock().bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.content.lock().bytes.read_at(buffer, offset)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.disk.state.lock().operate()?;
        let mut content = self.content.lock();
        let end = content.bytes.write_at(buffer, offset)?;
        content.written = content.written.max(end);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let temper = {
            let mut state = self.disk.state.lock();
            state.operate()?;
            state.temper
        };
        if temper.syncs_fail {
            return Err(io::Error::other("the simulated disk was told to fail syncs"));
        }
        if plant::is(Plant::LostSync) {
            return Ok(());
        }
        let mut content = self.content.lock();
        content.bytes.sync();
        let marks = content.marks;
        // A sync of nothing is followed by no batch that could tell of it.
        if content.written > marks[0] {
            content.marks = [content.written, marks[0], marks[1]];
        }
        Ok(())
    }
}
