//! Whose a data directory is. Starting a member on another member's data would make it vote twice, so the directory says
//! which member of which cluster it belongs to.
//!
//! A member that joined a cluster did not choose its ids: it was told them once. They and the members it was told of stand
//! in the directory too, so that a start which crashed before anything was in the log can be repeated. So do the ids of a
//! restored cluster, and those of its members.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::error::Error;
use crate::options::Options;
use crate::status::Member;

const FILE: &str = "member";

/// Whose a data directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The cluster's id.
    pub cluster: u64,
    /// The member's id.
    pub member: u64,
    /// Of a restored cluster: the id that it would have, had it been founded under its token.
    pub token: Option<u64>,
    /// The other members when this one joined; none of a member that took part in founding its cluster. Their names are
    /// not kept: the log tells them.
    pub peers: Vec<Member>,
}

impl Owner {
    /// Reads whose `directory` is; `None` if it is nobody's yet.
    pub fn read(directory: &Path) -> Result<Option<Self>, Error> {
        let path = directory.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => match Self::parse(&text) {
                Some(owner) => Ok(Some(owner)),
                None => Err(Error::fault(format!(
                    "{} does not say whose directory this is; restore it, or remove this member from the cluster and add \
                     it again with an empty directory",
                    path.display()
                ))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::fault(format!("cannot read {}: {error}", path.display()))),
        }
    }

    pub(crate) fn of(options: &Options) -> Self {
        let others = options.members.iter().filter(|member| member.id != options.id);
        let peer = |member: &Member| Member {
            name: String::new(),
            client_urls: Vec::new(),
            learner: false,
            ..member.clone()
        };
        Self {
            cluster: options.cluster_id(),
            member: options.id,
            token: None,
            peers: others.filter(|_| !options.founds).map(peer).collect(),
        }
    }

    /// Takes the directory for this owner, or refuses if it is another's.
    pub(crate) fn claim(&self, directory: &Path) -> Result<(), Error> {
        let path = directory.join(FILE);
        match Self::read(directory)? {
            Some(found) if (found.cluster, found.member) == (self.cluster, self.member) => Ok(()),
            Some(found) => Err(Error::fault(format!(
                "{} says that this directory belongs to {}, but this is {}; start it with its own data directory",
                path.display(),
                found.words(),
                self.words(),
            ))),
            None => write(directory, &path, &self.text())
                .map_err(|error| Error::fault(format!("cannot write {}: {error}", path.display()))),
        }
    }

    fn words(&self) -> String {
        format!("member {:x} of cluster {:x}", self.member, self.cluster)
    }

    fn text(&self) -> String {
        let mut text = format!("cluster {:016x}\nmember {:016x}\n", self.cluster, self.member);
        if let Some(token) = &self.token {
            text.push_str(&format!("token {token:016x}\n"));
        }
        for Member { id, peer_urls, .. } in &self.peers {
            text.push_str(&format!("peer {id:016x} {}\n", peer_urls.join(",")));
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let (mut cluster, mut member, mut token, mut peers) = (None, None, None, Vec::new());
        let id = |text: &str| u64::from_str_radix(text, 16).ok();
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["cluster", value] if cluster.is_none() => cluster = Some(id(value)?),
                ["member", value] if member.is_none() => member = Some(id(value)?),
                ["token", value] if token.is_none() => token = Some(id(value)?),
                ["peer", value, urls] => peers.push(Member {
                    id: id(value)?,
                    name: String::new(),
                    peer_urls: urls.split(',').map(str::to_owned).collect(),
                    client_urls: Vec::new(),
                    learner: false,
                }),
                _ => return None,
            }
        }
        Some(Self {
            cluster: cluster?,
            member: member?,
            token,
            peers,
        })
    }
}

fn write(directory: &Path, path: &Path, content: &str) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let draft = path.with_extension("new");
    let mut file = File::create(&draft)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64) -> Member {
        Member {
            id,
            name: "n".into(),
            peer_urls: vec![format!("http://h:{id}"), "http://i:1".into()],
            client_urls: vec!["http://h:1".into()],
            learner: false,
        }
    }

    #[test]
    fn a_directory_is_refused_to_another_member_and_another_cluster() {
        let directory = tempfile::tempdir().unwrap();
        let claim = |id, token| Owner::of(&Options::new(id, token, Vec::new())).claim(directory.path());
        assert_eq!(Owner::read(directory.path()).unwrap(), None);
        claim(1, "a").unwrap();
        claim(1, "a").unwrap();
        assert!(claim(2, "a").is_err());
        assert!(claim(1, "b").is_err());
    }

    #[test]
    fn a_member_that_joined_finds_its_ids_and_its_peers_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(7, "a", vec![member(7), member(8), member(9)]);
        (options.cluster, options.founds) = (Some(5), false);
        Owner::of(&options).claim(directory.path()).unwrap();
        let owner = Owner::read(directory.path()).unwrap().unwrap();
        let mut started = Options::new(1, "a", vec![member(1), member(2)]);
        started.belong_to(&owner);
        assert_eq!((started.cluster_id(), started.id, started.founds), (5, 7, false));
        let ids: Vec<u64> = started.members.iter().map(|member| member.id).collect();
        assert_eq!(ids, [7, 8, 9]);
        assert_eq!(started.members[1].peer_urls, member(8).peer_urls);
        assert_eq!(started.members[0].name, "n", "it knows its own name");
    }

    #[test]
    fn what_is_not_understood_is_no_owner() {
        let directory = tempfile::tempdir().unwrap();
        for text in [
            "",
            "cluster 1\n",
            "cluster 1\nmember x\n",
            "cluster 1\nmember 2\nmore\n",
        ] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            assert!(Owner::read(directory.path()).is_err(), "{text:?}");
        }
    }
}
