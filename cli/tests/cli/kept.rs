//! Looking at the file of a program that was killed loses nothing of it, and holds nothing back.

use crate::world::{Act, WORK, World, tasks};
use outlive::Status;
use outlive_tests::process::{self, Other};
use std::time::Duration;

/// How often the program is killed in the same turn, and looked at after each.
const KILLS: u32 = 3;
/// Deaths in a row at which any engine holds a task back for a while, as one that may have caused them.
const SUSPECT: u32 = 3;

/// In a process of its own, which is killed while its task runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_whose_task_runs() {
    let Some(path) = process::path() else {
        return;
    };
    let engine = tasks(&path).open().await.expect("it opens");
    let run = match engine.attach(WORK, "held").await {
        Ok(run) => run,
        Err(_) => engine
            .start(WORK, "held", &Act::Hold)
            .await
            .expect("started"),
    };
    while run.status().await.expect("read") != Status::InProgress {
        tokio::task::yield_now().await;
    }
    process::say("runs");
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_a_killed_programs_file_loses_nothing_and_quarantines_nothing() {
    let world = World::empty();
    for kill in 1..=KILLS {
        let mut program = Other::test("kept::a_program_whose_task_runs", &world.path());
        assert_eq!(program.word().as_deref(), Some("runs"));
        world.file(&["ls"]).await.ended(8);
        program.kill();
        let listed = world.file(&["ls", "-o", "jsonl"]).await.ended(0).json();
        assert_eq!(
            (&listed["task_id"], &listed["status"]),
            (&"held".into(), &"pending".into())
        );
        assert_eq!(listed["crashes"], kill, "the death is counted");
        let waits = match kill < SUSPECT {
            true => "waiting_handler",
            // A look neither puts the guard off nor goes further than it.
            false => "isolated",
        };
        assert_eq!(listed["wait"]["kind"], waits, "after {kill} deaths");
        world.file(&["explain", "held"]).await.ended(0);
    }
    let engine = tasks(&world.path()).open().await.expect("it opens");
    let run = engine.attach(WORK, "held").await.expect("it is there");
    engine.cancel("held", "over").await.expect("cancelled");
    run.outcome().await.expect_err("it is cancelled");
    let held = engine
        .get("held")
        .await
        .expect("read")
        .expect("it is there");
    assert_eq!((held.run, held.turn, held.crashes), (1, 1, KILLS));
    engine.shutdown(Duration::ZERO).await;
}
