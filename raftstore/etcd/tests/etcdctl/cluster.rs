//! Doors of several members.

use std::time::Duration;

use crate::door::Door;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_to_the_member_that_is_named() {
    let Some(doors) = Door::open_cluster(3).await else {
        return;
    };
    // On a machine that is short of time leaders change by themselves, at any moment: then it is tried again.
    for _ in 0..20 {
        if moves(&doors).await {
            return;
        }
    }
    panic!("leadership never moved as it was told to");
}

/// Moves the leadership; false if leaders changed by themselves meanwhile.
async fn moves(doors: &[Door]) -> bool {
    let door = |id: u64| &doors[id as usize - 1];
    let mut leadership = doors[0].store.leadership();
    let led = leadership.wait_for(|known| known.leader.is_some()).await.unwrap();
    let leader = led.leader.expect("it was waited for");
    drop(led);
    let target = leader % 3 + 1;
    let output = door(leader).run(&format!("move-leader {target:x}"), "").await;
    if !output.status.success() {
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("no leader"), "{error}");
        return false;
    }
    let moved = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        moved.trim_end(),
        format!("Leadership transferred from {leader:x} to {target:x}")
    );
    let mut leadership = door(target).store.leadership();
    let leads = leadership.wait_for(|known| known.leader == Some(target));
    if tokio::time::timeout(Duration::from_secs(10), leads).await.is_err() {
        return false;
    }
    // Whoever does not lead refuses, and so is a member that cannot.
    let refused = door(leader).error(&format!("move-leader {leader:x}")).await;
    let impossible = door(target).error("move-leader 9").await;
    refused.contains("no leader endpoint given") && impossible.contains("etcdserver: bad leader transferee")
}
