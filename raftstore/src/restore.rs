//! Making a member of tables that were restored.
//!
//! # Theory
//! A restored cluster is a new one: it has a new id, so that members of the old one, which may still run, can neither talk
//! to it nor take part in it. All its members start from the same tables, at the same log entry, with the same membership
//! as of that entry, and with logs that were purged up to it: exactly as members that stopped after they had applied it and
//! let go of all before it. So there is nothing to be founded, and a member that is added later gets the tables as a
//! snapshot like anyone who comes late.
//!
//! Members are restored apart, from the same file and with the same flags; so the new id comes from all of those that must be
//! the same: who restores one member otherwise makes another cluster. A member that is restored again, because it lost its
//! data, gets its old ids, but no token of its own: its peers refuse it as they refuse anyone who starts anew
//! ([`admission`](crate::node)).
//!
//! # Left out
//! The tables, which are the caller's to fill, and putting the directory where it belongs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use openraft::impls::TokioRuntime;

use crate::claim::Owner;
use crate::consensus::{MEMBERSHIP_RECORD, StoredMembershipOf, encode_membership, to_log_id};
use crate::error::Error;
use crate::log::{Log, LogId, LogOptions, RealDisk, Vote};
use crate::node::peer;
use crate::options::{Options, identity};
use crate::status::Member;
use crate::store::LOG_DIRECTORY;

/// The entry that restored tables stand for.
const FIRST: LogId = LogId { term: 1, index: 1 };

/// Where restored tables begin.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// The entry that they have applied.
    pub applied: mvcc::LogId,
    /// The name and content of the record with the membership.
    pub membership: (&'static str, Bytes),
}

/// Where the tables of a cluster of these members begin.
pub fn beginning(members: &[Member]) -> Result<Beginning, Error> {
    let voters: BTreeSet<u64> = members.iter().map(|member| member.id).collect();
    let peers: BTreeMap<_, _> = members.iter().map(|member| (member.id, peer(member))).collect();
    let membership = openraft::Membership::new(vec![voters], peers).map_err(Error::fault)?;
    let stored = StoredMembershipOf::new(Some(to_log_id(FIRST)), membership);
    let record = encode_membership(&stored).map_err(Error::fault)?;
    Ok(Beginning {
        applied: mvcc::LogId {
            term: FIRST.term,
            index: FIRST.index,
        },
        membership: (MEMBERSHIP_RECORD, record),
    })
}

impl Options {
    /// Makes these the options of a member of the cluster that is restored from `what`: the digest of the content and
    /// whatever else its members have to agree on. With `name_ids`, members get new ids too, by their names.
    pub fn restored(&mut self, what: &[&str], name_ids: bool) {
        let mut members: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("{}={}", member.name, member.peer_urls.join(",")))
            .collect();
        members.sort();
        let members = members.join(" ");
        let cluster = identity(&[&["restored", &self.cluster_token, &members], what].concat());
        self.cluster = Some(cluster);
        self.founds = false;
        if !name_ids {
            return;
        }
        let own = self.members.iter().position(|member| member.id == self.id);
        for member in &mut self.members {
            member.id = identity(&["restored member", &format!("{cluster:x}"), &member.name]);
        }
        if let Some(own) = own {
            self.id = self.members[own].id;
        }
    }
}

/// Makes `directory`, which has its tables and nothing else, that of the member with these options. What says whose it is
/// comes last: without it, it is nobody's.
pub async fn establish(directory: &Path, options: &Options) -> Result<(), Error> {
    let path = directory.join(LOG_DIRECTORY);
    let disk =
        RealDisk::new(&path).map_err(|error| Error::fault(format!("cannot create {}: {error}", path.display())))?;
    let log = Log::open::<TokioRuntime>(disk, LogOptions::default()).await?;
    log.purge(FIRST).map_err(Error::fault)?;
    // Nobody was elected in the first term: a vote for itself says that none may be.
    let vote = Vote {
        term: FIRST.term,
        member: options.id,
        committed: false,
    };
    log.save_vote(vote).await.map_err(Error::fault)?;
    let owner = Owner {
        token: Some(options.token_id()),
        ..Owner::of(options)
    };
    owner.claim(directory)
}
