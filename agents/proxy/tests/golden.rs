//! Golden rulesets: each `golden/NAME.json` is a list of states of the cluster, `golden/NAME.nft` the transactions that
//! follow one another. `UPDATE_GOLDEN=1` rewrites the latter; commit a rewritten one only once the change is explained.

use std::{fs, path::Path};

use client::objects::{EndpointSlice, Service};
use proxy::{Config, Ruleset, build};
use serde::Deserialize;

#[derive(Deserialize)]
struct State {
    title: String,
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
}

fn config() -> Config {
    Config {
        cluster_cidr: Some("10.244.0.0/16".parse().unwrap()),
        masquerade_egress: true,
        local_addresses: ["10.96.0.10".parse().unwrap()].into(),
        ..Config::new("node-1")
    }
}

fn transactions(states: &[State]) -> String {
    let mut applied: Option<Ruleset> = None;
    let mut text = String::new();
    for state in states {
        let desired = build(&state.services, &state.slices, &config());
        let transaction = desired.transaction("t", applied.as_ref());
        text += &format!(
            "# {}\n{}\n",
            state.title,
            transaction.as_deref().unwrap_or("(nothing to do)\n")
        );
        applied = Some(desired);
    }
    text
}

fn check(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let input = fs::read_to_string(folder.join(name).with_extension("json")).unwrap();
    let states: Vec<State> = serde_json::from_str(&input).unwrap();
    let actual = transactions(&states);
    let golden = folder.join(name).with_extension("nft");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(golden, actual).unwrap();
    }
    let expected = fs::read_to_string(golden).unwrap();
    for (number, (actual, expected)) in actual.lines().zip(expected.lines()).enumerate() {
        assert_eq!(actual, expected, "{name}.nft, line {}", number + 1);
    }
    assert_eq!(actual.lines().count(), expected.lines().count(), "{name}.nft: lines");
}

#[test]
fn a_rollout_changes_only_its_own_chain() {
    check("rollout");
}

#[test]
fn affinity_sets_live_as_long_as_their_endpoint() {
    check("affinity");
}

#[test]
fn local_policies_keep_to_this_node() {
    check("local");
}

#[test]
fn external_addresses_lead_to_the_service() {
    check("external");
}

#[test]
fn odd_objects_are_left_alone() {
    check("ignored");
}
