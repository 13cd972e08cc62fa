//! `proreus leave`: this machine stops being part of its cluster, and the cluster knows. A master leaves the store's members
//! before it stops, so that the others do not count on it; a node's Node is deleted, so that its pods are made elsewhere. What
//! lies on the machine stays; `proreus reset` removes that.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use client::objects::NODES;
use client::{DeleteOptions, Key};
use proto::etcd::etcdserverpb::{Member, MemberRemoveRequest};
use tokio::time::{Instant, sleep};

use crate::host::{Host, process};
use crate::init::args::RootFlag;
use crate::init::master::door;
use crate::operate::block_on;
use crate::operate::door::Door;
use crate::output::say;
use crate::token::{AdminArgs, connect};

/// How long the store may refuse for want of members that answer: others may be starting.
const PATIENCE: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(1);

#[derive(Args)]
pub struct LeaveArgs {
    #[command(flatten)]
    root: RootFlag,
    #[command(flatten)]
    admin: AdminArgs,
}

pub fn run(args: &LeaveArgs) -> anyhow::Result<()> {
    block_on(async {
        let host = Host::at(&args.root.rootfs)?;
        let (server, agent) = (host.server_config()?, host.agent_config()?);
        if server.is_none() && agent.is_none() {
            bail!("this machine is part of no cluster");
        }
        if let Some(agent) = agent {
            process::stop(&host, &host.agent()).await?;
            delete_node(&agent.name, &args.admin).await?;
        }
        if server.is_some() {
            if leave_store(&host).await? == Left::Last {
                bail!("this is the last master: the cluster ends with it; `proreus reset` ends it");
            }
            process::stop(&host, &host.server()).await?;
        }
        say!("this machine has left the cluster; `proreus reset` removes what is left on it");
        Ok(())
    })
}

/// The right to delete a Node is an administrator's, and not the node's own.
async fn delete_node(name: &str, admin: &AdminArgs) -> anyhow::Result<()> {
    let client = connect(&admin.kubeconfig)?;
    match client
        .delete(&NODES, &Key::new("", name), &DeleteOptions::default())
        .await
    {
        Err(error) if error.is_not_found() => say!("the cluster has no Node {name} any more"),
        deleted => {
            deleted.with_context(|| format!("cannot delete the Node {name}"))?;
            say!("Node {name} deleted");
        }
    }
    Ok(())
}

/// Whom a master leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Masters that go on without it.
    Others,
    /// Nobody: it is the last one, and stays.
    Last,
}

/// Takes this machine's master out of the store's members, unless it is the last one. It fails if those that remain could not
/// go on without it.
pub async fn leave_store(host: &Host) -> anyhow::Result<Left> {
    let config = host.server_config()?.context("this machine has no master")?;
    let me = config.me()?;
    let doors = config
        .masters
        .iter()
        .map(|master| format!("https://{}", master.client()));
    let own = format!("https://{}", me.client());
    // Its own door first: it knows best who the others are by now.
    let doors = std::iter::once(own.clone())
        .chain(doors.filter(|door| *door != own))
        .collect();
    let store = Door::open(&door(host, doors)).await?;
    let members = store.members().await?;
    let Some(found) = members.iter().find(|member| member.id == me.id) else {
        say!("the store does not count this master among its members any more");
        return Ok(Left::Others);
    };
    let others: Vec<&Member> = members.iter().filter(|member| member.id != me.id).collect();
    if !others.iter().any(|member| !member.is_learner) {
        return Ok(Left::Last);
    }
    // The others' doors: its own may close before it answers.
    let doors: Vec<String> = others
        .iter()
        .flat_map(|member| member.client_ur_ls.iter().cloned())
        .collect();
    let through = store.at(&doors).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let removed = through
            .cluster()
            .member_remove(MemberRemoveRequest { id: found.id })
            .await;
        match removed {
            Ok(_) => break,
            Err(status) if status.message().contains("member not found") => break,
            Err(_) if Instant::now() < deadline => sleep(RETRY).await,
            Err(status) => return Err(through.failed("leave the members of the store", &status)),
        }
    }
    say!("master {} is no member of the store any more", me.name);
    Ok(Left::Others)
}
