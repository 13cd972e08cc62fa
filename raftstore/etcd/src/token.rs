//! Tokens: what a client that gave its password shows from then on.
//!
//! # Theory
//! A token names a user and carries a signature made with the cluster's secret, which is part of the replicated state while
//! authentication is enabled. So every member knows a token as soon as it exists, and after a restart too; nothing is
//! written for it. It is void once the user got another password (it says since when the password was valid), is gone, or
//! authentication was disabled (the secret goes with it).
//!
//! As etcd's, a token lives for its TTL and, on a member where it is used, for a TTL from its last use. The latter is all
//! that is remembered here.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mvcc::Auth;
use parking_lot::Mutex;
use prost::Message;
use ring::hmac;

use crate::limits;

/// What a token says.
#[derive(Clone, PartialEq, Message)]
struct Claims {
    #[prost(string, tag = "1")]
    user: String,
    /// The auth revision at which the user's password was set.
    #[prost(uint64, tag = "2")]
    since: u64,
    /// Seconds since 1970.
    #[prost(uint64, tag = "3")]
    issued_s: u64,
}

/// Now, as the world and as this process counts it.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub wall_s: u64,
    pub here: Instant,
}

impl Now {
    pub fn read() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            wall_s: wall.unwrap_or_default().as_secs(),
            here: Instant::now(),
        }
    }
}

/// The tokens that were used here lately.
pub struct Tokens {
    ttl: Duration,
    used: Mutex<HashMap<String, Instant>>,
}

impl Tokens {
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            used: Mutex::default(),
        }
    }

    /// A token for a user whose password was right. `None` if the user or the secret is gone meanwhile.
    pub fn issue(&self, auth: &Auth, user: &str, now: Now) -> Option<String> {
        let claims = Claims {
            user: user.to_owned(),
            since: auth.user(user)?.since,
            issued_s: now.wall_s,
        };
        let signed = URL_SAFE_NO_PAD.encode(claims.encode_to_vec());
        let signature = hmac::sign(&key(auth)?, signed.as_bytes());
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The user that a token stands for, if it still does.
    pub fn user(&self, auth: &Auth, token: &str, now: Now) -> Option<String> {
        let (signed, signature) = token.split_once('.')?;
        hmac::verify(&key(auth)?, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let claims = Claims::decode(&URL_SAFE_NO_PAD.decode(signed).ok()?[..]).ok()?;
        if auth.user(&claims.user)?.since != claims.since {
            return None;
        }
        // The clocks of two members differ a little, either way.
        let fresh = now.wall_s.abs_diff(claims.issued_s) < self.ttl.as_secs();
        self.use_here(token, fresh, now.here).then_some(claims.user)
    }

    /// Whether a token lives, because it is fresh or was used here lately; notes the use.
    fn use_here(&self, token: &str, fresh: bool, now: Instant) -> bool {
        let mut used = self.used.lock();
        let lives = |last: &Instant| now.saturating_duration_since(*last) < self.ttl;
        if let Some(last) = used.get_mut(token)
            && (fresh || lives(last))
        {
            *last = now;
            return true;
        }
        if !fresh {
            return false;
        }
        if used.len() >= limits::TOKENS_TRACKED_MAX {
            used.retain(|_, last| lives(last));
        }
        // Untracked, a token ends by its own time.
        if used.len() < limits::TOKENS_TRACKED_MAX {
            used.insert(token.to_owned(), now);
        }
        true
    }
}

fn key(auth: &Auth) -> Option<hmac::Key> {
    (!auth.secret().is_empty()).then(|| hmac::Key::new(hmac::HMAC_SHA256, auth.secret()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mvcc::{LogId, Machine, Memory, View};
    use proto::{
        etcd::etcdserverpb::{AuthDisableRequest, AuthUserDeleteRequest, AuthUserGrantRoleRequest},
        raft::{AuthChange, AuthEnable, Batch, Request, UserAdd, UserChangePassword, auth_change::Change, request::Op},
    };

    use super::*;

    const TTL: Duration = Duration::from_secs(300);

    struct Cluster {
        machine: Machine<Memory>,
        index: u64,
    }

    impl Cluster {
        /// With authentication enabled.
        fn new() -> Self {
            let machine = Machine::open(Arc::new(Memory::default())).unwrap();
            let mut cluster = Self { machine, index: 0 };
            cluster.add("root");
            cluster.change(Change::UserGrantRole(AuthUserGrantRoleRequest {
                user: "root".into(),
                role: "root".into(),
            }));
            cluster.enable("secret");
            cluster.add("alice");
            cluster
        }

        fn change(&mut self, change: Change) {
            self.index += 1;
            let id = LogId {
                term: 1,
                index: self.index,
            };
            let op = Some(Op::Auth(AuthChange { change: Some(change) }));
            let requests = vec![Request { op, identity: None }];
            let applied = self.machine.apply(id, &Batch { requests }).unwrap();
            assert!(applied.responses[0].is_ok(), "{applied:?}");
        }

        fn add(&mut self, name: &str) {
            self.change(Change::UserAdd(UserAdd {
                name: name.into(),
                ..UserAdd::default()
            }));
        }

        fn enable(&mut self, secret: &'static str) {
            self.change(Change::Enable(AuthEnable { secret: secret.into() }));
        }

        fn view(&self) -> View {
            self.machine.view()
        }
    }

    fn later(now: Now, seconds: u64) -> Now {
        Now {
            wall_s: now.wall_s + seconds,
            here: now.here + Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_token_lives_for_its_time_and_where_it_is_used_from_its_last_use() {
        let cluster = Cluster::new();
        let (view, now) = (cluster.view(), Now::read());
        let (here, there) = (Tokens::new(TTL), Tokens::new(TTL));
        let token = here.issue(view.auth(), "alice", now).unwrap();
        let known = |tokens: &Tokens, seconds| tokens.user(view.auth(), &token, later(now, seconds)).is_some();
        assert!(known(&here, 299) && known(&there, 200));
        assert!(known(&here, 598), "used at 299");
        assert!(!known(&there, 598), "not used since 200");
        assert!(!known(&Tokens::new(TTL), 300), "a restart forgets uses");
        assert!(!known(&here, 898));
    }

    #[test]
    fn a_token_ends_with_the_password_the_user_and_authentication() {
        let mut cluster = Cluster::new();
        let (tokens, now) = (Tokens::new(TTL), Now::read());
        let issue = |cluster: &Cluster| tokens.issue(cluster.view().auth(), "alice", now).unwrap();
        let known = |cluster: &Cluster, token: &str| tokens.user(cluster.view().auth(), token, now);
        let first = issue(&cluster);
        assert_eq!(known(&cluster, &first).as_deref(), Some("alice"));
        cluster.change(Change::UserChangePassword(UserChangePassword {
            name: "alice".into(),
            ..UserChangePassword::default()
        }));
        let second = issue(&cluster);
        assert!(known(&cluster, &first).is_none() && known(&cluster, &second).is_some());
        cluster.change(Change::UserDelete(AuthUserDeleteRequest { name: "alice".into() }));
        assert!(known(&cluster, &second).is_none());
        cluster.add("alice");
        assert!(known(&cluster, &second).is_none(), "another alice");
        let third = issue(&cluster);
        cluster.change(Change::Disable(AuthDisableRequest {}));
        assert!(known(&cluster, &third).is_none());
        assert!(tokens.issue(cluster.view().auth(), "alice", now).is_none());
        cluster.enable("another");
        assert!(known(&cluster, &third).is_none());
    }

    #[test]
    fn what_is_not_signed_is_no_token() {
        let cluster = Cluster::new();
        let (tokens, now) = (Tokens::new(TTL), Now::read());
        let token = tokens.issue(cluster.view().auth(), "alice", now).unwrap();
        let (_, signature) = token.split_once('.').unwrap();
        let claims = Claims {
            user: "root".into(),
            since: cluster.view().auth().user("root").unwrap().since,
            issued_s: now.wall_s,
        };
        let forged = format!("{}.{signature}", URL_SAFE_NO_PAD.encode(claims.encode_to_vec()));
        for text in ["", ".", "x", "a.b", &forged, &token[1..], &token[..token.len() - 1]] {
            assert!(tokens.user(cluster.view().auth(), text, now).is_none(), "{text}");
        }
    }
}
