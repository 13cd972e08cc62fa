//! Services. What is special: they own addresses and ports of ranges that all services share, so creating one allocates
//! and deleting one gives back. One address family (IPv4) so far.

pub(crate) mod allocation;
pub(crate) mod claims;
mod validate;

use super::fields::{at, list, number, text};
use super::strategy::*;
use super::table::{AGE, NAME, column, wide};
use super::{Registry, RequestContext};
use crate::{ApiError, Body, FieldError};
use serde_json::{Value, json};
use std::sync::Arc;

/// The strategy of `services`.
pub struct Services;

/// The `clusterIP` of a service that wants none.
pub(crate) const HEADLESS: &str = "None";

const COLUMNS: &[Column] = &[
    NAME,
    column("Type", "string", "How the service is reached."),
    column("Cluster-IP", "string", "Its address inside the cluster."),
    column(
        "External-IP",
        "string",
        "Addresses outside the cluster that lead to it.",
    ),
    column("Port(s)", "string", "Its ports, with node ports behind a colon."),
    AGE,
    wide("Selector", "string", "The labels of the pods behind it."),
];

#[async_trait::async_trait]
impl Strategy for Services {
    fn name_rule(&self) -> NameRule {
        NameRule::Label1035
    }

    fn prepare_for_create(&self, _context: &RequestContext, service: &mut Value) {
        if let Some(map) = service.as_object_mut() {
            map.insert("status".into(), json!({"loadBalancer": {}}));
        }
    }

    fn prepare_for_update(&self, _context: &RequestContext, subresource: &str, old: &Value, new: &mut Value) {
        match subresource {
            "status" => keep_all_but(new, old, "status"),
            _ => {
                copy_field(new, old, "status");
                keep_allocated(old, new);
                drop_what_the_type_has_not(new);
            }
        }
    }

    fn validate(&self, service: &Value) -> Vec<FieldError> {
        validate::service(service)
    }

    fn validate_update(&self, subresource: &str, new: &Value, old: &Value) -> Vec<FieldError> {
        if !subresource.is_empty() {
            return Vec::new();
        }
        let mut errors = validate::service(new);
        validate::update(&mut errors, new, old);
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, service: &Value, now: jiff::Timestamp) -> Cells {
        vec![
            super::table::name(service),
            json!(text(service, "spec.type")),
            json!(or_none(text(service, "spec.clusterIP"))),
            json!(external_ip(service)),
            json!(ports(service)),
            super::table::age(service, now),
            json!(or_none(&super::columns::label_list(at(service, "spec.selector")))),
        ]
    }

    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[
            SelectableField::text("spec.clusterIP"),
            SelectableField::text("spec.type"),
        ];
        FIELDS
    }

    async fn begin_create(
        &self,
        registry: &Arc<Registry>,
        context: &RequestContext,
        service: &mut Value,
    ) -> Result<(), ApiError> {
        allocation::allocate(registry, context, service).await
    }

    async fn abort_create(&self, registry: &Arc<Registry>, _context: &RequestContext, service: &Value) {
        allocation::release(registry, service, &Value::Null).await;
    }

    async fn begin_update(
        &self,
        registry: &Arc<Registry>,
        context: &RequestContext,
        subresource: &str,
        _old: &Value,
        new: &mut Value,
    ) -> Result<(), ApiError> {
        if subresource.is_empty() {
            allocation::allocate(registry, context, new).await
        } else {
            Ok(())
        }
    }

    async fn after_update(&self, registry: &Arc<Registry>, _context: &RequestContext, old: &Value, new: &Value) {
        allocation::release(registry, old, new).await;
    }

    async fn after_delete(&self, registry: &Arc<Registry>, _context: &RequestContext, service: &Value) {
        allocation::release(registry, service, &Value::Null).await;
    }

    fn subresource(&self, name: &str) -> Option<Subresource<'_>> {
        match name {
            "status" => Some(Subresource::Object),
            "proxy" => Some(Subresource::Stream),
            _ => None,
        }
    }

    async fn connect(&self, connect: Connect<'_>) -> Result<http::Response<Body>, ApiError> {
        crate::outbound::proxy::service(connect).await
    }
}

/// Whether services of this type have a cluster address (`None` included).
pub(crate) fn has_cluster_ip(service: &Value) -> bool {
    text(service, "spec.type") != "ExternalName"
}

/// Whether services of this type have node ports.
pub(crate) fn has_node_ports(service: &Value) -> bool {
    match text(service, "spec.type") {
        "NodePort" => true,
        "LoadBalancer" => at(service, "spec.allocateLoadBalancerNodePorts").and_then(Value::as_bool) != Some(false),
        _ => false,
    }
}

/// An update that does not mention what was allocated keeps it, so that `kubectl apply` of the same file changes nothing.
fn keep_allocated(old: &Value, new: &mut Value) {
    if has_cluster_ip(old) && has_cluster_ip(new) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if super::fields::same(new.get("spec").and_then(|s| s.get(field)), None)
                && let Some(value) = at(old, &format!("spec.{field}"))
            {
                new["spec"][field] = value.clone();
            }
        }
    }
    if !has_node_ports(old) || !has_node_ports(new) {
        return;
    }
    let before = list(old, "spec.ports").to_vec();
    let ports = new
        .get_mut("spec")
        .and_then(|s| s.get_mut("ports"))
        .and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter(|p| number(p, "nodePort") == 0) {
        let same =
            |b: &&Value| number(b, "port") == number(port, "port") && text(b, "protocol") == text(port, "protocol");
        if let Some(kept) = before.iter().find(same).and_then(|b| at(b, "nodePort")) {
            port["nodePort"] = kept.clone();
        }
    }
}

fn drop_what_the_type_has_not(service: &mut Value) {
    let (cluster_ip, node_ports) = (has_cluster_ip(service), has_node_ports(service));
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if !cluster_ip {
        for field in [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ] {
            spec.remove(field);
        }
    }
    if !node_ports {
        spec.remove("externalTrafficPolicy");
        for port in spec
            .get_mut("ports")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            port.as_object_mut().map(|p| p.remove("nodePort"));
        }
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

fn external_ip(service: &Value) -> String {
    let given: Vec<&str> = list(service, "spec.externalIPs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match text(service, "spec.type") {
        "ExternalName" => text(service, "spec.externalName").to_owned(),
        "LoadBalancer" => {
            let ingress = list(service, "status.loadBalancer.ingress").iter();
            let assigned = ingress.map(|i| {
                if text(i, "ip").is_empty() {
                    text(i, "hostname")
                } else {
                    text(i, "ip")
                }
            });
            let all: Vec<&str> = assigned.chain(given).collect();
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        _ => or_none(&given.join(",")).to_owned(),
    }
}

fn ports(service: &Value) -> String {
    let one = |port: &Value| {
        let (number_, protocol) = (number(port, "port"), text(port, "protocol"));
        match number(port, "nodePort") {
            0 => format!("{number_}/{protocol}"),
            node => format!("{number_}:{node}/{protocol}"),
        }
    };
    let all: Vec<String> = list(service, "spec.ports").iter().map(one).collect();
    or_none(&all.join(",")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_that_says_nothing_of_allocations_keeps_them() {
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}]}});
        let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
        Services.prepare_for_update(&RequestContext::default(), "", &old, &mut new);
        assert_eq!(new["spec"], old["spec"]);
        let mut smaller = json!({"spec": {"type": "ClusterIP", "ports": old["spec"]["ports"]}});
        Services.prepare_for_update(&RequestContext::default(), "", &old, &mut smaller);
        assert_eq!(smaller["spec"]["ports"], json!([{"port": 80, "protocol": "TCP"}]));
        assert_eq!(smaller["spec"]["clusterIP"], "10.96.0.9");
    }

    #[test]
    fn columns_show_node_ports() {
        let service = json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "clusterIP": "10.96.0.9",
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}, {"port": 53, "protocol": "UDP"}]}});
        let cells = Services.cells(&service, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(
            cells[1..5],
            [
                json!("NodePort"),
                json!("10.96.0.9"),
                json!("<none>"),
                json!("80:30001/TCP,53/UDP")
            ]
        );
    }
}
