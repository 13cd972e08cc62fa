//! `proreus leader`: who leads the store.

use anyhow::{Context, ensure};
use proto::etcd::etcdserverpb::{Member, MoveLeaderRequest, StatusResponse};
use serde_json::json;

use super::args::{DoorArgs, LeaderArgs, LeaderCommand};
use super::door::Door;
use super::{block_on, show};
use crate::commands::Output;
use crate::output::say;

pub fn run(args: &LeaderArgs) -> anyhow::Result<()> {
    block_on(async {
        match &args.command {
            LeaderCommand::Show { door } => show_leader(door).await,
            LeaderCommand::Move { member, door } => move_leader(member, door).await,
        }
    })
}

async fn show_leader(args: &DoorArgs) -> anyhow::Result<()> {
    let door = Door::open(args).await?;
    let (status, leader) = leader(&door).await?;
    if args.output == Output::Json {
        return show::json(&json!({
            "id": show::id(leader.id), "name": leader.name, "clientUrls": leader.client_ur_ls,
            "term": status.raft_term, "index": status.raft_index,
        }));
    }
    let row = vec![
        show::id(leader.id),
        leader.name,
        status.raft_term.to_string(),
        status.raft_index.to_string(),
        leader.client_ur_ls.join(","),
    ];
    show::table(&["ID", "NAME", "TERM", "INDEX", "CLIENT URLS"], &[row]);
    Ok(())
}

/// What the member behind the door says of itself, and the member that it takes for the leader.
async fn leader(door: &Door) -> anyhow::Result<(StatusResponse, Member)> {
    let status = door.status().await?;
    ensure!(
        status.leader != 0,
        "{}: there is no leader; a majority of the members has to run and to reach one another",
        door.url
    );
    let mut members = door.members().await?.into_iter();
    let leader = members.find(|member| member.id == status.leader);
    let leader = leader.with_context(|| format!("the leader {:x} is no member any more; try again", status.leader))?;
    Ok((status, leader))
}

async fn move_leader(named: &str, args: &DoorArgs) -> anyhow::Result<()> {
    let door = Door::open(args).await?;
    let target = door.member(named).await?;
    let (status, leader) = leader(&door).await?;
    // Only the leader hands over.
    let own = status.header.is_some_and(|header| header.member_id == leader.id);
    let door = if own {
        door
    } else {
        door.at(&leader.client_ur_ls).await?
    };
    let request = MoveLeaderRequest { target_id: target.id };
    let moved = door.maintenance().move_leader(request).await;
    moved.map_err(|status| door.failed("move the leadership", &status))?;
    if args.output == Output::Json {
        return show::json(&json!({ "from": show::id(leader.id), "to": show::id(target.id) }));
    }
    say!(
        "leadership moved from {} ({}) to {} ({})",
        show::id(leader.id),
        leader.name,
        show::id(target.id),
        target.name
    );
    Ok(())
}
