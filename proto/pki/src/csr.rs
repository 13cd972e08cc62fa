//! Certificate signing requests: making one, reading a stranger's, and granting it.
//!
//! What a request says is a stranger's word: nothing of it but subject, names and key is taken from it. The subject
//! is copied byte for byte, so that whoever reads the certificate reads what was judged here.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use base64::Engine;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
    SerialNumber, SigningKey, SubjectPublicKeyInfo,
};
use ring::rand::SecureRandom;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::ca::{BACKDATE, Ca, Leaf, name};
use crate::{Error, Identity, der};

/// The label of a request's PEM block.
const LABEL: &str = "CERTIFICATE REQUEST";

/// A certificate that is valid for less than this is valid for its whole time from now on; a longer one counts from
/// [`BACKDATE`] ago. Upstream's bound: below it the difference would matter.
const SHORT: Duration = Duration::from_secs(8 * 3600);

/// The place of the subject among the elements of a version 3 certificate.
const SUBJECT_PLACE: usize = 5;

/// A request that was made here, with the private key that stays here.
pub struct Signing {
    pub request_pem: String,
    pub key_pem: String,
}

/// Makes a fresh key and the request of a certificate for it. Only subject and names of `leaf` are asked for: usages and
/// validity are the signer's decision.
pub fn request(leaf: &Leaf) -> Result<Signing, Error> {
    let key = KeyPair::generate().map_err(|reason| not_issued(&leaf.common_name, reason))?;
    request_for(leaf, key)
}

/// The same for a key that exists: whoever lost the answer asks again without a new key.
pub fn request_again(leaf: &Leaf, key_pem: &str) -> Result<Signing, Error> {
    let key = KeyPair::from_pem(key_pem).map_err(|reason| not_issued(&leaf.common_name, reason))?;
    request_for(leaf, key)
}

fn request_for(leaf: &Leaf, key: KeyPair) -> Result<Signing, Error> {
    let failed = |reason: rcgen::Error| not_issued(&leaf.common_name, reason);
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&leaf.common_name, &leaf.organizations);
    params.subject_alt_names = alternatives(&leaf.dns_names, &leaf.ip_addresses, &[], &[]).map_err(failed)?;
    let request = params.serialize_request(&key).map_err(failed)?;
    Ok(Signing {
        request_pem: request.pem().map_err(failed)?,
        key_pem: key.serialize_pem(),
    })
}

fn not_issued(subject: &str, reason: impl ToString) -> Error {
    Error::Issue {
        subject: subject.to_owned(),
        reason: reason.to_string(),
    }
}

impl Signing {
    /// A name of the key that no other key has and that tells nothing of it: SHA-256 of the public half, base64url.
    pub fn key_name(&self) -> String {
        let public = KeyPair::from_pem(&self.key_pem).map(|key| key.public_key_pem());
        let digest = ring::digest::digest(&ring::digest::SHA256, public.unwrap_or_default().as_bytes());
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest)
    }

    /// The certificate that came back, with its key.
    pub fn granted(self, cert_pem: String) -> Identity {
        Identity {
            cert_pem,
            key_pem: self.key_pem,
        }
    }
}

/// What a request asks for. Its signature was verified, so whoever made it holds the key.
#[derive(Debug, Clone)]
pub struct Request {
    /// Empty if the subject has none; it has never more than one.
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns_names: Vec<String>,
    pub ip_addresses: Vec<IpAddr>,
    pub email_addresses: Vec<String>,
    pub uris: Vec<String>,
    /// DER.
    subject: Vec<u8>,
    key: SubjectPublicKeyInfo,
}

/// What a granted certificate is good for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usages {
    pub digital_signature: bool,
    pub key_encipherment: bool,
    pub server: bool,
    pub client: bool,
}

/// Whether `pem` is a request whose signature is its key's. The error says what is wrong.
pub fn check(pem: &str) -> Result<(), String> {
    opened(&unwrapped(pem)?).map(|_| ())
}

fn unwrapped(pem: &str) -> Result<Pem, String> {
    // Readers differ in what they skip: with one block and nothing else, all of them read the same.
    let text = pem.trim();
    let whole =
        text.starts_with(&format!("-----BEGIN {LABEL}-----")) && text.ends_with(&format!("-----END {LABEL}-----"));
    if !whole || text.matches("-----BEGIN").count() != 1 || text.matches("-----END").count() != 1 {
        return Err(format!(
            "PEM block type must be {LABEL}, and nothing may stand beside the one block"
        ));
    }
    let block = x509_parser::pem::parse_x509_pem(text.as_bytes())
        .ok()
        .map(|(_, block)| block);
    block
        .filter(|block| block.label == LABEL)
        .ok_or_else(|| format!("PEM block type must be {LABEL}"))
}

fn opened(block: &Pem) -> Result<X509CertificationRequest<'_>, String> {
    let (rest, request) = X509CertificationRequest::from_der(&block.contents)
        .map_err(|e| format!("it is not a certificate signing request: {e}"))?;
    if !rest.is_empty() {
        return Err("something follows the certificate signing request".into());
    }
    request
        .verify_signature()
        .map_err(|e| format!("its signature does not hold: {e}"))?;
    Ok(request)
}

impl Request {
    /// Reads a PEM request. The error says what is wrong with it.
    pub fn parse(pem: &str) -> Result<Request, String> {
        let block = unwrapped(pem)?;
        let opened = opened(&block)?;
        let info = &opened.certification_request_info;
        let (common_name, organizations) = names(&info.subject)?;
        let mut request = Request {
            common_name,
            organizations,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            email_addresses: Vec::new(),
            uris: Vec::new(),
            subject: info.subject.as_raw().to_vec(),
            key: SubjectPublicKeyInfo::from_der(info.subject_pki.raw)
                .map_err(|e| format!("its key is of no kind that is signed here: {e}"))?,
        };
        for extension in opened.requested_extensions().into_iter().flatten() {
            match extension {
                ParsedExtension::SubjectAlternativeName(names) => {
                    names.general_names.iter().try_for_each(|name| request.add(name))?;
                }
                ParsedExtension::ParseError { error } => {
                    return Err(format!("an extension of it is malformed: {error}"));
                }
                _ => {}
            }
        }
        request
            .alternatives()
            .map_err(|e| format!("a name in it cannot be signed: {e}"))?;
        Ok(request)
    }

    fn alternatives(&self) -> Result<Vec<SanType>, rcgen::Error> {
        alternatives(&self.dns_names, &self.ip_addresses, &self.email_addresses, &self.uris)
    }

    /// Names of other kinds are dropped, as upstream drops them.
    fn add(&mut self, name: &GeneralName<'_>) -> Result<(), String> {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => self.email_addresses.push((*name).to_owned()),
            GeneralName::URI(name) => self.uris.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
                (Ok(four), _) => self.ip_addresses.push(four.into()),
                (_, Ok(sixteen)) => self.ip_addresses.push(sixteen.into()),
                _ => return Err(format!("an address in it has {} bytes", bytes.len())),
            },
            _ => {}
        }
        Ok(())
    }
}

/// Common name and organizations of a subject.
fn names(subject: &X509Name<'_>) -> Result<(String, Vec<String>), String> {
    // Readers differ in which of several names they take: what is judged must be what they take.
    if subject.iter_rdn().any(|rdn| rdn.iter().count() != 1) {
        return Err("a part of its subject has not one attribute".into());
    }
    let text = |attribute: &AttributeTypeAndValue<'_>| {
        let text = attribute.as_str().map_err(|e| format!("its subject is not text: {e}"));
        text.map(str::to_owned)
    };
    let common: Vec<String> = subject.iter_common_name().map(text).collect::<Result<_, _>>()?;
    let organizations: Vec<String> = subject.iter_organization().map(text).collect::<Result<_, _>>()?;
    match common.len() {
        0 | 1 => Ok((common.into_iter().next().unwrap_or_default(), organizations)),
        more => Err(format!("its subject has {more} common names")),
    }
}

impl Ca {
    /// Grants a request: a certificate in PEM for these usages, valid from `now` on for `validity` or until the authority's
    /// own certificate ends. Who may have it is the caller's question.
    pub fn sign(
        &self,
        request: &Request,
        usages: Usages,
        validity: Duration,
        now: SystemTime,
    ) -> Result<String, Error> {
        let failed = |reason: String| not_issued(&request.common_name, reason);
        let authority_ends = self.not_after()?;
        if authority_ends <= now {
            return Err(failed("the certificate of the authority has expired".into()));
        }
        let mut params = params(request, usages).map_err(|e| failed(e.to_string()))?;
        let counted = if validity < SHORT {
            validity
        } else {
            validity - BACKDATE
        };
        params.not_before = (now - BACKDATE).into();
        let ends = now.checked_add(counted).unwrap_or(authority_ends);
        params.not_after = ends.min(authority_ends).into();
        let draft = params
            .signed_by(&request.key, self.issuer())
            .map_err(|e| failed(e.to_string()))?;
        let signed = with_subject(draft.der(), &request.subject, self.issuer().key()).map_err(failed)?;
        Ok(pem(&signed))
    }
}

/// Everything of the certificate but its time and the exact subject.
fn params(request: &Request, usages: Usages) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = request.alternatives()?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    // Whether there is a subject decides whether the other names are critical.
    if der::elements(&request.subject).is_some_and(|parts| !parts.is_empty()) {
        params.distinguished_name.push(DnType::CommonName, "of the request");
    }
    let usage = |wanted: bool, usage: KeyUsagePurpose| wanted.then_some(usage);
    let extended = |wanted: bool, usage: ExtendedKeyUsagePurpose| wanted.then_some(usage);
    params
        .key_usages
        .extend(usage(usages.digital_signature, KeyUsagePurpose::DigitalSignature));
    params
        .key_usages
        .extend(usage(usages.key_encipherment, KeyUsagePurpose::KeyEncipherment));
    params
        .extended_key_usages
        .extend(extended(usages.server, ExtendedKeyUsagePurpose::ServerAuth));
    params
        .extended_key_usages
        .extend(extended(usages.client, ExtendedKeyUsagePurpose::ClientAuth));
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial()?);
    Ok(params)
}

fn alternatives(
    dns_names: &[String],
    ip_addresses: &[IpAddr],
    email_addresses: &[String],
    uris: &[String],
) -> Result<Vec<SanType>, rcgen::Error> {
    let mut names = Vec::new();
    for name in dns_names {
        names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    for name in email_addresses {
        names.push(SanType::Rfc822Name(name.as_str().try_into()?));
    }
    for name in uris {
        names.push(SanType::URI(name.as_str().try_into()?));
    }
    names.extend(ip_addresses.iter().map(|ip| SanType::IpAddress(*ip)));
    Ok(names)
}

/// Two certificates of one authority must not share a number, even for one key.
fn serial() -> Result<SerialNumber, rcgen::Error> {
    let mut bytes = [0_u8; 16];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| rcgen::Error::RingUnspecified)?;
    // Positive and of full length.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// The certificate with `subject` in place of its own, signed again.
fn with_subject(certificate: &[u8], subject: &[u8], key: &KeyPair) -> Result<Vec<u8>, String> {
    let malformed = || "the drafted certificate cannot be taken apart".to_owned();
    let outer = der::elements(certificate).ok_or_else(malformed)?;
    let [to_be_signed, algorithm, _] = outer[..] else {
        return Err(malformed());
    };
    let mut fields = der::elements(to_be_signed).ok_or_else(malformed)?;
    *fields.get_mut(SUBJECT_PLACE).ok_or_else(malformed)? = subject;
    let to_be_signed = der::sequence(&fields);
    let signature = key.sign(&to_be_signed).map_err(|e| e.to_string())?;
    Ok(der::sequence(&[&to_be_signed, algorithm, &der::bit_string(&signature)]))
}

fn pem(certificate: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

/// Whether a certificate in PEM is for the key in PEM.
pub fn is_for_key(cert_pem: &str, key_pem: &str) -> bool {
    let Ok((_, block)) = x509_parser::pem::parse_x509_pem(cert_pem.as_bytes()) else {
        return false;
    };
    let (Ok(certificate), Ok(key)) = (block.parse_x509(), KeyPair::from_pem(key_pem)) else {
        return false;
    };
    certificate.public_key().subject_public_key.data.as_ref() == PublicKeyData::der_bytes(&key)
}

#[cfg(test)]
mod tests;
