//! Runs that do not come to the end of their script: told, and never waited for.

use super::{ID, PAY, careful, under, with};
use outlive::testing::{CrashTest, Effects, Problem};
use outlive::{Ctx, HandlerError, Reply, TaskDef};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ROUNDS: TaskDef<u64, u64> = TaskDef::new("rounds");

#[test]
fn a_task_that_waits_for_ever_is_told_with_what_it_waits_for() {
    let test = CrashTest::new(|| ())
        .engine(|builder, ()| {
            builder.task(ROUNDS, |_: Ctx, n: u64| async move {
                Ok::<_, HandlerError>(Reply::suspend(n, "somebody's word"))
            })
        })
        .script(async |engine, ()| {
            let _ = engine.run(ROUNDS, "a", &1).await?;
            std::future::pending::<()>().await;
            Ok(())
        });
    let failure = test.try_run().unwrap_err();
    let Problem::Endless { deadline, waits } = &failure.problem else {
        panic!("{failure}");
    };
    assert_eq!(*deadline, 30 * DAY);
    assert!(waits[0].contains("somebody's word"), "{waits:?}");
}

#[test]
fn a_deadline_holds_for_the_virtual_time_of_a_whole_run() {
    let slow = |days: u32| {
        with(move |_, _, _| async move {
            tokio::time::sleep(DAY * days).await;
            Ok("late".to_owned())
        })
    };
    let failure = slow(4).deadline(3 * DAY).try_run().unwrap_err();
    assert!(
        matches!(failure.problem, Problem::Endless { .. }),
        "{failure}"
    );
    slow(4).deadline(10 * DAY).run();
    // Twice two days, where the end is lost.
    let failure = slow(2).deadline(3 * DAY).try_run().unwrap_err();
    assert!(
        matches!(failure.problem, Problem::Endless { .. }),
        "{failure}"
    );
    assert_eq!(failure.crashes.len(), 1);
}

#[test]
fn a_task_that_commits_for_ever_is_told() {
    let test = CrashTest::new(|| ())
        .engine(|builder, ()| {
            builder.task(ROUNDS, |ctx: Ctx, n: u64| async move {
                loop {
                    ctx.metadata().increment("round", 1)?;
                    ctx.flush_metadata().await?;
                    if n == 0 {
                        return Ok::<_, HandlerError>(n);
                    }
                }
            })
        })
        .script(async |engine, ()| {
            Ok(engine
                .start(ROUNDS, "a", &1)
                .input_id("once")
                .await?
                .result()
                .await?)
        });
    let failure = test
        .patience(Duration::from_secs(10))
        .try_run()
        .unwrap_err();
    assert!(
        matches!(failure.problem, Problem::TooManyCommits { .. }),
        "{failure}"
    );
}

#[test]
fn a_script_that_is_busy_and_lets_no_time_pass_is_told() {
    let test = under(careful).script(async |_, _| {
        loop {
            tokio::task::yield_now().await;
            if false {
                return Ok(());
            }
        }
    });
    let patience = Duration::from_millis(50);
    let failure = test.patience(patience).try_run().unwrap_err();
    assert_eq!(failure.problem, Problem::Busy { patience });
}

#[test]
fn a_run_that_does_not_come_as_far_as_the_one_before_is_told() {
    let runs = Arc::new(AtomicU64::new(0));
    let test = CrashTest::new(|| runs.fetch_add(1, Ordering::SeqCst))
        .engine(|builder, run| {
            let flushes = if *run < 2 { 6 } else { 1 };
            builder.task(ROUNDS, move |ctx: Ctx, n: u64| async move {
                for round in 0..flushes {
                    ctx.metadata().set("round", round)?;
                    ctx.flush_metadata().await?;
                }
                Ok::<_, HandlerError>(n)
            })
        })
        .script(async |engine, _| {
            Ok(engine
                .start(ROUNDS, "a", &1)
                .input_id("once")
                .await?
                .result()
                .await?)
        });
    let failure = test.try_run().unwrap_err();
    assert!(
        matches!(failure.problem, Problem::NotReached { .. }),
        "{failure}"
    );
}

#[test]
fn a_script_that_panics_or_fails_and_an_engine_that_does_not_open_are_told() {
    let test = under(careful).script(async |_, _| {
        assert!(ID.is_empty(), "told");
        Ok(())
    });
    let failure = test.try_run().unwrap_err();
    assert_eq!(failure.problem, Problem::Panicked("told".to_owned()));
    let test = under(careful)
        .script(async |engine, _| Ok(engine.attach(PAY, "nobody").await?.result().await?));
    let failure = test.try_run().unwrap_err();
    assert!(matches!(failure.problem, Problem::Script(_)), "{failure}");
    let twice = |builder: outlive::Builder, _: &Effects| {
        let handler = |_: Ctx, _: u64| async { Ok::<_, HandlerError>("a".to_owned()) };
        builder.task(PAY, handler).task(PAY, handler)
    };
    let failure = with(careful).engine(twice).try_run().unwrap_err();
    assert!(matches!(failure.problem, Problem::Open(_)), "{failure}");
}

#[test]
fn a_result_without_a_json_form_is_told() {
    let test = under(careful).script(async |_, _| Ok(BTreeMap::from([((1, 2), 3)])));
    let failure = test.try_run().unwrap_err();
    assert!(matches!(failure.problem, Problem::NoJson(_)), "{failure}");
}

#[test]
fn a_script_that_commits_nothing_is_told() {
    let test = under(careful).script(async |_, _| Ok(()));
    let failure = test.try_run().unwrap_err();
    assert_eq!(failure.problem, Problem::NothingCommitted);
}

#[tokio::test]
async fn a_test_inside_of_a_runtime_is_refused() {
    let failure = with(careful).try_run().unwrap_err();
    assert_eq!(failure.problem, Problem::InsideRuntime);
}

#[test]
fn an_error_in_one_run_leaves_the_worlds_of_later_tests_alive() {
    let test = with(careful).check(|_, _| Err("no"));
    assert_eq!(
        test.try_run().unwrap_err().problem,
        Problem::Check("no".to_owned())
    );
    let world = Effects::new();
    world.record("later");
    assert_eq!(world.all(), ["later"]);
}
