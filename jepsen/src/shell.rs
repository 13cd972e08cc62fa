//! Running the system's own tools.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Runs a command line whose words have no spaces in them.
///
/// # Errors
/// It cannot be run, or fails; with what it said.
pub(crate) fn sh(line: &str) -> anyhow::Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    run(words[0], &words[1..])
}

/// Runs a program.
///
/// # Errors
/// It cannot be run, or fails; with what it said.
pub(crate) fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{program} {}` failed: {}", arguments.join(" "), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program with a path as its last argument, whatever that has in it.
///
/// # Errors
/// It cannot be run, or fails; with what it said.
pub(crate) fn on(line: &str, path: &Path) -> anyhow::Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let path = path.display().to_string();
    run(words[0], &[&words[1..], &[path.as_str()]].concat())
}

/// Runs a removal: what is not there needs none.
pub(crate) fn quietly(line: &str) {
    let _ = sh(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_space_is_one_word() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a name with spaces");
        std::fs::write(&file, "there").unwrap();
        assert_eq!(on("tail -c 3", &file).unwrap(), "ere");
        assert!(on("cat", &directory.path().join("a")).is_err());
    }
}
