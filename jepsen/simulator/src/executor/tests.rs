//! The executor keeps its promises: one seed one run, clocks of their own, processes that stop when told to.

use tokio::sync::mpsc;

use super::*;

/// Two tasks that compete, and what they did in which order.
async fn race() -> Vec<u32> {
    let (send, mut receive) = mpsc::unbounded_channel();
    for name in 0..6 {
        let send = send.clone();
        drop(spawn(async move {
            for step in 0..4 {
                sleep(Duration::from_micros(random(|random| random.below(3)))).await;
                let _ = send.send(name * 10 + step);
            }
        }));
    }
    drop(send);
    let mut seen = Vec::new();
    while let Some(step) = receive.recv().await {
        seen.push(step);
    }
    seen
}

#[test]
fn one_seed_is_one_order_and_another_is_another() {
    let first = run(1, 0, race());
    assert_eq!(first, run(1, 0, race()));
    let (order, summary) = run(2, 0, race());
    assert!(order != first.0 && summary.trace != first.1.trace);
}

#[test]
fn a_paused_process_stands_still_and_goes_on() {
    let (seen, _) = run(3, 1, async {
        let process = new_process(1);
        let (send, mut receive) = mpsc::unbounded_channel();
        drop(spawn_in(process, async move {
            loop {
                sleep(Duration::from_millis(10)).await;
                let _ = send.send(now());
            }
        }));
        sleep(Duration::from_millis(55)).await;
        pause(process);
        let before = std::iter::from_fn(|| receive.try_recv().ok()).count();
        sleep(Duration::from_secs(1)).await;
        let paused = std::iter::from_fn(|| receive.try_recv().ok()).count();
        resume(process);
        sleep(Duration::from_millis(55)).await;
        let after = std::iter::from_fn(|| receive.try_recv().ok()).count();
        (before, paused, after)
    });
    assert!(seen.0 >= 4 && seen.1 == 0 && seen.2 >= 5, "{seen:?}");
}

#[test]
fn an_ended_process_gives_no_results_and_takes_no_tasks() {
    let (outcomes, _) = run(4, 1, async {
        let process = new_process(1);
        let early = spawn_in(process, std::future::pending::<()>());
        sleep(Duration::from_millis(1)).await;
        end_process(process);
        let late = spawn_in(process, async {});
        (early.await, late.await)
    });
    assert_eq!(outcomes, (Err(Gone), Err(Gone)));
}

#[test]
fn timers_follow_the_clock_of_their_machine() {
    let (passed, _) = run(5, 2, async {
        set_clock(1, |clock, now| clock.set_rate(now, 2_000_000));
        let mut waits = Vec::new();
        for machine in 1..=2 {
            waits.push(spawn_in(new_process(machine), async {
                sleep(Duration::from_secs(1)).await;
                now()
            }));
        }
        sleep(Duration::from_millis(700)).await;
        set_clock(2, |clock, _| clock.jump(400_000_000));
        let mut passed = Vec::new();
        for wait in waits {
            passed.push(wait.await.unwrap_or(0) / 10_000_000);
        }
        passed
    });
    assert_eq!(passed, [50, 70]);
}

#[test]
fn a_panic_is_kept_and_ends_only_its_task() {
    let (panics, _) = run(6, 0, async {
        let outcome = spawn(async { panic!("on purpose") }).await;
        (outcome, take_panics())
    });
    assert_eq!(panics.0, Err::<(), _>(Gone));
    assert!(
        panics.1.len() == 1 && panics.1[0].1.contains("on purpose"),
        "{panics:?}"
    );
}
