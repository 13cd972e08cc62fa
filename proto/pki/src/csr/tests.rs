use super::*;
use x509_parser::certificate::X509Certificate;

/// From openssl: `/C=DE/O=a/O=b/O=c/OU=x/CN=anna` with a DNS name that looks like an address, an address, an email address and
/// a URI; it also asks to be an authority.
const STRANGERS: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIIBpDCCAUoCAQAwTDELMAkGA1UEBhMCREUxCjAIBgNVBAoMAWExCjAIBgNVBAoM
AWIxCjAIBgNVBAoMAWMxCjAIBgNVBAsMAXgxDTALBgNVBAMMBGFubmEwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAATm7zc+cWKm344x09lx8QjU1adpVsPn021iZTGd
OHEzvYgG5XLqqU5BJegDtCMPHSQb5oXW6s2REWASlTyF3PqQoIGbMIGYBgkqhkiG
9w0BCQ4xgYowgYcwDAYDVR0TBAUwAwEB/zAdBgNVHQ4EFgQU/eu/KlyGKC+DK9Xe
z5kLy73FjucwWAYDVR0RBFEwT4IIMTAuMC4wLjGCEGFubmEuZXhhbXBsZS5jb22H
BAoAAAmBEGFubmFAZXhhbXBsZS5jb22GGXNwaWZmZTovL2V4YW1wbGUuY29tL2Fu
bmEwCgYIKoZIzj0EAwIDSAAwRQIgf+TKzF4ERfgC1VeuXT6Gq1eKcGxcuW/s1qba
a6dOeiICIQCfl76gekISGhnuRrdLXx8FPBFMhOIavW1Cbc7EtHfAaw==
-----END CERTIFICATE REQUEST-----
";

fn leaf() -> Leaf {
    Leaf {
        common_name: "system:node:a".into(),
        organizations: vec!["system:nodes".into()],
        dns_names: vec!["a".into()],
        ip_addresses: vec![[10, 0, 0, 1].into()],
        ..Leaf::default()
    }
}

const CLIENT: Usages = Usages {
    digital_signature: true,
    key_encipherment: false,
    server: false,
    client: true,
};

fn contents(pem: &str) -> Vec<u8> {
    x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1.contents
}

fn certificate(der: &[u8]) -> X509Certificate<'_> {
    X509Certificate::from_der(der).unwrap().1
}

#[test]
fn a_request_is_read_as_it_was_made_and_granted_for_its_key() {
    let made = request(&leaf()).unwrap();
    let read = Request::parse(&made.request_pem).unwrap();
    assert_eq!(read.common_name, "system:node:a");
    assert_eq!(read.organizations, ["system:nodes"]);
    assert_eq!(read.dns_names, ["a"]);
    assert_eq!(read.ip_addresses, [IpAddr::from([10, 0, 0, 1])]);
    let ca = Ca::generate("kubernetes").unwrap();
    let granted = ca
        .sign(&read, CLIENT, Duration::from_secs(3600), SystemTime::now())
        .unwrap();
    let der = contents(&granted);
    let cert = certificate(&der);
    assert_eq!(cert.subject().to_string(), "O=system:nodes, CN=system:node:a");
    let extended = cert.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth);
    let usage = cert.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_encipherment());
    assert!(!cert.is_ca());
    assert!(
        is_for_key(&granted, &made.key_pem),
        "the key of the request and no other"
    );
    assert!(!is_for_key(&granted, &request(&leaf()).unwrap().key_pem));
    let authority = contents(ca.cert_pem());
    cert.verify_signature(Some(certificate(&authority).public_key()))
        .unwrap();
}

#[test]
fn what_openssl_asks_for_is_granted_but_for_being_an_authority() {
    let read = Request::parse(STRANGERS).unwrap();
    assert_eq!(read.common_name, "anna");
    assert_eq!(read.organizations, ["a", "b", "c"]);
    assert_eq!(read.dns_names, ["10.0.0.1", "anna.example.com"]);
    assert_eq!(read.ip_addresses, [IpAddr::from([10, 0, 0, 9])]);
    assert_eq!(read.email_addresses, ["anna@example.com"]);
    assert_eq!(read.uris, ["spiffe://example.com/anna"]);
    let ca = Ca::generate("kubernetes").unwrap();
    let granted = ca.sign(&read, CLIENT, SHORT, SystemTime::now()).unwrap();
    let der = contents(&granted);
    let cert = certificate(&der);
    assert_eq!(cert.subject().to_string(), "C=DE, O=a, O=b, O=c, OU=x, CN=anna");
    assert!(!cert.is_ca());
    let names = cert.subject_alternative_name().unwrap().unwrap();
    assert!(!names.critical);
    assert_eq!(names.value.general_names.len(), 5);
    assert!(names.value.general_names.contains(&GeneralName::DNSName("10.0.0.1")));
    let authority = contents(ca.cert_pem());
    cert.verify_signature(Some(certificate(&authority).public_key()))
        .unwrap();
}

#[test]
fn a_certificate_counts_from_a_little_ago_unless_it_is_short_and_never_outlives_its_authority() {
    let read = Request::parse(STRANGERS).unwrap();
    let ca = Ca::generate("kubernetes").unwrap();
    let now = SystemTime::now();
    let seconds = |after: Duration| (now + after).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let hour = Duration::from_secs(3600);
    let end = |validity| {
        let der = contents(&ca.sign(&read, CLIENT, validity, now).unwrap());
        certificate(&der).validity().not_after.timestamp().unsigned_abs()
    };
    assert_eq!(end(hour), seconds(hour));
    assert_eq!(end(24 * hour), seconds(24 * hour - BACKDATE));
    let authority = contents(ca.cert_pem());
    let authority_ends = certificate(&authority).validity().not_after.timestamp().unsigned_abs();
    assert_eq!(end(24 * hour * 365 * 20), authority_ends);
    let later = now + 24 * hour * 365 * 11;
    let refused = ca.sign(&read, CLIENT, hour, later).unwrap_err().to_string();
    assert!(refused.contains("expired"), "{refused}");
}

#[test]
fn two_certificates_for_one_key_have_two_numbers() {
    let made = request(&leaf()).unwrap();
    let again = request_again(&leaf(), &made.key_pem).unwrap();
    let ca = Ca::generate("kubernetes").unwrap();
    let [first, second] = [&made, &again].map(|signing| {
        let read = Request::parse(&signing.request_pem).unwrap();
        let der = contents(&ca.sign(&read, CLIENT, SHORT, SystemTime::now()).unwrap());
        certificate(&der).raw_serial().to_vec()
    });
    assert_eq!(made.key_pem, again.key_pem);
    assert_ne!(first, second);
}

#[test]
fn a_request_that_was_changed_on_the_way_is_refused() {
    let made = request(&leaf()).unwrap();
    let mut der = contents(&made.request_pem);
    let at = der.windows(12).position(|w| w == b"system:nodes").unwrap();
    der[at + 11] = b'z';
    let pem = pem(&der).replace("CERTIFICATE", LABEL);
    let why = Request::parse(&pem).unwrap_err();
    assert!(why.contains("signature"), "{why}");
    assert_eq!(check(&pem).unwrap_err(), why);
    check(&made.request_pem).unwrap();
}

#[test]
fn only_a_block_of_the_right_kind_is_a_request() {
    let made = request(&leaf()).unwrap();
    for wrong in [
        "",
        "nonsense",
        &made
            .request_pem
            .replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
    ] {
        let why = check(wrong).unwrap_err();
        assert!(why.starts_with("PEM block type must be CERTIFICATE REQUEST"), "{why}");
    }
    check(&format!("\n{}\n", made.request_pem)).unwrap();
    let other = request(&leaf()).unwrap().request_pem;
    for hiding in [
        made.request_pem.replace("-----END CERTIFICATE REQUEST", "-----END X") + &other,
        format!("{}{other}", made.request_pem),
        format!("{}trailing", made.request_pem),
    ] {
        assert!(
            check(&hiding).is_err(),
            "another reader would take another block: {hiding}"
        );
    }
}
