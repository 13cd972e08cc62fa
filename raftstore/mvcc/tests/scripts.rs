//! Golden scripts: commands and what the machine answers, in `tests/scripts/*.txt`.
//!
//! A script is a run of paragraphs. Each has commands, a line `---`, and the expected output. `REWRITE=1` writes the output
//! into the scripts; commit a changed script only once the change is explained.

mod script;

use std::{env, fs, path::Path};

use script::Session;

const SEPARATOR: &str = "---";

#[test]
fn scripts() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = fs::read_dir(&directory)
        .expect("the scripts are there")
        .map(|entry| entry.expect("list").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", directory.display());
    let wrong: Vec<String> = paths.iter().filter_map(|path| check(path)).collect();
    assert!(
        wrong.is_empty(),
        "{}\nRun with REWRITE=1 and look at the difference.",
        wrong.join("\n")
    );
}

/// Runs one script; says what differs.
fn check(path: &Path) -> Option<String> {
    let expected = fs::read_to_string(path).expect("readable");
    let actual = run(&expected);
    if actual == expected {
        return None;
    }
    if env::var_os("REWRITE").is_some() {
        fs::write(path, actual).expect("writable");
        return None;
    }
    let (line, (old, new)) = expected
        .lines()
        .zip(actual.lines())
        .enumerate()
        .find(|(_, (old, new))| old != new)
        .unwrap_or((expected.lines().count(), ("(end)", "(more or less output)")));
    Some(format!(
        "{}:{}: expected {old:?}, got {new:?}",
        path.display(),
        line + 1
    ))
}

/// The script with the output of its commands in place of what it expected.
fn run(script: &str) -> String {
    let mut session = Session::new();
    let paragraphs = script.trim_end().split("\n\n").map(|paragraph| {
        let input = paragraph.split(&format!("\n{SEPARATOR}")).next().unwrap_or_default();
        let commands: Vec<&str> = input
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .collect();
        if commands.is_empty() {
            return paragraph.to_owned();
        }
        let output: String = commands.iter().map(|command| session.run(command)).collect();
        format!("{input}\n{SEPARATOR}\n{}", output.trim_end())
    });
    paragraphs.collect::<Vec<_>>().join("\n\n") + "\n"
}
