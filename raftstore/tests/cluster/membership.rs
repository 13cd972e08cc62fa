//! Members come and go while the cluster works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use raftstore::{Error, MembershipRefusal, Store};

use crate::harness::{Cluster, eventually, get, put, read_all, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_becomes_three_and_any_one_may_then_fail() {
    let mut cluster = Cluster::start(1).await;
    for i in 0..50 {
        write(&cluster.store(0), &format!("key-{i}"), "x").await;
    }
    for voters in 2..=3 {
        let added = cluster.add(0, false).await;
        cluster.wait_for_voters(0, voters).await;
        assert_eq!(cluster.store(added).linearizable_view().await.unwrap().key_count(), 50);
    }
    let names: Vec<_> = cluster
        .store(0)
        .members()
        .into_iter()
        .map(|member| member.name)
        .collect();
    assert_eq!(names.len(), 3);
    cluster.kill(0).await;
    let leader = cluster.wait_for_leader().await;
    write(&cluster.store(leader), "after", "x").await;
    cluster.start_member(0).await;
    assert_eq!(get(&cluster.store(0), "after", false).await.unwrap(), Some("x".into()));
}

/// Writes a counter up and reads it back until told to stop; no read may fail or be stale. Gives the last number acknowledged.
async fn count(store: Store, stop: Arc<AtomicBool>, counted: Arc<AtomicU64>) -> u64 {
    let mut last = 0;
    while !stop.load(Ordering::Relaxed) {
        let next = last + 1;
        // One of unknown outcome is followed by the same again.
        if put(&store, "counter", &next.to_string()).await.is_ok() {
            last = next;
            counted.fetch_add(1, Ordering::Relaxed);
        }
        let read = get(&store, "counter", false)
            .await
            .expect("a linearizable read is answered");
        let read: u64 = read.map_or(0, |number| number.parse().expect("a number"));
        assert!(
            read == last || read == next,
            "{read} is read after {last} was acknowledged"
        );
    }
    last
}

async fn more(counted: &AtomicU64) {
    let target = counted.load(Ordering::Relaxed) + 20;
    eventually("writes go on", async || {
        (counted.load(Ordering::Relaxed) >= target).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_grows_to_five_and_shrinks_to_three_while_clients_write_and_read() {
    let mut cluster = Cluster::start(1).await;
    let (stop, counted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = tokio::spawn(count(cluster.store(0), stop.clone(), counted.clone()));
    for voters in 2..=5 {
        more(&counted).await;
        cluster.add(0, false).await;
        cluster.wait_for_voters(0, voters).await;
    }
    more(&counted).await;
    // The first one, at which the client is, stays. Whether one that goes leads is left to chance, the last time it is made so.
    for (gone, voters) in [(4, 4), (3, 3)] {
        let id = cluster.hosts[gone].id;
        if voters == 3 {
            eventually("the member that goes leads", async || {
                cluster.store(0).transfer_leadership(id).await.ok()
            })
            .await;
        }
        eventually("the member is removed", async || {
            match cluster.store(0).remove_member(id).await {
                Ok(()) | Err(Error::Membership(MembershipRefusal::NotFound)) => Some(()),
                Err(_) => None,
            }
        })
        .await;
        cluster.wait_for_voters(0, voters).await;
        more(&counted).await;
    }
    stop.store(true, Ordering::Relaxed);
    let last = client.await.expect("the client saw nothing wrong");
    for index in 0..3 {
        let view = read_all(&cluster.store(index)).await;
        let counter = view.get(b"counter").expect("it was written");
        let counter: u64 = std::str::from_utf8(&counter.value).unwrap().parse().unwrap();
        assert!(
            counter == last || counter == last + 1,
            "member {index} has {counter}, not {last}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_has_not_heard_of_the_founding_is_no_learner() {
    let mut cluster = Cluster::prepared(3).await;
    // The others are not there: nothing is founded.
    cluster.start_member(0).await;
    let status = cluster.store(0).status();
    assert_eq!((status.log_index, status.learner), (0, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_removed_hands_over_and_says_that_it_was_removed() {
    let cluster = Cluster::start(3).await;
    write(&cluster.store(0), "key", "x").await;
    let leader = cluster.wait_for_leader().await;
    let removed = cluster.store(leader);
    let id = cluster.hosts[leader].id;
    let other = (0..3).find(|index| *index != leader).unwrap();
    eventually("the leader is removed", async || {
        match cluster.store(other).remove_member(id).await {
            Ok(()) | Err(Error::Membership(MembershipRefusal::NotFound)) => Some(()),
            Err(_) => None,
        }
    })
    .await;
    let errors = eventually("the removed member stops", async || {
        let errors = removed.status().errors;
        (!errors.is_empty()).then_some(errors)
    })
    .await;
    assert!(errors[0].contains("was removed from the cluster"), "{errors:?}");
    write(&cluster.store(other), "after", "x").await;
    assert_eq!(cluster.store(other).members().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_removed_while_it_was_down_says_so_when_it_starts() {
    let mut cluster = Cluster::start(3).await;
    let away = cluster.follower().await;
    let id = cluster.hosts[away].id;
    cluster.kill(away).await;
    let leader = cluster.wait_for_leader().await;
    eventually("the member is removed", async || {
        match cluster.store(leader).remove_member(id).await {
            Ok(()) | Err(Error::Membership(MembershipRefusal::NotFound)) => Some(()),
            Err(_) => None,
        }
    })
    .await;
    cluster.start_member(away).await;
    let store = cluster.store(away);
    let errors = eventually("it stops", async || {
        let errors = store.status().errors;
        (!errors.is_empty()).then_some(errors)
    })
    .await;
    assert!(errors[0].contains("was removed from the cluster"), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_waits_for_its_promotion_and_what_makes_no_sense_is_refused() {
    let mut cluster = Cluster::start(1).await;
    let store = cluster.store(0);
    let refused = |result: Result<(), Error>| match result {
        Err(Error::Membership(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let first = cluster.hosts[0].id;
    assert_eq!(
        refused(store.remove_member(first).await),
        MembershipRefusal::NotEnoughStarted
    );
    assert_eq!(refused(store.remove_member(999).await), MembershipRefusal::NotFound);
    assert_eq!(
        refused(store.promote_member(first).await),
        MembershipRefusal::NotLearner
    );
    let add = async |urls: &[&str], learner| {
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        store.add_member(urls, learner).await.map(drop)
    };
    assert_eq!(refused(add(&[], false).await), MembershipRefusal::BadUrls);
    assert_eq!(refused(add(&["nonsense"], false).await), MembershipRefusal::BadUrls);
    let taken = store.members()[0].peer_urls[0].clone();
    assert_eq!(refused(add(&[&taken], false).await), MembershipRefusal::PeerUrlExists);

    let added = cluster.add(0, true).await;
    assert_eq!(
        refused(add(&["http://127.0.0.1:9"], true).await),
        MembershipRefusal::TooManyLearners
    );
    write(&store, "key", "x").await;
    let id = cluster.hosts[added].id;
    // It has the log and still no vote.
    eventually("the learner has the key", async || {
        get(&cluster.store(added), "key", true).await.ok().flatten()
    })
    .await;
    assert!(store.members().iter().any(|member| member.id == id && member.learner));
    eventually("it is promoted", async || store.promote_member(id).await.ok()).await;
    cluster.wait_for_voters(0, 2).await;
    store
        .update_member(id, vec![format!("https://{}", cluster.hosts[added].address)])
        .await
        .unwrap();
    write(&cluster.store(added), "key", "y").await;
}
