//! A certificate authority and the leaf certificates it issues. Keys are ECDSA P-256.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::files::{read, write_private, write_public};
use crate::{CA_VALIDITY_DAYS, Error, LEAF_VALIDITY_DAYS};

/// Clocks of two hosts differ; a certificate is valid from this long before it was issued.
pub(crate) const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// A certificate authority: its certificate and its private key.
pub struct Ca {
    cert_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its private key, both PEM.
#[derive(Clone)]
pub struct Identity {
    pub cert_pem: String,
    pub key_pem: String,
}

/// What a leaf certificate shall say.
#[derive(Clone, Debug, Default)]
pub struct Leaf {
    /// CN: the Kubernetes user name of a client certificate.
    pub common_name: String,
    /// O: the Kubernetes groups of a client certificate.
    pub organizations: Vec<String>,
    pub dns_names: Vec<String>,
    pub ip_addresses: Vec<IpAddr>,
    /// Usable by a TLS server.
    pub server: bool,
    /// Usable by a TLS client.
    pub client: bool,
    /// Validity in days; [`LEAF_VALIDITY_DAYS`] if `None`.
    pub days: Option<i64>,
}

impl Ca {
    /// Makes a new authority named `common_name`.
    pub fn generate(common_name: &str) -> Result<Ca, Error> {
        let failed = |reason: rcgen::Error| Error::Issue {
            subject: common_name.into(),
            reason: reason.to_string(),
        };
        let mut params = CertificateParams::new(vec![common_name.to_string()]).map_err(failed)?;
        params.distinguished_name = name(common_name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        set_validity(&mut params, CA_VALIDITY_DAYS);
        let key = KeyPair::generate().map_err(failed)?;
        let cert_pem = params.self_signed(&key).map_err(failed)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Ca {
            cert_pem,
            key_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// Reads an authority from its two PEM files.
    pub fn load(cert_path: &Path, key_path: &Path) -> Result<Ca, Error> {
        let (cert_pem, key_pem) = (read(cert_path)?, read(key_path)?);
        let key = KeyPair::from_pem(&key_pem).map_err(|e| Error::content("private key", key_path, e))?;
        if !crate::csr::is_for_key(&cert_pem, &key_pem) {
            let reason = format!("it is not the key of {}", cert_path.display());
            return Err(Error::content("private key", key_path, reason));
        }
        let issuer =
            Issuer::from_ca_cert_pem(&cert_pem, key).map_err(|e| Error::content("CA certificate", cert_path, e))?;
        Ok(Ca {
            cert_pem,
            key_pem,
            issuer,
        })
    }

    /// Reads the authority if its certificate exists, else makes and writes it.
    pub fn load_or_generate(common_name: &str, cert_path: &Path, key_path: &Path) -> Result<Ca, Error> {
        if cert_path.exists() {
            return Ca::load(cert_path, key_path);
        }
        let ca = Ca::generate(common_name)?;
        ca.write(cert_path, key_path)?;
        Ok(ca)
    }

    /// Writes the key first: a certificate on disk implies that its key is there too.
    pub fn write(&self, cert_path: &Path, key_path: &Path) -> Result<(), Error> {
        write_private(key_path, &self.key_pem)?;
        write_public(cert_path, &self.cert_pem)
    }

    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// When the authority's own certificate stops being valid.
    pub(crate) fn not_after(&self) -> Result<SystemTime, Error> {
        pem_expiry(&self.cert_pem).map_err(|reason| Error::Issue {
            subject: "the authority".into(),
            reason,
        })
    }

    /// Issues a certificate with a fresh key.
    pub fn issue(&self, leaf: &Leaf) -> Result<Identity, Error> {
        let failed = |reason: String| Error::Issue {
            subject: leaf.common_name.clone(),
            reason,
        };
        let mut params = CertificateParams::new(leaf.dns_names.clone()).map_err(|e| failed(e.to_string()))?;
        params
            .subject_alt_names
            .extend(leaf.ip_addresses.iter().map(|ip| SanType::IpAddress(*ip)));
        params.distinguished_name = name(&leaf.common_name, &leaf.organizations);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = usages(leaf);
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, leaf.days.unwrap_or(LEAF_VALIDITY_DAYS));
        let key = KeyPair::generate().map_err(|e| failed(e.to_string()))?;
        let cert = params
            .signed_by(&key, &self.issuer)
            .map_err(|e| failed(e.to_string()))?;
        Ok(Identity {
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

impl Identity {
    /// Writes the key first, as [`Ca::write`] does.
    pub fn write(&self, cert_path: &Path, key_path: &Path) -> Result<(), Error> {
        write_private(key_path, &self.key_pem)?;
        write_public(cert_path, &self.cert_pem)
    }
}

/// When the first certificate of a PEM file stops being valid.
pub fn certificate_expiry(path: &Path) -> Result<SystemTime, Error> {
    pem_expiry(&read(path)?).map_err(|reason| Error::content("certificate", path, reason))
}

/// When the first certificate of a PEM text stops being valid. The error says why it is none.
pub fn pem_expiry(pem: &str) -> Result<SystemTime, String> {
    pem_validity(pem).map(|(_, end)| end)
}

/// From when to when the first certificate of a PEM text is valid. The error says why it is none.
pub fn pem_validity(pem: &str) -> Result<(SystemTime, SystemTime), String> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|e| e.to_string())?;
    let cert = block.parse_x509().map_err(|e| e.to_string())?;
    let time = |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs());
    let validity = cert.validity();
    Ok((
        time(validity.not_before.timestamp()),
        time(validity.not_after.timestamp()),
    ))
}

/// Whether the certificate in PEM was issued by the authority with this certificate in PEM.
pub fn is_issued_by(cert_pem: &str, ca_pem: &str) -> bool {
    let parse = |pem: &str| {
        x509_parser::pem::parse_x509_pem(pem.as_bytes())
            .ok()
            .map(|(_, block)| block)
    };
    let (Some(cert), Some(ca)) = (parse(cert_pem), parse(ca_pem)) else {
        return false;
    };
    match (cert.parse_x509(), ca.parse_x509()) {
        (Ok(cert), Ok(ca)) => cert.verify_signature(Some(ca.public_key())).is_ok(),
        _ => false,
    }
}

pub(crate) fn name(common_name: &str, organizations: &[String]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (index, organization) in organizations.iter().enumerate() {
        // rcgen keeps one value a type; further organizations are spelled as the same OID under a custom type.
        let kind = if index == 0 {
            DnType::OrganizationName
        } else {
            DnType::CustomDnType(vec![2, 5, 4, 10])
        };
        name.push(kind, organization.as_str());
    }
    name.push(DnType::CommonName, common_name);
    name
}

fn usages(leaf: &Leaf) -> Vec<ExtendedKeyUsagePurpose> {
    let mut usages = Vec::new();
    if leaf.server {
        usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    if leaf.client {
        usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    }
    usages
}

fn set_validity(params: &mut CertificateParams, days: i64) {
    let now = SystemTime::now();
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + Duration::from_secs(days.max(0).unsigned_abs() * 86_400)).into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_carries_its_names_and_usages() {
        let ca = Ca::generate("kubernetes").unwrap();
        let leaf = Leaf {
            common_name: "system:node:a".into(),
            organizations: vec!["system:nodes".into()],
            dns_names: vec!["a".into()],
            ip_addresses: vec![[127, 0, 0, 1].into()],
            client: true,
            ..Leaf::default()
        };
        let issued = ca.issue(&leaf).unwrap();
        let (_, block) = x509_parser::pem::parse_x509_pem(issued.cert_pem.as_bytes()).unwrap();
        let cert = block.parse_x509().unwrap();
        assert_eq!(cert.subject().to_string(), "O=system:nodes, CN=system:node:a");
        let (_, ca_block) = x509_parser::pem::parse_x509_pem(ca.cert_pem().as_bytes()).unwrap();
        cert.verify_signature(Some(ca_block.parse_x509().unwrap().public_key()))
            .unwrap();
        let usage = cert.extended_key_usage().unwrap().unwrap();
        assert!(usage.value.client_auth && !usage.value.server_auth);
    }

    #[test]
    fn a_certificate_is_known_to_be_its_authoritys() {
        let (ours, other) = (Ca::generate("kubernetes").unwrap(), Ca::generate("kubernetes").unwrap());
        let leaf = Leaf {
            common_name: "x".into(),
            ..Leaf::default()
        };
        let issued = ours.issue(&leaf).unwrap().cert_pem;
        assert!(is_issued_by(&issued, ours.cert_pem()));
        assert!(!is_issued_by(&issued, other.cert_pem()));
        assert!(!is_issued_by("x", ours.cert_pem()));
    }

    #[test]
    fn an_authority_read_back_still_issues() {
        let directory = tempfile::tempdir().unwrap();
        let (cert, key) = (directory.path().join("ca.crt"), directory.path().join("ca.key"));
        let first = Ca::load_or_generate("kubernetes", &cert, &key).unwrap();
        let again = Ca::load_or_generate("kubernetes", &cert, &key).unwrap();
        assert_eq!(first.cert_pem(), again.cert_pem());
        let issued = again
            .issue(&Leaf {
                common_name: "x".into(),
                server: true,
                ..Leaf::default()
            })
            .unwrap();
        assert!(issued.cert_pem.contains("BEGIN CERTIFICATE"));
    }

    #[test]
    fn a_broken_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.crt");
        std::fs::write(&path, "nonsense").unwrap();
        let error = certificate_expiry(&path).unwrap_err().to_string();
        assert!(error.contains("ca.crt") && error.contains("certificate"), "{error}");
    }
}
