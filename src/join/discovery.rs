//! Finding out which cluster answers at an address, by a token and a pin.
//!
//! Nothing is known of whoever answers, so the first answer is taken without checking its certificate, and nothing secret is
//! sent. It holds the cluster's authority and, for every token, a signature by it: whoever made it knows the token. Tokens are
//! given to every machine that joins, though, so the authority has to have the pin as well. Then the same is read again over a
//! connection that this authority vouches for. Only after that the token is shown.

use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use http_body_util::{BodyExt, Limited};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::config::Kubeconfig;
use pki::pin::Pin;
use tokio::time::{Instant, sleep};

use super::args::JoinArgs;
use crate::output::say;
use crate::token::Token;

const PATH: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
/// What an answer may hold at most, before it is known whose it is.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an API that cannot be reached is tried.
const REACH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a signature may be missing: a token that was just made is not signed with at once.
const SIGNATURE_TIMEOUT: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_millis(500);

/// A cluster that is known to be the one that was meant.
pub struct Cluster {
    /// Certificate of its authority.
    pub ca_pem: String,
    /// `https://host:port` where it was asked.
    pub server: String,
    /// `https://host:port` where it says it is.
    pub advertised: String,
}

/// Finds the cluster at the address of the flags.
pub async fn discover(args: &JoinArgs) -> anyhow::Result<Cluster> {
    let address = args.address.trim_start_matches("https://").trim_end_matches('/');
    ensure!(
        address
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok()),
        "{:?} is not of the form HOST:PORT",
        args.address
    );
    let server = format!("https://{address}");
    let text = signed(&server, &args.token).await?;
    let (ca_pem, advertised) = read(&text)?;
    if !args.discovery_token_unsafe_skip_ca_verification {
        check_pin(&ca_pem, &args.discovery_token_ca_cert_hash)?;
    }
    let again = ask(&server, Some(&ca_pem)).await;
    let again = again.with_context(|| {
        format!("{server}: what answers has no certificate of the cluster's authority for this address")
    })?;
    ensure!(
        entry(&again, "kubeconfig") == Some(&text),
        "{server}: cluster-info changed while it was read: try again"
    );
    say!("[discovery] {server} is the cluster that the token and the pin name");
    Ok(Cluster {
        ca_pem,
        server,
        advertised,
    })
}

/// The kubeconfig in `cluster-info`, once the token has signed it.
async fn signed(server: &str, token: &Token) -> anyhow::Result<String> {
    let begun = Instant::now();
    loop {
        let (error, limit) = match ask(server, None).await {
            Ok(map) => match judge(&map, token)? {
                Some(text) => return Ok(text),
                None => (unknown(token), SIGNATURE_TIMEOUT),
            },
            Err(error) => (
                error.context(format!("{server}: cannot read cluster-info")),
                REACH_TIMEOUT,
            ),
        };
        if begun.elapsed() >= limit {
            return Err(error);
        }
        sleep(RETRY).await;
    }
}

/// Why a token is good for nothing.
pub fn unknown(token: &Token) -> anyhow::Error {
    anyhow!(
        "--token: the cluster knows no token with the id {}: it has expired, was deleted, or is another cluster's; on a master, \
         `proreus token create --print-join-command` makes a new one",
        token.id
    )
}

/// The text that the token has signed; `None` while there is no signature. A wrong signature is no matter of time.
fn judge(map: &ConfigMap, token: &Token) -> anyhow::Result<Option<String>> {
    let text =
        entry(map, "kubeconfig").context("cluster-info says nothing: `proreus init phase bootstrap-token` fills it")?;
    let Some(signature) = entry(map, &format!("jws-kubeconfig-{}", token.id)) else {
        return Ok(None);
    };
    ensure!(
        token.has_signed(signature, text),
        "--token: what answers did not sign with this token: its secret part is wrong, or somebody pretends to be the cluster"
    );
    Ok(Some(text.clone()))
}

fn entry<'a>(map: &'a ConfigMap, key: &str) -> Option<&'a String> {
    map.data.as_ref()?.get(key)
}

/// The authority and the URL in a kubeconfig.
fn read(text: &str) -> anyhow::Result<(String, String)> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let config = Kubeconfig::from_yaml(text).context("cluster-info is no kubeconfig")?;
    let cluster = config.clusters.into_iter().find_map(|named| named.cluster);
    let cluster = cluster.context("cluster-info names no cluster")?;
    let ca = cluster
        .certificate_authority_data
        .context("cluster-info has no authority")?;
    let ca = STANDARD.decode(ca).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    Ok((
        ca.context("cluster-info: the authority is no certificate")?,
        cluster.server.context("cluster-info names no server")?,
    ))
}

fn check_pin(ca_pem: &str, pins: &[Pin]) -> anyhow::Result<()> {
    let pin = Pin::of(ca_pem).map_err(|reason| anyhow!("cluster-info: the authority is no certificate: {reason}"))?;
    if !pins.contains(&pin) {
        bail!(
            "--discovery-token-ca-cert-hash: the cluster's authority has the pin {pin}, not the one that was given: this is \
             another cluster, or somebody pretends to be it"
        );
    }
    Ok(())
}

/// Reads `cluster-info`, as anybody may: from whoever answers, or from who has a certificate of this authority.
async fn ask(server: &str, ca_pem: Option<&str>) -> anyhow::Result<ConfigMap> {
    let mut config = kube::Config::new(server.parse().with_context(|| format!("{server} is no URL"))?);
    (config.connect_timeout, config.read_timeout) = (Some(ANSWER_TIMEOUT), Some(ANSWER_TIMEOUT));
    match ca_pem {
        Some(ca) => config.root_cert = Some(vec![der(ca)?]),
        None => config.accept_invalid_certs = true,
    }
    let client = kube::Client::try_from(config).context("cannot build a client of the API")?;
    let request = http::Request::get(PATH).body(kube::client::Body::empty());
    let asked = async {
        let response = client.send(request.context("cannot build a request")?).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow!("{error}"))?.to_bytes();
        ensure!(status.is_success(), "it answers {status}");
        serde_json::from_slice(&body).context("the answer is no ConfigMap")
    };
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, asked).await;
    answered.with_context(|| format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))?
}

fn der(pem: &str) -> anyhow::Result<Vec<u8>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
    Ok(certificate
        .context("cluster-info: the authority is no certificate")?
        .to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::objects::cluster_info;

    fn map(entries: &[(&str, &str)]) -> ConfigMap {
        let entries = entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        ConfigMap {
            data: Some(entries.collect()),
            ..ConfigMap::default()
        }
    }

    #[test]
    fn only_what_the_token_signed_is_taken() {
        let (token, secret) = (Token::parse("abcdef.0123456789abcdef").unwrap(), "0123456789abcdef");
        let signature = pki::jws::sign("text", "abcdef", secret);
        let key = "jws-kubeconfig-abcdef";
        let good = map(&[("kubeconfig", "text"), (key, &signature)]);
        assert_eq!(judge(&good, &token).unwrap().as_deref(), Some("text"));
        let changed = map(&[("kubeconfig", "other"), (key, &signature)]);
        assert!(judge(&changed, &token).is_err());
        let of_another = map(&[("kubeconfig", "text"), ("jws-kubeconfig-fedcba", &signature)]);
        assert_eq!(judge(&of_another, &token).unwrap(), None);
        let other_secret = Token::parse("abcdef.0123456789abcdee").unwrap();
        let error = judge(&good, &other_secret).unwrap_err().to_string();
        assert!(
            error.contains("--token") && !error.contains("0123456789abcdee"),
            "{error}"
        );
    }

    #[test]
    fn an_authority_with_another_pin_is_refused() {
        let ca = pki::Ca::generate("kubernetes").unwrap();
        let text = cluster_info("https://h:1", ca.cert_pem()).unwrap();
        let (read_ca, server) = read(&text).unwrap();
        assert_eq!((read_ca.as_str(), server.as_str()), (ca.cert_pem(), "https://h:1"));
        let pin = Pin::of(ca.cert_pem()).unwrap();
        let other = Pin::of(pki::Ca::generate("kubernetes").unwrap().cert_pem()).unwrap();
        check_pin(&read_ca, &[other.clone(), pin.clone()]).unwrap();
        let error = check_pin(&read_ca, &[other]).unwrap_err().to_string();
        assert!(error.contains(&pin.to_string()), "{error}");
        assert!(check_pin(&read_ca, &[]).is_err());
    }
}
