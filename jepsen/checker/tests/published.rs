//! The histories that the porcupine project publishes: Jepsen's runs against an early etcd, whose verdicts are known. They
//! are not part of this repository: fetch that project and set `PORCUPINE_TEST_DATA` to its `test_data/jepsen`.

use std::path::Path;

use checker::limits::Bounds;
use checker::linear;
use checker::linear::register::{Call, Register, Return};
use checker::{History, Validity, What};

/// The numbers of the histories that are linearizable. There is none of number 95; all others to 102 are not.
const LINEARIZABLE: [u32; 23] = [
    2, 5, 7, 18, 25, 31, 38, 45, 48, 49, 51, 53, 56, 67, 75, 76, 80, 87, 92, 98, 100, 101, 102,
];

#[test]
fn published_histories_have_their_known_verdicts() {
    let Some(directory) = std::env::var_os("PORCUPINE_TEST_DATA") else {
        return skip::skip("PORCUPINE_TEST_DATA is not set: fetch the porcupine project and name its test_data/jepsen");
    };
    for number in 0..=102 {
        let Ok(text) = std::fs::read_to_string(Path::new(&directory).join(format!("etcd_{number:03}.log"))) else {
            assert_eq!(number, 95, "only one number is missing");
            continue;
        };
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

fn parse(text: &str) -> History<Call, Return> {
    let mut history = History::new();
    for line in text.lines() {
        let Some((process, words)) = line.split_once(" - ").and_then(|(_, rest)| rest.split_once('\t')) else {
            continue;
        };
        let Ok(process) = process.trim().parse() else { continue };
        let words: Vec<&str> = words.split('\t').map(str::trim).collect();
        if let [kind, what, value] = words[..] {
            history.push(process, 0, event(kind, what, value));
        }
    }
    history
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
