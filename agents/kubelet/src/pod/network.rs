//! Names: what a pod is called, what it calls others, and whom it asks.

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;

use k8s_cri::v1;
use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};

use super::spec;
use crate::Config;

/// The kernel's limit for a host name.
const HOSTNAME_MAX: usize = 63;
/// What resolvers of the C libraries take.
const SERVERS_MAX: usize = 3;

/// The pod's host name.
pub fn hostname(pod: &Pod) -> String {
    let spec = spec::spec(pod);
    let wanted = spec
        .hostname_override
        .as_deref()
        .or(spec.hostname.as_deref())
        .filter(|h| !h.is_empty());
    let name = wanted.unwrap_or_else(|| spec::name(pod));
    // A name must not end with a dash or a dot after it was cut.
    name.get(..HOSTNAME_MAX)
        .unwrap_or(name)
        .trim_end_matches(['-', '.'])
        .to_owned()
}

/// The full name of a pod in a subdomain.
fn full_name(config: &Config, pod: &Pod) -> Option<String> {
    let subdomain = spec::spec(pod).subdomain.as_deref().filter(|s| !s.is_empty())?;
    Some(format!(
        "{}.{subdomain}.{}.svc.{}",
        hostname(pod),
        spec::namespace(pod),
        config.cluster_domain
    ))
}

/// The content of the pod's /etc/hosts.
pub fn hosts(config: &Config, pod: &Pod, ips: &[String]) -> String {
    let mut out = String::from("# Kubernetes-managed hosts file.\n");
    if spec::host_network(pod) {
        out = format!(
            "# Kubernetes-managed hosts file (host network).\n{}",
            read("/etc/hosts")
        );
        if !out.ends_with('\n') {
            out.push('\n');
        }
    } else {
        out.push_str("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        out.push_str("fe00::\tip6-localnet\nfe00::\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
        let host = hostname(pod);
        for ip in ips {
            // Writing to a String cannot fail, here and below.
            let _ = match full_name(config, pod) {
                Some(full) => writeln!(out, "{ip}\t{full}\t{host}"),
                None => writeln!(out, "{ip}\t{host}"),
            };
        }
    }
    let aliases = spec::spec(pod).host_aliases.iter().flatten();
    for (i, alias) in aliases.enumerate() {
        if i == 0 {
            out.push_str("\n# Entries added by HostAliases.\n");
        }
        let _ = writeln!(
            out,
            "{}\t{}",
            alias.ip,
            alias.hostnames.clone().unwrap_or_default().join("\t")
        );
    }
    out
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Whom the pod asks for names, by its dnsPolicy and dnsConfig.
pub fn dns(config: &Config, pod: &Pod) -> v1::DnsConfig {
    dns_from(
        config,
        pod,
        &fs::read_to_string(&config.resolv_conf).unwrap_or_default(),
    )
}

fn dns_from(config: &Config, pod: &Pod, node: &str) -> v1::DnsConfig {
    let spec = spec::spec(pod);
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "ClusterFirstWithHostNet" => true,
        "ClusterFirst" => !spec::host_network(pod),
        _ => false,
    };
    let mut dns = if policy == "None" {
        v1::DnsConfig::default()
    } else if cluster && !config.cluster_dns.is_empty() {
        let domain = &config.cluster_domain;
        let namespace = spec::namespace(pod);
        let mut searches = vec![
            format!("{namespace}.svc.{domain}"),
            format!("svc.{domain}"),
            domain.clone(),
        ];
        searches.extend(parse(node).searches);
        v1::DnsConfig {
            servers: config.cluster_dns.iter().map(IpAddr::to_string).collect(),
            searches,
            options: vec!["ndots:5".into()],
        }
    } else {
        parse(node)
    };
    if let Some(own) = &spec.dns_config {
        merge(&mut dns, own);
    }
    dns.servers.truncate(SERVERS_MAX);
    dns
}

fn parse(text: &str) -> v1::DnsConfig {
    let mut dns = v1::DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => dns.servers.extend(words.next()),
            Some("search") => dns.searches = words.collect(),
            Some("options") => dns.options = words.collect(),
            _ => {}
        }
    }
    dns
}

fn merge(dns: &mut v1::DnsConfig, own: &PodDNSConfig) {
    let add = |to: &mut Vec<String>, from: Option<&Vec<String>>| {
        for item in from.into_iter().flatten() {
            if !to.contains(item) {
                to.push(item.clone());
            }
        }
    };
    add(&mut dns.servers, own.nameservers.as_ref());
    add(&mut dns.searches, own.searches.as_ref());
    for option in own.options.iter().flatten() {
        let Some(name) = &option.name else { continue };
        let text = option
            .value
            .as_ref()
            .map_or_else(|| name.clone(), |v| format!("{name}:{v}"));
        // An option of the pod replaces the one of the same name.
        dns.options.retain(|o| o.split(':').next() != Some(name));
        dns.options.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = serde_json::json!([]);
        let json = serde_json::json!({ "metadata": { "name": "web-0", "namespace": "shop" }, "spec": spec });
        serde_json::from_value(json).unwrap()
    }

    fn config() -> Config {
        Config::new("n", IpAddr::from([10, 0, 0, 1]))
    }

    const NODE: &str = "# a comment\nnameserver 192.0.2.1\nsearch example.org\noptions edns0\n";

    #[test]
    fn the_policy_decides_whom_to_ask() {
        let dns = dns_from(&config(), &pod(serde_json::json!({})), NODE);
        assert_eq!(dns.servers, ["10.96.0.10"]);
        let expected = [
            "shop.svc.cluster.local",
            "svc.cluster.local",
            "cluster.local",
            "example.org",
        ];
        assert_eq!(dns.searches, expected);
        assert_eq!(dns.options, ["ndots:5"]);
        let dns = dns_from(&config(), &pod(serde_json::json!({ "dnsPolicy": "Default" })), NODE);
        assert_eq!(
            (dns.servers, dns.options),
            (vec!["192.0.2.1".into()], vec!["edns0".to_owned()])
        );
        let host = dns_from(&config(), &pod(serde_json::json!({ "hostNetwork": true })), NODE);
        assert_eq!(host.servers, ["192.0.2.1"]);
        let own = serde_json::json!({ "dnsPolicy": "None", "dnsConfig": { "nameservers": ["1.2.3.4"],
            "options": [{ "name": "ndots", "value": "2" }] } });
        let dns = dns_from(&config(), &pod(own), NODE);
        assert_eq!(
            (dns.servers, dns.options),
            (vec!["1.2.3.4".into()], vec!["ndots:2".to_owned()])
        );
    }

    #[test]
    fn hosts_have_the_pods_own_names_and_aliases() {
        let spec = serde_json::json!({ "hostname": "db", "subdomain": "sub",
            "hostAliases": [{ "ip": "1.1.1.1", "hostnames": ["a", "b"] }] });
        let text = hosts(&config(), &pod(spec), &["10.244.0.5".into()]);
        assert!(text.contains("10.244.0.5\tdb.sub.shop.svc.cluster.local\tdb\n"));
        assert!(text.ends_with("1.1.1.1\ta\tb\n"));
    }

    #[test]
    fn long_names_are_cut_to_a_valid_host_name() {
        let mut pod = pod(serde_json::json!({}));
        pod.metadata.name = Some(format!("{}-{}", "a".repeat(62), "b"));
        assert_eq!(hostname(&pod), "a".repeat(62));
    }
}
