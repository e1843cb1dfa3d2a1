//! A crash is one: what is lost and what is kept, who hears of it, and what of the dead engine acts on.

use super::{ID, PAY, paid_once, recorded, under, with};
use outlive::testing::{CrashTest, Effects, Problem};
use outlive::{Ctx, HandlerError, TaskDef};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// What happened, in a world that knows nothing of the kit.
type Notes = Arc<Mutex<Vec<&'static str>>>;

#[test]
fn a_crash_before_a_commit_loses_it_and_one_after_it_keeps_it() {
    // The start, the claim, the step, the end. Only where the step's record is lost does the step run twice.
    let twice = |case: &str| with(recorded).check(paid_once).only(case).try_run();
    for case in ["0:2-before", "0:2-after", "0:3-after", "0:4-before"] {
        assert!(twice(case).is_ok(), "{case}");
    }
    let failure = twice("0:3-before").unwrap_err();
    assert_eq!(failure.problem, Problem::Check("2 payments".to_owned()));
}

/// Both wait for commits, and one that fails would be an answer.
#[test]
fn neither_script_nor_handler_hears_of_the_crash() {
    const KEEP: TaskDef<u64, u64> = TaskDef::new("keep");
    let test = CrashTest::new(Notes::default)
        .engine(|builder, notes| {
            let notes = Arc::clone(notes);
            builder.task(KEEP, move |ctx: Ctx, n| {
                let notes = Arc::clone(&notes);
                async move {
                    for round in 0..3 {
                        ctx.metadata().set("round", round)?;
                        if ctx.flush_metadata().await.is_err() {
                            notes.lock().push("a handler heard");
                        }
                    }
                    Ok::<_, HandlerError>(n)
                }
            })
        })
        .script(async |engine, notes: &Notes| {
            for (id, n) in [("a", 1), ("b", 2)] {
                if engine.start(KEEP, id, &n).input_id(id).await.is_err() {
                    notes.lock().push("the script heard");
                }
            }
            let run = engine.attach(KEEP, "b").await?;
            Ok(run.result().await?)
        })
        .check(|notes, _| assert_eq!(*notes.lock(), [""; 0]));
    let report = test.double_crashes(8).run();
    assert!(report.commits.len() > 5, "{:?}", report.commits);
}

/// It waits for no commit: only its engine's end holds it up. What it does is counted by the kit, which is deaf once the
/// engine is dead, and by a world that is not.
#[test]
fn a_handler_at_work_does_nothing_more_when_its_engine_dies() {
    const WORK: TaskDef<u64, u64> = TaskDef::new("work");
    let test = CrashTest::new(<(Effects, Notes)>::default)
        .engine(|builder, (effects, notes)| {
            let world = (effects.clone(), Arc::clone(notes));
            builder.task(WORK, move |_: Ctx, n| {
                let (effects, notes) = world.clone();
                async move {
                    for _ in 0..50 {
                        effects.record("work");
                        notes.lock().push("work");
                        tokio::task::yield_now().await;
                    }
                    Ok::<_, HandlerError>(n)
                }
            })
        })
        .script(async |engine, _| {
            for id in ["a", "b", "c"] {
                engine.start(WORK, id, &1).input_id(id).await?;
            }
            Ok(engine.attach(WORK, "c").await?.result().await?)
        })
        .check(|(effects, notes), _| assert_eq!(effects.len(), notes.lock().len()));
    let report = test.run();
    assert!(report.commits.len() > 5, "{:?}", report.commits);
}

/// Records its drop.
struct Dropped(Effects);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.record("dropped");
    }
}

#[test]
fn what_a_killed_engine_drops_has_no_effect_and_what_it_spawned_is_gone() {
    async fn held(ctx: Ctx, _: u64, world: Effects) -> Result<String, HandlerError> {
        let held = Dropped(world.clone());
        let spawned = world.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            spawned.record("spawned");
        });
        let step = || async { Ok::<_, io::Error>("done".to_owned()) };
        let done = ctx.step("step", step).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(held);
        Ok(done)
    }
    let report = with(held)
        .check(|world, _| assert_eq!(world.count("dropped"), world.count("spawned"), "{world:?}"))
        .run();
    assert_eq!(report.commits.len(), 4, "{:?}", report.commits);
}

/// Half an hour before the crash and none after it: within 40 minutes, if the clock goes on where it was.
#[test]
fn the_clock_goes_on_where_it_was_when_the_engine_died() {
    const MINUTE: Duration = Duration::from_secs(60);
    let test = under(|_, _, world: Effects| async move {
        world.record("entered");
        Ok("late".to_owned())
    });
    let test = test.script(async |engine, _| {
        let run = engine
            .start(PAY, ID, &1)
            .input_id("once")
            .start_in(30 * MINUTE)
            .await?;
        Ok(run.result().await?)
    });
    let report = test.deadline(40 * MINUTE).run();
    assert!(report.commits.len() >= 3, "{:?}", report.commits);
}

/// Its turn dies with many processes in a row, each time right after it was entered again.
#[test]
fn any_number_of_crashes_quarantines_nobody() {
    let test = with(recorded).check(paid_once);
    let again = ",1-after".repeat(23);
    test.only(format!("0:2-after{again}")).run();
}

#[test]
fn each_run_begins_in_a_world_of_its_own_that_outlives_its_crashes() {
    let worlds = Arc::new(Mutex::new(0));
    let test = CrashTest::new(|| *worlds.lock() += 1)
        .engine(|builder, ()| {
            builder.task(PAY, |_: Ctx, _| async {
                Ok::<_, HandlerError>("a".to_owned())
            })
        })
        .script(async |engine, ()| {
            Ok(engine
                .start(PAY, ID, &1)
                .input_id("once")
                .await?
                .result()
                .await?)
        });
    let report = test.double_crashes(3).run();
    let runs = 2 + report.cases + report.double_cases;
    assert_eq!(*worlds.lock(), runs);
}
