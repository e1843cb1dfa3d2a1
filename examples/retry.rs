//! An outside world that fails: retries by policy, the world's own wish, errors that no retry mends, and a back-off
//! that the end of the process does not shorten.

use outlive::{
    Builder, Ctx, Ended, Engine, Entry, HandlerError, OpenError, ResultError, RetryPolicy, Status,
    TaskDef, TaskOptions,
};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Four attempts with 50, 100 and 200 ms between them, give or take a quarter. The presets are
/// `RetryPolicy::exponential()` (the default), `linear()`, `fixed()` and `none()`.
const FETCH: TaskDef<String, String> = TaskDef::new("fetch").retry(
    RetryPolicy::exponential()
        .attempts(4)
        .initial(Duration::from_millis(50)),
);
/// The same handler and the same name, for callers who would rather know at once.
const FETCH_ONCE: TaskDef<String, String> =
    FETCH.with(TaskOptions::new().retry(RetryPolicy::none()));

/// What the outside world says when it has no forecast for us.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the line is down")]
    Down,
    #[error("too many questions, come back in {0:?}")]
    Busy(Duration),
    #[error("there is no such city")]
    NoSuchCity,
    #[error("that is not a city")]
    NotACity,
}

/// A weather service. It counts how often it was asked about each city.
#[derive(Clone, Default)]
struct Weather(Arc<Mutex<HashMap<String, u32>>>);

impl Weather {
    fn ask(&self, city: &str) -> Result<String, Trouble> {
        let mut asked = self.0.lock();
        let asked = asked.entry(city.to_owned()).or_default();
        *asked += 1;
        match (city, *asked) {
            ("", _) => Err(Trouble::NotACity),
            ("Atlantis", _) => Err(Trouble::NoSuchCity),
            ("Oslo", 1..=2) | ("Quito", 1) | ("Lima", 1..=4) => Err(Trouble::Down),
            ("Rome", 1) => Err(Trouble::Busy(Duration::from_millis(300))),
            ("Cairo", 1) => Err(Trouble::Busy(Duration::from_millis(1500))),
            _ => Ok(format!("sunny in {city}")),
        }
    }

    fn asked(&self, city: &str) -> u32 {
        self.0.lock().get(city).copied().unwrap_or(0)
    }
}

async fn fetch(weather: Weather, ctx: Ctx, city: String) -> Result<String, HandlerError> {
    if let Entry::Retried { attempt, error } = ctx.entry() {
        println!(
            "  {}: attempt {attempt}, because {}",
            ctx.id(),
            error.message
        );
    }
    // `?` and `into()` make an error retryable.
    weather.ask(&city).map_err(|trouble| match trouble {
        // The world knows better than any policy when it will be ready.
        Trouble::Busy(delay) => HandlerError::from(trouble).retry_after(delay),
        // No further attempt can mend the input.
        Trouble::NotACity => HandlerError::terminal(trouble),
        Trouble::Down | Trouble::NoSuchCity => trouble.into(),
    })
}

/// The same question can be asked about errors of libraries, which carry no such mark: is it worth another attempt?
fn worth_another_attempt(error: &HandlerError) -> bool {
    !matches!(error.error().downcast_ref(), Some(Trouble::NoSuchCity))
}

fn builder(store: &Path, weather: &Weather) -> Builder {
    let weather = weather.clone();
    Engine::builder(store)
        .task(FETCH, move |ctx, city| fetch(weather.clone(), ctx, city))
        .retry_if(FETCH, worth_another_attempt)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("retry.redb");
    let weather = Weather::default();
    let engine = builder(&store, &weather).open().await?;

    by_policy(&engine, &weather).await?;
    when_the_world_says_so(&engine).await?;
    not_at_all(&engine, &weather).await?;
    again_by_hand(&engine).await?;
    through_a_crash(engine, &store, &weather).await
}

async fn by_policy(engine: &Engine, weather: &Weather) -> Result<(), Box<dyn Error>> {
    println!("a line that is down twice:");
    let forecast = engine.run(FETCH, "oslo", &"Oslo".to_owned()).await?;
    assert_eq!(forecast, "sunny in Oslo");
    assert_eq!(weather.asked("Oslo"), 3);
    println!("  {forecast}, at the third attempt");

    println!("one attempt, by a variant of the definition:");
    let run = engine.start(FETCH_ONCE, "quito", &"Quito".to_owned());
    let failure = failure(run.await?.result().await);
    assert_eq!((failure.attempts, weather.asked("Quito")), (1, 1));
    println!("  failed at once: {}", failure.message);
    Ok(())
}

async fn when_the_world_says_so(engine: &Engine) -> Result<(), Box<dyn Error>> {
    println!("a service that wants to be left alone for 300 ms:");
    let began = Instant::now();
    let forecast = engine.run(FETCH, "rome", &"Rome".to_owned()).await?;
    assert!(began.elapsed() >= Duration::from_millis(300));
    println!("  {forecast}, after 300 ms or a little more");
    Ok(())
}

async fn not_at_all(engine: &Engine, weather: &Weather) -> Result<(), Box<dyn Error>> {
    println!("errors that no attempt can mend:");
    for (id, city) in [("nowhere", ""), ("atlantis", "Atlantis")] {
        let run = engine.start(FETCH, id, &city.to_owned()).await?;
        let failure = failure(run.result().await);
        assert_eq!((failure.attempts, weather.asked(city)), (1, 1));
        println!("  {id}: {} (1 attempt)", failure.message);
    }
    Ok(())
}

/// A failed task keeps its input, so whoever has mended the world can open a further run of it.
async fn again_by_hand(engine: &Engine) -> Result<(), Box<dyn Error>> {
    println!("a line that is down for longer than anybody waits:");
    let run = engine.start(FETCH, "lima", &"Lima".to_owned()).await?;
    assert_eq!(failure(run.result().await).attempts, 4);
    let forecast = engine.retry(FETCH, "lima").await?.result().await?;
    let task = engine.get("lima").await?.ok_or("the task is kept")?;
    assert_eq!((task.run, task.attempt), (2, 1));
    let history = engine.history("lima").await?;
    assert!(matches!(&history[..], [past] if matches!(past.ended, Ended::Failed(_))));
    println!("  {forecast}, in run 2; run 1 is history");
    Ok(())
}

/// The time of the next attempt is in the store, not in a timer: whatever happens to the process, the attempt is made
/// then, by whoever has opened the store.
async fn through_a_crash(
    engine: Engine,
    store: &Path,
    weather: &Weather,
) -> Result<(), Box<dyn Error>> {
    println!("a process that ends in the back-off:");
    let began = Instant::now();
    let run = engine.start(FETCH, "cairo", &"Cairo".to_owned()).await?;
    let due_at_us = loop {
        let task = run.refresh().await?;
        match task.last_failure {
            Some(_) => break task.due_at_us,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    // Dropped and not shut down: nobody waits for anything, as at a crash.
    drop(engine);

    let engine = reopened(store, weather).await?;
    let task = engine.get("cairo").await?.ok_or("the task is kept")?;
    assert_eq!((task.status, task.due_at_us), (Status::Pending, due_at_us));
    println!(
        "  opened again: it is still {}, and due when it was",
        task.status
    );
    let forecast = engine.attach(FETCH, "cairo").await?.result().await?;
    assert!(began.elapsed() >= Duration::from_millis(1500));
    assert_eq!(weather.asked("Cairo"), 2);
    println!("  {forecast}, no sooner than the service had asked for");
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// The threads of a dropped engine keep the file for a moment longer.
async fn reopened(store: &Path, weather: &Weather) -> Result<Engine, OpenError> {
    loop {
        match builder(store, weather).open().await {
            Err(OpenError::AlreadyRunning { .. }) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            opened => return opened,
        }
    }
}

fn failure<T: std::fmt::Debug>(result: Result<T, ResultError>) -> outlive::Failure {
    match result {
        Err(ResultError::Failed(failure)) => failure,
        other => panic!("it should have failed: {other:?}"),
    }
}
