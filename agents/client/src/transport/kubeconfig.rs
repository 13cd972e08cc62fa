//! The current context of a kubeconfig file. Left out: exec plugins, passwords, proxies, skipping verification.

use std::path::{Path, PathBuf};

use base64::Engine;
use serde::Deserialize;

use super::{Credential, Pem, RemoteOptions};
use crate::Error;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kubeconfig {
    #[serde(default)]
    current_context: String,
    clusters: Vec<NamedCluster>,
    contexts: Vec<NamedContext>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
}

/// Reads `path` into connection options.
pub(super) fn load(path: &Path) -> Result<RemoteOptions, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::Config(format!("{}: {e}", path.display())))?;
    let base = path.parent().unwrap_or(Path::new("."));
    parse(&text, base).map_err(|e| Error::Config(format!("{}: {e}", path.display())))
}

fn parse(text: &str, base: &Path) -> Result<RemoteOptions, String> {
    let config: Kubeconfig = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
    let context = config.contexts.iter().find(|c| c.name == config.current_context);
    let context = &context
        .ok_or_else(|| format!("no context {:?}", config.current_context))?
        .context;
    let cluster = config.clusters.iter().find(|c| c.name == context.cluster);
    let cluster = &cluster
        .ok_or_else(|| format!("no cluster {:?}", context.cluster))?
        .cluster;
    let user = config.users.iter().find(|u| u.name == context.user);
    let user = &user.ok_or_else(|| format!("no user {:?}", context.user))?.user;
    let ca = pem(
        &cluster.certificate_authority_data,
        &cluster.certificate_authority,
        base,
    )?;
    Ok(RemoteOptions {
        servers: vec![cluster.server.clone()],
        ca: ca.ok_or("the cluster has no certificate-authority")?,
        credential: credential(user, base)?,
        discover: true,
    })
}

fn credential(user: &User, base: &Path) -> Result<Credential, String> {
    let cert = pem(&user.client_certificate_data, &user.client_certificate, base)?;
    let key = pem(&user.client_key_data, &user.client_key, base)?;
    match (cert, key) {
        (Some(cert), Some(key)) => return Ok(Credential::Certificate { cert, key }),
        (None, None) => {}
        _ => return Err("the user has a client certificate without its key, or the key alone".to_owned()),
    }
    Ok(match (&user.token_file, &user.token) {
        (Some(file), _) => Credential::TokenFile(base.join(file)),
        (None, Some(token)) => Credential::Token(token.clone()),
        (None, None) => Credential::None,
    })
}

fn pem(data: &Option<String>, path: &Option<PathBuf>, base: &Path) -> Result<Option<Pem>, String> {
    match (data, path) {
        (Some(data), _) => {
            let text = base64::engine::general_purpose::STANDARD.decode(data.trim());
            Ok(Some(Pem::Inline(text.map_err(|e| format!("base64 data: {e}"))?)))
        }
        (None, Some(path)) => Ok(Some(Pem::Path(base.join(path)))),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
apiVersion: v1
kind: Config
current-context: admin@proreus
clusters:
- name: proreus
  cluster: {server: "https://10.0.0.1:6443", certificate-authority: pki/ca.crt}
contexts:
- name: admin@proreus
  context: {cluster: proreus, user: admin}
users:
- name: admin
  user: {client-certificate-data: aGVsbG8=, client-key: admin.key}
"#;

    #[test]
    fn data_and_relative_paths() {
        let options = parse(FILE, Path::new("/etc/kubernetes")).unwrap();
        assert_eq!(options.servers, ["https://10.0.0.1:6443"]);
        assert!(matches!(&options.ca, Pem::Path(p) if p == Path::new("/etc/kubernetes/pki/ca.crt")));
        let Credential::Certificate {
            cert: Pem::Inline(cert),
            key: Pem::Path(key),
        } = options.credential
        else {
            panic!("expected a certificate by data and a key by path")
        };
        assert_eq!(
            (cert.as_slice(), key.as_path()),
            (b"hello".as_slice(), Path::new("/etc/kubernetes/admin.key"))
        );
    }

    #[test]
    fn a_missing_context_is_named() {
        let text = FILE.replace("current-context: admin@proreus", "current-context: other");
        assert!(parse(&text, Path::new(".")).err().unwrap().contains("\"other\""));
    }
}
