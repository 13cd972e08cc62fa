//! The commands of the golden scripts.

mod auth;
mod parse;
mod show;

use std::{fmt::Write, sync::Arc};

use mvcc::{Direction, FAMILIES, LogId, Machine, Memory, ReadError, Rows, Step};
use proto::raft::Batch;

use parse::{Words, number, text};

/// One store, through its crashes, with the log it follows.
pub struct Session {
    memory: Memory,
    machine: Machine<Memory>,
    log: Vec<Batch>,
    term: u64,
}

impl Session {
    pub fn new() -> Self {
        let memory = Memory::new();
        let machine = Machine::open(Arc::new(memory.clone())).expect("memory does not fail");
        Self {
            memory,
            machine,
            log: Vec::new(),
            term: 1,
        }
    }

    /// Runs a command and returns its output, in lines.
    pub fn run(&mut self, command: &str) -> String {
        let mut words = command.split_whitespace();
        let name = words.next().expect("blank lines are left out");
        let mut out = String::new();
        match name {
            "get" => out += &show::range(self.machine.reader().range(None, &parse::range(&mut words))),
            "readtxn" => out += &show::read_txn(self.machine.reader().txn(None, &parse::txn(&mut words))),
            "as" => self.run_as(command, &mut words, &mut out),
            "auth" => out += &auth::show(&self.machine.view()),
            "blocks" => self.blocks(&mut words, &mut out),
            "sweep" => {
                let rows_max = words.next().map_or(usize::MAX, |word| number(word) as usize);
                let swept = self.machine.physical_compact(rows_max).expect("memory does not fail");
                writeln!(out, "removed={} done={}", swept.removed, swept.done).expect("a String grows");
            }
            "rows" => self.rows(words.next().expect("a table"), &mut out),
            "leases" => out += &show::leases(&self.machine.view()),
            "status" => out += &show::status(&self.machine.view()),
            "flush" => out += &show::log_id(mvcc::Backend::flush(&self.memory).expect("memory does not fail")),
            "crash" => self.crash(&mut out),
            "term" => {
                self.term = number(words.next().expect("a term")) as u64;
                out += "ok\n";
            }
            _ => self.apply(command, &mut out),
        }
        out
    }

    /// `as USER REVISION` before a read or a request.
    fn run_as(&mut self, command: &str, words: &mut Words<'_>, out: &mut String) {
        let identity = Some(auth::identity(words));
        let reader = self.machine.reader();
        match words.next() {
            Some("get") => *out += &show::range(reader.range(identity.as_ref(), &parse::range(words))),
            Some("readtxn") => *out += &show::read_txn(reader.txn(identity.as_ref(), &parse::txn(words))),
            Some(what) if auth::LOOKS.contains(&what) => {
                *out += &auth::look(&self.machine.view(), identity.as_ref(), what, words);
            }
            _ => self.apply(command, out),
        }
    }

    /// Everything else is proposed: one request, or several of one entry separated by `|`.
    fn apply(&mut self, command: &str, out: &mut String) {
        let command = command.strip_prefix("batch ").unwrap_or(command);
        let requests = command
            .split(" | ")
            .map(|request| parse::request(&mut request.split_whitespace()))
            .collect();
        self.log.push(Batch { requests });
        *out += &self.follow(self.log.len());
    }

    fn follow(&mut self, index: usize) -> String {
        let batch = self.log[index - 1].clone();
        let id = LogId {
            term: self.term,
            index: index as u64,
        };
        let applied = self.machine.apply(id, &batch).expect("memory does not fail");
        show::applied(&applied)
    }

    /// Loses what was not flushed, loads again and replays, without showing what was shown before.
    fn crash(&mut self, out: &mut String) {
        self.memory.crash();
        self.machine = Machine::open(Arc::new(self.memory.clone())).expect("memory does not fail");
        let applied = self.machine.applied().map_or(0, |id| id.index as usize);
        for index in applied + 1..=self.log.len() {
            self.follow(index);
        }
        writeln!(out, "replayed={}", self.log.len() - applied).expect("a String grows");
    }

    fn blocks(&mut self, words: &mut Words<'_>, out: &mut String) {
        let from = number(words.next().expect("a revision"));
        let mut to = i64::MAX;
        let mut bytes_max = usize::MAX;
        for word in words {
            match word.split_once('=') {
                Some(("max", value)) => bytes_max = number(value) as usize,
                _ => to = number(word),
            }
        }
        match self.machine.reader().blocks(from, to, bytes_max) {
            Ok(read) => {
                *out += &show::blocks(&read.blocks);
                writeln!(out, "next={}", read.next_revision).expect("a String grows");
            }
            Err(ReadError::Refused(refusal)) => writeln!(out, "refused: {refusal}").expect("a String grows"),
            Err(ReadError::Fault(fault)) => panic!("{fault}"),
        }
    }

    fn rows(&self, table: &str, out: &mut String) {
        let family = *FAMILIES.iter().find(|family| family.name() == table).expect("a table");
        let mut visit = |key: &[u8], value: &[u8]| {
            writeln!(out, "{} = {}", text(key), text(value)).expect("a String grows");
            Step::Next
        };
        self.memory
            .scan(family, Direction::Forward, None, &mut visit)
            .expect("memory does not fail");
    }
}
