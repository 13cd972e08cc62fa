//! The door seen through the distribution's own etcdctl. Skipped, visibly, where there is none.

mod auth;
mod cluster;
mod door;

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use door::Door;

#[tokio::test]
async fn keys_are_put_read_and_deleted() {
    let Some(door) = Door::open().await else { return };
    door.check(&[
        ("put a 1", "OK"),
        ("put a 2 --prev-kv", "OK|a|1"),
        ("put b 3", "OK"),
        ("put c 4", "OK"),
        ("get a", "a|2"),
        ("get a z --order=DESCEND --sort-by=KEY --keys-only", "c||b||a"),
        ("get a c --limit=1", "a|2"),
        ("get a --rev=2 --print-value-only", "1"),
        ("get --from-key b --print-value-only", "3|4"),
        ("del a --prev-kv", "1|a|2"),
        ("del b z", "2"),
    ])
    .await;
    assert!(door.ok("get a --prefix -w json").await.contains("\"revision\":7"));
}

#[tokio::test]
async fn transactions_compare_and_branch() {
    let Some(door) = Door::open().await else { return };
    door.ok("put k 1").await;
    let swap = "mod(\"k\") = \"2\"\n\nput k 2\nget k\n\nget k\n\n";
    assert_eq!(door.ok_with("txn", swap).await, "SUCCESS||OK||k|2");
    assert_eq!(door.ok_with("txn", swap).await, "FAILURE||k|2");
    let twice = door.run("txn", "\nput k 1\nput k 2\n\n\n\n").await;
    let message = String::from_utf8(twice.stderr).unwrap();
    assert!(
        message.contains("etcdserver: duplicate key given in txn request"),
        "{message}"
    );
}

#[tokio::test]
async fn a_watch_replays_from_a_revision_and_follows() {
    let Some(door) = Door::open().await else { return };
    door.ok("put dir/a 1").await;
    door.ok("put dir/a 2").await;
    door.ok("put other x").await;
    door.ok("del dir/a").await;
    let mut watch = door
        .command("watch --rev=2 --prefix --prev-kv dir/")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    // PUT: its name, the previous key and value if any, the key and value. DELETE: name, previous, key and nothing.
    while seen.len() < 13 {
        seen.push(lines.next_line().await.unwrap().unwrap());
    }
    assert_eq!(seen.join("|"), "PUT|dir/a|1|PUT|dir/a|1|dir/a|2|DELETE|dir/a|2|dir/a|");
    door.ok("put dir/b 3").await;
    let live = [
        lines.next_line().await.unwrap(),
        lines.next_line().await.unwrap(),
        lines.next_line().await.unwrap(),
    ];
    assert_eq!(live.map(Option::unwrap), ["PUT", "dir/b", "3"]);
}

#[tokio::test]
async fn compaction_has_etcds_errors() {
    let Some(door) = Door::open().await else { return };
    for value in 1..=5 {
        door.ok(&format!("put k {value}")).await;
    }
    assert_eq!(door.ok("compaction 4").await, "compacted revision 4");
    assert_eq!(door.ok("compaction 5 --physical=true").await, "compacted revision 5");
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    let future = "etcdserver: mvcc: required revision is a future revision";
    for (line, expected) in [
        ("compaction 3", compacted),
        ("compaction 5", compacted),
        ("compaction 99", future),
        ("get k --rev=3", compacted),
        ("get k --rev=99", future),
        ("watch k --rev=2", compacted),
    ] {
        let message = door.error(line).await;
        assert!(message.contains(expected), "{line}: {message}");
    }
    assert_eq!(door.ok("get k --rev=5").await, "k|4");
}

#[tokio::test]
async fn leases_are_granted_kept_alive_and_revoked() {
    let Some(door) = Door::open().await else { return };
    let granted = door.ok("lease grant 100").await;
    let id = granted.split(' ').nth(1).unwrap().to_string();
    assert_eq!(granted, format!("lease {id} granted with TTL(100s)"));
    assert_eq!(door.ok(&format!("put --lease={id} k v")).await, "OK");
    assert_eq!(door.ok("lease list").await, format!("found 1 leases|{id}"));
    let kept = door.ok(&format!("lease keep-alive --once {id}")).await;
    assert_eq!(kept, format!("lease {id} keepalived with TTL(100)"));
    let time = door.ok(&format!("lease timetolive {id} --keys")).await;
    assert!(
        time.contains("granted with TTL(100s)") && time.contains("attached keys([k])"),
        "{time}"
    );
    assert_eq!(
        door.ok(&format!("lease revoke {id}")).await,
        format!("lease {id} revoked")
    );
    assert_eq!(door.ok("get k").await, "");
    assert_eq!(
        door.ok(&format!("lease timetolive {id}")).await,
        format!("lease {id} already expired")
    );
    assert!(
        door.error(&format!("lease revoke {id}"))
            .await
            .contains("etcdserver: requested lease not found")
    );
    assert!(
        door.error("put --lease=1234 k v")
            .await
            .contains("etcdserver: requested lease not found")
    );
}

#[tokio::test]
async fn the_cluster_describes_itself() {
    let Some(door) = Door::open().await else { return };
    let address = door.address;
    assert!(door.ok("endpoint health").await.is_empty() || door.ok("endpoint health").await.contains("is healthy"));
    let status = door.ok("endpoint status").await;
    assert!(
        status.starts_with(&format!("{address}, 1, 3.6.5, ")) && status.contains(", true, false, "),
        "{status}"
    );
    let members = door.ok("member list").await;
    assert!(
        members.contains(&format!("http://{address}")) && members.contains("started"),
        "{members}"
    );
    assert_eq!(door.ok("alarm list").await, "");
    assert!(door.ok("defrag").await.contains("Finished defragmenting"));
    let hash = door.ok("endpoint hashkv").await;
    assert!(hash.starts_with(&format!("{address}, ")), "{hash}");
}

#[tokio::test]
async fn members_are_added_updated_and_removed() {
    let Some(door) = Door::open().await else { return };
    let added = door.ok("member add two --learner --peer-urls=http://127.0.0.1:1").await;
    let id = added.split(' ').nth(1).unwrap().to_string();
    assert!(added.contains("added to cluster"), "{added}");
    let list = door.ok("member list").await;
    assert!(
        list.contains(&format!("{id}, unstarted, , http://127.0.0.1:1, , true")),
        "{list}"
    );
    for (line, expected) in [
        (
            "member add three --peer-urls=http://127.0.0.1:1",
            "etcdserver: Peer URLs already exists",
        ),
        (
            "member add three --learner --peer-urls=http://127.0.0.1:2",
            "etcdserver: too many learner members in cluster",
        ),
        ("member remove 1234", "etcdserver: member not found"),
        ("member promote 1", "etcdserver: can only promote a learner member"),
        (
            &format!("member promote {id}"),
            "etcdserver: can only promote a learner member which is in sync with leader",
        ),
        (
            "member remove 1",
            "etcdserver: re-configuration failed due to not enough started members",
        ),
    ] {
        let message = door.error(line).await;
        assert!(message.contains(expected), "{line}: {message}");
    }
    let update = format!("member update {id} --peer-urls=http://127.0.0.1:3");
    assert!(door.ok(&update).await.contains("updated in cluster"));
    assert!(door.ok("member list").await.contains("http://127.0.0.1:3"));
    assert!(
        door.ok(&format!("member remove {id}"))
            .await
            .contains("removed from cluster")
    );
    assert!(!door.ok("member list").await.contains("unstarted"));
}
