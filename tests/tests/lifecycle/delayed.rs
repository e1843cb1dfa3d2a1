//! Tasks for a later moment: never early, at most a second late, and not forgotten by a restart.

use super::{ID, task};
use outlive::{Entry, EventKind, OnConflict, Snapshot, Status, WaitReason};
use outlive_tests::home::Home;
use outlive_tests::play::{PLAY, Play, say, until};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

const SECOND_US: u64 = 1_000_000;
const HOUR: Duration = Duration::from_secs(3600);

/// When it was claimed, in the engine's own time.
#[track_caller]
fn claimed_at(task: &Snapshot) -> u64 {
    let claims = task.timeline.iter();
    let mut claims = claims.filter(|line| line.what == EventKind::Claimed);
    let claim = claims.next_back().expect("it was claimed");
    claim.at_us
}

#[track_caller]
fn assert_on_time(claimed_at: u64, due_at: u64) {
    let late = claimed_at.checked_sub(due_at).expect("never early");
    assert!(late <= SECOND_US, "{late} µs late");
}

#[tokio::test(start_paused = true)]
async fn a_task_for_later_waits_until_it_is_due() {
    for delay_ms in [1, 999, 1_000, 1_001, 59_999, 3_600_000, 86_400_000] {
        let (home, play) = (Home::memory(), Play::default());
        let engine = home.open(PLAY, &play).await;
        let (began, delay) = (Instant::now(), Duration::from_millis(delay_ms));
        let run = engine
            .start(PLAY, ID, &say("x"))
            .start_in(delay)
            .await
            .unwrap();
        let waiting = task(&engine, ID).await;
        assert_eq!(
            (waiting.status, waiting.wait),
            (Status::Pending, Some(WaitReason::Delayed))
        );
        assert_eq!(
            (waiting.attempt, waiting.generation),
            (0, 0),
            "nothing is claimed"
        );
        let due_at = waiting.due_at_us.expect("it is due by itself");
        assert_eq!(due_at - waiting.created_at_us, delay_ms * 1000);
        run.result().await.unwrap();
        assert!(
            began.elapsed() >= delay,
            "{:?} of {delay:?}",
            began.elapsed()
        );
        assert_on_time(claimed_at(&task(&engine, ID).await), due_at);
    }
}

#[tokio::test(start_paused = true)]
async fn a_moment_on_the_wall_clock_is_kept() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let at = SystemTime::now() + HOUR;
    let run = engine
        .start(PLAY, ID, &say("x"))
        .start_at(at)
        .await
        .unwrap();
    let due_at = task(&engine, ID).await.due_at_us.unwrap();
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(u128::from(due_at), since.as_micros());
    run.result().await.unwrap();
    assert_on_time(claimed_at(&task(&engine, ID).await), due_at);
}

#[tokio::test(start_paused = true)]
async fn a_moment_that_is_past_is_now() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    for (n, at) in [SystemTime::UNIX_EPOCH, SystemTime::now() - HOUR]
        .into_iter()
        .enumerate()
    {
        let began = Instant::now();
        let run = engine.start(PLAY, format!("t{n}"), &say("x")).start_at(at);
        run.await.unwrap().result().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
    let run = engine.start(PLAY, ID, &say("x")).start_in(Duration::ZERO);
    run.await.unwrap().result().await.unwrap();
}

/// The moment is on disk: a later process keeps it, be it there in time or not.
#[tokio::test(start_paused = true)]
async fn a_delayed_start_survives_restarts_and_is_never_early() {
    for home in Home::both() {
        let play = Play::default();
        let mut engine = home.open(PLAY, &play).await;
        engine
            .start(PLAY, ID, &say("x"))
            .start_in(HOUR)
            .await
            .unwrap();
        let planned = task(&engine, ID).await;
        for _ in 0..3 {
            engine.shutdown(Duration::ZERO).await;
            engine = home.open(PLAY, &play).await;
            assert_eq!(engine.recovery().await.found, 0);
            assert_eq!(task(&engine, ID).await, planned, "it stands as it was");
        }
        // Each engine reads the wall clock anew, which the paused one does not move.
        let opened = Instant::now();
        let run = engine.attach(PLAY, ID).await.unwrap();
        run.result().await.unwrap();
        let waited = opened.elapsed();
        assert!(waited > HOUR - Duration::from_secs(60), "{waited:?}");
        let ended = task(&engine, ID).await;
        assert_on_time(claimed_at(&ended), planned.due_at_us.unwrap());
        let seen = play.seen.take();
        assert_eq!((seen.len(), &seen[0].entry), (1, &Entry::Fresh));
        engine.shutdown(Duration::ZERO).await;
    }
}

/// No program ran when it fell due: the next one runs it at once, as its first attempt.
#[tokio::test]
async fn a_start_that_fell_due_while_nobody_ran_is_made_up_for() {
    let (home, play) = (Home::file(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let soon = Duration::from_millis(30);
    engine
        .start(PLAY, ID, &say("x"))
        .start_in(soon)
        .await
        .unwrap();
    engine.shutdown(Duration::ZERO).await;
    // Real time, since the moment is one of the wall clock.
    std::thread::sleep(soon);
    let engine = home.open(PLAY, &play).await;
    let run = engine.attach(PLAY, ID).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "x");
    let seen = play.seen.take();
    assert_eq!((seen.len(), &seen[0].entry), (1, &Entry::Fresh));
}

#[tokio::test(start_paused = true)]
async fn many_delayed_tasks_come_in_the_order_of_their_moments() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let mut delays: Vec<u64> = (0..200).map(|n| (n * 7_919) % 3_600).collect();
    for delay in &delays {
        let start = engine.start(PLAY, format!("t{delay}"), &say("x"));
        start
            .start_in(Duration::from_secs(*delay + 1))
            .await
            .unwrap();
    }
    tokio::time::sleep(HOUR + Duration::from_secs(2)).await;
    let order: Vec<String> = play.seen.take().into_iter().map(|seen| seen.id).collect();
    delays.sort_unstable();
    let expected: Vec<String> = delays.iter().map(|delay| format!("t{delay}")).collect();
    assert_eq!(order, expected);
}

#[tokio::test(start_paused = true)]
async fn a_restart_may_be_for_later_too() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    engine.run(PLAY, ID, &say("one")).await.unwrap();
    let later = engine.start(PLAY, ID, &say("two")).start_in(HOUR);
    let later = later.on_conflict(OnConflict::Restart).await.unwrap();
    let waiting = task(&engine, ID).await;
    assert_eq!((waiting.run, waiting.wait), (2, Some(WaitReason::Delayed)));
    assert_eq!(later.result().await.unwrap(), "two");
    assert_on_time(
        claimed_at(&task(&engine, ID).await),
        waiting.due_at_us.unwrap(),
    );
    until(&engine, ID, |task| task.status == Status::Completed).await;
}

/// As far as time goes: such a task is as good as suspended, and can still be cancelled.
#[tokio::test(start_paused = true)]
async fn the_longest_delay_there_is_never_ends() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let run = engine
        .start(PLAY, ID, &say("x"))
        .start_in(Duration::MAX)
        .await
        .unwrap();
    tokio::time::sleep(HOUR).await;
    assert_eq!(task(&engine, ID).await.status, Status::Pending);
    assert!(play.seen.is_empty());
    engine.cancel(ID, "not in this life").await.unwrap();
    assert!(run.result().await.is_err());
}
