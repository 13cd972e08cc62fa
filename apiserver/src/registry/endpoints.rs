//! Endpoints and EndpointSlices: the addresses behind services.

use super::check::{self, Errors};
use super::fields::{at, list, number, text};
use super::names;
use super::strategy::*;
use super::table::{AGE, NAME, age, column, name};
use crate::FieldError;
use serde_json::{Value, json};

/// The strategy of `endpoints`.
pub struct Endpoints;
/// The strategy of `endpointslices`.
pub struct EndpointSlices;

/// Addresses shown before the rest is counted.
const SHOWN_MAX: usize = 3;
/// Addresses one slice may hold.
const ADDRESSES_MAX: usize = 1000;

const ENDPOINTS_COLUMNS: &[Column] = &[NAME, column("Endpoints", "string", "Its addresses and ports."), AGE];

const SLICE_COLUMNS: &[Column] = &[
    NAME,
    column("AddressType", "string", "What its addresses are."),
    column("Ports", "string", "Its ports."),
    column("Endpoints", "string", "Its addresses."),
    AGE,
];

#[async_trait::async_trait]
impl Strategy for Endpoints {
    fn validate(&self, endpoints: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        for (index, subset) in list(endpoints, "subsets").iter().enumerate() {
            for kind in ["addresses", "notReadyAddresses"] {
                for (i, address) in list(subset, kind).iter().enumerate() {
                    check::ip(
                        &mut errors,
                        text(address, "ip"),
                        format!("subsets[{index}].{kind}[{i}].ip"),
                    );
                }
            }
            for (i, port) in list(subset, "ports").iter().enumerate() {
                check::port(&mut errors, port, &format!("subsets[{index}].ports[{i}]"), "port");
            }
        }
        errors
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        ENDPOINTS_COLUMNS
    }

    fn cells(&self, endpoints: &Value, now: jiff::Timestamp) -> Cells {
        vec![
            name(endpoints),
            json!(shown(&endpoint_addresses(endpoints))),
            age(endpoints, now),
        ]
    }
}

fn endpoint_addresses(endpoints: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for subset in list(endpoints, "subsets") {
        let addresses = list(subset, "addresses").iter().map(|a| text(a, "ip"));
        match list(subset, "ports") {
            [] => all.extend(addresses.map(str::to_owned)),
            ports => {
                for address in addresses {
                    all.extend(ports.iter().map(|port| format!("{address}:{}", number(port, "port"))));
                }
            }
        }
    }
    all
}

fn shown(all: &[String]) -> String {
    match all.len() {
        0 => "<none>".to_owned(),
        count if count <= SHOWN_MAX => all.join(","),
        count => format!("{} + {} more...", all[..SHOWN_MAX].join(","), count - SHOWN_MAX),
    }
}

#[async_trait::async_trait]
impl Strategy for EndpointSlices {
    fn tracks_generation(&self) -> bool {
        true
    }

    fn validate(&self, slice: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        check::required(&mut errors, slice, "", "addressType");
        check::one_of(&mut errors, slice, "", "addressType", &["FQDN", "IPv4", "IPv6"]);
        let endpoints = list(slice, "endpoints");
        if endpoints.len() > ADDRESSES_MAX {
            errors.push(FieldError::too_many("endpoints", endpoints.len(), ADDRESSES_MAX));
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            let path = format!("endpoints[{index}].addresses");
            if list(endpoint, "addresses").is_empty() {
                errors.push(FieldError::required(path.clone(), "must contain at least 1 address"));
            }
            if text(slice, "addressType") != "FQDN" {
                for (i, address) in list(endpoint, "addresses").iter().enumerate() {
                    check::ip(
                        &mut errors,
                        address.as_str().unwrap_or_default(),
                        format!("{path}[{i}]"),
                    );
                }
            }
        }
        for (index, port) in list(slice, "ports").iter().enumerate() {
            let path = format!("ports[{index}]");
            check::shape(&mut errors, port, &path, "name", names::dns_label);
            check::port(&mut errors, port, &path, "port");
        }
        errors
    }

    fn validate_update(&self, _subresource: &str, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(new);
        check::unchanged(&mut errors, new, old, "addressType");
        errors
    }

    fn columns(&self) -> &'static [Column] {
        SLICE_COLUMNS
    }

    fn cells(&self, slice: &Value, now: jiff::Timestamp) -> Cells {
        let ports: Vec<String> = list(slice, "ports")
            .iter()
            .map(|p| match at(p, "port") {
                Some(port) => port.to_string(),
                None => "*".to_owned(),
            })
            .collect();
        let addresses: Vec<String> = list(slice, "endpoints")
            .iter()
            .filter_map(|e| list(e, "addresses").first().and_then(Value::as_str).map(str::to_owned))
            .collect();
        let unset = |cell: String| json!(if cell == "<none>" { "<unset>".to_owned() } else { cell });
        vec![
            name(slice),
            json!(text(slice, "addressType")),
            unset(shown(&ports)),
            unset(shown(&addresses)),
            age(slice, now),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_counted() {
        let ip = |n: usize| json!({"ip": format!("10.0.0.{n}")});
        let endpoints = json!({"metadata": {"name": "e"}, "subsets": [{"addresses": (1..6).map(ip).collect::<Vec<_>>(),
            "ports": [{"port": 80}]}]});
        let cells = Endpoints.cells(&endpoints, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(cells[1], "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...");
    }
}
