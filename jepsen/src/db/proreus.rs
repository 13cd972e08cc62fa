//! proreus: whole masters, as `proreus server` runs them. The door under test is etcd's and the API's.

use std::process::Command;

use serde_json::json;

use super::Db;

pub(super) fn configure(db: &Db) -> anyhow::Result<()> {
    (0..db.members.len()).try_for_each(|member| write(db, member))
}

/// Writes a member's configuration, with all that belong to the cluster now.
pub(super) fn write(db: &Db, member: usize) -> anyhow::Result<()> {
    let masters: Vec<_> = db
        .members
        .iter()
        .enumerate()
        .filter(|(index, _)| db.belongs(*index))
        .map(|(index, member)| {
            json!({
                "id": db.rejoined(index).unwrap_or(index as u64 + 1), "name": member.name, "address": member.address,
                "apiPort": 6443, "clientPort": 2379, "peerPort": 2380,
            })
        })
        .collect();
    let member = &db.members[member];
    // JSON is YAML.
    let config = json!({
        "name": member.name, "root": member.root, "masters": masters, "clusterToken": "jepsen",
        "log": "info,openraft=warn",
    });
    Ok(std::fs::write(member.root.join("config.yaml"), config.to_string())?)
}

pub(super) fn command(db: &Db, member: usize) -> Command {
    let mut command = Command::new(&db.program);
    command
        .arg("server")
        .arg("--config")
        .arg(db.members[member].root.join("config.yaml"));
    command
}
