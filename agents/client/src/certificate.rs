//! The certificate of an agent: asked for by a request that the cluster approves and signs, and asked for again before it ends.
//!
//! **Theory.** The key is made here and never leaves. While a renewal is under way the next key, and then the next certificate,
//! lie beside those in use; only when both are there do they take their places. Whoever is started again after a crash, at
//! whatever point, finishes what is there or asks again with the same key under the same name, which finds the same request.
//!
//! **Promises.** The certificate in use is replaced only by one that is for its key. What was refused is asked for again with
//! another key.
//!
//! **Left out.** Approving: a kubelet's client certificate is approved by the cluster itself, others by people.

mod files;
mod wait;

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{Client, Error, Resource, limits};

pub use files::Files;

const REQUESTS: Resource = Resource::cluster(
    "certificates.k8s.io",
    "v1",
    "CertificateSigningRequest",
    "certificatesigningrequests",
);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Who is to sign.
    pub signer: &'static str,
    /// For what the certificate is to be good.
    pub usages: &'static [&'static str],
    /// Subject and names.
    pub leaf: pki::Leaf,
}

impl Wanted {
    /// What a node is to the API.
    pub fn kubelet_client(node: &str) -> Wanted {
        Wanted {
            signer: "kubernetes.io/kube-apiserver-client-kubelet",
            usages: &["digital signature", "client auth"],
            leaf: pki::kubeadm::client(&format!("system:node:{node}"), "system:nodes"),
        }
    }

    /// What a node's API shows its clients.
    pub fn kubelet_serving(node: &str, address: IpAddr) -> Wanted {
        Wanted {
            signer: "kubernetes.io/kubelet-serving",
            usages: &["digital signature", "server auth"],
            leaf: pki::kubeadm::node_serving(node, address),
        }
    }
}

/// Gets a certificate and puts it in place. `client` is whoever may ask: a bootstrap token for the first, the certificate's
/// own holder for the next. Fails when it is refused or not there in time; until `stop`.
pub async fn obtain(client: &Client, wanted: &Wanted, files: &Files) -> Result<(), Error> {
    files.settle()?;
    let signing = match files.next_key() {
        Some(key) => pki::csr::request_again(&wanted.leaf, &key),
        None => pki::csr::request(&wanted.leaf),
    };
    let signing = signing.map_err(|error| files.failed(error))?;
    files.keep_next_key(&signing.key_pem)?;
    let name = format!("node-csr-{}", signing.key_name());
    let asked = tokio::time::timeout(
        limits::CERTIFICATE_WAIT,
        ask(client, wanted, &name, &signing.request_pem),
    );
    let asked = asked.await.unwrap_or_else(|_| {
        Err(wait::Refused::Late(format!(
            "{name} was not approved and signed in time"
        )))
    });
    match asked {
        Ok(certificate) => match unusable(&certificate, &signing.key_pem) {
            None => files.replace(&certificate),
            Some(why) => {
                files.forget_next_key()?;
                Err(files.failed(format!("{name} got a certificate {why}")))
            }
        },
        Err(wait::Refused::Final(why)) => {
            files.forget_next_key()?;
            Err(files.failed(why))
        }
        Err(wait::Refused::Late(why)) => Err(files.failed(why)),
        Err(wait::Refused::Error(error)) => Err(error),
    }
}

/// Gets a certificate that the authority in the file `ca` has signed, however long its approval takes, and then keeps it as
/// [`keep`] does. What is in its place until then may be anything.
pub async fn keep_signed(client: Client, wanted: Wanted, files: Files, ca: &Path, stop: CancellationToken) {
    while !files.is_issued_by(ca) {
        let obtained = tokio::select! {
            () = stop.cancelled() => return,
            obtained = obtain(&client, &wanted, &files) => obtained,
        };
        match obtained {
            Ok(()) => tracing::info!(certificate = %files, "signed"),
            Err(error) => tracing::warn!(%error, "no certificate yet, asking again later"),
        }
        // After success, too: an authority that signs what is not its own must not be asked without a pause.
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(limits::RENEWAL_RETRY) => {}
        }
    }
    keep(client, wanted, files, stop).await;
}

/// Renews the certificate before it ends, until `stop`: somewhere between seven and nine tenths of its time, so that the nodes of
/// a cluster that was made at once do not all come at once.
pub async fn keep(client: Client, wanted: Wanted, files: Files, stop: CancellationToken) {
    let share = rand::random_range(limits::RENEWAL_SHARE);
    loop {
        let due = files.validity().map(|validity| due(validity, share));
        let left = due.map_or(Duration::ZERO, |due| {
            due.duration_since(SystemTime::now()).unwrap_or_default()
        });
        let pause = match left {
            Duration::ZERO => {
                let renewed = tokio::select! {
                    () = stop.cancelled() => return,
                    renewed = obtain(&client, &wanted, &files) => renewed,
                };
                match renewed {
                    Ok(()) => tracing::info!(certificate = %files, "renewed"),
                    Err(error) => tracing::warn!(%error, "cannot renew, trying again later"),
                }
                // After success, too: a certificate that is short, or valid at another time than now, is due at once again.
                limits::RENEWAL_RETRY
            }
            // The clock may be set meanwhile.
            left => left.min(limits::RENEWAL_LOOK_MAX),
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Why a certificate is not put in the place of one that may still be good.
fn unusable(cert_pem: &str, key_pem: &str) -> Option<&'static str> {
    match pki::pem_validity(cert_pem) {
        Ok(_) if !pki::csr::is_for_key(cert_pem, key_pem) => Some("for another key"),
        Ok((_, end)) if end <= SystemTime::now() => Some("that is over"),
        Ok(_) => None,
        Err(_) => Some("that cannot be read"),
    }
}

/// When `share` of its time has passed.
fn due((from, to): (SystemTime, SystemTime), share: f64) -> SystemTime {
    from + to.duration_since(from).unwrap_or_default().mul_f64(share)
}

async fn ask(client: &Client, wanted: &Wanted, name: &str, pem: &str) -> Result<String, wait::Refused> {
    use base64::Engine;
    let object = json!({
        "apiVersion": REQUESTS.api_version(),
        "kind": REQUESTS.kind,
        "metadata": { "name": name },
        "spec": {
            "request": base64::engine::general_purpose::STANDARD.encode(pem),
            "signerName": wanted.signer,
            "usages": wanted.usages,
        },
    });
    match client
        .json::<Value>(Method::POST, &REQUESTS.collection(None), Some(&object))
        .await
    {
        // It was asked for before.
        Err(error) if error.is_already_exists() => {}
        asked => drop(asked?),
    }
    wait::certificate(client, name).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_well_before_its_end() {
        let day = Duration::from_secs(86_400);
        let from = SystemTime::UNIX_EPOCH + 100 * day;
        assert_eq!(due((from, from + 10 * day), 0.8), from + 8 * day);
        assert_eq!(due((from, from - day), 0.8), from);
    }
}
