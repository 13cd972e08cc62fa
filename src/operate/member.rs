//! `proreus member`: who is in the cluster.

use proto::etcd::etcdserverpb::{
    Member, MemberAddRequest, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest,
};
use serde_json::{Value, json};

use super::args::{DoorArgs, MemberArgs, MemberCommand};
use super::door::Door;
use super::{block_on, show};
use crate::commands::Output;
use crate::output::say;

pub fn run(args: &MemberArgs) -> anyhow::Result<()> {
    block_on(async {
        match &args.command {
            MemberCommand::List { door } => list(door).await,
            MemberCommand::Add {
                name,
                peer_urls,
                learner,
                door,
            } => add(name, peer_urls, *learner, door).await,
            MemberCommand::Remove { member, door } => remove(member, door).await,
            MemberCommand::Promote { member, door } => promote(member, door).await,
            MemberCommand::Update {
                member,
                peer_urls,
                door,
            } => update(member, peer_urls, door).await,
        }
    })
}

async fn list(args: &DoorArgs) -> anyhow::Result<()> {
    let members = Door::open(args).await?.members().await?;
    if args.output == Output::Json {
        return show::json(&json!({ "members": members.iter().map(document).collect::<Vec<_>>() }));
    }
    let row = |member: &Member| {
        let started = if member.name.is_empty() { "unstarted" } else { "started" };
        let vote = if member.is_learner { "learner" } else { "voter" };
        vec![
            show::id(member.id),
            member.name.clone(),
            started.into(),
            vote.into(),
            member.peer_ur_ls.join(","),
            member.client_ur_ls.join(","),
        ]
    };
    let rows: Vec<Vec<String>> = members.iter().map(row).collect();
    show::table(&["ID", "NAME", "STATUS", "ROLE", "PEER URLS", "CLIENT URLS"], &rows);
    Ok(())
}

async fn add(name: &str, peer_urls: &[String], learner: bool, args: &DoorArgs) -> anyhow::Result<()> {
    let door = Door::open(args).await?;
    let request = MemberAddRequest {
        peer_ur_ls: peer_urls.to_vec(),
        is_learner: learner,
    };
    let added = door.cluster().member_add(request).await;
    let added = added
        .map_err(|status| door.failed("add the member", &status))?
        .into_inner();
    let id = added.member.map_or(0, |member| member.id);
    // What it has to be told, under the names that both `proreus store` and `etcd` read.
    let variables = [
        ("ETCD_NAME", name.to_owned()),
        ("ETCD_INITIAL_CLUSTER", initial_cluster(&added.members, id, name)),
        ("ETCD_INITIAL_ADVERTISE_PEER_URLS", peer_urls.join(",")),
        ("ETCD_INITIAL_CLUSTER_STATE", "existing".into()),
    ];
    if args.output == Output::Json {
        let start: Value = variables.iter().map(|(name, value)| (*name, json!(value))).collect();
        return show::json(&json!({ "id": show::id(id), "startWith": start }));
    }
    say!("member {} added; start it with", show::id(id));
    variables.iter().for_each(|(name, value)| say!("{name}=\"{value}\""));
    Ok(())
}

/// All members as `--initial-cluster` lists them, the new one under the name that it will have.
fn initial_cluster(members: &[Member], new: u64, name: &str) -> String {
    let urls = members.iter().flat_map(|member| {
        let name = if member.id == new { name } else { &member.name };
        member.peer_ur_ls.iter().map(move |url| format!("{name}={url}"))
    });
    urls.collect::<Vec<_>>().join(",")
}

async fn remove(named: &str, args: &DoorArgs) -> anyhow::Result<()> {
    let door = Door::open(args).await?;
    let member = door.member(named).await?;
    let removed = door
        .cluster()
        .member_remove(MemberRemoveRequest { id: member.id })
        .await;
    removed.map_err(|status| door.failed("remove the member", &status))?;
    done(args, &member, "removed")
}

async fn promote(named: &str, args: &DoorArgs) -> anyhow::Result<()> {
    let door = Door::open(args).await?;
    let member = door.member(named).await?;
    let promoted = door
        .cluster()
        .member_promote(MemberPromoteRequest { id: member.id })
        .await;
    promoted.map_err(|status| door.failed("promote the member", &status))?;
    done(args, &member, "promoted")
}

async fn update(named: &str, peer_urls: &[String], args: &DoorArgs) -> anyhow::Result<()> {
    let door = Door::open(args).await?;
    let member = door.member(named).await?;
    let request = MemberUpdateRequest {
        id: member.id,
        peer_ur_ls: peer_urls.to_vec(),
    };
    let updated = door.cluster().member_update(request).await;
    updated.map_err(|status| door.failed("update the member", &status))?;
    done(args, &member, "updated")
}

fn done(args: &DoorArgs, member: &Member, what: &str) -> anyhow::Result<()> {
    if args.output == Output::Json {
        return show::json(&json!({ "id": show::id(member.id), "name": member.name, "done": what }));
    }
    say!("member {} ({}) {what}", show::id(member.id), member.name);
    Ok(())
}

fn document(member: &Member) -> Value {
    json!({
        "id": show::id(member.id),
        "name": member.name,
        "started": !member.name.is_empty(),
        "learner": member.is_learner,
        "peerUrls": member.peer_ur_ls,
        "clientUrls": member.client_ur_ls,
    })
}
