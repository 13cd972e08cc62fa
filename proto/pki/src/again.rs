//! Issuing a certificate again: the same subject, names and uses, with a new key and a new time.

use std::net::IpAddr;
use std::path::Path;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::{Error, Leaf, files};

/// What a certificate in PEM says, as far as it can be issued again. The error says why it cannot be read.
pub fn leaf_of(cert_pem: &str) -> Result<Leaf, String> {
    let (_, block) = x509_parser::pem::parse_x509_pem(cert_pem.as_bytes()).map_err(|e| e.to_string())?;
    let certificate = block.parse_x509().map_err(|e| e.to_string())?;
    let text = |value: &x509_parser::x509::AttributeTypeAndValue| value.as_str().map(str::to_owned).ok();
    let subject = certificate.subject();
    let usage = certificate.extended_key_usage().map_err(|e| e.to_string())?;
    let usage = usage.map(|extension| extension.value);
    let (dns_names, ip_addresses) = names(&certificate)?;
    Ok(Leaf {
        common_name: subject.iter_common_name().find_map(text).unwrap_or_default(),
        organizations: subject.iter_organization().filter_map(text).collect(),
        dns_names,
        ip_addresses,
        server: usage.is_some_and(|usage| usage.server_auth),
        client: usage.is_some_and(|usage| usage.client_auth),
        days: None,
    })
}

/// The same of a file.
pub fn leaf_of_file(path: &Path) -> Result<Leaf, Error> {
    leaf_of(&files::read(path)?).map_err(|reason| Error::content("certificate", path, reason))
}

fn names(certificate: &X509Certificate) -> Result<(Vec<String>, Vec<IpAddr>), String> {
    let (mut dns_names, mut ip_addresses) = (Vec::new(), Vec::new());
    let extension = certificate.subject_alternative_name().map_err(|e| e.to_string())?;
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => ip_addresses.extend(address(bytes)),
            _ => {}
        }
    }
    Ok((dns_names, ip_addresses))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ca;

    #[test]
    fn what_is_issued_again_says_the_same() {
        let ca = Ca::generate("kubernetes").unwrap();
        let leaf = Leaf {
            common_name: "kube-apiserver".into(),
            organizations: vec!["a".into(), "b".into()],
            dns_names: vec!["kubernetes".into(), "m1".into()],
            ip_addresses: vec![[10, 0, 0, 1].into(), "fd00::1".parse().unwrap()],
            server: true,
            client: false,
            days: None,
        };
        let first = ca.issue(&leaf).unwrap();
        let read = leaf_of(&first.cert_pem).unwrap();
        assert_eq!(format!("{read:?}"), format!("{leaf:?}"));
        let second = leaf_of(&ca.issue(&read).unwrap().cert_pem).unwrap();
        assert_eq!(format!("{second:?}"), format!("{leaf:?}"));
    }
}
