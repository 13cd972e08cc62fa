//! Between the wire (hickory's server) and the zone: one query in, one message out.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arc_swap::ArcSwapOption;
use hickory_server::{
    net::{runtime::Time, xfer::Protocol},
    proto::{
        op::{Edns, Header, HeaderCounts, Message, MessageType, Metadata, OpCode, Query, ResponseCode},
        rr::{DNSClass, LowerName, Name, Record, RecordType},
    },
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};

use crate::{Answer, Forwarder, Zone, limits};

/// Answers queries from the current zone and from upstream.
pub struct Resolver {
    zone: Arc<ArcSwapOption<Zone>>,
    /// The cluster domain, ours even before there is a zone.
    domain: LowerName,
    forwarder: Forwarder,
    /// Turns the order of addresses, for clients that always take the first.
    turn: AtomicUsize,
}

/// The size of an OPT record without options.
const OPT_BYTES: usize = 11;

struct Reply {
    code: ResponseCode,
    authoritative: bool,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

impl Reply {
    fn error(code: ResponseCode) -> Self {
        Self {
            code,
            authoritative: false,
            answers: vec![],
            authorities: vec![],
            additionals: vec![],
        }
    }
}

impl Resolver {
    /// A resolver for whatever `zone` holds; `None` in it means "not known yet".
    pub fn new(zone: Arc<ArcSwapOption<Zone>>, domain: &Name, forwarder: Forwarder) -> Self {
        Self {
            zone,
            domain: LowerName::new(domain),
            forwarder,
            turn: AtomicUsize::new(0),
        }
    }

    async fn reply(&self, request: &Request) -> Reply {
        if request.metadata.message_type != MessageType::Query {
            return Reply::error(ResponseCode::FormErr);
        }
        if request.metadata.op_code != OpCode::Query {
            return Reply::error(ResponseCode::NotImp);
        }
        if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return Reply::error(ResponseCode::BADVERS);
        }
        let [query] = request.queries.queries() else {
            return Reply::error(ResponseCode::FormErr);
        };
        let (name, kind) = (query.original().name(), query.query_type());
        let is_transfer = matches!(kind, RecordType::AXFR | RecordType::IXFR);
        if is_transfer || !matches!(query.query_class(), DNSClass::IN | DNSClass::ANY) {
            return Reply::error(ResponseCode::Refused);
        }
        match self.zone.load_full() {
            None if self.domain.zone_of(query.name()) => Reply::error(ResponseCode::ServFail),
            None => self.forward(request, name, kind).await,
            Some(zone) => match zone.answer(name, kind) {
                Some(answer) => self.known(request, answer, kind).await,
                None => self.forward(request, name, kind).await,
            },
        }
    }

    async fn known(&self, request: &Request, answer: Answer, kind: RecordType) -> Reply {
        let Answer {
            code,
            mut answers,
            authorities,
            additionals,
            outside,
        } = answer;
        if let Some(target) = outside {
            // The alias stands even if upstream does not answer, but then the client must not believe it has no address.
            let found = self.forward(request, &target, kind).await;
            if found.code != ResponseCode::NoError && found.code != ResponseCode::NXDomain {
                return Reply::error(found.code);
            }
            answers.extend(found.answers);
            return Reply {
                code: found.code,
                answers,
                ..found
            };
        }
        if answers.len() > 1 && matches!(kind, RecordType::A | RecordType::AAAA | RecordType::SRV) {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % answers.len();
            answers.rotate_left(turn);
        }
        Reply {
            code,
            authoritative: true,
            answers,
            authorities,
            additionals,
        }
    }

    async fn forward(&self, request: &Request, name: &Name, kind: RecordType) -> Reply {
        let query = Query::query(name.clone(), kind);
        let dnssec_ok = request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        match self.forwarder.ask(&query, dnssec_ok).await {
            Ok(found) => Reply {
                code: found.metadata.response_code,
                authoritative: false,
                answers: found.answers,
                authorities: found.authorities,
                additionals: found.additionals,
            },
            Err(error) => {
                tracing::debug!(%name, %kind, %error, "a query was not answered");
                Reply::error(ResponseCode::ServFail)
            }
        }
    }
}

/// Cuts a reply down to what a UDP client can take; says whether answers were lost, so that it asks again over TCP. Some
/// old resolvers never do, so it gets as many answers as fit.
fn cut(reply: &mut Reply, request: &Request, bytes_max: usize) -> bool {
    let queries: Vec<Query> = request
        .queries
        .queries()
        .iter()
        .map(|query| query.original().clone())
        .collect();
    // The server spells the question's name out once more in the first answer.
    let reserve = OPT_BYTES + queries.iter().map(|query| query.name().len() + 1).sum::<usize>();
    let size = |reply: &Reply| {
        let mut message = Message::response(0, OpCode::Query);
        message.queries.clone_from(&queries);
        message.answers.clone_from(&reply.answers);
        message.authorities.clone_from(&reply.authorities);
        message.additionals.clone_from(&reply.additionals);
        message.to_vec().map_or(usize::MAX, |bytes| bytes.len() + reserve)
    };
    if size(reply) > bytes_max {
        reply.additionals.clear();
    }
    let mut is_cut = false;
    loop {
        let bytes = size(reply);
        if bytes <= bytes_max || reply.answers.is_empty() {
            return is_cut;
        }
        is_cut = true;
        let kept = reply.answers.len() * bytes_max / bytes;
        reply.answers.truncate(kept.min(reply.answers.len() - 1));
    }
}

/// Answers an EDNS query with EDNS, in messages no larger than both sides and the path can take.
fn edns_of(request: &Request) -> Option<Edns> {
    let asked = request.edns.as_ref()?;
    let mut edns = Edns::new();
    let payload = request
        .max_payload()
        .clamp(limits::UDP_PAYLOAD_BYTES_MIN, limits::UDP_PAYLOAD_BYTES_MAX);
    edns.set_max_payload(payload)
        .set_version(0)
        .set_dnssec_ok(asked.flags().dnssec_ok);
    Some(edns)
}

#[async_trait::async_trait]
impl RequestHandler for Resolver {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut handle: R) -> ResponseInfo {
        let mut reply = self.reply(request).await;
        let edns = edns_of(request);
        let payload = edns.as_ref().map_or(limits::UDP_PAYLOAD_BYTES_MIN, Edns::max_payload);
        let is_cut = request.protocol() == Protocol::Udp && cut(&mut reply, request, payload.into());
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = reply.code;
        metadata.authoritative = reply.authoritative;
        metadata.recursion_available = true;
        metadata.truncation = is_cut;
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let message = builder.build(metadata, &reply.answers, &reply.authorities, [], &reply.additionals);
        handle.send_response(message).await.unwrap_or_else(|error| {
            tracing::debug!(client = %request.src(), %error, "an answer could not be sent");
            metadata.response_code = ResponseCode::ServFail;
            ResponseInfo::from(Header {
                metadata,
                counts: HeaderCounts::default(),
            })
        })
    }
}
