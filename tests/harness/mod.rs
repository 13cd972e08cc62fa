//! What the tests share: the program under test, skipping visibly, running commands, and waiting on conditions.

pub mod cluster;
pub mod images;

use std::io::Write;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The program under test.
pub fn proreus() -> Command {
    Command::new(env!("CARGO_BIN_EXE_proreus"))
}

/// Records that the calling test cannot run here; `scripts/test` counts and prints these.
pub fn skip(test: &str, reason: &str) {
    let line = format!("{test}: {reason}");
    println!("SKIPPED {line}");
    if let Some(path) = std::env::var_os("PROREUS_SKIPPED") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        writeln!(file.expect("PROREUS_SKIPPED is writable"), "{line}").expect("PROREUS_SKIPPED is writable");
    }
}

/// Runs a command to its end and gives back its output.
pub fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"))
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Polls until `check` gives a value; panics with `what` after `limit`. The limit only bounds a failure.
pub fn eventually<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: still not so after {} s",
            limit.as_secs()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
