//! The API server alone, over a store in memory, for trying clients against it:
//!
//! `cargo run -p apiserver --example in_memory -- DIR [PORT]` writes certificates and `DIR/admin.conf`, and serves until Ctrl-C.

use apiserver::{Config, Server, Storage};
use pki::tls::{self, ClientAuth};
use pki::{Ca, Leaf};
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("usage: in_memory DIR [PORT]")?);
    let port: u16 = arguments.next().unwrap_or("16443".into()).parse()?;
    std::fs::create_dir_all(&dir)?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    certificates(&dir)?;
    std::fs::write(dir.join("admin.conf"), kubeconfig(&dir, port))?;
    let mut config = Config::new("in-memory", [127, 0, 0, 1].into());
    config.secure_port = port;
    pki::jwt::ensure_key_pair(&dir.join("sa.key"), &dir.join("sa.pub"))?;
    config.service_account_signing_key = Some(dir.join("sa.key"));
    config.service_account_keys = vec![dir.join("sa.pub")];
    config.client_ca = Some(dir.join("ca.crt"));
    config.root_ca = Some(dir.join("ca.crt"));
    let server = Server::new(Storage::new(memory::store().await?), config);
    server.bootstrap().await?;
    let tls = tls::server_config(
        &dir.join("server.crt"),
        &dir.join("server.key"),
        Some(&dir.join("ca.crt")),
        ClientAuth::Optional,
    )?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        stopper.cancel();
    });
    println!("export KUBECONFIG={}", dir.join("admin.conf").display());
    server
        .serve(listener, tls::with_alpn(tls, &["h2", "http/1.1"]), stop)
        .await?;
    Ok(())
}

fn certificates(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let ca = Ca::load_or_generate("kubernetes", &dir.join("ca.crt"), &dir.join("ca.key"))?;
    let server = Leaf {
        common_name: "kube-apiserver".into(),
        dns_names: vec!["localhost".into(), "kubernetes".into()],
        ip_addresses: vec![[127, 0, 0, 1].into()],
        server: true,
        ..Leaf::default()
    };
    ca.issue(&server)?
        .write(&dir.join("server.crt"), &dir.join("server.key"))?;
    let admin = Leaf {
        common_name: "kubernetes-admin".into(),
        organizations: vec!["kubeadm:cluster-admins".into()],
        client: true,
        ..Leaf::default()
    };
    ca.issue(&admin)?
        .write(&dir.join("admin.crt"), &dir.join("admin.key"))?;
    Ok(())
}

fn kubeconfig(dir: &Path, port: u16) -> String {
    let path = |name: &str| {
        std::path::absolute(dir.join(name))
            .unwrap_or_else(|_| dir.join(name))
            .display()
            .to_string()
    };
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: memory\n\
         clusters: [{{name: memory, cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority: '{}'}}}}]\n\
         users: [{{name: admin, user: {{client-certificate: '{}', client-key: '{}'}}}}]\n\
         contexts: [{{name: memory, context: {{cluster: memory, user: admin}}}}]\n",
        path("ca.crt"),
        path("admin.crt"),
        path("admin.key"),
    )
}
