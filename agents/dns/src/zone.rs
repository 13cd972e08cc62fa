//! The names we answer for, and the answers. Pure: no clock, no network, no order of arrival.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use hickory_server::proto::{
    op::ResponseCode,
    rr::{LowerName, Name, RData, Record, RecordType, rdata},
};
use ipnet::IpNet;

use crate::{Error, limits};

/// An answer from the zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// `NoError` or `NXDomain`.
    pub code: ResponseCode,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The SOA record, in a negative answer.
    pub authorities: Vec<Record>,
    /// Addresses of the targets of SRV records.
    pub additionals: Vec<Record>,
    /// The last alias points outside the zone: its records are to be fetched upstream and appended.
    pub outside: Option<Name>,
}

impl Answer {
    fn of(answers: Vec<Record>) -> Self {
        Self {
            code: ResponseCode::NoError,
            answers,
            authorities: vec![],
            additionals: vec![],
            outside: None,
        }
    }
}

/// Everything we are the authority for.
#[derive(Debug, Clone)]
pub struct Zone {
    domain: Name,
    /// Every name that exists. An empty list is a name that exists only because of names below it.
    names: HashMap<LowerName, Vec<RData>>,
    networks: Vec<IpNet>,
}

impl Zone {
    /// A zone with the names every cluster has.
    pub fn new(domain: &str, networks: &[IpNet]) -> Result<Self, Error> {
        let parsed = Name::from_ascii(format!("{}.", domain.trim_end_matches('.')));
        let error = |reason: String| Error::Domain {
            domain: domain.into(),
            reason,
        };
        let domain = parsed.map_err(|reason| error(reason.to_string()))?.to_lowercase();
        if domain.is_root() {
            return Err(error("it is empty".into()));
        }
        let mut zone = Self {
            domain,
            names: HashMap::new(),
            networks: networks.to_vec(),
        };
        zone.names.insert(LowerName::new(&zone.domain), Vec::new());
        zone.insert(&["svc"], None);
        zone.insert(&["pod"], None);
        zone.insert(
            &["dns-version"],
            Some(RData::TXT(rdata::TXT::new(vec!["1.1.0".into()]))),
        );
        Ok(zone)
    }

    /// The name of `labels` under the cluster domain; `None` if they do not make a name.
    pub(crate) fn name(&self, labels: &[&str]) -> Option<Name> {
        Name::from_labels(labels.iter().map(|label| label.as_bytes()))
            .ok()?
            .append_domain(&self.domain)
            .ok()
    }

    /// Adds a name under the cluster domain, and with it every name above it.
    pub(crate) fn insert(&mut self, labels: &[&str], data: Option<RData>) {
        let Some(name) = self.name(labels) else { return };
        let mut parent = name.base_name();
        while self.domain.zone_of(&parent) && parent != self.domain {
            self.names.entry(LowerName::new(&parent)).or_default();
            parent = parent.base_name();
        }
        let records = self.names.entry(LowerName::new(&name)).or_default();
        records.extend(data.filter(|data| !records.contains(data)));
    }

    /// Adds the way back from an address.
    pub(crate) fn insert_pointer(&mut self, address: IpAddr, target: Name) {
        let records = self.names.entry(LowerName::new(&Name::from(address))).or_default();
        let pointer = RData::PTR(rdata::PTR(target));
        if !records.contains(&pointer) {
            records.push(pointer);
        }
    }

    /// The answer, or `None` if the name is not ours and must be asked upstream.
    pub fn answer(&self, name: &Name, kind: RecordType) -> Option<Answer> {
        let lower = LowerName::new(name);
        let known = self.names.get(&lower).cloned().or_else(|| self.pod_address(name));
        match known {
            Some(records) => Some(self.known(name, records, kind)),
            None if self.owns(name) => Some(self.negative(name, ResponseCode::NXDomain)),
            None => None,
        }
    }

    fn known(&self, name: &Name, records: Vec<RData>, kind: RecordType) -> Answer {
        if kind == RecordType::SOA && *name == self.domain {
            return Answer::of(vec![self.authority(name)]);
        }
        if let [RData::CNAME(alias)] = records.as_slice()
            && kind != RecordType::CNAME
        {
            return self.follow(name, alias.0.clone(), kind);
        }
        let wanted = |data: &RData| kind == RecordType::ANY || data.record_type() == kind;
        let answers: Vec<Record> = records
            .into_iter()
            .filter(wanted)
            .map(|data| record(name, data))
            .collect();
        if answers.is_empty() {
            return self.negative(name, ResponseCode::NoError);
        }
        let additionals = self.target_addresses(&answers);
        Answer {
            additionals,
            ..Answer::of(answers)
        }
    }

    /// Follows an alias as far as it stays in the zone.
    fn follow(&self, name: &Name, alias: Name, kind: RecordType) -> Answer {
        let mut answers = vec![record(name, RData::CNAME(rdata::CNAME(alias.clone())))];
        let mut target = alias;
        while answers.len() <= limits::ALIASES_MAX {
            let Some(records) = self.names.get(&LowerName::new(&target)) else {
                let outside = (!self.owns(&target)).then_some(target);
                return Answer {
                    outside,
                    ..Answer::of(answers)
                };
            };
            match records.as_slice() {
                [RData::CNAME(next)] => {
                    answers.push(record(&target, RData::CNAME(next.clone())));
                    target = next.0.clone();
                }
                records => {
                    let matching = records.iter().filter(|data| data.record_type() == kind);
                    answers.extend(matching.map(|data| record(&target, data.clone())));
                    break;
                }
            }
        }
        Answer::of(answers)
    }

    /// `1-2-3-4.NAMESPACE.pod.DOMAIN` needs no record: the name says it.
    fn pod_address(&self, name: &Name) -> Option<Vec<RData>> {
        let pods = self.name(&["pod"])?;
        let below = name.num_labels().checked_sub(pods.num_labels())?;
        if !pods.zone_of(name) || below != 2 {
            return None;
        }
        let label = std::str::from_utf8(name.iter().next()?).ok()?;
        let address: Ipv4Addr = label.replace('-', ".").parse().ok()?;
        Some(vec![RData::A(address.into())])
    }

    fn owns(&self, name: &Name) -> bool {
        self.domain.zone_of(name) || self.is_own_reverse_name(name)
    }

    fn is_own_reverse_name(&self, name: &Name) -> bool {
        let Ok(range) = name.parse_arpa_name() else {
            return false;
        };
        self.networks.iter().any(|network| network.contains(&range))
    }

    fn target_addresses(&self, answers: &[Record]) -> Vec<Record> {
        let mut targets: Vec<&Name> = answers
            .iter()
            .filter_map(|answer| service_target(&answer.data))
            .collect();
        targets.dedup();
        let addresses = |name: &&Name| {
            self.names
                .get(&LowerName::new(name))
                .map(Vec::as_slice)
                .unwrap_or_default()
        };
        targets
            .iter()
            .flat_map(|name| addresses(name).iter().map(|data| record(name, data.clone())))
            .collect()
    }

    fn negative(&self, name: &Name, code: ResponseCode) -> Answer {
        let origin = if self.domain.zone_of(name) {
            self.domain.clone()
        } else {
            name.base_name()
        };
        Answer {
            code,
            authorities: vec![self.authority(&origin)],
            ..Answer::of(vec![])
        }
    }

    /// The SOA record, whose last field is how long a negative answer may be remembered. Nobody transfers the zone, so
    /// its serial says nothing.
    fn authority(&self, origin: &Name) -> Record {
        let server = self.name(&["ns", "dns"]).unwrap_or_else(|| self.domain.clone());
        let contact = self.name(&["hostmaster"]).unwrap_or_else(|| self.domain.clone());
        let soa = rdata::SOA::new(server, contact, 1, 7200, 1800, 86400, limits::TTL_SECONDS);
        record(origin, RData::SOA(soa))
    }
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), limits::TTL_SECONDS, data)
}

fn service_target(data: &RData) -> Option<&Name> {
    match data {
        RData::SRV(service) => Some(&service.target),
        _ => None,
    }
}
