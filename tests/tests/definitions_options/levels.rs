//! Each option, said by the definition, by a variant of it and by a call; and that what was said is the task's for good.

use crate::{NO_GRACE, in_time, on, opened, secs, task};
use outlive::{
    Builder, Ctx, Ended, Engine, GRACE, KEEP, KEEP_TURNS, Outcome, Reply, ResultError, RetryPolicy,
    Run, Status, TaskDef, TaskOptions,
};
use outlive_storage::MemStore;
use outlive_tests::gate::{Gate, Notes};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const PLAIN: TaskDef<u32, u32> = TaskDef::new("task");

/// Where an option is said; each comes over the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Definition,
    Variant,
    Call,
}

const LEVELS: [Said; 3] = [Said::Definition, Said::Variant, Said::Call];

/// Inputs by what the handler does with them.
const ENDS: u32 = 0;
const WAITS: u32 = 1;
const FAILS: u32 = 2;
const SUSPENDS: u32 = 3;

/// A handler for every option: it comes, then does what the input says.
fn handler(
    builder: Builder,
    def: TaskDef<u32, u32>,
    gate: &Gate,
    attempts: &Notes<u32>,
) -> Builder {
    let (gate, attempts) = (gate.clone(), attempts.clone());
    builder.task(def, move |ctx: Ctx, input| {
        gate.arrive();
        attempts.add(ctx.attempt());
        async move {
            match input {
                ENDS => Ok(Reply::output(input)),
                WAITS => std::future::pending().await,
                FAILS => Err("no".into()),
                _ => Ok(Reply::suspend(input, "more")),
            }
        }
    })
}

/// One task `a` whose options are `right`, said at one place, while what is said before that is `wrong`.
struct Scene {
    store: Arc<MemStore>,
    engine: Engine,
    run: Run<u32>,
    gate: Gate,
    attempts: Notes<u32>,
}

impl Scene {
    async fn set(said: Said, wrong: TaskOptions, right: TaskOptions, input: u32) -> Scene {
        let (store, gate, attempts) = (Arc::new(MemStore::new()), Gate::closed(), Notes::default());
        let at = |level| if level < said { wrong } else { right };
        let def = PLAIN.with(at(Said::Definition));
        let engine = opened(handler(on(&store), def, &gate, &attempts)).await;
        let nothing = TaskOptions::new();
        let variant = if said >= Said::Variant {
            at(Said::Variant)
        } else {
            nothing
        };
        let call = if said >= Said::Call { right } else { nothing };
        let start = engine.start(PLAIN.with(variant), "a", &input).options(call);
        let run = start.await.unwrap();
        Scene {
            store,
            engine,
            run,
            gate,
            attempts,
        }
    }

    /// Stops, and goes on in a program whose definition says something else.
    async fn reopened(mut self, wrong: TaskOptions) -> Scene {
        in_time(self.gate.came(1)).await;
        self.engine.shutdown(NO_GRACE).await;
        self.attempts.take();
        let def = PLAIN.with(wrong);
        self.engine = opened(handler(on(&self.store), def, &self.gate, &self.attempts)).await;
        self.run = self.engine.attach(PLAIN, "a").await.unwrap();
        self
    }

    /// How long it takes until the task has ended, from now.
    async fn ends(&self) -> (Duration, Result<u32, ResultError>) {
        let began = Instant::now();
        let result = in_time(self.run.result()).await;
        (began.elapsed(), result)
    }
}

/// Runs one check at each level, at once and after a reopen by a program that says otherwise.
async fn at_each_level<F: Future<Output = ()>>(
    (wrong, right): (TaskOptions, TaskOptions),
    input: u32,
    check: impl Fn(Scene) -> F,
) {
    for said in LEVELS {
        check(Scene::set(said, wrong, right, input).await).await;
        let scene = Scene::set(said, wrong, right, WAITS.max(input)).await;
        check(scene.reopened(wrong).await).await;
    }
}

const fn said() -> TaskOptions {
    TaskOptions::new()
}

#[tokio::test(start_paused = true)]
async fn the_time_out_and_its_grace() {
    let wrong = said().timeout(secs(1000)).grace(secs(500));
    let right = said().timeout(secs(10)).grace(secs(2));
    at_each_level((wrong, right), WAITS, |scene| async move {
        let (took, ended) = scene.ends().await;
        assert!(matches!(
            ended,
            Err(ResultError::Terminated {
                timed_out: true,
                ..
            })
        ));
        assert!(
            took > secs(11) && took <= Duration::from_millis(12_010),
            "{took:?}"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_grace_of_a_cancel() {
    let wrong = said().cancel_grace(secs(1000));
    let right = said().cancel_grace(secs(3));
    at_each_level((wrong, right), WAITS, |scene| async move {
        in_time(scene.gate.came(1)).await;
        scene.engine.cancel("a", "stop").await.unwrap();
        let (took, ended) = scene.ends().await;
        assert!(matches!(ended, Err(ResultError::Cancelled { .. })));
        assert!(took >= secs(3) && took < secs(4), "{took:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_retry_policy() {
    let fixed = RetryPolicy::fixed().jitter(false);
    let wrong = said().retry(fixed.attempts(9).initial(secs(900)).max(secs(900)));
    let right = said().retry(fixed.attempts(3).initial(secs(2)));
    for said in LEVELS {
        let scene = Scene::set(said, wrong, right, FAILS).await;
        let (took, ended) = scene.ends().await;
        assert!(matches!(ended, Err(ResultError::Failed(failure)) if failure.attempts == 3));
        assert!(took >= secs(4) && took < secs(5), "{took:?}");

        // In the back-off, the program is replaced.
        let scene = Scene::set(said, wrong, right, FAILS).await;
        let scene = scene.reopened(wrong).await;
        let (_, ended) = scene.ends().await;
        assert!(matches!(ended, Err(ResultError::Failed(failure)) if failure.attempts == 3));
        assert_eq!(scene.attempts.take(), [2, 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn how_long_it_is_kept() {
    let day = 24 * 3600 * 1_000_000;
    let kept: [(TaskOptions, TaskOptions, Option<u64>); 3] = [
        (
            said().keep_forever(),
            said().keep_for(secs(24 * 3600)),
            Some(day),
        ),
        (said().keep_for(secs(1)), said().keep_forever(), None),
        (
            said().ephemeral(),
            said().keep_for(secs(48 * 3600)),
            Some(2 * day),
        ),
    ];
    for (wrong, right, expected) in kept {
        for said in LEVELS {
            let scene = Scene::set(said, wrong, right, ENDS).await;
            assert_eq!(scene.ends().await.1.unwrap(), ENDS);
            let ended = task(&scene.engine, "a").await;
            let kept = ended.expires_at_us.map(|at| at - ended.since_us);
            assert_eq!(kept, expected, "{said:?}");

            let scene = Scene::set(said, wrong, right, WAITS)
                .await
                .reopened(wrong)
                .await;
            scene.engine.terminate("a", "enough").await.unwrap();
            let ended = task(&scene.engine, "a").await;
            let kept = ended.expires_at_us.map(|at| at - ended.since_us);
            assert_eq!(kept, expected, "{said:?}, after a reopen");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn that_it_is_ephemeral() {
    let (wrong, right) = (said().keep_forever(), said().ephemeral());
    at_each_level((wrong, right), WAITS, |scene| async move {
        scene.engine.terminate("a", "enough").await.unwrap();
        assert_eq!(scene.engine.get("a").await.unwrap(), None);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn that_it_lives_on_after_a_failure() {
    let wrong = said().retry(RetryPolicy::none());
    let right = wrong.keep_alive_on_failure();
    for said in LEVELS {
        let scene = Scene::set(said, wrong, right, FAILS).await;
        let (_, ended) = scene.ends().await;
        assert!(
            matches!(ended, Err(ResultError::Failed(_))),
            "its caller is told: {ended:?}"
        );
        let rests = task(&scene.engine, "a").await;
        assert_eq!(
            (rests.status, rests.ended),
            (Status::Suspended, None),
            "{said:?}"
        );
        scene.engine.shutdown(NO_GRACE).await;

        let def = PLAIN.with(wrong);
        let engine = opened(handler(on(&scene.store), def, &scene.gate, &scene.attempts)).await;
        let next = engine.start(PLAIN, "a", &FAILS).await.unwrap();
        assert!(matches!(
            in_time(next.result()).await,
            Err(ResultError::Failed(_))
        ));
        assert_eq!(
            task(&engine, "a").await.status,
            Status::Suspended,
            "the next turn as well"
        );
    }
}

/// Gives the task eight turns more and answers how many results are kept whole.
async fn results_kept(engine: &Engine) -> usize {
    let mut runs = Vec::new();
    for _ in 0..8 {
        let run = engine.start(PLAIN, "a", &SUSPENDS).await.unwrap();
        in_time(run.outcome()).await.unwrap();
        runs.push(run);
    }
    let mut kept = 0;
    for run in runs {
        match run.outcome().await {
            Ok(Outcome::Suspended {
                output: SUSPENDS, ..
            }) => kept += 1,
            Err(ResultError::Gone { .. }) => assert_eq!(kept, 0, "the last ones are kept"),
            other => panic!("{other:?}"),
        }
    }
    kept
}

#[tokio::test(start_paused = true)]
async fn how_many_turns_are_kept_whole() {
    let (wrong, right) = (said().keep_turns(7), said().keep_turns(3));
    at_each_level((wrong, right), SUSPENDS, |scene| async move {
        in_time(scene.run.result()).await.unwrap();
        assert_eq!(results_kept(&scene.engine).await, 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn its_priority() {
    for said in LEVELS {
        let (wrong, right) = (
            TaskOptions::new().priority(1),
            TaskOptions::new().priority(6),
        );
        let scene = Scene::set(said, wrong, right, WAITS).await;
        assert_eq!(task(&scene.engine, "a").await.priority, 6);
        let scene = scene.reopened(wrong).await;
        assert_eq!(task(&scene.engine, "a").await.priority, 6, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_word_the_defaults_hold() {
    let gate = Gate::closed();
    let engine = opened(handler(
        Engine::in_memory(),
        PLAIN,
        &gate,
        &Notes::default(),
    ))
    .await;
    let run = engine.start(PLAIN, "a", &ENDS).await.unwrap();
    in_time(run.result()).await.unwrap();
    let ended = task(&engine, "a").await;
    let kept = ended.expires_at_us.unwrap() - ended.since_us;
    assert_eq!(Duration::from_micros(kept), KEEP);
    assert_eq!(
        (KEEP, GRACE, KEEP_TURNS),
        (secs(7 * 24 * 3600), secs(5), 100)
    );
    assert_eq!((ended.priority, ended.deadline_us), (4, None));
    let failing = engine.start(PLAIN, "b", &FAILS).await.unwrap();
    assert!(
        matches!(in_time(failing.result()).await, Err(ResultError::Failed(f)) if f.attempts == 3)
    );
    assert!(matches!(
        task(&engine, "b").await.ended,
        Some(Ended::Failed(_))
    ));
    // Nothing forces a cancelled handler that does not listen.
    engine.start(PLAIN, "c", &WAITS).await.unwrap();
    engine.cancel("c", "stop").await.unwrap();
    tokio::time::sleep(secs(100_000)).await;
    assert_eq!(task(&engine, "c").await.status, Status::InProgress);
}

#[tokio::test(start_paused = true)]
async fn a_variant_needs_no_registration_and_leaves_its_definition_as_it_was() {
    const IMPATIENT: TaskDef<u32, u32> = PLAIN.timeout(secs(10)).grace(secs(1));
    let gate = Gate::closed();
    let engine = opened(handler(
        Engine::in_memory(),
        PLAIN,
        &gate,
        &Notes::default(),
    ))
    .await;
    engine.start(IMPATIENT, "a", &WAITS).await.unwrap();
    engine.start(PLAIN, "b", &WAITS).await.unwrap();
    assert!(task(&engine, "a").await.deadline_us.is_some());
    assert_eq!(task(&engine, "b").await.deadline_us, None);
    tokio::time::sleep(secs(20)).await;
    assert_eq!(task(&engine, "a").await.status, Status::Completed);
    assert_eq!(task(&engine, "b").await.status, Status::InProgress);
    assert_eq!(IMPATIENT.name(), PLAIN.name());
}

#[tokio::test(start_paused = true)]
async fn options_of_a_call_for_a_task_that_exists_are_of_no_effect() {
    let gate = Gate::closed();
    let builder = handler(
        Engine::in_memory(),
        PLAIN.priority(2),
        &gate,
        &Notes::default(),
    );
    let engine = opened(builder).await;
    let run = engine.start(PLAIN, "a", &WAITS).await.unwrap();
    let later = engine
        .start(PLAIN, "a", &WAITS)
        .input_id(run.input_id().as_str());
    later.priority(7).timeout(secs(1)).await.unwrap();
    let seen = task(&engine, "a").await;
    assert_eq!((seen.priority, seen.deadline_us), (2, None));
}

#[tokio::test(start_paused = true)]
async fn options_of_a_call_that_begins_a_further_run_are_that_runs() {
    let gate = Gate::closed();
    let engine = opened(handler(
        Engine::in_memory(),
        PLAIN,
        &gate,
        &Notes::default(),
    ))
    .await;
    in_time(engine.run(PLAIN, "a", &ENDS)).await.unwrap();
    let again = engine
        .start(PLAIN, "a", &WAITS)
        .on_conflict(outlive::OnConflict::Restart);
    let impatient = said().timeout(secs(10)).grace(secs(1));
    again.priority(7).options(impatient).await.unwrap();
    let seen = task(&engine, "a").await;
    assert_eq!(
        (seen.run, seen.priority, seen.deadline_us.is_some()),
        (2, 7, true)
    );
    tokio::time::sleep(secs(20)).await;
    let ended = task(&engine, "a").await.ended;
    assert!(matches!(
        ended,
        Some(Ended::Terminated {
            timed_out: true,
            ..
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn whether_a_task_takes_more_inputs_is_the_running_programs_word() {
    let (store, gate, attempts) = (Arc::new(MemStore::new()), Gate::closed(), Notes::default());
    let steerable = PLAIN.steerable(2);
    let engine = opened(handler(on(&store), steerable, &gate, &attempts)).await;
    engine.start(PLAIN, "a", &WAITS).await.unwrap();
    for _ in 0..2 {
        assert!(engine.start(PLAIN, "a", &ENDS).await.unwrap().is_queued());
    }
    let full = engine.start(PLAIN, "a", &ENDS).await;
    assert!(
        matches!(full, Err(outlive::StartError::SteeringQueueFull { max: 2 })),
        "{full:?}"
    );
    engine.shutdown(NO_GRACE).await;

    let engine = opened(handler(on(&store), PLAIN, &gate, &attempts)).await;
    let refused = engine.start(PLAIN, "a", &ENDS).await;
    assert!(
        matches!(refused, Err(outlive::StartError::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(
        task(&engine, "a").await.inputs_waiting,
        2,
        "what was accepted stays"
    );
}
