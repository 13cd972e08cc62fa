//! `proreus join`: makes this machine a node or, with `--control-plane`, a master of a cluster that exists.
//!
//! Both begin alike: the token and the pin tell which cluster it is ([`discovery`]), and the token is the first credential. A
//! node ([`node`]) asks for a certificate of its own with it. A master ([`master`]) fetches the sealed certificates that all
//! masters share, and becomes a member of the store.

pub mod args;
mod discovery;
mod master;
mod node;

use anyhow::Context;
use client::{Client, Credential, Key, Pem, RemoteOptions, Resource};
use serde::Deserialize;

use crate::operate::block_on;
use crate::token::Token;
use args::JoinArgs;
use discovery::{Cluster, unknown};

const ENDPOINTS: Resource = Resource::namespaced("", "v1", "Endpoints", "endpoints");

pub fn run(args: JoinArgs) -> anyhow::Result<()> {
    block_on(async {
        match &args.certificate_key {
            Some(key) if args.control_plane => master::join(&args, key).await,
            _ => node::join(&args).await,
        }
    })
}

impl Cluster {
    /// Its API, for whoever holds the credential.
    fn client(&self, credential: Credential) -> anyhow::Result<Client> {
        let client = Client::remote(RemoteOptions {
            // Where it says it is may lead to more than one master.
            servers: vec![self.server.clone(), self.advertised.clone()],
            ca: Pem::Inline(self.ca_pem.clone().into_bytes()),
            credential,
            discover: false,
        });
        client.context("cannot build a client of the API")
    }
}

/// The answer to the first request with a token, which may have expired since the cluster signed with it.
fn answer<T>(answered: Result<T, client::Error>, token: &Token, what: &str) -> anyhow::Result<T> {
    match answered {
        Err(error) if error.status().is_some_and(|status| status.code == 401) => Err(unknown(token)),
        answered => answered.with_context(|| what.to_owned()),
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Endpoints {
    subsets: Vec<Subset>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Subset {
    addresses: Vec<Address>,
    ports: Vec<Port>,
}

#[derive(Deserialize)]
struct Address {
    ip: std::net::IpAddr,
}

#[derive(Deserialize)]
struct Port {
    port: u16,
}

/// Where the live masters serve the API.
async fn masters(client: &Client) -> anyhow::Result<Vec<std::net::SocketAddr>> {
    let endpoints = client
        .get::<Endpoints>(&ENDPOINTS, &Key::new("default", "kubernetes"))
        .await;
    let endpoints = endpoints.context("cannot read where the masters are")?;
    let of = |subset: &Subset| -> Vec<std::net::SocketAddr> {
        let port = subset.ports.first().map(|port| port.port);
        let addresses = subset.addresses.iter();
        addresses.flat_map(|a| port.map(|port| (a.ip, port).into())).collect()
    };
    Ok(endpoints.subsets.iter().flat_map(of).collect())
}
