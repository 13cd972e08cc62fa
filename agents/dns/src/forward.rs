//! Queries for the rest of the world, passed to the upstream resolvers.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::SystemTime,
};

use hickory_server::proto::op::{Edns, Message, Query, ResponseCode};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};

use crate::{Error, limits, resolv_conf};

/// Asks the servers of a resolv.conf, in its order.
pub struct Forwarder {
    source: Source,
    /// Bounds the queries under way.
    permits: Semaphore,
}

enum Source {
    Fixed(Vec<SocketAddr>),
    File {
        path: PathBuf,
        own: Vec<SocketAddr>,
        read: Mutex<Option<Reading>>,
    },
}

#[derive(Clone)]
struct Reading {
    modified: Option<SystemTime>,
    servers: Vec<SocketAddr>,
}

impl Forwarder {
    /// Always these servers; an empty list forwards nothing.
    pub fn fixed(servers: Vec<SocketAddr>) -> Self {
        Self::of(Source::Fixed(servers))
    }

    /// The servers a file lists, whenever it changes; `own` are our listening addresses, which are never asked.
    pub fn file(path: PathBuf, own: Vec<SocketAddr>) -> Self {
        Self::of(Source::File {
            path,
            own,
            read: Mutex::new(None),
        })
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            permits: Semaphore::new(limits::UPSTREAM_QUERIES_MAX),
        }
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let (path, own, read) = match &self.source {
            Source::Fixed(servers) => return servers.clone(),
            Source::File { path, own, read } => (path, own, read),
        };
        let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let mut read = read.lock();
        match read.as_ref() {
            Some(reading) if reading.modified == modified => reading.servers.clone(),
            _ => {
                let text = std::fs::read_to_string(path).unwrap_or_else(|error| {
                    tracing::warn!(path = %path.display(), %error, "no upstream resolvers");
                    String::new()
                });
                let servers = resolv_conf::servers(&text, own);
                *read = Some(Reading {
                    modified,
                    servers: servers.clone(),
                });
                servers
            }
        }
    }

    /// The first useful answer; a server's SERVFAIL or REFUSED only if no other one does better.
    pub async fn ask(&self, query: &Query, dnssec_ok: bool) -> Result<Message, Error> {
        let servers = self.servers();
        let failed = |reason: String| Error::Upstream {
            servers: servers.len(),
            reason,
        };
        let Ok(_permit) = self.permits.try_acquire() else {
            return Err(failed("too many queries are waiting already".into()));
        };
        let mut unhelpful = None;
        let mut reason = "none is configured".to_string();
        for server in (0..limits::UPSTREAM_ROUNDS).flat_map(|_| &servers) {
            match exchange(*server, query, dnssec_ok).await {
                Ok(answer) if is_helpful(answer.metadata.response_code) => return Ok(answer),
                Ok(answer) => unhelpful = Some(answer),
                Err(error) => reason = format!("{server}: {error}"),
            }
        }
        unhelpful.ok_or_else(|| failed(reason))
    }
}

fn is_helpful(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
}

/// One question to one server: UDP, then TCP if the answer did not fit.
async fn exchange(server: SocketAddr, query: &Query, dnssec_ok: bool) -> std::io::Result<Message> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(limits::UDP_PAYLOAD_BYTES_MAX)
        .set_dnssec_ok(dnssec_ok)
        .set_version(0);
    message.set_edns(edns);
    let bytes = message.to_vec().map_err(std::io::Error::other)?;
    let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    let answer = timeout(limits::UPSTREAM_TIMEOUT, over_udp(server, &message, &bytes))
        .await
        .map_err(late)??;
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    timeout(limits::UPSTREAM_TIMEOUT, over_tcp(server, &message, &bytes))
        .await
        .map_err(late)?
}

async fn over_udp(server: SocketAddr, message: &Message, bytes: &[u8]) -> std::io::Result<Message> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A socket for each query: its random port is the better half of what makes answers hard to forge.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = [0; u16::MAX as usize];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match Message::from_vec(&buffer[..length]) {
            Ok(answer) if answers(&answer, message) => return Ok(answer),
            // Not an answer to our question: keep waiting for the real one.
            _ => continue,
        }
    }
}

async fn over_tcp(server: SocketAddr, message: &Message, bytes: &[u8]) -> std::io::Result<Message> {
    let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let mut buffer = vec![0; stream.read_u16().await? as usize];
    stream.read_exact(&mut buffer).await?;
    match Message::from_vec(&buffer) {
        Ok(answer) if answers(&answer, message) => Ok(answer),
        Ok(_) => Err(std::io::Error::other("the answer is to another question")),
        Err(error) => Err(std::io::Error::other(error)),
    }
}

fn answers(answer: &Message, question: &Message) -> bool {
    answer.metadata.id == question.metadata.id && answer.queries == question.queries
}
