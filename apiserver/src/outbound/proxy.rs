//! `pods/proxy` and `services/proxy`: plain HTTP to a pod, under its own name or that of its service.
//!
//! Names are `name`, `name:port` or `scheme:name:port`. Left out: the scheme `https`, and rewriting links in pages.

use super::kubelet::{Address, exchange};
use super::upgrade::{self, Way};
use crate::registry::Connect;
use crate::registry::fields::{at, list, number, text};
use crate::{ApiError, Body};
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;
use storage::{Freshness, ListQuery};
use tokio::net::TcpStream;

/// A pod that does not answer within this is reported as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const SLICES: &str = "endpointslices.discovery.k8s.io";

/// Passes `/api/v1/namespaces/<ns>/pods/<name>/proxy/<rest>` on to `/<rest>`.
pub(crate) async fn pod(connect: Connect<'_>) -> Result<http::Response<Body>, ApiError> {
    let (name, port) = parse(&connect.info.name)?;
    let (name, port) = (name.to_owned(), port.to_owned());
    let reader = connect.registry.reader();
    let pod = reader.get("pods", &connect.info.namespace, &name).await?;
    let host = text(&pod, "status.podIP").to_owned();
    let port = match port.as_str() {
        "" => first_port(&pod).unwrap_or(80),
        port => number_of(port)?,
    };
    pass_on(Address { host, port }, connect).await
}

/// Passes `/api/v1/namespaces/<ns>/services/<name>/proxy/<rest>` on to `/<rest>` at a ready pod behind it.
pub(crate) async fn service(connect: Connect<'_>) -> Result<http::Response<Body>, ApiError> {
    let (name, port) = parse(&connect.info.name)?;
    let (name, port) = (name.to_owned(), port.to_owned());
    let (reader, namespace) = (connect.registry.reader(), connect.info.namespace.as_str());
    let service = reader.get("services", namespace, &name).await?;
    let entries = list(&service, "spec.ports");
    let entry = match port.as_str() {
        "" if entries.len() == 1 => entries.first(),
        port => entries
            .iter()
            .find(|entry| text(entry, "name") == port || number(entry, "port").to_string() == port),
    };
    let entry =
        entry.ok_or_else(|| ApiError::unavailable(format!("no service port {port:?} found for service {name:?}")))?;
    let slices = slices_of(reader, namespace, &name).await?;
    let (host, port) = ready(&slices, text(entry, "name"))
        .ok_or_else(|| ApiError::unavailable(format!("no endpoints available for service {name:?}")))?;
    pass_on(Address { host, port }, connect).await
}

async fn pass_on(address: Address, connect: Connect<'_>) -> Result<http::Response<Body>, ApiError> {
    if !is_public(&address.host) {
        return Err(ApiError::bad_request("address not allowed"));
    }
    let uri = connect.request.uri();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    // A page's relative links depend on its last slash.
    let slash = if uri.path().ends_with('/') && !connect.info.rest.is_empty() {
        "/"
    } else {
        ""
    };
    let target = format!("/{}{slash}{query}", connect.info.rest);
    let address = &address;
    let way: Way<'_> = Box::new(move |request| Box::pin(send(address, request)));
    upgrade::pass_on(way, &address.authority(), &target, connect.request).await
}

async fn send(
    address: &Address,
    request: http::Request<Body>,
) -> Result<http::Response<hyper::body::Incoming>, ApiError> {
    let failed = |why: &dyn std::fmt::Display| {
        ApiError::unavailable(format!("error trying to reach {}: {why}", address.authority()))
    };
    let connect = TcpStream::connect((address.host.as_str(), address.port));
    let stream = match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
        Ok(stream) => stream.map_err(|error| failed(&error))?,
        Err(_) => return Err(failed(&"no answer within 10 s")),
    };
    let _ = stream.set_nodelay(true);
    exchange(stream, request).await.map_err(|error| failed(&error))
}

/// Whether an address is one that pods have. Whoever may write addresses must not reach this server's own machine by them.
fn is_public(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => !(ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_unspecified()),
        Ok(IpAddr::V6(ip)) => {
            !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified())
        }
        Err(_) => false,
    }
}

/// Name and port; the port is empty when it is not said.
fn parse(name: &str) -> Result<(&str, &str), ApiError> {
    let parts: Vec<&str> = name.split(':').collect();
    match parts.as_slice() {
        [name] => Ok((name, "")),
        [name, port] | ["" | "http", name, port] => Ok((name, port)),
        ["https", ..] => Err(ApiError::bad_request("the scheme https is not supported by this proxy")),
        _ => Err(ApiError::bad_request(format!("invalid request {name:?}"))),
    }
}

fn number_of(port: &str) -> Result<u16, ApiError> {
    port.parse()
        .map_err(|_| ApiError::bad_request(format!("invalid port {port:?}")))
}

fn first_port(pod: &Value) -> Option<u16> {
    let containers = list(pod, "spec.containers").iter();
    let mut ports = containers.flat_map(|container| list(container, "ports"));
    ports
        .next()
        .and_then(|port| u16::try_from(number(port, "containerPort")).ok())
}

/// The slices of a service, as this member has them.
pub(crate) async fn slices_of(
    reader: &crate::registry::Reader,
    namespace: &str,
    service: &str,
) -> Result<Vec<Value>, ApiError> {
    let wanted = service.to_owned();
    let matcher = move |meta: &storage::Meta| meta.label("kubernetes.io/service-name") == Some(&wanted);
    let query = ListQuery {
        namespace: namespace.to_owned(),
        matcher: Some(std::sync::Arc::new(matcher)),
        freshness: Some(Freshness::Any),
        ..ListQuery::default()
    };
    let page = reader.storage().list(&reader.served(SLICES)?.collection, &query).await;
    let page = page.map_err(|error| crate::status::from_storage(error, SLICES, ""))?;
    Ok(page.items.iter().filter_map(|item| item.value().ok()).collect())
}

/// The first ready address and its port of that name.
pub(crate) fn ready(slices: &[Value], port_name: &str) -> Option<(String, u16)> {
    slices.iter().find_map(|slice| {
        let port = list(slice, "ports")
            .iter()
            .find(|port| text(port, "name") == port_name)?;
        let endpoint = list(slice, "endpoints")
            .iter()
            .find(|endpoint| at(endpoint, "conditions.ready").is_none_or(|ready| *ready == true))?;
        let address = list(endpoint, "addresses").first()?.as_str()?;
        Some((address.to_owned(), u16::try_from(number(port, "port")).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_may_say_scheme_and_port() {
        assert_eq!(parse("a").unwrap(), ("a", ""));
        assert_eq!(parse("a:web").unwrap(), ("a", "web"));
        assert_eq!(parse("http:a:80").unwrap(), ("a", "80"));
        assert_eq!(parse("https:a:443").unwrap_err().code, 400);
        assert_eq!(parse("a:b:c:d").unwrap_err().code, 400);
    }

    #[test]
    fn only_addresses_of_pods_are_reached() {
        for (host, expected) in [
            ("10.244.1.5", true),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("::1", false),
            ("", false),
        ] {
            assert_eq!(is_public(host), expected, "{host}");
        }
    }

    #[test]
    fn only_ready_endpoints_are_asked() {
        let slice = json!({"ports": [{"name": "web", "port": 9443}], "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": false}}, {"addresses": ["10.0.0.2"], "conditions": {"ready": true}}]});
        assert_eq!(
            ready(std::slice::from_ref(&slice), "web"),
            Some(("10.0.0.2".into(), 9443))
        );
        assert_eq!(ready(&[slice], "other"), None);
    }
}
