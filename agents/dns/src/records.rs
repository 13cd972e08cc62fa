//! From Services and EndpointSlices to a zone. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use client::objects;
use hickory_server::proto::rr::{Name, RData, rdata};
use ipnet::IpNet;

use crate::{Error, Zone};

/// The zone of these objects.
pub fn zone<'a>(
    domain: &str,
    networks: &[IpNet],
    services: impl IntoIterator<Item = &'a objects::Service>,
    slices: impl IntoIterator<Item = &'a objects::EndpointSlice>,
) -> Result<Zone, Error> {
    let mut zone = Zone::new(domain, networks)?;
    let mut by_service: BTreeMap<(&str, &str), Vec<&objects::EndpointSlice>> = BTreeMap::new();
    for slice in slices {
        if let Some(service) = slice.service() {
            by_service
                .entry((&slice.metadata.namespace, service))
                .or_default()
                .push(slice);
        }
    }
    for service in services {
        let key = (service.metadata.namespace.as_str(), service.metadata.name.as_str());
        match kind(service) {
            Kind::Alias => add_alias(&mut zone, service),
            Kind::Cluster(addresses) => add_cluster(&mut zone, service, &addresses),
            Kind::Headless => {
                add_headless(
                    &mut zone,
                    service,
                    by_service.get(&key).map(Vec::as_slice).unwrap_or_default(),
                );
            }
            Kind::Unassigned => {}
        }
    }
    Ok(zone)
}

enum Kind {
    Cluster(BTreeSet<IpAddr>),
    Headless,
    Alias,
    Unassigned,
}

fn kind(service: &objects::Service) -> Kind {
    let spec = &service.spec;
    if spec.kind == "ExternalName" {
        return Kind::Alias;
    }
    if spec.cluster_ip == "None" {
        return Kind::Headless;
    }
    let addresses: BTreeSet<IpAddr> = spec
        .cluster_ips
        .iter()
        .chain([&spec.cluster_ip])
        .filter_map(|text| text.parse().ok())
        .collect();
    if addresses.is_empty() {
        Kind::Unassigned
    } else {
        Kind::Cluster(addresses)
    }
}

/// The labels of a service's own name, and its port names under it.
struct Labels<'a> {
    service: &'a str,
    namespace: &'a str,
}

impl<'a> Labels<'a> {
    fn of(service: &'a objects::Service) -> Self {
        Self {
            service: &service.metadata.name,
            namespace: &service.metadata.namespace,
        }
    }

    fn own(&self) -> [&'a str; 3] {
        [self.service, self.namespace, "svc"]
    }

    fn below<'b>(&self, label: &'b str) -> [&'b str; 4]
    where
        'a: 'b,
    {
        [label, self.service, self.namespace, "svc"]
    }

    fn add_port(&self, zone: &mut Zone, port: &str, protocol: &str, data: RData) {
        let (port, protocol) = (format!("_{port}"), format!("_{}", protocol.to_ascii_lowercase()));
        zone.insert(&[&port, &protocol, self.service, self.namespace, "svc"], Some(data));
    }
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(address.into()),
        IpAddr::V6(address) => RData::AAAA(address.into()),
    }
}

fn add_alias(zone: &mut Zone, service: &objects::Service) {
    let external = service.spec.external_name.trim_end_matches('.');
    // An address is not a name; Kubernetes allows the field to hold one and says that DNS does not resolve it.
    let Ok(target) = Name::from_ascii(format!("{external}.")) else {
        return;
    };
    if !external.is_empty() {
        zone.insert(&Labels::of(service).own(), Some(RData::CNAME(rdata::CNAME(target))));
    }
}

fn add_cluster(zone: &mut Zone, service: &objects::Service, addresses: &BTreeSet<IpAddr>) {
    let labels = Labels::of(service);
    let Some(name) = zone.name(&labels.own()) else { return };
    for address in addresses {
        zone.insert(&labels.own(), Some(address_data(*address)));
        zone.insert_pointer(*address, name.clone());
    }
    for port in service.spec.ports.iter().filter(|port| !port.name.is_empty()) {
        let data = RData::SRV(rdata::SRV::new(0, 100, port.port, name.clone()));
        labels.add_port(zone, &port.name, protocol(&port.protocol), data);
    }
}

fn protocol(text: &str) -> &str {
    if text.is_empty() { "tcp" } else { text }
}

/// Each ready endpoint is a name of its own below the service's.
fn add_headless(zone: &mut Zone, service: &objects::Service, slices: &[&objects::EndpointSlice]) {
    let labels = Labels::of(service);
    // The service exists even while nothing serves it: NODATA, not NXDOMAIN.
    zone.insert(&labels.own(), None);
    let ready = |endpoint: &&objects::Endpoint| endpoint.conditions.ready.unwrap_or(true);
    let count: usize = slices
        .iter()
        .map(|slice| slice.endpoints.iter().filter(ready).count())
        .sum();
    // The weights of all endpoints together make about 100, as other implementations do.
    let weight = u16::try_from(100 / count.max(1)).unwrap_or(1).max(1);
    for slice in slices {
        for endpoint in slice.endpoints.iter().filter(ready) {
            let Some(address) = endpoint.addresses.first().and_then(|text| text.parse().ok()) else {
                continue;
            };
            let host = endpoint
                .hostname
                .clone()
                .filter(|host| !host.is_empty())
                .unwrap_or_else(|| dashed(address));
            add_endpoint(zone, &labels, &host, address);
            let Some(target) = zone.name(&labels.below(&host)) else {
                continue;
            };
            for port in &slice.ports {
                let (Some(name), Some(number)) = (port.name.as_deref().filter(|name| !name.is_empty()), port.port)
                else {
                    continue;
                };
                let data = RData::SRV(rdata::SRV::new(0, weight, number, target.clone()));
                labels.add_port(zone, name, protocol(port.protocol.as_deref().unwrap_or_default()), data);
            }
        }
    }
}

fn add_endpoint(zone: &mut Zone, labels: &Labels<'_>, host: &str, address: IpAddr) {
    zone.insert(&labels.own(), Some(address_data(address)));
    zone.insert(&labels.below(host), Some(address_data(address)));
    if let Some(target) = zone.name(&labels.below(host)) {
        zone.insert_pointer(address, target);
    }
}

/// The label of an endpoint that has no hostname.
fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}
