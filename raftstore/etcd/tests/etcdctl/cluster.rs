//! Doors of several members.

use crate::door::Door;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_to_the_member_that_is_named() {
    let Some(doors) = Door::open_cluster(3).await else {
        return;
    };
    let door = |id: u64| &doors[id as usize - 1];
    // On a machine that is short of time leaders change by themselves; then the new one is asked.
    let (leader, target) = loop {
        let mut leadership = doors[0].store.leadership();
        let leader = leadership
            .wait_for(|known| known.leader.is_some())
            .await
            .unwrap()
            .leader;
        let leader = leader.expect("it was waited for");
        let target = leader % 3 + 1;
        let output = door(leader).run(&format!("move-leader {target:x}"), "").await;
        if output.status.success() {
            let moved = String::from_utf8(output.stdout).unwrap();
            assert_eq!(
                moved.trim_end(),
                format!("Leadership transferred from {leader:x} to {target:x}")
            );
            break (leader, target);
        }
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("no leader"), "{error}");
    };
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
