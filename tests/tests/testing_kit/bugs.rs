//! Handlers and scripts that a crash brings to grief, each found; those that it does not, each passed.

use super::{ID, PAY, careful, careless, paid_once, recorded, under, with};
use outlive::testing::{Crash, CrashTest, Effects, Problem, Side};
use outlive::{Ctx, HandlerError, Resolution, StepOptions, TaskDef, WaitReason};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const COUNT: TaskDef<u64, u64> = TaskDef::new("count");

#[test]
fn a_payment_outside_of_a_step_is_found_at_the_earliest_commit_that_shows_it() {
    let failure = with(careless).check(paid_once).try_run().unwrap_err();
    assert_eq!(failure.problem, Problem::Check("2 payments".to_owned()));
    let (commit, side) = (3, Side::Before);
    assert_eq!(failure.crashes, [Crash { commit, side }]);
    assert_eq!(failure.commits.len(), 3);
    assert_eq!(failure.killed_at, [format!("{ID}: succeeded")]);
    assert_eq!(failure.world, r#"["payment", "payment"]"#);
}

/// Whatever becomes of the step after it, a payment outside is made again.
#[test]
fn of_the_cases_that_fail_the_earliest_is_told() {
    async fn early(ctx: Ctx, cents: u64, bank: Effects) -> Result<String, HandlerError> {
        bank.record("payment");
        recorded(ctx, cents, Effects::new()).await
    }
    let failure = with(early).check(paid_once).try_run().unwrap_err();
    let (commit, side) = (3, Side::Before);
    assert_eq!(failure.crashes, [Crash { commit, side }]);
    for later in ["0:3-after", "0:4-before"] {
        let failure = with(early).check(paid_once).only(later).try_run();
        assert!(failure.is_err(), "{later}");
    }
}

#[test]
fn a_step_that_is_interrupted_after_its_effect_is_found() {
    let failure = with(recorded).check(paid_once).try_run().unwrap_err();
    assert_eq!(failure.problem, Problem::Check("2 payments".to_owned()));
    assert_eq!(failure.killed_at, [format!("{ID}: step `pay` recorded")]);
    assert_eq!(failure.crashes[0].side, Side::Before);
}

#[test]
fn a_handler_that_pays_under_a_key_passes_through_its_retries() {
    let report = with(careful).check(paid_once).double_crashes(20).run();
    assert!(report.commits.len() >= 6, "{:?}", report.commits);
    assert_eq!(report.double_cases, 20);
}

/// Nobody knows whether it was paid, so somebody is asked: the script.
#[test]
fn a_step_that_may_run_once_passes_with_a_script_that_resolves_it() {
    async fn once(ctx: Ctx, _: u64, bank: Effects) -> Result<String, HandlerError> {
        let pay = ctx.step_with("pay", StepOptions::new().once(), |_| async {
            bank.record("payment");
            Ok::<_, io::Error>("paid".to_owned())
        });
        Ok(pay.await?)
    }
    let test = under(once).script(async |engine, bank| {
        let run = engine.start(PAY, ID, &100).input_id("once").await?;
        let mut seen = engine.watch(ID);
        while let Some(task) = seen.changed().await? {
            if let Some(WaitReason::UnknownOutcome { step }) = &task.wait {
                let known = match bank.count("payment") {
                    0 => Resolution::not_done(),
                    _ => Resolution::done(&"paid"),
                };
                engine.resolve(ID, step.as_ref(), known).await?;
            }
            if task.ended.is_some() {
                break;
            }
        }
        Ok(run.result().await?)
    });
    test.check(paid_once).run();
}

#[test]
fn a_handler_that_counts_in_memory_is_found_by_its_unequal_outcome() {
    let test = CrashTest::new(|| ())
        .engine(|builder, ()| {
            let counted = Arc::new(AtomicU64::new(0));
            builder.task(COUNT, move |ctx: Ctx, steps| {
                let counted = Arc::clone(&counted);
                async move {
                    for step in 0..steps {
                        let count =
                            || async { Ok::<_, io::Error>(counted.fetch_add(1, Ordering::SeqCst)) };
                        ctx.step(("count", step), count).await?;
                    }
                    Ok::<_, HandlerError>(counted.load(Ordering::SeqCst))
                }
            })
        })
        .script(async |engine, ()| {
            Ok(engine
                .start(COUNT, "a", &3)
                .input_id("once")
                .await?
                .result()
                .await?)
        });
    let failure = test.try_run().unwrap_err();
    let Problem::Unequal { expected, found } = &failure.problem else {
        panic!("{failure}");
    };
    assert_eq!(expected, "3");
    assert_ne!(found, "3");
    assert_eq!(failure.crashes.len(), 1);
}

#[test]
fn chance_between_steps_is_found_without_any_crash() {
    let chance = Arc::new(AtomicU64::new(0));
    let test = with(move |_, _, _| {
        let drawn = chance.fetch_add(1, Ordering::SeqCst);
        async move { Ok(drawn.to_string()) }
    });
    let failure = test.try_run().unwrap_err();
    assert!(
        matches!(failure.problem, Problem::Unequal { .. }),
        "{failure}"
    );
    assert_eq!(failure.crashes, []);
}

#[test]
fn an_outcome_that_may_differ_is_not_compared() {
    let chance = Arc::new(AtomicU64::new(0));
    let test = with(move |_, _, _| {
        let drawn = chance.fetch_add(1, Ordering::SeqCst);
        async move { Ok(drawn.to_string()) }
    });
    test.outcome_may_differ().run();
}

/// It has started the task, and believes so for ever.
#[test]
fn a_script_that_does_not_ask_again_is_found() {
    let started = Arc::new(AtomicU64::new(0));
    let world = || Arc::new(AtomicU64::new(0));
    let test = CrashTest::new(world)
        .engine(|builder, _| {
            builder.task(COUNT, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) })
        })
        .script(async |engine, begun: &Arc<AtomicU64>| {
            started.fetch_add(1, Ordering::SeqCst);
            if begun.fetch_add(1, Ordering::SeqCst) == 0 {
                let _ = engine.start(COUNT, "a", &3).await?;
            }
            Ok(engine.attach(COUNT, "a").await?.result().await?)
        });
    let failure = test.try_run().unwrap_err();
    assert!(matches!(failure.problem, Problem::Script(_)), "{failure}");
    let (commit, side) = (1, Side::Before);
    assert_eq!(failure.crashes, [Crash { commit, side }]);
    assert!(started.load(Ordering::SeqCst) >= 3);
}

/// Without an id each start is a task of its own.
#[test]
fn a_script_without_ids_is_found_by_what_is_done_twice() {
    let test = under(careful).script(async |engine, _| Ok(engine.run(PAY, (), &100).await?));
    let failure = test.check(paid_once).try_run().unwrap_err();
    assert_eq!(failure.problem, Problem::Check("2 payments".to_owned()));
}

/// Its handler is right after the first death of its process and wrong after the second.
#[test]
fn what_only_a_second_crash_shows_is_found_by_two() {
    async fn tired(ctx: Ctx, _: u64, bank: Effects) -> Result<String, HandlerError> {
        if ctx.crashes() > 1 {
            bank.record("payment");
        }
        bank.record_once("key", "payment");
        Ok("paid".to_owned())
    }
    with(tired).check(paid_once).run();
    let failure = with(tired)
        .check(paid_once)
        .double_crashes(usize::MAX)
        .try_run();
    let failure = failure.unwrap_err();
    assert_eq!(failure.crashes.len(), 2);
    assert_eq!(failure.killed_at.len(), 2);
}
