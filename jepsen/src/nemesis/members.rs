//! Changes of the membership through the door: a member is removed, and later a new one of its name takes its place, at its
//! address, without its data; or a cluster shrinks to a smaller odd size, one member after the other, and later grows back.
//!
//! The first member always stays: a new member's configuration names those that there are, and whoever has the lowest
//! number among them founds clusters.

use std::time::{Duration, Instant};

use anyhow::Context;
use proto::etcd::etcdserverpb::{Member, MemberAddRequest, MemberListRequest, MemberRemoveRequest};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::cluster::Cluster;

/// For one change, with all that has to be tried again.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(200);
/// A removed member ends by itself within this.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// The members as one of them knows them.
///
/// # Errors
/// It does not answer.
pub(crate) async fn list(cluster: &Cluster, through: usize) -> anyhow::Result<Vec<Member>> {
    let mut client = cluster.target(through).connect()?;
    let request = MemberListRequest { linearizable: true };
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, client.cluster.member_list(request)).await??;
    Ok(answer.into_inner().members)
}

/// The member's id and whether it votes, by the place where it is reached.
async fn find(cluster: &Cluster, through: usize, member: usize) -> anyhow::Result<Option<u64>> {
    let url = cluster.db.peer_url(member);
    let members = list(cluster, through).await?;
    let here = members.into_iter().find(|known| known.peer_ur_ls.contains(&url));
    Ok(here.map(|known| known.id))
}

/// Removes members until a smaller odd number is left.
pub(super) async fn shrink(cluster: &Cluster, random: &mut StdRng) -> anyhow::Result<String> {
    anyhow::ensure!(cluster.len() > 2, "a cluster of {} cannot lose a member", cluster.len());
    let left = 2 * random.random_range(0..(cluster.len() - 1) / 2) + 1;
    let mut told = Vec::new();
    while (0..cluster.len())
        .filter(|member| cluster.removed(*member).is_none())
        .count()
        > left
    {
        told.push(remove(cluster, random, 0.0).await?);
    }
    Ok(format!("to {left}, without {}", told.join(", ")))
}

/// Removes one, which may be down by then.
pub(super) async fn remove(cluster: &Cluster, random: &mut StdRng, down: f64) -> anyhow::Result<String> {
    anyhow::ensure!(cluster.len() > 2, "a cluster of {} cannot lose a member", cluster.len());
    // All is drawn before anything is asked.
    let mut others: Vec<usize> = (1..cluster.len()).collect();
    others.shuffle(random);
    let (led, down) = (random.random_bool(0.5), random.random_bool(down));
    let leader = cluster.leader().await.filter(|leader| led && *leader > 0);
    let mut there = leader.into_iter().chain(others);
    let chosen = there.find(|member| cluster.removed(*member).is_none());
    let member = chosen.context("only the first member is left")?;
    let id = find(cluster, 0, member).await?.context("it is not a member")?;
    cluster.remove(member, id);
    if down {
        cluster.kill(member);
    }
    let deadline = Instant::now() + CHANGE_TIMEOUT;
    loop {
        match try_remove(cluster, id).await {
            Ok(()) => break,
            // It may have been done all the same.
            Err(_) if find(cluster, 0, member).await.is_ok_and(|found| found.is_none()) => break,
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
    if !ends(cluster, member).await {
        cluster.complain(format!(
            "{} was removed and still runs after {END_TIMEOUT:?}",
            cluster.name(member)
        ));
    }
    let state = if down { ", which was down" } else { "" };
    Ok(format!("{} ({id:x}){state}", cluster.name(member)))
}

async fn try_remove(cluster: &Cluster, id: u64) -> anyhow::Result<()> {
    let mut client = cluster.target(0).connect()?;
    let request = client.cluster.member_remove(MemberRemoveRequest { id });
    tokio::time::timeout(REQUEST_TIMEOUT, request).await??;
    Ok(())
}

async fn ends(cluster: &Cluster, member: usize) -> bool {
    let deadline = Instant::now() + END_TIMEOUT;
    while !cluster.has_ended(member) {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(RETRY).await;
    }
    true
}

/// Adds whoever is removed again, as a new member.
pub(super) async fn add(cluster: &Cluster) -> anyhow::Result<()> {
    for member in 0..cluster.len() {
        let Some(old) = cluster.removed(member) else { continue };
        let deadline = Instant::now() + CHANGE_TIMEOUT;
        let id = loop {
            match try_add(cluster, member).await {
                Ok(id) => break id,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        };
        if id == old {
            cluster.keep(member);
        } else {
            cluster.renew(member, id)?;
        }
        cluster.start(member)?;
    }
    Ok(())
}

async fn try_add(cluster: &Cluster, member: usize) -> anyhow::Result<u64> {
    // An earlier try may have done it.
    if let Some(id) = find(cluster, 0, member).await? {
        return Ok(id);
    }
    let request = MemberAddRequest {
        peer_ur_ls: vec![cluster.db.peer_url(member)],
        is_learner: false,
    };
    let mut client = cluster.target(0).connect()?;
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, client.cluster.member_add(request)).await??;
    Ok(answer.into_inner().member.context("the answer names no member")?.id)
}
