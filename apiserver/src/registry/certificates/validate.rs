//! What a request for a certificate may say, and which changes of its status are possible. Rules and texts are upstream's.

use super::{APPROVED, DENIED, FAILED};
use crate::FieldError;
use crate::registry::check::Errors;
use crate::registry::fields::{at, list, number, same, text};
use crate::registry::names::{SUBDOMAIN_LENGTH_MAX, dns_label, dns_subdomain};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The shortest certificate that may be asked for.
const SECONDS_MIN: i64 = 600;
/// Bounds the work of comparing them with each other. Upstream has no bound; three kinds mean something.
const CONDITIONS_MAX: usize = 64;
/// So that a signer's name fits where resources are named.
const SIGNER_LENGTH_MAX: usize = 571;
/// The signer of the first version of this API, which signed anything.
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const CERTIFICATE_LABEL: &str = "CERTIFICATE";

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// The spec of a new request.
pub(super) fn spec(errors: &mut Errors, spec: &Value) {
    if let Err(problem) = pki::csr::check(&decoded(spec, "request")) {
        errors.push(FieldError::invalid("spec.request", &spec["request"], &problem));
    }
    usages(errors, list(spec, "usages"));
    // That there is none at all the schema says.
    if let Some(name) = at(spec, "signerName").and_then(Value::as_str) {
        signer(errors, name);
    }
    if at(spec, "expirationSeconds").is_some() && number(spec, "expirationSeconds") < SECONDS_MIN {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid(
            "spec.expirationSeconds",
            &spec["expirationSeconds"],
            detail,
        ));
    }
}

/// Text that is stored as base64; empty if it is not text.
pub(super) fn decoded(value: &Value, path: &str) -> String {
    let bytes = STANDARD.decode(text(value, path)).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

fn usages(errors: &mut Errors, usages: &[Value]) {
    if usages.is_empty() {
        errors.push(FieldError::required("spec.usages", ""));
    }
    // More than there are: one of them is wrong or there twice, and each would be told of.
    if usages.len() > USAGES.len() {
        return errors.push(FieldError::too_many("spec.usages", usages.len(), USAGES.len()));
    }
    for (index, usage) in usages.iter().enumerate() {
        let field = format!("spec.usages[{index}]");
        if !usage.as_str().is_some_and(|usage| USAGES.contains(&usage)) {
            errors.push(FieldError::not_supported(&field, usage, USAGES));
        }
        if usages[..index].contains(usage) {
            errors.push(FieldError::duplicate(&field, usage));
        }
    }
}

fn signer(errors: &mut Errors, name: &str) {
    if name.is_empty() {
        return errors.push(FieldError::required("spec.signerName", ""));
    }
    // Before its parts, each of which would be told of.
    if name.len() > SIGNER_LENGTH_MAX {
        return errors.push(FieldError::too_long("spec.signerName", SIGNER_LENGTH_MAX));
    }
    let mut invalid =
        |value: &str, detail: &str| errors.push(FieldError::invalid("spec.signerName", &json!(value), detail));
    if name == LEGACY_SIGNER {
        return invalid(name, "the legacy signerName is not allowed via this API version");
    }
    let (domain, path) = match name.split_once('/') {
        Some((domain, path)) if !path.contains('/') => (domain, path),
        _ => {
            return invalid(
                name,
                "must be a fully qualified domain and path of the form 'example.com/signer-name'",
            );
        }
    };
    for label in domain.split('.') {
        if let Some(problem) = dns_label(label) {
            invalid(domain, &format!("validating label {label:?}: {problem}"));
        }
    }
    if !domain.contains('.') {
        invalid(
            domain,
            "should be a domain with at least two segments separated by dots",
        );
    }
    for label in path.split('.') {
        if let Some(problem) = dns_subdomain(label) {
            invalid(path, &format!("validating label {label:?}: {problem}"));
        }
    }
    if domain.len() > SUBDOMAIN_LENGTH_MAX {
        errors.push(FieldError::too_long("spec.signerName", SUBDOMAIN_LENGTH_MAX));
    }
}

/// The status of a request, whoever wrote it.
pub(super) fn status(errors: &mut Errors, request: &Value) {
    let conditions = list(request, "status.conditions");
    if conditions.len() > CONDITIONS_MAX {
        return errors.push(FieldError::too_many(
            "status.conditions",
            conditions.len(),
            CONDITIONS_MAX,
        ));
    }
    for (index, condition) in conditions.iter().enumerate() {
        let earlier = |kind: &str| conditions[..index].iter().any(|c| text(c, "type") == kind);
        self::condition(errors, &format!("status.conditions[{index}]"), condition, &earlier);
    }
    let certificate = decoded(request, "status.certificate");
    let given = !text(request, "status.certificate").is_empty();
    if given && let Err(problem) = certificates(&certificate) {
        let shown = json!("<certificate data>");
        errors.push(FieldError::invalid("status.certificate", &shown, &problem));
    }
}

fn condition(errors: &mut Errors, path: &str, condition: &Value, earlier: &dyn Fn(&str) -> bool) {
    let (kind, status) = (text(condition, "type"), text(condition, "status"));
    let (kind_field, status_field) = (format!("{path}.type"), format!("{path}.status"));
    if kind.is_empty() {
        errors.push(FieldError::required(&kind_field, ""));
    }
    if kind == APPROVED && earlier(DENIED) || kind == DENIED && earlier(APPROVED) {
        let detail = "Approved and Denied conditions are mutually exclusive";
        errors.push(FieldError::invalid(&kind_field, &json!(kind), detail));
    }
    let allowed: &[&str] = match kind {
        APPROVED | DENIED | FAILED => &["True"],
        _ => &["False", "True", "Unknown"],
    };
    match status {
        "" => errors.push(FieldError::required(&status_field, "")),
        status if !allowed.contains(&status) => {
            errors.push(FieldError::not_supported(&status_field, &json!(status), allowed));
        }
        _ => {}
    }
    if earlier(kind) {
        errors.push(FieldError::duplicate(&kind_field, &json!(kind)));
    }
}

/// Whether a text is certificates and nothing else.
fn certificates(pem: &str) -> Result<(), String> {
    let mut count = 0;
    for block in x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()) {
        let block = block.map_err(|e| e.to_string())?;
        if block.label != CERTIFICATE_LABEL {
            return Err(format!(
                "only {CERTIFICATE_LABEL} PEM blocks are allowed, found {:?}",
                block.label
            ));
        }
        block.parse_x509().map_err(|e| e.to_string())?;
        count += 1;
    }
    match count {
        0 => Err(format!("must contain one or more {CERTIFICATE_LABEL} PEM blocks")),
        _ => Ok(()),
    }
}

/// What one subresource may change of the status.
pub(super) fn change(errors: &mut Errors, subresource: &str, new: &Value, old: &Value) {
    let mut forbidden =
        |field: &str, detail: &str| errors.push(FieldError::forbidden(format!("status.{field}"), detail));
    let count = |request: &Value, kind: &str| {
        let conditions = list(request, "status.conditions").iter();
        conditions.filter(|condition| text(condition, "type") == kind).count()
    };
    for kind in [APPROVED, DENIED, FAILED] {
        let (before, now) = (count(old, kind), count(new, kind));
        if now < before {
            forbidden(
                "conditions",
                &format!("updates may not remove a condition of type {kind:?}"),
            );
        }
        if now > before && kind != FAILED && subresource != "approval" {
            forbidden(
                "conditions",
                &format!("updates may not add a condition of type {kind:?}"),
            );
        }
    }
    let certificate = |request| at(request, "status.certificate");
    if !same(certificate(new), certificate(old)) {
        match certificate(old).is_some() {
            _ if subresource != "status" => forbidden("certificate", "updates may not set certificate content"),
            true => forbidden("certificate", "updates may not modify existing certificate content"),
            false => {}
        }
    }
}
