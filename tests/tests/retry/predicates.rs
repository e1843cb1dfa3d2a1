//! What an error and a predicate on it say about further attempts.

use super::{EXACT, FAILING, ID, Times, assert_delays, delays, task};
use outlive::{
    Builder, Ctx, Ended, Engine, FailureKind, HandlerError, OpenError, ResultError, RetryPolicy,
    RunError, Status, TaskDef, WaitReason,
};
use outlive_tests::gate::Notes;
use outlive_tests::home::Home;
use outlive_tests::play::{Act, PLAY, Play, fail_until, say, until};
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// An error that predicates look into.
#[derive(Debug)]
struct Status5(u16);

impl fmt::Display for Status5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.0)
    }
}

impl std::error::Error for Status5 {}

/// Fails with the status that its input says.
const FETCH: TaskDef<u16, ()> = TaskDef::new("fetch").retry(RetryPolicy::fixed().attempts(4));

fn fetch(attempts: &Notes<u16>) -> Builder {
    let attempts = attempts.clone();
    Engine::in_memory().task(FETCH, move |_: Ctx, status| {
        attempts.add(status);
        std::future::ready(Err::<(), _>(HandlerError::from(Status5(status))))
    })
}

/// How the task ended, and how often its handler was entered.
async fn failed(engine: &Engine, attempts: &Notes<u16>, status: u16) -> (FailureKind, u32, usize) {
    let ended = engine.run(FETCH, (), &status).await;
    let Err(RunError::Result(ResultError::Failed(failure))) = ended else {
        panic!("{ended:?}");
    };
    (failure.kind, failure.attempts, attempts.take().len())
}

#[tokio::test(start_paused = true)]
async fn an_error_may_ask_for_its_own_delay() {
    let delay = Duration::from_secs(90);
    for delay in [delay, Duration::ZERO] {
        let times = Times::default();
        let noted = times.clone();
        let builder = Engine::in_memory().task(FAILING, move |_: Ctx, ()| {
            noted.add(Instant::now());
            std::future::ready(Err::<(), _>(HandlerError::from("busy").retry_after(delay)))
        });
        let engine = builder.open().await.unwrap();
        engine.run(FAILING, ID, &()).await.unwrap_err();
        // Beyond the cap of the policy, without jitter; the attempts are the policy's.
        assert_delays(&delays(&times), &[delay.as_secs_f64(); 2]);
    }
}

/// The delay is the error's, for the one attempt after it.
#[tokio::test(start_paused = true)]
async fn an_error_that_asks_for_nothing_is_tried_again_by_the_policy() {
    let def = FAILING.retry(EXACT.attempts(4));
    let times = Times::default();
    let noted = times.clone();
    let builder = Engine::in_memory().task(def, move |ctx: Ctx, ()| {
        noted.add(Instant::now());
        let error = HandlerError::from("no");
        std::future::ready(Err::<(), _>(match ctx.attempt() {
            2 => error.retry_after(Duration::from_secs(10)),
            _ => error,
        }))
    });
    let engine = builder.open().await.unwrap();
    engine.run(def, ID, &()).await.unwrap_err();
    assert_delays(&delays(&times), &[1.0, 10.0, 4.0]);
}

#[tokio::test(start_paused = true)]
async fn a_terminal_error_is_not_tried_again_whatever_else_it_says() {
    let builder = Engine::in_memory().task(FAILING, |_: Ctx, ()| {
        let error = HandlerError::terminal("never").retry_after(Duration::from_secs(1));
        std::future::ready(Err::<(), _>(error))
    });
    let engine = builder.retry_if(FAILING, |_| true).open().await.unwrap();
    engine.run(FAILING, ID, &()).await.unwrap_err();
    let ended = task(&engine).await;
    assert!(matches!(ended.ended, Some(Ended::Failed(failure)) if failure.attempts == 1));
}

#[tokio::test(start_paused = true)]
async fn a_predicate_decides_by_the_error_itself() {
    let attempts = Notes::default();
    let transient = |error: &HandlerError| {
        let status = error.error().downcast_ref::<Status5>();
        status.is_some_and(|status| status.0 >= 500)
    };
    let engine = fetch(&attempts)
        .retry_if(FETCH, transient)
        .open()
        .await
        .unwrap();
    assert_eq!(
        failed(&engine, &attempts, 503).await,
        (FailureKind::Error, 4, 4)
    );
    assert_eq!(
        failed(&engine, &attempts, 404).await,
        (FailureKind::Error, 1, 1)
    );
}

/// It is the user's code: its panic is one of the attempt, which is retried like any other, and hurts nobody else.
#[tokio::test(start_paused = true)]
async fn a_predicate_that_panics_is_a_panic_of_its_attempt() {
    let attempts = Notes::default();
    let asked = Notes::default();
    let asks = asked.clone();
    let panics = move |error: &HandlerError| -> bool {
        asks.add(error.to_string());
        panic!("no answer");
    };
    let engine = fetch(&attempts)
        .retry_if(FETCH, panics)
        .open()
        .await
        .unwrap();
    for _ in 0..3 {
        assert_eq!(
            failed(&engine, &attempts, 503).await,
            (FailureKind::Panic, 4, 4)
        );
        assert_eq!(asked.take().len(), 4, "it is asked about each attempt");
    }
}

#[tokio::test(start_paused = true)]
async fn a_predicate_is_asked_only_about_errors_it_may_decide() {
    let asked = Notes::default();
    let (home, play) = (Home::memory(), Play::default());
    let asks = asked.clone();
    let predicate = move |error: &HandlerError| {
        asks.add(error.to_string());
        false
    };
    let engine = home
        .engine(PLAY, &play)
        .retry_if(PLAY, predicate)
        .open()
        .await
        .unwrap();
    for act in [Act::Never("never".into()), Act::Agree, say("fine")] {
        drop(engine.run(PLAY, (), &act).await);
    }
    // A panic is no error of the handler's: the policy alone decides.
    let panicked = engine.run(PLAY, ID, &Act::Panic("oh".into())).await;
    assert!(
        matches!(panicked, Err(RunError::Result(ResultError::Failed(failure))) if failure.attempts == 3)
    );
    assert!(asked.is_empty(), "{:?}", asked.take());
    engine
        .run(PLAY, (), &Act::Fail("asked about".into()))
        .await
        .unwrap_err();
    assert_eq!(asked.take(), ["asked about"]);
}

/// Closures are read from the program that runs; what they decided is in the store.
#[tokio::test(start_paused = true)]
async fn a_predicate_is_that_of_the_program_that_runs_the_attempt() {
    let (home, play) = (Home::memory(), Play::default());
    let lenient = home.engine(PLAY, &play).retry_if(PLAY, |_| true);
    let engine = lenient.open().await.unwrap();
    let run = engine
        .start(PLAY, ID, &fail_until(3, say("x")))
        .await
        .unwrap();
    let waiting = until(&engine, ID, |task| task.status == Status::Pending).await;
    assert_eq!(waiting.wait, Some(WaitReason::BackOff));
    engine.shutdown(Duration::ZERO).await;
    drop(run);
    let strict = home.engine(PLAY, &play).retry_if(PLAY, |_| false);
    let engine = strict.open().await.unwrap();
    let run = engine.attach(PLAY, ID).await.unwrap();
    assert!(
        matches!(run.result().await, Err(ResultError::Failed(failure)) if failure.attempts == 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_predicate_for_a_definition_without_a_handler_does_not_open() {
    let (home, play) = (Home::memory(), Play::default());
    let opened = home
        .engine(PLAY, &play)
        .retry_if(FETCH, |_| true)
        .open()
        .await;
    assert!(matches!(
        opened,
        Err(OpenError::NoHandler { name: "fetch" })
    ));
}
