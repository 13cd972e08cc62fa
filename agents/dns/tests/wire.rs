//! Real messages over real sockets on the loopback address, with a made-up upstream.

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwapOption;
use client::objects::Service;
use dns::{Bound, Forwarder, Resolver, Zone, serve};
use hickory_server::proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};
use tokio_util::sync::CancellationToken;

const WEB: &str = "web.default.svc.cluster.local.";

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn zone() -> Zone {
    let service = |name: &str, spec| -> Service {
        serde_json::from_value(json!({ "metadata": { "name": name, "namespace": "default" }, "spec": spec })).unwrap()
    };
    let services = [
        service("web", json!({ "clusterIP": "10.96.0.50" })),
        service(
            "ext",
            json!({ "type": "ExternalName", "externalName": "www.example.com" }),
        ),
    ];
    dns::zone("cluster.local", &[], &services, []).unwrap()
}

struct Agent {
    address: SocketAddr,
    zone: Arc<ArcSwapOption<Zone>>,
    _stop: tokio_util::sync::DropGuard,
}

impl Agent {
    async fn start(zone: Option<Zone>, upstream: Vec<SocketAddr>) -> Self {
        let bound = Bound::open("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = bound.address().unwrap();
        let zone = Arc::new(ArcSwapOption::from_pointee(zone));
        let resolver = Resolver::new(zone.clone(), &name("cluster.local."), Forwarder::fixed(upstream));
        let stop = CancellationToken::new();
        let token = stop.clone();
        tokio::spawn(async move { serve(resolver, vec![bound], &token).await.unwrap() });
        Self {
            address,
            zone,
            _stop: stop.drop_guard(),
        }
    }

    async fn udp(&self, message: &Message) -> (Message, usize) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&message.to_vec().unwrap(), self.address).await.unwrap();
        let mut buffer = vec![0; 65535];
        let length = socket.recv(&mut buffer).await.unwrap();
        (Message::from_vec(&buffer[..length]).unwrap(), length)
    }

    async fn ask(&self, text: &str) -> Message {
        self.udp(&question(text)).await.0
    }

    async fn tcp(&self, text: &str) -> Message {
        let bytes = question(text).to_vec().unwrap();
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = vec![0; stream.read_u16().await.unwrap() as usize];
        stream.read_exact(&mut answer).await.unwrap();
        Message::from_vec(&answer).unwrap()
    }
}

fn question(text: &str) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), RecordType::A));
    message
}

fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

/// An upstream that answers `count` addresses for every name; over UDP only that they do not fit, if `count` is large.
async fn upstream(count: u8, code: ResponseCode) -> SocketAddr {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(address).await.unwrap();
    let answer = move |bytes: &[u8]| {
        let mut message = Message::from_vec(bytes).unwrap().into_response();
        message.metadata.response_code = code;
        let owner = message.queries[0].name().clone();
        let record = |last| {
            Record::from_rdata(
                owner.clone(),
                60,
                RData::A(std::net::Ipv4Addr::new(192, 0, 2, last).into()),
            )
        };
        message.add_answers((0..count).map(record));
        message
    };
    tokio::spawn(async move {
        let mut buffer = vec![0; 65535];
        while let Ok((length, client)) = udp.recv_from(&mut buffer).await {
            let answer = answer(&buffer[..length]);
            let answer = if count > 30 { answer.truncate() } else { answer };
            // A forged answer first: it must not be taken for the real one.
            let mut forged = answer.clone();
            forged.metadata.id ^= 1;
            udp.send_to(&forged.to_vec().unwrap(), client).await.unwrap();
            udp.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut bytes = vec![0; stream.read_u16().await.unwrap() as usize];
            stream.read_exact(&mut bytes).await.unwrap();
            let answer = answer(&bytes).to_vec().unwrap();
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn cluster_names_are_answered_over_udp_and_tcp() {
    let agent = Agent::start(Some(zone()), vec![]).await;
    for answer in [agent.ask(WEB).await, agent.tcp(WEB).await] {
        assert_eq!(data(&answer), ["10.96.0.50"]);
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    }
    let missing = agent.ask("missing.default.svc.cluster.local.").await;
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(missing.authorities[0].record_type(), RecordType::SOA);
}

#[tokio::test]
async fn before_the_first_list_cluster_names_are_servfail() {
    let agent = Agent::start(None, vec![upstream(1, ResponseCode::NoError).await]).await;
    assert_eq!(agent.ask(WEB).await.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(data(&agent.ask("example.com.").await), ["192.0.2.0"]);
    agent.zone.store(Some(Arc::new(zone())));
    assert_eq!(data(&agent.ask(WEB).await), ["10.96.0.50"]);
}

#[tokio::test]
async fn other_names_come_from_upstream_and_without_one_fail() {
    let agent = Agent::start(Some(zone()), vec![upstream(2, ResponseCode::NoError).await]).await;
    let answer = agent.ask("example.com.").await;
    assert_eq!(data(&answer), ["192.0.2.0", "192.0.2.1"]);
    assert!(!answer.metadata.authoritative);
    assert_eq!(
        data(&agent.ask("ext.default.svc.cluster.local.").await),
        ["www.example.com.", "192.0.2.0", "192.0.2.1"]
    );

    let alone = Agent::start(Some(zone()), vec![]).await;
    assert_eq!(
        alone.ask("example.com.").await.metadata.response_code,
        ResponseCode::ServFail
    );
    assert_eq!(
        alone.ask("ext.default.svc.cluster.local.").await.metadata.response_code,
        ResponseCode::ServFail
    );
}

#[tokio::test]
async fn a_failing_upstream_is_passed_over() {
    let servers = vec![
        upstream(0, ResponseCode::ServFail).await,
        upstream(1, ResponseCode::NoError).await,
    ];
    let agent = Agent::start(Some(zone()), servers).await;
    assert_eq!(data(&agent.ask("example.com.").await), ["192.0.2.0"]);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_fetched_and_offered_over_tcp() {
    let agent = Agent::start(Some(zone()), vec![upstream(100, ResponseCode::NoError).await]).await;
    let (answer, length) = agent.udp(&question("big.example.com.")).await;
    assert!(answer.metadata.truncation && length <= 512, "{length} bytes");
    let mut with_edns = question("big.example.com.");
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    with_edns.set_edns(edns);
    let (answer, length) = agent.udp(&with_edns).await;
    assert!(
        answer.metadata.truncation && answer.edns.is_some() && length > 512 && length <= 1232,
        "{length} bytes"
    );
    assert_eq!(agent.tcp("big.example.com.").await.answers.len(), 100);
}

#[tokio::test]
async fn broken_and_odd_questions_get_an_error_and_kill_nothing() {
    let agent = Agent::start(Some(zone()), vec![]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for garbage in [&b""[..], b"x", &[0xff; 12], &[0; 600]] {
        socket.send_to(garbage, agent.address).await.unwrap();
    }
    let mut two = question(WEB);
    two.add_query(Query::query(name(WEB), RecordType::AAAA));
    assert_eq!(agent.udp(&two).await.0.metadata.response_code, ResponseCode::FormErr);
    let mut future = question(WEB);
    let mut edns = Edns::new();
    edns.set_version(9);
    future.set_edns(edns);
    // BADVERS; the number is shared with BADSIG, and decoded as that.
    assert_eq!(u16::from(agent.udp(&future).await.0.metadata.response_code), 16);
    let mut transfer = Message::query();
    transfer.add_query(Query::query(name("cluster.local."), RecordType::AXFR));
    assert_eq!(
        agent.udp(&transfer).await.0.metadata.response_code,
        ResponseCode::Refused
    );
    assert_eq!(data(&agent.ask(WEB).await), ["10.96.0.50"]);
}
