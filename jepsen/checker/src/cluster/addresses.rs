//! No ClusterIP, NodePort or Pod IP belongs to two owners at once (`address-given-twice`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PodState;
use crate::{Anomaly, Verdict};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Space {
    ClusterIp,
    NodePort,
    PodIp,
}

/// An owner has the address from one resource version up to another, exclusive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub space: Space,
    pub address: String,
    /// The owner's uid.
    pub owner: String,
    pub from: u64,
    /// `None`: to the end of the test.
    pub until: Option<u64>,
}

pub fn given_once(claims: &[Claim]) -> Verdict {
    let mut by_address: BTreeMap<(Space, &str), Vec<&Claim>> = BTreeMap::new();
    claims
        .iter()
        .for_each(|claim| by_address.entry((claim.space, &claim.address)).or_default().push(claim));
    let mut verdict = Verdict::valid("addresses-given-once");
    for claims in by_address.values_mut() {
        claims.sort_by_key(|claim| claim.from);
        for (at, first) in claims.iter().enumerate() {
            let until = first.until.unwrap_or(u64::MAX);
            for second in claims[at + 1..]
                .iter()
                .filter(|second| second.from < until && second.owner != first.owner)
            {
                verdict.broken(Anomaly::new(
                    "address-given-twice",
                    format!("{first:?} and {second:?}"),
                    [],
                ));
            }
        }
    }
    if claims.is_empty() {
        verdict.unknown("nobody had an address");
    }
    verdict.note(format!("{} claims on {} addresses", claims.len(), by_address.len()));
    verdict
}

/// The claims that the states of Pods make.
pub fn of_pods(states: &[PodState]) -> Vec<Claim> {
    let mut sorted: Vec<&PodState> = states.iter().collect();
    sorted.sort_by_key(|state| state.resource_version);
    let mut open: BTreeMap<&str, Claim> = BTreeMap::new();
    let mut claims = Vec::new();
    for state in sorted {
        let address = state.address.as_ref().filter(|_| !state.ended);
        if open.get(state.uid.as_str()).map(|claim| &claim.address) == address {
            continue;
        }
        if let Some(claim) = open.remove(state.uid.as_str()) {
            claims.push(Claim {
                until: Some(state.resource_version),
                ..claim
            });
        }
        if let Some(address) = address {
            let (address, owner) = (address.clone(), state.uid.clone());
            let claim = Claim {
                space: Space::PodIp,
                address,
                owner,
                from: state.resource_version,
                until: None,
            };
            open.insert(&state.uid, claim);
        }
    }
    claims.extend(open.into_values());
    claims
}
