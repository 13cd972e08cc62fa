//! Users, roles and permissions that change at random, while somebody reads and writes with a token that may be void.
//!
//! Known differences, which the generator keeps away from: permissions on no keys, two permissions that start alike, and a
//! previous value asked for inside a transaction (Debian's etcd takes the first two and does not check the last); and a
//! permission that is not there at all (Debian's etcd ends).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use etcd::Refusal;
use proto::etcd::{
    authpb::{Permission, UserAddOptions, permission::Type},
    etcdserverpb::{self as pb, WatchCreateRequest, WatchRequest, request_op, watch_request::RequestUnion},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, metadata::MetadataValue};

use crate::{
    generator::{Generator, Op},
    peer::{Peer, normalize, shown, without_inner_headers},
};

#[derive(Debug, Clone)]
enum Deed {
    Enable,
    Disable,
    Authenticate(pb::AuthenticateRequest),
    UserAdd(pb::AuthUserAddRequest),
    UserGet(pb::AuthUserGetRequest),
    UserList,
    UserDelete(pb::AuthUserDeleteRequest),
    ChangePassword(pb::AuthUserChangePasswordRequest),
    GrantRole(pb::AuthUserGrantRoleRequest),
    RevokeRole(pb::AuthUserRevokeRoleRequest),
    RoleAdd(pb::AuthRoleAddRequest),
    RoleGet(pb::AuthRoleGetRequest),
    RoleList,
    RoleDelete(pb::AuthRoleDeleteRequest),
    Permit(pb::AuthRoleGrantPermissionRequest),
    Forbid(pb::AuthRoleRevokePermissionRequest),
    Keys(Op),
    Watch(WatchCreateRequest),
}

const USERS: [&str; 4] = ["root", "alice", "bob", "carol"];
const ROLES: [&str; 4] = ["root", "one", "two", "three"];
const PASSWORDS: [&str; 2] = ["a", "b"];
/// Ranges that permissions are about; no two start alike.
const RANGES: [(&str, &str); 6] = [
    ("a", "a2"),
    ("a0", ""),
    ("a2", "b"),
    ("b", "\0"),
    ("a1", ""),
    ("\0", "a"),
];

struct Script {
    random: Generator,
}

impl Script {
    fn pick(&mut self, all: &[&str]) -> String {
        all[self.random.below(all.len() as u64) as usize].to_owned()
    }

    /// A name, seldom one that nobody has.
    fn name(&mut self, all: &[&str]) -> String {
        match self.random.below(25) {
            0 => String::new(),
            1 => "nobody".into(),
            _ => self.pick(all),
        }
    }

    fn range(&mut self) -> (Bytes, Bytes) {
        let (key, end) = RANGES[self.random.below(RANGES.len() as u64) as usize];
        (key.into(), end.into())
    }

    fn deed(&mut self) -> Deed {
        match self.random.below(60) {
            0..2 => Deed::Enable,
            2 if self.random.one_in(8) => Deed::Disable,
            3..9 => Deed::Authenticate(pb::AuthenticateRequest {
                name: self.name(&USERS),
                password: self.pick(&PASSWORDS),
            }),
            9..13 => self.user_deed(),
            13..17 => Deed::GrantRole(pb::AuthUserGrantRoleRequest {
                user: self.name(&USERS),
                role: self.name(&ROLES),
            }),
            17 => Deed::RevokeRole(pb::AuthUserRevokeRoleRequest {
                name: self.name(&USERS),
                role: self.name(&ROLES),
            }),
            18..23 => self.role_deed(),
            23..27 => {
                let (key, range_end) = self.range();
                let perm_type = [Type::Read, Type::Write, Type::Readwrite][self.random.below(3) as usize].into();
                Deed::Permit(pb::AuthRoleGrantPermissionRequest {
                    name: self.name(&ROLES),
                    perm: Some(Permission {
                        perm_type,
                        key,
                        range_end,
                    }),
                })
            }
            27 => {
                let (key, range_end) = self.range();
                let role = self.name(&ROLES);
                Deed::Forbid(pb::AuthRoleRevokePermissionRequest { role, key, range_end })
            }
            28..30 => Deed::Watch(WatchCreateRequest {
                key: self.random.key(),
                range_end: Bytes::new(),
                ..Default::default()
            }),
            _ => Deed::Keys(self.keys()),
        }
    }

    fn user_deed(&mut self) -> Deed {
        let name = self.name(&USERS);
        match self.random.below(8) {
            0..4 => Deed::UserAdd(pb::AuthUserAddRequest {
                name,
                password: self.pick(&PASSWORDS),
                options: self.random.one_in(3).then(|| UserAddOptions {
                    no_password: self.random.one_in(3),
                }),
                ..Default::default()
            }),
            4 => Deed::UserDelete(pb::AuthUserDeleteRequest { name }),
            5 => Deed::ChangePassword(pb::AuthUserChangePasswordRequest {
                name,
                password: self.pick(&PASSWORDS),
                ..Default::default()
            }),
            6 => Deed::UserList,
            _ => Deed::UserGet(pb::AuthUserGetRequest { name }),
        }
    }

    fn role_deed(&mut self) -> Deed {
        let role = self.name(&ROLES);
        match self.random.below(8) {
            0..5 => Deed::RoleAdd(pb::AuthRoleAddRequest { name: role }),
            5 => Deed::RoleList,
            6 => Deed::RoleGet(pb::AuthRoleGetRequest { role }),
            _ if self.random.one_in(2) => Deed::RoleDelete(pb::AuthRoleDeleteRequest { role }),
            _ => Deed::RoleList,
        }
    }

    fn keys(&mut self) -> Op {
        loop {
            match self.random.op() {
                Op::Put(mut put) => {
                    put.lease = 0;
                    return Op::Put(put);
                }
                Op::Txn(mut txn) => {
                    plain(&mut txn);
                    return Op::Txn(txn);
                }
                op @ (Op::Range(_) | Op::DeleteRange(_)) => return op,
                _ => {}
            }
        }
    }
}

/// Without leases and previous values of puts.
fn plain(txn: &mut pb::TxnRequest) {
    for operation in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut operation.request {
            Some(request_op::Request::RequestPut(put)) => (put.lease, put.prev_kv) = (0, false),
            Some(request_op::Request::RequestTxn(txn)) => plain(txn),
            _ => {}
        }
    }
}

/// A side, with the last token that each user got there.
struct Side<'a> {
    peer: &'a mut Peer,
    tokens: BTreeMap<String, String>,
}

macro_rules! ask {
    ($this:ident.$client:ident.$method:ident($who:expr, $request:expr)) => {{
        let mut request = Request::new($request);
        if let Some(token) = $who.and_then(|who| $this.tokens.get(who)) {
            let token = MetadataValue::try_from(token).unwrap();
            request.metadata_mut().insert("token", token);
        }
        $this.peer.$client.$method(request).await.map_err(text).map(|response| {
            let mut response = response.into_inner();
            normalize(&mut response.header);
            response
        })
    }};
}

fn text(status: Status) -> String {
    // etcd tells apart who has no password; here nobody learns who exists.
    if status.message().ends_with("password was given for no password user") {
        return text(Refusal::AuthFailed.into());
    }
    format!("{:?}: {}", status.code(), status.message())
}

impl Side<'_> {
    async fn answer(&mut self, who: Option<&str>, deed: Deed) -> String {
        match deed {
            Deed::Enable => shown(ask!(self.auth.auth_enable(who, pb::AuthEnableRequest {}))),
            Deed::Disable => shown(ask!(self.auth.auth_disable(who, pb::AuthDisableRequest {}))),
            Deed::Authenticate(request) => {
                let name = request.name.clone();
                shown(ask!(self.auth.authenticate(None::<&str>, request)).map(|mut response| {
                    self.tokens.insert(name, std::mem::take(&mut response.token));
                    response
                }))
            }
            Deed::UserAdd(request) => shown(ask!(self.auth.user_add(who, request))),
            Deed::UserGet(request) => shown(ask!(self.auth.user_get(who, request))),
            Deed::UserList => shown(ask!(self.auth.user_list(who, pb::AuthUserListRequest {}))),
            Deed::UserDelete(request) => shown(ask!(self.auth.user_delete(who, request))),
            Deed::ChangePassword(request) => shown(ask!(self.auth.user_change_password(who, request))),
            Deed::GrantRole(request) => shown(ask!(self.auth.user_grant_role(who, request))),
            Deed::RevokeRole(request) => shown(ask!(self.auth.user_revoke_role(who, request))),
            Deed::RoleAdd(request) => shown(ask!(self.auth.role_add(who, request))),
            Deed::RoleGet(request) => shown(ask!(self.auth.role_get(who, request))),
            Deed::RoleList => shown(ask!(self.auth.role_list(who, pb::AuthRoleListRequest {}))),
            Deed::RoleDelete(request) => shown(ask!(self.auth.role_delete(who, request))),
            Deed::Permit(request) => shown(ask!(self.auth.role_grant_permission(who, request))),
            Deed::Forbid(request) => shown(ask!(self.auth.role_revoke_permission(who, request))),
            Deed::Keys(Op::Range(request)) => shown(ask!(self.kv.range(who, request))),
            Deed::Keys(Op::Put(request)) => shown(ask!(self.kv.put(who, request))),
            Deed::Keys(Op::DeleteRange(request)) => shown(ask!(self.kv.delete_range(who, request))),
            Deed::Keys(Op::Txn(request)) => shown(ask!(self.kv.txn(who, request)).map(without_inner_headers)),
            Deed::Keys(_) => unreachable!("of keys these are generated"),
            Deed::Watch(request) => self.watch(who, request).await,
        }
    }

    /// Whether a watch comes to be.
    async fn watch(&mut self, who: Option<&str>, request: WatchCreateRequest) -> String {
        let (requests, outgoing) = mpsc::channel(1);
        let request_union = Some(RequestUnion::CreateRequest(request));
        requests.send(WatchRequest { request_union }).await.unwrap();
        let mut request = Request::new(ReceiverStream::new(outgoing));
        if let Some(token) = who.and_then(|who| self.tokens.get(who)) {
            request
                .metadata_mut()
                .insert("token", MetadataValue::try_from(token).unwrap());
        }
        let mut responses = self.peer.watch.watch(request).await.unwrap().into_inner();
        let response = responses.message().await.unwrap().unwrap();
        format!(
            "watch_id {} created {} canceled {}",
            response.watch_id, response.created, response.canceled
        )
    }
}

/// Runs random deeds on both sides.
pub async fn run(seed: u64, steps: usize, theirs: &mut Peer, ours: &mut Peer) {
    let mut script = Script {
        random: Generator::new(seed),
    };
    let mut sides = [theirs, ours].map(|peer| Side {
        peer,
        tokens: BTreeMap::new(),
    });
    let mut counts = BTreeMap::<String, u64>::new();
    let mut start = VecDeque::from(start());
    for step in 0..steps {
        let who = (!script.random.one_in(12)).then(|| script.pick(&USERS));
        let deed = start.pop_front().unwrap_or_else(|| script.deed());
        let [theirs, ours] = &mut sides;
        let theirs = theirs.answer(who.as_deref(), deed.clone()).await;
        let ours = ours.answer(who.as_deref(), deed.clone()).await;
        assert!(
            ours == theirs,
            "seed {seed}, step {step}: {who:?} {deed:?}\nours: {ours}\netcd: {theirs}"
        );
        if let Deed::Keys(op) = &deed {
            script.random.learn(op, &theirs);
        }
        *counts
            .entry(theirs.lines().next().unwrap_or_default().to_owned())
            .or_default() += 1;
    }
    // Else nothing was tried.
    for answer in [
        "PermissionDenied: etcdserver: permission denied",
        "AuthenticateResponse {",
    ] {
        assert!(
            counts.contains_key(answer),
            "seed {seed} never met {answer}: {counts:#?}"
        );
    }
}

/// What makes root known and authentication matter.
fn start() -> [Deed; 5] {
    let root = || "root".to_owned();
    [
        Deed::RoleAdd(pb::AuthRoleAddRequest { name: root() }),
        Deed::UserAdd(pb::AuthUserAddRequest {
            name: root(),
            password: PASSWORDS[0].into(),
            ..Default::default()
        }),
        Deed::GrantRole(pb::AuthUserGrantRoleRequest {
            user: root(),
            role: root(),
        }),
        Deed::Enable,
        Deed::Authenticate(pb::AuthenticateRequest {
            name: root(),
            password: PASSWORDS[0].into(),
        }),
    ]
}

/// Some users and roles, with authentication off.
pub async fn populate(ours: &mut Peer) {
    let mut side = Side {
        peer: ours,
        tokens: BTreeMap::new(),
    };
    let deeds = [
        Deed::RoleAdd(pb::AuthRoleAddRequest { name: "one".into() }),
        Deed::Permit(pb::AuthRoleGrantPermissionRequest {
            name: "one".into(),
            perm: Some(Permission {
                perm_type: Type::Readwrite.into(),
                key: "a".into(),
                range_end: "b".into(),
            }),
        }),
        Deed::UserAdd(pb::AuthUserAddRequest {
            name: "alice".into(),
            password: "a".into(),
            ..Default::default()
        }),
        Deed::GrantRole(pb::AuthUserGrantRoleRequest {
            user: "alice".into(),
            role: "one".into(),
        }),
    ];
    for deed in deeds {
        let answer = side.answer(None, deed.clone()).await;
        assert!(answer.contains("Response {"), "{deed:?}: {answer}");
    }
}

/// Whether both know the same users, roles and passwords. Enables authentication and disables it again.
pub async fn same_users(theirs: &mut Peer, ours: &mut Peer) {
    let root = "root".to_owned();
    let deeds = [
        Deed::UserGet(pb::AuthUserGetRequest { name: "alice".into() }),
        Deed::RoleGet(pb::AuthRoleGetRequest { role: "one".into() }),
        Deed::UserAdd(pb::AuthUserAddRequest {
            name: root.clone(),
            password: "r".into(),
            ..Default::default()
        }),
        Deed::GrantRole(pb::AuthUserGrantRoleRequest {
            user: root.clone(),
            role: root.clone(),
        }),
        Deed::Enable,
        Deed::Authenticate(pb::AuthenticateRequest {
            name: "alice".into(),
            password: "a".into(),
        }),
        Deed::Authenticate(pb::AuthenticateRequest {
            name: root,
            password: "r".into(),
        }),
        Deed::Disable,
    ];
    let mut sides = [theirs, ours].map(|peer| Side {
        peer,
        tokens: BTreeMap::new(),
    });
    for deed in deeds {
        let [theirs, ours] = &mut sides;
        let theirs = theirs.answer(Some("root"), deed.clone()).await;
        let ours = ours.answer(Some("root"), deed.clone()).await;
        assert!(
            ours == theirs && theirs.contains("Response {"),
            "{deed:?}\nours: {ours}\netcd: {theirs}"
        );
    }
}
