//! The histories that the porcupine project publishes: Jepsen's runs against an early etcd, whose verdicts are known. They
//! are not part of this repository: fetch that project and set `PORCUPINE_TEST_DATA` to its `test_data/jepsen`.

use std::path::Path;

use checker::limits::Bounds;
use checker::linear;
use checker::linear::register::{Call, Register, Return};
use checker::{History, Validity, What};

/// The numbers of the histories that are linearizable. That of number 95 is empty; all others to 102 are not.
const LINEARIZABLE: [u32; 23] = [
    2, 5, 7, 18, 25, 31, 38, 45, 48, 49, 51, 53, 56, 67, 75, 76, 80, 87, 92, 98, 100, 101, 102,
];

#[test]
fn published_histories_have_their_known_verdicts() {
    let Some(directory) = std::env::var_os("PORCUPINE_TEST_DATA") else {
        return skip::skip("PORCUPINE_TEST_DATA is not set: fetch the porcupine project and name its test_data/jepsen");
    };
    for number in 0..=102 {
        let path = Path::new(&directory).join(format!("etcd_{number:03}.log"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if number == 95 {
            assert!(text.is_empty(), "history 95 is published without a line");
            continue;
        }
        let operations = parse(&text).operations().unwrap();
        assert!(operations.len() > 10, "history {number} was not understood");
        let verdict = linear::check("register", &Register::default(), &operations, Bounds::default());
        let expected = if LINEARIZABLE.contains(&number) {
            Validity::Valid
        } else {
            Validity::Invalid
        };
        assert_eq!(verdict.validity, expected, "history {number}: {verdict:?}");
    }
}

/// Lines such as `INFO  jepsen.util - 3 :invoke :cas [1 2]`; the words are parted by tabs in most files, by spaces in the last ones.
fn parse(text: &str) -> History<Call, Return> {
    let mut history = History::new();
    for line in text.lines() {
        let Some((_, rest)) = line.split_once(" - ") else {
            continue;
        };
        let (process, rest) = word(rest);
        let (kind, rest) = word(rest);
        let (what, value) = word(rest);
        if let (Ok(process), true) = (process.parse(), what.starts_with(':')) {
            history.push(process, 0, event(kind, what, value.trim()));
        }
    }
    history
}

/// The first word, and what comes after it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

#[test]
fn lines_are_read_whether_tabs_or_spaces_part_their_words() {
    for part in ["\t", "       "] {
        let lines = [["0", ":invoke", ":cas", "[1 2]"], ["0", ":ok", ":cas", "[1 2]"]];
        let text: Vec<String> = lines
            .iter()
            .map(|words| format!("INFO  jepsen.util - {}", words.join(part)))
            .collect();
        let operations = parse(&text.join("\n")).operations().unwrap();
        assert_eq!(operations[0].call, Call::Cas(1, 2));
        assert!(operations[0].outcome.is_ok());
    }
    assert!(
        parse("INFO  jepsen.core - Run complete, writing")
            .operations()
            .unwrap()
            .is_empty()
    );
}

fn event(kind: &str, what: &str, value: &str) -> What<Call, Return> {
    let numbers: Vec<i64> = value
        .split(['[', ' ', ']'])
        .filter_map(|word| word.parse().ok())
        .collect();
    match (kind, what) {
        (":invoke", ":read") => What::Invoke { call: Call::Read },
        (":invoke", ":write") => What::Invoke {
            call: Call::Write(numbers[0]),
        },
        (":invoke", ":cas") => What::Invoke {
            call: Call::Cas(numbers[0], numbers[1]),
        },
        (":ok", ":read") => What::Ok {
            result: Return::value(numbers.first().copied()),
        },
        (":ok", ":write") => What::Ok {
            result: Return::default(),
        },
        (":ok", ":cas") => What::Ok {
            result: Return::swapped(true),
        },
        (":fail", ":cas") => What::Ok {
            result: Return::swapped(false),
        },
        (":fail", _) => What::Fail { error: value.into() },
        _ => What::Info { error: value.into() },
    }
}
