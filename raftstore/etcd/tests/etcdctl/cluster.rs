//! Doors of several members.

use crate::door::Door;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_to_the_member_that_is_named() {
    let Some(doors) = Door::open_cluster(3).await else {
        return;
    };
    let leader = doors[0].store.leadership().borrow().leader.expect("there is a leader");
    let door = |id: u64| &doors[id as usize - 1];
    let target = leader % 3 + 1;
    let moved = door(leader).ok(&format!("move-leader {target:x}")).await;
    assert_eq!(moved, format!("Leadership transferred from {leader:x} to {target:x}"));
    let mut leadership = door(leader).store.leadership();
    leadership.wait_for(|known| known.leader == Some(target)).await.unwrap();
    // Whoever does not lead refuses, and so is a member that cannot.
    for (asked, named, expected) in [
        (leader, leader, "no leader endpoint given"),
        (target, 9, "etcdserver: bad leader transferee"),
    ] {
        let message = door(asked).error(&format!("move-leader {named:x}")).await;
        assert!(message.contains(expected), "{message}");
    }
}
