//! Checking the directory of a member that does not run.
//!
//! # Theory
//! A member's directory has three parts that must fit: the file that says whose it is, the log, and the tables. Each is
//! checked for itself: every batch of the log by its checksum and its place in the chain, every row of the tables by what
//! the other tables say of it. Then together: what the tables have applied is where the log goes on.
//!
//! # Left out
//! Whether the member agrees with its peers; they compare hashes while they run. Nothing is changed, a torn tail included.

use std::path::Path;

use mvcc::{Fault, Rows, Verified};

use crate::claim::Owner;
use crate::log::{self, ReadOnlyDisk, Survey};
use crate::store::LOG_DIRECTORY;

/// What was found.
#[derive(Debug)]
pub struct Findings {
    /// Whose the directory is.
    pub owner: Option<Owner>,
    /// The log, if it can be read.
    pub log: Option<Survey>,
    /// The tables, if they can be read.
    pub tables: Option<Verified>,
    /// What is wrong, each with the file or the row that it was seen in. None: nothing is.
    pub problems: Vec<String>,
}

/// Checks a member's directory and its tables, which are the caller's to open. The member must not run.
pub fn verify(directory: &Path, tables: Result<impl Rows, Fault>) -> Findings {
    let mut problems = Vec::new();
    let owner = Owner::read(directory).unwrap_or_else(|error| {
        problems.push(error.to_string());
        None
    });
    let log = log::survey(&ReadOnlyDisk::new(directory.join(LOG_DIRECTORY)));
    let log = log.map_err(|error| problems.push(error.to_string())).ok();
    let tables = tables.map(|rows| mvcc::verify(&rows));
    let tables = tables.map_err(|fault| problems.push(fault.to_string())).ok();
    if let Some(verified) = &tables {
        problems.extend(verified.problems.iter().map(ToString::to_string));
    }
    if let (Some(log), Some(tables)) = (&log, &tables) {
        problems.extend(gap(log, tables));
        if owner.is_none() && problems.is_empty() && log.last.is_some() {
            problems.push(format!(
                "{}: the file `member`, which says whose the directory is, is gone",
                directory.display()
            ));
        }
    }
    Findings {
        owner,
        log,
        tables,
        problems,
    }
}

/// Entries that the log let go of although the tables do not have them.
///
/// The other way round is no fault: a member that stopped right after it took a snapshot has tables ahead of its log.
fn gap(log: &Survey, tables: &Verified) -> Option<String> {
    let purged = log.purged?.index;
    let applied = tables.applied.map(|applied| applied.index);
    if applied >= Some(purged) {
        return None;
    }
    let applied = applied.map_or("no entry at all".into(), |index| {
        format!("entry {index} and no later one")
    });
    Some(format!(
        "the log begins behind entry {purged}, but the tables have {applied}: what lies between is lost. Remove this \
         member from the cluster and add it again under a new id with an empty data directory"
    ))
}

#[cfg(test)]
mod tests {
    use mvcc::{Backend, Machine, Memory};
    use std::sync::Arc;

    use super::*;
    use crate::log::{Log, LogId, LogOptions, RealDisk};
    use openraft::impls::TokioRuntime;

    async fn member(directory: &Path, purged: u64) {
        let options = crate::Options::new(7, "t", Vec::new());
        Owner::of(&options).claim(directory).unwrap();
        let disk = RealDisk::new(directory.join(LOG_DIRECTORY)).unwrap();
        let options = LogOptions {
            segment_bytes: 1 << 20,
            ..LogOptions::default()
        };
        let log = Log::open::<TokioRuntime>(disk, options).await.unwrap();
        log.purge(LogId { term: 1, index: purged }).unwrap();
        log.flush().await.unwrap();
    }

    fn tables(applied: u64) -> Memory {
        let memory = Memory::new();
        let mut machine = Machine::open(Arc::new(memory.clone())).unwrap();
        machine
            .advance(
                mvcc::LogId {
                    term: 1,
                    index: applied,
                },
                &[],
            )
            .unwrap();
        memory.flush().unwrap();
        memory
    }

    #[tokio::test]
    async fn what_the_log_let_go_of_must_be_in_the_tables() {
        let directory = tempfile::tempdir().unwrap();
        member(directory.path(), 5).await;
        let found = verify(directory.path(), Ok(tables(5)));
        assert_eq!(found.problems, Vec::<String>::new());
        assert_eq!(found.owner.unwrap().member, 7);
        let found = verify(directory.path(), Ok(tables(4)));
        assert!(found.problems[0].contains("behind entry 5"), "{:?}", found.problems);
        let found = verify(directory.path(), Ok(Memory::new()));
        assert!(found.problems[0].contains("no entry at all"), "{:?}", found.problems);
    }

    #[tokio::test]
    async fn damage_in_the_log_names_file_and_offset_and_nothing_is_changed() {
        let directory = tempfile::tempdir().unwrap();
        member(directory.path(), 5).await;
        // The second start writes behind the first, which it then calls synced.
        member(directory.path(), 6).await;
        let segment = directory.path().join(LOG_DIRECTORY).join("0000000000000001.log");
        let mut content = std::fs::read(&segment).unwrap();
        content[4096 + 50] ^= 1;
        std::fs::write(&segment, &content).unwrap();
        let found = verify(directory.path(), Ok(tables(6)));
        let problem = &found.problems[0];
        assert!(
            problem.contains("0000000000000001.log") && problem.contains("byte 4096"),
            "{problem}"
        );
        assert_eq!(std::fs::read(&segment).unwrap(), content);
    }

    #[tokio::test]
    async fn a_torn_tail_is_told_and_is_no_problem() {
        let directory = tempfile::tempdir().unwrap();
        member(directory.path(), 5).await;
        let segment = directory.path().join(LOG_DIRECTORY).join("0000000000000001.log");
        let whole = verify(directory.path(), Ok(tables(5))).log.unwrap();
        assert_eq!(whole.torn, None);
        let mut content = std::fs::read(&segment).unwrap();
        // A batch may end in zeros: what was torn is put well behind it.
        let last = content.iter().rposition(|byte| *byte != 0).unwrap();
        let torn = (last + 1).next_multiple_of(4096);
        content[torn + 3] = 9;
        std::fs::write(&segment, &content).unwrap();
        let found = verify(directory.path(), Ok(tables(5)));
        assert_eq!(found.problems, Vec::<String>::new());
        let (file, from) = found.log.unwrap().torn.unwrap();
        assert_eq!(file, "0000000000000001.log");
        assert!((last as u64 + 1..=torn as u64).contains(&from), "{from} of {last}");
    }
}
