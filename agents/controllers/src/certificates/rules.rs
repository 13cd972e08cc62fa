//! What each of the cluster's own signers signs. Pure; the rules are upstream's.

use std::collections::BTreeSet;

use pki::csr::{Request, Usages};

pub(super) const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub(super) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";

const DIGITAL_SIGNATURE: &str = "digital signature";
const KEY_ENCIPHERMENT: &str = "key encipherment";
const CLIENT_AUTH: &str = "client auth";
const SERVER_AUTH: &str = "server auth";

const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";

/// Whether a signer signs such a request; the error says why not. `None` if the signer is none of the cluster's own.
pub(super) fn permits(signer: &str, request: &Request, usages: &[String]) -> Option<Result<(), String>> {
    match signer {
        CLIENT => Some(client(usages)),
        KUBELET_CLIENT => Some(kubelet_client(request, usages)),
        KUBELET_SERVING => Some(kubelet_serving(request, usages)),
        _ => None,
    }
}

/// What the certificate is good for. What no signer here permits is not in it.
pub(super) fn granted(usages: &[String]) -> Usages {
    let has = |usage: &str| usages.iter().any(|u| u == usage);
    Usages {
        digital_signature: has(DIGITAL_SIGNATURE),
        key_encipherment: has(KEY_ENCIPHERMENT),
        server: has(SERVER_AUTH),
        client: has(CLIENT_AUTH),
    }
}

fn client(usages: &[String]) -> Result<(), String> {
    let known = [DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, CLIENT_AUTH];
    if let Some(usage) = usages.iter().find(|usage| !known.contains(&usage.as_str())) {
        return Err(format!("invalid usage for client certificate: {usage}"));
    }
    match usages.iter().any(|usage| usage == CLIENT_AUTH) {
        true => Ok(()),
        false => Err(format!("missing required usage for client certificate: {CLIENT_AUTH}")),
    }
}

/// A kubelet as a client of the API.
pub(super) fn kubelet_client(request: &Request, usages: &[String]) -> Result<(), String> {
    of_nodes(request)?;
    if !request.dns_names.is_empty() {
        return Err("DNS subjectAltNames are not allowed".into());
    }
    no_others(request)?;
    if !request.ip_addresses.is_empty() {
        return Err("IP subjectAltNames are not allowed".into());
    }
    exactly(usages, CLIENT_AUTH)?;
    named_as_node(request)
}

/// A kubelet as a server.
fn kubelet_serving(request: &Request, usages: &[String]) -> Result<(), String> {
    of_nodes(request)?;
    if request.dns_names.is_empty() && request.ip_addresses.is_empty() {
        return Err("DNS or IP subjectAltName is required".into());
    }
    no_others(request)?;
    exactly(usages, SERVER_AUTH)?;
    named_as_node(request)
}

fn of_nodes(request: &Request) -> Result<(), String> {
    match request.organizations == [NODES] {
        true => Ok(()),
        false => Err(format!("subject organization is not {NODES}")),
    }
}

fn no_others(request: &Request) -> Result<(), String> {
    if !request.email_addresses.is_empty() {
        return Err("email subjectAltNames are not allowed".into());
    }
    match request.uris.is_empty() {
        true => Ok(()),
        false => Err("URI subjectAltNames are not allowed".into()),
    }
}

/// A key that is not RSA's cannot encipher keys, so that usage may be left out.
fn exactly(usages: &[String], auth: &str) -> Result<(), String> {
    let given: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let all = BTreeSet::from([DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, auth]);
    match given == all || given == BTreeSet::from([DIGITAL_SIGNATURE, auth]) {
        true => Ok(()),
        false => Err(format!("usages did not match {all:?}")),
    }
}

fn named_as_node(request: &Request) -> Result<(), String> {
    match request.common_name.starts_with(NODE_PREFIX) {
        true => Ok(()),
        false => Err(format!("subject common name does not begin with {NODE_PREFIX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::kubelet;
    use super::*;

    /// Why `signer` does not sign for this leaf and these usages (separated by commas); empty if it does.
    fn check(signer: &str, leaf: &pki::Leaf, usages: &str) -> String {
        let request = Request::parse(&pki::csr::request(leaf).unwrap().request_pem).unwrap();
        let usages: Vec<String> = usages.split(',').map(str::to_owned).collect();
        permits(signer, &request, &usages).unwrap().err().unwrap_or_default()
    }

    const CLIENT_USES: &str = "client auth,digital signature";
    const SERVER_USES: &str = "server auth,digital signature,key encipherment";

    #[test]
    fn clients_are_signed_for_clients_uses_only() {
        let anna = pki::kubeadm::client("anna", "dev");
        assert_eq!(check(CLIENT, &anna, "client auth"), "");
        assert_eq!(
            check(CLIENT, &anna, "client auth,key encipherment,digital signature"),
            ""
        );
        assert!(
            check(CLIENT, &anna, "client auth,server auth")
                .contains("invalid usage for client certificate: server auth")
        );
        assert!(check(CLIENT, &anna, "digital signature").contains("missing required usage"));
    }

    #[test]
    fn a_kubelet_is_a_client_under_its_nodes_name_and_no_other() {
        assert_eq!(check(KUBELET_CLIENT, &kubelet(), CLIENT_USES), "");
        let with = |change: fn(&mut pki::Leaf)| {
            let mut leaf = kubelet();
            change(&mut leaf);
            check(KUBELET_CLIENT, &leaf, CLIENT_USES)
        };
        assert!(with(|leaf| leaf.organizations.push("x".into())).contains("subject organization"));
        assert!(with(|leaf| leaf.organizations.clear()).contains("subject organization"));
        assert!(with(|leaf| leaf.common_name = "a".into()).contains("common name"));
        assert!(with(|leaf| leaf.dns_names.push("a".into())).contains("DNS"));
        assert!(with(|leaf| leaf.ip_addresses.push([10, 0, 0, 1].into())).contains("IP"));
        assert!(check(KUBELET_CLIENT, &kubelet(), "client auth").contains("usages did not match"));
        assert!(check(KUBELET_CLIENT, &kubelet(), SERVER_USES).contains("usages did not match"));
    }

    #[test]
    fn a_kubelet_serves_under_names_or_addresses() {
        let mut leaf = kubelet();
        assert!(check(KUBELET_SERVING, &leaf, SERVER_USES).contains("DNS or IP subjectAltName is required"));
        leaf.dns_names.push("a".into());
        assert_eq!(check(KUBELET_SERVING, &leaf, SERVER_USES), "");
        assert_eq!(check(KUBELET_SERVING, &leaf, "server auth,digital signature"), "");
        assert!(check(KUBELET_SERVING, &leaf, CLIENT_USES).contains("usages did not match"));
        leaf.common_name = "a".into();
        assert!(check(KUBELET_SERVING, &leaf, SERVER_USES).contains("common name"));
    }

    #[test]
    fn other_signers_are_other_peoples_business() {
        let request = Request::parse(&pki::csr::request(&kubelet()).unwrap().request_pem).unwrap();
        assert_eq!(permits("example.com/signer", &request, &[]), None);
    }
}
