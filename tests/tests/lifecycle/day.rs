//! A day of virtual time: delayed starts, retries, time-outs and a chain, each on time, none lost and none twice.

use outlive::{
    Builder, Ctx, Ended, Engine, Entry, EventKind, HandlerError, Reply, ResultError, RetryPolicy,
    Status, TaskDef,
};
use outlive_tests::gate::Notes;
use std::time::Duration;
use tokio::time::Instant;

const HOURS: u32 = 24;
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
/// The engine looks at the clock at least this often while something is due.
const LATE_MAX: Duration = Duration::from_secs(1);

/// Fails twice, then tells when it came through.
const FLAKY: TaskDef<u32, u32> = TaskDef::new("flaky").retry(
    RetryPolicy::exponential()
        .initial(Duration::from_secs(600))
        .max(HOUR)
        .jitter(false),
);
/// Never ends by itself.
const STUCK: TaskDef<u32, u32> = TaskDef::new("stuck")
    .timeout(Duration::from_secs(900))
    .grace(Duration::from_secs(30));
/// Takes longer than an attempt's share of its time, and ends in time.
const SLOW: TaskDef<u32, u32> = TaskDef::new("slow").timeout(Duration::from_secs(1800));
/// Gets an input each hour.
const CHAIN: TaskDef<u32, u32> = TaskDef::new("chain").keep_turns(3);

/// Who was entered, and when.
type Clockings = Notes<(String, Instant)>;

fn handlers(builder: Builder, notes: &Clockings) -> Builder {
    let noted = |ctx: &Ctx, notes: &Clockings| notes.add((ctx.id().to_string(), Instant::now()));
    let (flaky, chain) = (notes.clone(), notes.clone());
    builder
        .task(FLAKY, move |ctx: Ctx, n| {
            noted(&ctx, &flaky);
            let tried = match ctx.attempt() {
                3 => Ok(n),
                attempt => Err(HandlerError::from(format!("attempt {attempt}"))),
            };
            std::future::ready(tried)
        })
        .task(STUCK, |_: Ctx, _| {
            std::future::pending::<Result<u32, HandlerError>>()
        })
        .task(SLOW, |ctx: Ctx, n| async move {
            tokio::time::sleep(20 * MINUTE).await;
            assert_eq!(ctx.cause(), None);
            Ok::<_, HandlerError>(n)
        })
        .task(CHAIN, move |ctx: Ctx, n: u32| {
            noted(&ctx, &chain);
            let fresh = ctx.entry() == Entry::Fresh;
            let expected = if n == 0 {
                fresh
            } else {
                ctx.entry() == Entry::Resumed
            };
            std::future::ready(if expected {
                Ok(Reply::suspend(n, "the next hour"))
            } else {
                Err(HandlerError::terminal("entered for another reason"))
            })
        })
}

/// Starts all that begins at each hour of the day.
async fn plan(engine: &Engine) {
    for hour in 0..HOURS {
        let delay = HOUR * hour + MINUTE;
        let flaky = engine.start(FLAKY, format!("flaky-{hour}"), &hour);
        flaky.start_in(delay).await.unwrap();
        let stuck = engine.start(STUCK, format!("stuck-{hour}"), &hour);
        stuck.start_in(delay).await.unwrap();
        let slow = engine.start(SLOW, format!("slow-{hour}"), &hour);
        slow.start_in(delay).await.unwrap();
    }
}

#[track_caller]
fn assert_on_time(what: &str, at: Duration, due: Duration) {
    assert!(
        at >= due && at <= due + LATE_MAX,
        "{what}: {at:?} for {due:?}"
    );
}

/// The flaky ones came at their hour, 10 minutes later and 20 minutes after that.
#[track_caller]
fn assert_clockings(clockings: &[(String, Instant)], began: Instant) {
    for hour in 0..HOURS {
        let id = format!("flaky-{hour}");
        let of_it = clockings.iter().filter(|(of, _)| *of == id);
        let at: Vec<Duration> = of_it.map(|(_, at)| *at - began).collect();
        assert_eq!(at.len(), 3, "{id}: {at:?}");
        assert_on_time(&id, at[0], HOUR * hour + MINUTE);
        assert_on_time(&id, at[1], at[0] + 10 * MINUTE);
        assert_on_time(&id, at[2], at[1] + 20 * MINUTE);
    }
    let turns = clockings.iter().filter(|(of, _)| of == "chain");
    assert_eq!(turns.count() as u32, HOURS);
}

/// Microseconds from the start of a run to the end of its task.
async fn took(engine: &Engine, id: &str) -> Duration {
    let task = engine.get(id).await.unwrap().unwrap();
    let claimed = task
        .timeline
        .iter()
        .find(|line| line.what == EventKind::Claimed);
    let began = claimed.expect("it was claimed").at_us;
    assert_eq!(
        (task.status, task.attempt, task.crashes),
        (Status::Completed, 1, 0)
    );
    Duration::from_micros(task.since_us - began)
}

#[tokio::test(start_paused = true)]
async fn a_day_passes_and_everything_in_it_is_on_time() {
    let real = std::time::Instant::now();
    let notes = Clockings::default();
    let engine = handlers(Engine::in_memory(), &notes).open().await.unwrap();
    engine.recovery().await;
    let began = Instant::now();
    plan(&engine).await;
    for hour in 0..HOURS {
        assert_eq!(engine.run(CHAIN, "chain", &hour).await.unwrap(), hour);
        tokio::time::sleep_until(began + HOUR * (hour + 1)).await;
    }
    for hour in 0..HOURS {
        let flaky = engine.attach(FLAKY, format!("flaky-{hour}")).await.unwrap();
        assert_eq!(flaky.result().await.unwrap(), hour);
        let stuck = engine.attach(STUCK, format!("stuck-{hour}")).await.unwrap();
        let terminated = stuck.result().await;
        assert!(matches!(
            terminated,
            Err(ResultError::Terminated {
                timed_out: true,
                ..
            })
        ));
        let id = format!("stuck-{hour}");
        assert_on_time(&id, took(&engine, &id).await, Duration::from_secs(930));
        let id = format!("slow-{hour}");
        assert_on_time(&id, took(&engine, &id).await, 20 * MINUTE);
        let slow = engine.get(&id).await.unwrap().unwrap();
        assert_eq!(slow.ended, Some(Ended::Succeeded));
    }
    assert_clockings(&notes.take(), began);
    println!("{HOURS} hours took {:?}", real.elapsed());
}
