//! What the tests share: the program under test, skipping visibly, running commands, and waiting on conditions.

pub mod cluster;
pub mod hosts;
pub mod images;

pub use skip::skip;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The program under test.
pub fn proreus() -> Command {
    Command::new(env!("CARGO_BIN_EXE_proreus"))
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
