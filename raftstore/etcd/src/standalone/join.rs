//! Joining a cluster that exists, as etcd does it.
//!
//! Somebody added the member to the cluster (`member add`), which gave it an id. It is started with the list of all members
//! by then, itself included, and knows neither that id nor the cluster's. It asks the others, finds itself among the
//! members by its peer URLs, and takes the ids from there. That the lists are the same is more than it needs: a list that
//! is older or newer than the membership most often names the wrong cluster.
//!
//! URLs are compared as they are written; names are not looked up.

use std::sync::Arc;

use futures::{StreamExt, stream::FuturesUnordered};
use raftstore::{Description, Member, Setup, describe};
use rustls::ClientConfig;

use super::{StandaloneError, flags::refuse};

const FLAG: &str = "initial-cluster";

/// Asks the cluster that `setup` lists, and makes it the setup of the member that this is to be.
pub(super) async fn find(setup: &mut Setup) -> Result<(), StandaloneError> {
    let options = &setup.options;
    let others = options.members.iter().filter(|member| member.id != options.id);
    let urls: Vec<&String> = others.flat_map(|member| &member.peer_urls).collect();
    if urls.is_empty() {
        let reason = "it lists this member alone; to join a cluster that exists, give what `member add` printed";
        return Err(refuse(FLAG, reason));
    }
    let found = ask(&urls, setup.tls.as_ref().map(|tls| &tls.client)).await?;
    let (id, members) = assign(&options.members, options.id, &found).map_err(|reason| refuse(FLAG, reason))?;
    tracing::info!(
        member = format!("{id:x}"),
        cluster = format!("{:x}", found.cluster),
        "joining"
    );
    let options = &mut setup.options;
    (options.cluster, options.id, options.members) = (Some(found.cluster), id, members);
    Ok(())
}

/// The cluster as one of the members at `urls` describes it: rather one that a leader confirms.
async fn ask(urls: &[&String], tls: Option<&Arc<ClientConfig>>) -> Result<Description, StandaloneError> {
    let mut asked: FuturesUnordered<_> = urls
        .iter()
        .map(|url| async move { (url, describe(url, tls.cloned()).await) })
        .collect();
    let (mut heard, mut failures) = (None, Vec::new());
    while let Some((url, answer)) = asked.next().await {
        match answer {
            Ok(found) if found.members.is_empty() => failures.push(format!("{url}: its cluster is not founded yet")),
            Ok(found) if found.confirmed => return Ok(found),
            Ok(found) => heard = Some(found),
            Err(reason) => failures.push(format!("{url}: {reason}")),
        }
    }
    heard.ok_or_else(|| {
        let reason =
            "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs";
        refuse(FLAG, format!("{reason} ({})", failures.join("; ")))
    })
}

/// The id of the member listed as `own`, and the members with it, as the cluster knows them.
fn assign(listed: &[Member], own: u64, found: &Description) -> Result<(u64, Vec<Member>), String> {
    let invalid = |reason: String| {
        let has = found.members.iter().map(shown).collect::<Vec<_>>().join(",");
        format!("error validating peerURLs: {reason}. The cluster has {has}")
    };
    if listed.len() != found.members.len() {
        return Err(invalid("member count is unequal".into()));
    }
    let (mut id, mut members) = (None, Vec::new());
    for member in listed {
        let matching = found.members.iter().find(|other| sorted(other) == sorted(member));
        let Some(known) = matching else {
            return Err(invalid(format!(
                "unmatched member while checking PeerURLs ({})",
                shown(member)
            )));
        };
        if member.id == own {
            id = Some(known.id);
        }
        // What it is called and where its clients reach it, only this member knows.
        let said = if member.id == own { member } else { known };
        members.push(Member {
            id: known.id,
            learner: known.learner,
            ..said.clone()
        });
    }
    // Two of the list with the same URLs would have been matched with one member.
    let id = id.filter(|_| {
        found
            .members
            .iter()
            .all(|known| members.iter().any(|member| member.id == known.id))
    });
    id.map(|id| (id, members))
        .ok_or_else(|| invalid("two members have the same PeerURLs".into()))
}

fn sorted(member: &Member) -> Vec<&String> {
    let mut urls: Vec<&String> = member.peer_urls.iter().collect();
    urls.sort();
    urls
}

/// A member as in a list of `--initial-cluster`; by its id until it has said its name.
fn shown(member: &Member) -> String {
    let name = match member.name.as_str() {
        "" => format!("{:x}", member.id),
        name => name.to_owned(),
    };
    let urls = member.peer_urls.iter().map(|url| format!("{name}={url}"));
    urls.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, name: &str, urls: &[&str]) -> Member {
        Member {
            id,
            name: name.into(),
            peer_urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            client_urls: vec![],
            learner: false,
        }
    }

    fn cluster(members: &[Member]) -> Description {
        Description {
            cluster: 9,
            members: members.to_vec(),
            confirmed: true,
        }
    }

    #[test]
    fn ids_are_found_by_peer_urls_whatever_the_names() {
        let listed = [
            member(1, "a", &["http://h:2", "http://h:1"]),
            member(2, "new", &["http://h:3"]),
        ];
        let known = [
            member(70, "", &["http://h:3"]),
            member(60, "x", &["http://h:1", "http://h:2"]),
        ];
        let (id, members) = assign(&listed, 2, &cluster(&known)).unwrap();
        assert_eq!(id, 70);
        let told: Vec<_> = members.iter().map(|member| (member.id, member.name.as_str())).collect();
        assert_eq!(told, [(60, "x"), (70, "new")]);
    }

    #[test]
    fn lists_that_differ_are_refused_in_etcds_words() {
        let (a, b) = (member(1, "a", &["http://h:1"]), member(2, "b", &["http://h:2"]));
        let other = member(3, "c", &["http://h:3"]);
        for (listed, known, expected) in [
            (&[a.clone(), b.clone()][..], &[a.clone()][..], "member count is unequal"),
            (
                &[a.clone(), b.clone()],
                &[a.clone(), other.clone()],
                "unmatched member while checking PeerURLs (b=http://h:2)",
            ),
            (&[a.clone(), a.clone()], &[a.clone(), b.clone()], "same PeerURLs"),
        ] {
            let error = assign(listed, 1, &cluster(known)).unwrap_err();
            assert!(
                error.starts_with("error validating peerURLs: ") && error.contains(expected),
                "{error}"
            );
        }
    }
}
