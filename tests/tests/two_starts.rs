//! Two processes that start at the same instant on a file that is not there: one runs, the other learns which.

use outlive::{Ctx, Engine, HandlerError, OpenError, TaskDef};
use outlive_tests::process::{self, Other};
use std::path::Path;
use std::time::Duration;

const TASK: TaskDef<u32, u32> = TaskDef::new("task");

fn rounds() -> u32 {
    let rounds = std::env::var("OUTLIVE_ROUNDS").ok();
    rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(20)
}

fn open(directory: &Path, round: u32) -> outlive::Builder {
    Engine::builder(directory.join(format!("{round}.redb")))
        .task(TASK, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) })
}

/// The id of what a process starts when it runs.
fn id(process: u32) -> String {
    format!("by-{process}")
}

/// Not a test of its own: the other process. Each round it opens when told to, says what came of it, and closes
/// when told to.
#[tokio::test]
async fn child() {
    let Some(directory) = process::path() else {
        return;
    };
    process::say("ready");
    for round in 0.. {
        if !process::wait_for_go() {
            return;
        }
        let opened = open(&directory, round).open().await;
        match &opened {
            Ok(engine) => {
                engine.run(TASK, id(std::process::id()), &1).await.unwrap();
                process::say("running");
            }
            Err(OpenError::AlreadyRunning { pid, .. }) => {
                process::say(&format!("refused by {}", pid.unwrap_or(0)));
            }
            Err(other) => process::say(&format!("failed {other:?}")),
        }
        process::wait_for_go();
        if let Ok(engine) = opened {
            engine.shutdown(Duration::ZERO).await;
        }
        process::say("closed");
    }
}

#[tokio::test]
async fn of_two_starts_at_once_one_runs_and_the_other_learns_its_process() {
    let directory = tempfile::tempdir().unwrap();
    let mut both = [(); 2].map(|()| Other::test("child", directory.path()));
    for process in &mut both {
        assert_eq!(process.word().as_deref(), Some("ready"));
    }
    let ids = [both[0].id(), both[1].id()];
    let mut won = [0, 0];
    for round in 0..rounds() {
        both.iter_mut().for_each(Other::go);
        let words = both.each_mut().map(|process| process.word().unwrap());
        let winner = words.iter().position(|word| word == "running");
        let winner = winner.unwrap_or_else(|| panic!("round {round}: nobody runs: {words:?}"));
        let refused = format!("refused by {}", ids[winner]);
        assert_eq!(words[1 - winner], refused, "round {round}");
        both.iter_mut().for_each(Other::go);
        for process in &mut both {
            assert_eq!(process.word().as_deref(), Some("closed"));
        }
        let engine = open(directory.path(), round).open().await.unwrap();
        let run = engine.attach(TASK, id(ids[winner])).await.unwrap();
        assert_eq!(
            run.result().await.unwrap(),
            1,
            "round {round}: acknowledged and gone"
        );
        engine.shutdown(Duration::ZERO).await;
        won[winner] += 1;
    }
    println!("{} rounds, won by {} and {}", rounds(), won[0], won[1]);
    both.into_iter().for_each(Other::end);
}
