//! How a test says that it cannot run on this machine, so that `scripts/test` counts it as skipped and not as passed.

use std::fs::OpenOptions;
use std::io::Write;

/// The file that collects what was skipped, one line each. Without it, skipping is only printed.
const COLLECTED: &str = "PROREUS_SKIPPED";

/// Records that the calling test cannot run here. `reason` names what is missing and what to install. The test is known by
/// its thread, which the test harness names after it.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let binary = program.rsplit_once('-').map_or(program.as_str(), |(name, _)| name);
    let line = format!("{binary}: {}: {reason}", thread.name().unwrap_or("a test"));
    println!("SKIPPED {line}");
    if let Some(path) = std::env::var_os(COLLECTED) {
        let file = OpenOptions::new().create(true).append(true).open(path);
        writeln!(file.expect("PROREUS_SKIPPED is writable"), "{line}").expect("PROREUS_SKIPPED is writable");
    }
}
