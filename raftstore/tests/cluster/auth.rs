//! Users and roles are part of what members agree on: who asks is judged alike, whichever member is asked.

use std::sync::Arc;

use mvcc::{AuthRefusal, DeterministicError};
use proto::etcd::authpb::Permission;
use proto::etcd::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserGrantRoleRequest, RangeRequest,
};
use proto::raft::auth_change::Change;
use proto::raft::{AuthEnable, Identity, UserAdd};
use raftstore::{Error, Store};

use crate::harness::{Cluster, put_request, read, write};

async fn enable(store: &Store) {
    let user = |name: &str| {
        Change::UserAdd(UserAdd {
            name: name.into(),
            ..UserAdd::default()
        })
    };
    let grant = |user: &str, role: &str| {
        Change::UserGrantRole(AuthUserGrantRoleRequest {
            user: user.into(),
            role: role.into(),
        })
    };
    let permission = Permission {
        perm_type: 2,
        key: "mine".into(),
        ..Permission::default()
    };
    for change in [
        user("root"),
        grant("root", "root"),
        user("alice"),
        Change::RoleAdd(AuthRoleAddRequest { name: "r".into() }),
        Change::RoleGrantPermission(AuthRoleGrantPermissionRequest {
            name: "r".into(),
            perm: Some(permission),
        }),
        grant("alice", "r"),
        Change::Enable(AuthEnable { secret: "s".into() }),
    ] {
        store.change_auth(change).await.unwrap();
    }
}

fn alice(store: &Store, auth_revision: u64) -> Store {
    store.on_behalf_of(Arc::new(Identity {
        user: "alice".into(),
        auth_revision,
    }))
}

fn refusal<T>(answer: Result<T, Error>) -> AuthRefusal {
    match answer {
        Err(Error::Refused(DeterministicError::Auth(refusal))) => refusal,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("not refused"),
    }
}

async fn check(store: &Store) {
    store.barrier().await.unwrap();
    let revision = store.view().auth().revision();
    let known = alice(store, revision);
    known.put(put_request("mine", "1")).await.unwrap();
    assert_eq!(
        refusal(known.put(put_request("yours", "1")).await),
        AuthRefusal::PermissionDenied
    );
    let read = RangeRequest {
        key: "yours".into(),
        ..RangeRequest::default()
    };
    assert_eq!(refusal(known.range(read.clone()).await), AuthRefusal::PermissionDenied);
    let old = RangeRequest { revision: 2, ..read };
    assert_eq!(refusal(known.range(old).await), AuthRefusal::PermissionDenied);
    let overtaken = alice(store, revision - 1);
    assert_eq!(
        refusal(overtaken.put(put_request("mine", "1")).await),
        AuthRefusal::OldRevision
    );
    let nobody = store.on_behalf_of(Arc::default());
    assert_eq!(
        refusal(nobody.put(put_request("mine", "1")).await),
        AuthRefusal::UserEmpty
    );
    assert_eq!(
        refusal(nobody.add_member(vec!["http://x:1".into()], true).await),
        AuthRefusal::UserEmpty
    );
    assert_eq!(refusal(known.hash().await), AuthRefusal::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_is_judged_alike_through_every_member_and_after_a_restart() {
    let mut cluster = Cluster::start(3).await;
    write(&cluster.store(0), "yours", "1").await;
    let follower = cluster.store(cluster.follower().await);
    enable(&follower).await;
    for index in 0..3 {
        check(&cluster.store(index)).await;
    }
    // What the member does itself is not judged.
    write(&cluster.store(1), "yours", "2").await;
    for index in 0..3 {
        cluster.kill(index).await;
    }
    cluster.start_all().await;
    for index in 0..3 {
        check(&cluster.store(index)).await;
    }
    assert_eq!(read(&cluster.store(2), "yours").await.as_deref(), Some("2"));
}
