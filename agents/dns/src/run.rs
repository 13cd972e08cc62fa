//! The thin loop: sockets, informers, and a zone that follows them.

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwapOption;
use client::objects::{EndpointSlice, Service};
use client::{Cache, Informers};
use hickory_server::{proto::rr::Name, server::Server};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use crate::{Config, Error, Forwarder, Resolver, Zone, address, limits, records};

/// The sockets of one listening address.
pub struct Bound {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Bound {
    /// Opens both sockets. With port 0 both get the same free port.
    pub async fn open(address: SocketAddr) -> Result<Self, Error> {
        let listen = |address, protocol, source| Error::Listen {
            address,
            protocol,
            source,
        };
        let udp = UdpSocket::bind(address)
            .await
            .map_err(|source| listen(address, "UDP", source))?;
        let address = udp.local_addr().map_err(|source| listen(address, "UDP", source))?;
        let tcp = TcpListener::bind(address)
            .await
            .map_err(|source| listen(address, "TCP", source))?;
        Ok(Self { udp, tcp })
    }

    /// Where they listen.
    pub fn address(&self) -> Result<SocketAddr, Error> {
        self.udp.local_addr().map_err(|error| Error::Server(error.to_string()))
    }
}

/// Serves `resolver` on `sockets` until `stop`.
pub async fn serve(resolver: Resolver, sockets: Vec<Bound>, stop: &CancellationToken) -> Result<(), Error> {
    let mut server = Server::new(resolver);
    for Bound { udp, tcp } in sockets {
        server.register_socket(udp);
        server.register_listener(tcp, limits::TCP_IDLE_TIMEOUT, limits::TCP_ANSWERS_QUEUED_MAX);
    }
    let ended = |error: hickory_server::net::NetError| Error::Server(error.to_string());
    tokio::select! {
        result = server.block_until_done() => return result.map_err(ended),
        () = stop.cancelled() => {}
    }
    server.shutdown_gracefully().await.map_err(ended)
}

/// Runs the DNS agent until `stop`.
pub async fn run(config: Config, informers: Informers, stop: CancellationToken) -> Result<(), Error> {
    let zone = Arc::new(ArcSwapOption::empty());
    // Checked before anything is touched.
    Zone::new(&config.domain, &config.networks)?;
    claim(&config).await?;
    let result = answer(&config, informers, zone, &stop).await;
    release(&config).await;
    result
}

async fn claim(config: &Config) -> Result<(), Error> {
    let Some(link) = &config.claim_on_link else {
        return Ok(());
    };
    for listen in &config.listen {
        address::claim(listen.ip(), link).await?;
    }
    Ok(())
}

async fn release(config: &Config) {
    let Some(link) = &config.claim_on_link else { return };
    for listen in &config.listen {
        if let Err(error) = address::release(listen.ip(), link).await {
            tracing::warn!(%error, "the DNS address stays on its link");
        }
    }
}

async fn answer(
    config: &Config,
    informers: Informers,
    zone: Arc<ArcSwapOption<Zone>>,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let mut sockets = Vec::with_capacity(config.listen.len());
    for listen in &config.listen {
        sockets.push(Bound::open(*listen).await?);
    }
    let forwarder = match &config.resolv_conf {
        Some(path) => Forwarder::file(path.clone(), config.listen.clone()),
        None => Forwarder::fixed(Vec::new()),
    };
    let domain =
        Name::from_ascii(format!("{}.", config.domain.trim_end_matches('.'))).map_err(|reason| Error::Domain {
            domain: config.domain.clone(),
            reason: reason.to_string(),
        })?;
    let resolver = Resolver::new(zone.clone(), &domain, forwarder);
    tokio::select! {
        result = serve(resolver, sockets, stop) => result,
        result = follow(config, informers, &zone) => result,
    }
}

/// Keeps the zone equal to the API's objects.
async fn follow(config: &Config, informers: Informers, zone: &ArcSwapOption<Zone>) -> Result<(), Error> {
    let (services, slices) = (informers.watch::<Service>(), informers.watch::<EndpointSlice>());
    let changed = Arc::new(Notify::new());
    let (on_service, on_slice) = (changed.clone(), changed.clone());
    let _services = services.subscribe(move |_| on_service.notify_one());
    let _slices = slices.subscribe(move |_| on_slice.notify_one());
    services.synced().await;
    slices.synced().await;
    loop {
        zone.store(Some(Arc::new(rebuild(config, &services, &slices)?)));
        changed.notified().await;
        tokio::time::sleep(limits::REBUILD_GATHER).await;
    }
}

fn rebuild(config: &Config, services: &Cache<Service>, slices: &Cache<EndpointSlice>) -> Result<Zone, Error> {
    let (services, slices) = (services.list(), slices.list());
    let (services, slices) = (services.iter().map(Arc::as_ref), slices.iter().map(Arc::as_ref));
    records::zone(&config.domain, &config.networks, services, slices)
}
