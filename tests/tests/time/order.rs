//! Thousands that wait on several lines of time.

use super::{HOUR, LATE_MAX, SECOND, WAKE, World, assert_after};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How many there are, and how far one comes after the other: a timer of the runtime is not finer than a millisecond.
const TASKS: u32 = 10_000;
const APART: Duration = Duration::from_millis(40);

/// The n-th to come: in an order in which their starts have none.
fn shuffled(n: u32) -> u32 {
    (n * 7_919) % TASKS
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_delayed_tasks_on_three_lines_wake_in_order() {
    let world = World::new();
    let engine = world.open().await;
    let first = Instant::now() + HOUR;
    let mut expected = BTreeMap::new();
    for n in 0..TASKS {
        if n == TASKS / 2 {
            world.wall.jump_ahead(30 * SECOND);
        }
        let due = first + APART * shuffled(n);
        let wait = due - Instant::now();
        let start = engine.start(WAKE, format!("t{n}"), &0);
        // Before the jump on the engine's own time, after it on the line that began then, and on the wall clock.
        let start = match n % 3 {
            0 if n > TASKS / 2 => start.start_at(world.wall.now() + wait),
            _ => start.start_in(wait),
        };
        start.await.unwrap();
        expected.insert(due, format!("t{n}"));
    }
    let woken = world.pass(HOUR + APART * TASKS + LATE_MAX).await;
    let ids: Vec<&String> = woken.iter().map(|woken| &woken.id).collect();
    assert!(ids.into_iter().eq(expected.values()), "each in its place");
    for (woken, due) in woken.iter().zip(expected.keys()) {
        assert_after(woken.at, *due, Duration::ZERO);
    }
}
