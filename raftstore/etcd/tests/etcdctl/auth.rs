//! Users, roles and permissions.

use crate::door::Door;

/// Root, and alice, who may do everything below `app/` and read `z`.
async fn enabled() -> Option<Door> {
    let door = Door::open().await?;
    door.check(&[
        ("role add app", "Role app created"),
        ("role grant-permission app readwrite app/ --prefix", "Role app updated"),
        ("role grant-permission app read z", "Role app updated"),
        ("user add alice:pw", "User alice created"),
        ("user grant-role alice app", "Role app is granted to user alice"),
        ("put z 1", "OK"),
        ("put app/a 1", "OK"),
        ("user add root:secret", "User root created"),
        ("user grant-role root root", "Role root is granted to user root"),
        ("auth enable", "Authentication Enabled"),
    ])
    .await;
    Some(door)
}

async fn refused(door: &Door, cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        let message = door.error(line).await;
        assert!(message.contains(expected), "etcdctl {line}: {message}");
    }
}

const DENIED: &str = "etcdserver: permission denied";
const UNKNOWN: &str = "etcdserver: user name is empty";
const WRONG: &str = "etcdserver: authentication failed, invalid user ID or password";

#[tokio::test]
async fn whoever_has_a_role_may_do_what_it_permits_and_nothing_else() {
    let Some(door) = enabled().await else { return };
    door.check(&[
        ("--user=alice:pw put app/b 2", "OK"),
        ("--user=alice:pw get app/ --prefix --keys-only", "app/a||app/b"),
        ("--user=alice:pw get z", "z|1"),
        ("--user=alice:pw del app/b --prev-kv", "1|app/b|2"),
        ("--user=root:secret get --from-key a --keys-only", "app/a||z"),
    ])
    .await;
    refused(
        &door,
        &[
            ("--user=alice:pw put z 2", DENIED),
            ("--user=alice:pw get y", DENIED),
            ("--user=alice:pw get --from-key app/", DENIED),
            ("--user=alice:pw del z", DENIED),
            ("--user=alice:pw watch y", DENIED),
            ("get z", UNKNOWN),
            ("put app/a 3", UNKNOWN),
            ("watch z", UNKNOWN),
            ("--user=alice:wrong get z", WRONG),
            ("--user=mallory:pw get z", WRONG),
        ],
    )
    .await;
    assert_eq!(
        door.ok("--user=root:secret get app/a").await,
        "app/a|1",
        "nothing slipped through"
    );
}

#[tokio::test]
async fn a_transaction_is_refused_for_what_any_of_its_branches_may_not() {
    let Some(door) = enabled().await else { return };
    let txn = async |input: &str| {
        let output = door.run("--user=alice:pw txn", input).await;
        String::from_utf8_lossy(&output.stdout).trim_end().replace('\n', "|") + &String::from_utf8_lossy(&output.stderr)
    };
    assert_eq!(
        txn("version(\"z\") = \"1\"\n\nput app/a 2\nget z\n\nget app/a\n\n").await,
        "SUCCESS||OK||z|1"
    );
    for input in [
        "version(\"y\") = \"0\"\n\nget app/a\n\n\n\n",
        "\nput app/a 3\nput z 3\n\n\n\n",
        "version(\"z\") = \"1\"\n\nput app/a 3\n\ndel z\n\n",
        "\nput app/a 3\nget y\n\n\n\n",
    ] {
        let answer = txn(input).await;
        assert!(answer.contains(DENIED), "{input}: {answer}");
    }
    assert_eq!(door.ok("--user=root:secret get app/a").await, "app/a|2");
}

#[tokio::test]
async fn what_concerns_everybody_is_roots() {
    let Some(door) = enabled().await else { return };
    let file = tempfile::tempdir().unwrap();
    let save = format!("snapshot save {}", file.path().join("x").display());
    for line in [
        "compaction 2",
        "defrag",
        "endpoint hashkv",
        "move-leader 1",
        "member add two --peer-urls=http://127.0.0.1:1",
        "member remove 1",
        "member update 1 --peer-urls=http://127.0.0.1:1",
        "member promote 1",
        "user add eve:x",
        "user list",
        "user delete alice",
        "user passwd --interactive=false alice",
        "user get root",
        "user grant-role alice root",
        "user revoke-role alice app",
        "role add other",
        "role list",
        "role delete app",
        "role get root",
        "role grant-permission app read y",
        "role revoke-permission app z",
        "auth disable",
        &save,
    ] {
        for user in ["--user=alice:pw ", ""] {
            let message = String::from_utf8_lossy(&door.run(&format!("{user}{line}"), "new").await.stderr).to_string();
            let expected = if user.is_empty() { UNKNOWN } else { DENIED };
            assert!(message.contains(expected), "etcdctl {user}{line}: {message}");
        }
    }
    for line in [
        "member list",
        "endpoint status",
        "alarm list",
        "lease grant 10",
        "lease list",
    ] {
        let message = String::from_utf8_lossy(&door.run(line, "").await.stderr).to_string();
        assert!(message.contains(UNKNOWN), "etcdctl {line}: {message}");
        door.ok(&format!("--user=alice:pw {line}")).await;
    }
    door.check(&[
        ("--user=alice:pw user get alice", "User: alice|Roles: app"),
        ("--user=root:secret user list", "alice|root"),
        ("--user=root:secret role list", "app"),
        ("--user=root:secret compaction 2", "compacted revision 2"),
    ])
    .await;
    let role = door.ok("--user=alice:pw role get app").await;
    assert_eq!(
        role,
        "Role app|KV Read:|\t[app/, app0) (prefix app/)|\tz|KV Write:|\t[app/, app0) (prefix app/)"
    );
}

#[tokio::test]
async fn a_lease_is_as_guarded_as_its_keys() {
    let Some(door) = enabled().await else { return };
    let granted = door.ok("--user=root:secret lease grant 100").await;
    let id = granted.split(' ').nth(1).unwrap().to_string();
    door.ok(&format!("--user=alice:pw put app/a 1 --lease={id}")).await;
    door.ok(&format!("--user=alice:pw lease keep-alive --once {id}")).await;
    door.ok(&format!("--user=root:secret put y 1 --lease={id}")).await;
    for line in [
        format!("put app/b 1 --lease={id}"),
        format!("lease revoke {id}"),
        format!("lease timetolive {id} --keys"),
        "lease list".into(),
    ] {
        refused(&door, &[(&format!("--user=alice:pw {line}"), DENIED)]).await;
    }
    let kept = door
        .run(&format!("--user=alice:pw lease keep-alive --once {id}"), "")
        .await;
    assert!(
        !String::from_utf8_lossy(&kept.stdout).contains("keepalived"),
        "{kept:?}"
    );
    door.ok(&format!("--user=root:secret lease revoke {id}")).await;
}

#[tokio::test]
async fn users_and_roles_change_and_end() {
    let Some(door) = enabled().await else { return };
    let root = |line: &str| format!("--user=root:secret {line}");
    assert!(
        door.ok_with(&root("user passwd --interactive=false alice"), "new")
            .await
            .contains("Password updated")
    );
    refused(&door, &[("--user=alice:pw get z", WRONG)]).await;
    assert_eq!(door.ok("--user=alice:new get z").await, "z|1");
    door.ok(&root("role revoke-permission app z")).await;
    refused(&door, &[("--user=alice:new get z", DENIED)]).await;
    door.ok(&root("role grant-permission app read --from-key x")).await;
    assert_eq!(door.ok("--user=alice:new get z").await, "z|1");
    door.ok(&root("role delete app")).await;
    refused(
        &door,
        &[
            ("--user=alice:new get z", DENIED),
            (&root("role delete app"), "etcdserver: role name not found"),
            (&root("user add alice:x"), "etcdserver: user name already exists"),
            (&root("user grant-role alice app"), "etcdserver: role name not found"),
            (
                &root("user revoke-role alice app"),
                "etcdserver: role is not granted to the user",
            ),
            (&root("user delete root"), "etcdserver: invalid auth management"),
            (&root("user get bob"), "etcdserver: user name not found"),
        ],
    )
    .await;
    door.ok(&root("user delete alice")).await;
    refused(&door, &[("--user=alice:new get z", WRONG)]).await;
    assert_eq!(door.ok(&root("auth disable")).await, "Authentication Disabled");
    assert_eq!(door.ok("get z").await, "z|1");
}

#[tokio::test]
async fn while_authentication_is_off_nobody_is_asked() {
    let Some(door) = Door::open().await else { return };
    // A client with a user name goes on without a token, as with an etcd whose authentication is off.
    assert_eq!(door.ok("--user=root:secret put k v").await, "OK");
    refused(&door, &[("auth enable", "etcdserver: root user does not exist")]).await;
    assert_eq!(door.ok("user add root:x").await, "User root created");
    // etcdctl gives root its role by itself.
    assert_eq!(door.ok("auth enable").await, "Authentication Enabled");
    assert_eq!(door.ok("--user=root:x get k").await, "k|v");
}
