//! Rotation: new certificates in the place of the old ones, while everything runs. Nobody is told and nobody is restarted;
//! all connections break, and from then on every port has to show the new one.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::RngExt;
use rand::rngs::StdRng;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cluster::Cluster;
use crate::db::Served;
use crate::limits::CONNECT_TIMEOUT;

/// A renewed file has to be served within this.
const PICK_UP_TIMEOUT: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

pub(super) async fn rotate(cluster: &Cluster, random: &mut StdRng) -> anyhow::Result<String> {
    let all = random.random_bool(0.5);
    let one = random.random_range(0..cluster.len());
    let members: Vec<usize> = (0..cluster.len()).filter(|member| all || *member == one).collect();
    members.iter().try_for_each(|member| cluster.db.rotate(*member))?;
    for member in &members {
        let deadline = Instant::now() + PICK_UP_TIMEOUT;
        for served in cluster.db.served(*member) {
            while let Err(error) = shows(&served, &cluster.target(*member).pki).await {
                // One that is down shows nothing.
                if !cluster.is_running(*member) {
                    break;
                }
                if Instant::now() > deadline {
                    let address = served.address;
                    cluster.complain(format!("{address} does not show its renewed certificate: {error:#}"));
                    break;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        // Whatever was connected before comes back, with the new ones on both sides.
        cluster.network.reset(*member)?;
    }
    let names: Vec<&str> = members.iter().map(|member| cluster.name(*member)).collect();
    Ok(names.join(", "))
}

/// Whether a port shows the certificate that is in its file now.
async fn shows(served: &Served, client: &Path) -> anyhow::Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&served.ca)?)?;
    // The API takes clients without a certificate, the others ask for one of etcd's authority.
    let chain = vec![CertificateDer::from_pem_file(client.join("client.crt"))?];
    let key = PrivateKeyDer::from_pem_file(client.join("client.key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = if served.address.port() == API_PORT {
        config.with_no_client_auth()
    } else {
        config.with_client_auth_cert(chain, key)?
    };
    let connect = async {
        let stream = TcpStream::connect(served.address).await?;
        let name = ServerName::from(served.address.ip());
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    };
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect).await??;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let shown = shown.context("it shows no certificate")?;
    anyhow::ensure!(
        *shown == CertificateDer::from_pem_file(&served.cert)?,
        "it shows another one"
    );
    Ok(())
}

const API_PORT: u16 = 6443;

#[cfg(test)]
mod tests {
    use pki::tls::{ClientAuth, server_config};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A port of a member that was started just now.
    async fn serve(directory: &Path) -> std::net::SocketAddr {
        let (cert, key, ca) = (
            directory.join("etcd/server.crt"),
            directory.join("etcd/server.key"),
            directory.join("etcd/ca.crt"),
        );
        let config = server_config(&cert, &key, Some(&ca), ClientAuth::Required).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = TlsAcceptor::from(config.clone()).accept(stream).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_port_that_goes_on_with_its_old_certificate_is_found_out() {
        let directory = tempfile::tempdir().unwrap();
        let member = crate::db::Member {
            name: "n1".into(),
            address: [127, 0, 0, 1].into(),
            root: directory.path().join("n1"),
        };
        let db = crate::db::Db {
            kind: crate::db::Kind::Etcd,
            program: "etcd".into(),
            members: vec![member],
            directory: directory.path().into(),
            ids: std::sync::Mutex::default(),
            away: std::sync::Mutex::default(),
        };
        db.prepare().unwrap();
        let pki = directory.path().join("n1/etc/kubernetes/pki");
        // Read at most every five seconds: it has just been read, so this port does not know of what follows.
        let address = serve(&pki).await;
        let served = |address| Served {
            address,
            ca: pki.join("etcd/ca.crt"),
            cert: pki.join("etcd/server.crt"),
        };
        let client = directory.path().join("pki/client");
        shows(&served(address), &client).await.unwrap();
        db.rotate(0).unwrap();
        assert!(shows(&served(address), &client).await.is_err());
        let renewed = serve(&pki).await;
        shows(&served(renewed), &client).await.unwrap();
    }
}
