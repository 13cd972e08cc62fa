//! Who has which cluster address and which node port.
//!
//! **Theory.** What is taken is recorded one by one, under the address or port itself, so creating the record is the compare
//! that makes it unique: two members that pick the same address race in the store and one of them picks again.
//!
//! **Promise.** No two services ever own the same address or port. A record whose service was never written (a crash in
//! between) is a leak, not a conflict; the repair in `bootstrap` gives it back.
//!
//! **Left out.** IPv6, more than one service range, sharing one node port between protocols.

use super::claims::{Claim, Kind};
use super::{HEADLESS, has_cluster_ip, has_node_ports};
use crate::registry::fields::{at, list, name, namespace, number, text};
use crate::registry::{Registry, RequestContext};
use crate::{ApiError, FieldError};
use ipnet::IpNet;
use rand::RngExt;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Addresses at the start of the range that are never handed out by chance, so that people can choose them (DNS is .10).
const CHOSEN_ADDRESSES_MAX: u32 = 256;
/// Chance picks before the free ones are counted out.
const RANDOM_ATTEMPTS: usize = 16;

/// Gives the service what its type needs and it does not have yet, and records what it has.
pub(super) async fn allocate(
    registry: &Arc<Registry>,
    context: &RequestContext,
    service: &mut Value,
) -> Result<(), ApiError> {
    let range = Range::of(&registry.config().service_cidr);
    let writer = Writer {
        registry,
        context: server_context(context),
        range,
    };
    if has_cluster_ip(service) {
        let address = writer.cluster_ip(service).await?;
        set_families(service, &address);
    }
    if has_node_ports(service) {
        writer.node_ports(service).await?;
    }
    Ok(())
}

/// Allocations are the server's own writes; fence and dry run stay the caller's.
fn server_context(context: &RequestContext) -> RequestContext {
    let mut own = RequestContext::system();
    own.fence = context.fence.clone();
    own.dry_run = context.dry_run;
    own
}

/// Gives back what `old` had and `new` has not.
pub(crate) async fn release(registry: &Arc<Registry>, old: &Value, new: &Value) {
    let kept = held(new);
    let owner = owner(old);
    for (kind, name) in held(old).difference(&kept) {
        if let Err(error) = kind.release(registry, name, &owner).await {
            tracing::warn!(%error, "could not give back {} {name}, the repair will", kind.word());
        }
    }
}

/// Everything a service holds.
pub(crate) fn held(service: &Value) -> HashSet<(Kind, String)> {
    let addresses = addresses(service).map(|address| (Kind::Address, address.to_owned()));
    addresses
        .chain(node_ports_of(service).map(|port| (Kind::NodePort, port.to_string())))
        .collect()
}

/// The cluster addresses a service holds.
pub(crate) fn addresses(service: &Value) -> impl Iterator<Item = &str> {
    let given = list(service, "spec.clusterIPs").iter().filter_map(Value::as_str);
    given.filter(|a| *a != HEADLESS && !a.is_empty())
}

/// The node ports a service holds.
pub(crate) fn node_ports_of(service: &Value) -> impl Iterator<Item = i64> {
    let given = list(service, "spec.ports")
        .iter()
        .flat_map(|p| at(p, "nodePort").and_then(Value::as_i64));
    given
        .chain(at(service, "spec.healthCheckNodePort").and_then(Value::as_i64))
        .filter(|p| *p != 0)
}

fn set_families(service: &mut Value, address: &str) {
    let spec = &mut service["spec"];
    spec["clusterIP"] = json!(address);
    spec["clusterIPs"] = json!([address]);
    spec["ipFamilies"] = json!(["IPv4"]);
    if text(spec, "ipFamilyPolicy").is_empty() {
        spec["ipFamilyPolicy"] = json!("SingleStack");
    }
}

struct Writer<'a> {
    registry: &'a Arc<Registry>,
    context: RequestContext,
    range: Range,
}

impl Writer<'_> {
    async fn cluster_ip(&self, service: &Value) -> Result<String, ApiError> {
        let wanted = text(service, "spec.clusterIP");
        if wanted == HEADLESS {
            return Ok(wanted.to_owned());
        }
        if !wanted.is_empty() {
            return self.wanted_address(service, wanted).await;
        }
        for _ in 0..RANDOM_ATTEMPTS {
            let address = self
                .range
                .at(rand::rng().random_range(self.range.by_chance()))
                .to_string();
            if self.claim(Kind::Address, service, &address).await? == Claim::New {
                return Ok(address);
            }
        }
        self.first_free_address(service).await
    }

    async fn wanted_address(&self, service: &Value, wanted: &str) -> Result<String, ApiError> {
        let refuse = |why: &str| {
            let detail = format!("failed to allocate IP {wanted}: {why}");
            let problem = FieldError::invalid("spec.clusterIPs", &json!([wanted]), &detail);
            ApiError::invalid("Service", name(service), vec![problem])
        };
        let in_range = wanted
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| self.range.offset(address).is_some());
        if !in_range {
            let range = self.registry.config().service_cidr;
            return Err(refuse(&format!("the provided IP is not in the valid range {range}")));
        }
        match self.claim(Kind::Address, service, wanted).await? {
            Claim::New | Claim::Held => Ok(wanted.to_owned()),
            Claim::Taken => Err(refuse("provided IP is already allocated")),
        }
    }

    async fn claim(&self, kind: Kind, service: &Value, name: &str) -> Result<Claim, ApiError> {
        kind.claim(self.registry, &self.context, name, &owner(service)).await
    }

    async fn first_free_address(&self, service: &Value) -> Result<String, ApiError> {
        let taken = Kind::Address.taken(self.registry).await?;
        let taken: HashSet<&str> = taken.iter().map(|record| record.name.as_str()).collect();
        for offset in self.range.by_chance() {
            let address = self.range.at(offset).to_string();
            if !taken.contains(address.as_str()) && self.claim(Kind::Address, service, &address).await? == Claim::New {
                return Ok(address);
            }
        }
        Err(ApiError::internal("failed to allocate a serviceIP: range is full"))
    }

    async fn node_ports(&self, service: &mut Value) -> Result<(), ApiError> {
        let mut held: HashSet<i64> = HashSet::new();
        for index in 0..list(service, "spec.ports").len() {
            let wanted = number(&list(service, "spec.ports")[index], "nodePort");
            let port = match wanted {
                0 => self.random_port(service).await?,
                port => {
                    self.wanted_port(service, port, index, held.contains(&port)).await?;
                    port
                }
            };
            held.insert(port);
            service["spec"]["ports"][index]["nodePort"] = json!(port);
        }
        if text(service, "spec.externalTrafficPolicy").is_empty() {
            service["spec"]["externalTrafficPolicy"] = json!("Cluster");
        }
        Ok(())
    }

    async fn wanted_port(&self, service: &Value, port: i64, index: usize, held: bool) -> Result<(), ApiError> {
        let field = format!("spec.ports[{index}].nodePort");
        let refuse = |detail: &str| {
            let problem = FieldError::invalid(field.clone(), &json!(port), detail);
            Err(ApiError::invalid("Service", name(service), vec![problem]))
        };
        let range = &self.registry.config().node_ports;
        if !u16::try_from(port).is_ok_and(|port| range.contains(&port)) {
            let (first, last) = (range.start(), range.end());
            return refuse(&format!(
                "provided port is not in the valid range. The range of valid ports is {first}-{last}"
            ));
        }
        match held || self.claim(Kind::NodePort, service, &port.to_string()).await? != Claim::Taken {
            true => Ok(()),
            false => refuse("provided port is already allocated"),
        }
    }

    async fn random_port(&self, service: &Value) -> Result<i64, ApiError> {
        let range = &self.registry.config().node_ports;
        let (low, high) = (i64::from(*range.start()), i64::from(*range.end()));
        let first = rand::rng().random_range(low..=high);
        for port in (first..=high).chain(low..first) {
            if self.claim(Kind::NodePort, service, &port.to_string()).await? == Claim::New {
                return Ok(port);
            }
        }
        Err(ApiError::internal("failed to allocate a nodePort: range is full"))
    }
}

/// How records name a service. The uid tells a service from its namesake that is being created or was just deleted: what
/// one gives back is never the other's.
pub(crate) fn owner(service: &Value) -> String {
    format!(
        "{}/{}/{}",
        namespace(service),
        name(service),
        text(service, "metadata.uid")
    )
}

/// The addresses services get theirs from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    first: u32,
    /// At least 4: the ends belong to nobody, and the API server has one.
    size: u32,
}

impl Range {
    /// A range that is not IPv4 or too small to be of use is replaced by the smallest usable one.
    pub(crate) fn of(network: &IpNet) -> Range {
        let (first, prefix) = match network {
            IpNet::V4(v4) => (u32::from(v4.network()), v4.prefix_len()),
            IpNet::V6(_) => (u32::from(Ipv4Addr::new(10, 96, 0, 0)), 12),
        };
        Range {
            first,
            size: 1 << (32 - u32::from(prefix)).clamp(2, 31),
        }
    }

    pub(crate) fn at(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.first.saturating_add(offset))
    }

    /// The address of the API server's own service.
    pub(crate) fn kubernetes(self) -> Ipv4Addr {
        self.at(1)
    }

    /// The place of an address in the range; the first and the last belong to nobody.
    fn offset(self, address: Ipv4Addr) -> Option<u32> {
        let offset = u32::from(address).checked_sub(self.first)?;
        (offset > 0 && offset < self.size - 1).then_some(offset)
    }

    /// The addresses that chance may pick.
    fn by_chance(self) -> std::ops::Range<u32> {
        (self.size / 16).clamp(2, CHOSEN_ADDRESSES_MAX)..self.size - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_has_ends() {
        let range = Range::of(&"10.96.0.0/12".parse().unwrap());
        assert_eq!(range.offset(range.kubernetes()), Some(1));
        for outside in ["10.96.0.0", "10.111.255.255", "10.112.0.1", "10.95.0.1"] {
            assert_eq!(range.offset(outside.parse().unwrap()), None, "{outside}");
        }
        assert_eq!(range.offset(Ipv4Addr::new(10, 111, 255, 254)), Some((1 << 20) - 2));
        assert_eq!(range.by_chance(), 256..(1 << 20) - 1);
    }

    #[test]
    fn a_small_range_still_has_addresses() {
        let range = Range::of(&"10.0.0.0/29".parse().unwrap());
        assert_eq!(range.by_chance(), 2..7);
    }
}
