//! The presets and their parts: attempts, delays, jitter, cap; and policies that contradict themselves.

use super::{EXACT, FAILING, ID, Times, assert_delays, delays, failing};
use outlive::{
    Engine, InvalidRetry, OpenError, ResultError, RetryPolicy, RunError, StartError, TaskDef,
    TaskOptions,
};
use std::time::Duration;

/// The delays of a task that fails by this definition until its attempts are spent.
async fn delays_of(def: TaskDef<(), ()>) -> Vec<f64> {
    let times = Times::default();
    let builder = Engine::in_memory().task(def, failing(&times));
    let engine = builder.open().await.unwrap();
    let ended = engine.run(def, ID, &()).await;
    let Err(RunError::Result(ResultError::Failed(failure))) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(
        failure.attempts as usize,
        times.len(),
        "attempts count the first"
    );
    delays(&times)
}

async fn delays_by(policy: RetryPolicy) -> Vec<f64> {
    delays_of(FAILING.retry(policy)).await
}

/// Each delay lies within a quarter of its base.
#[track_caller]
fn assert_around(found: &[f64], bases: &[f64]) {
    let around = (found.iter().zip(bases)).all(|(found, base)| {
        // The engine wakes a little after a deadline.
        (base * 0.75..base * 1.25 + 0.01).contains(found)
    });
    assert!(
        around && found.len() == bases.len(),
        "{found:?} is not around {bases:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_says_nothing_tries_three_times_after_one_and_two_seconds() {
    assert_around(&delays_of(FAILING).await, &[1.0, 2.0]);
    assert_around(&delays_by(RetryPolicy::default()).await, &[1.0, 2.0]);
    assert_around(&delays_by(RetryPolicy::exponential()).await, &[1.0, 2.0]);
    assert_eq!(RetryPolicy::default(), RetryPolicy::exponential());
}

#[tokio::test(start_paused = true)]
async fn the_other_presets_are_as_their_docs_say() {
    assert_around(&delays_by(RetryPolicy::fixed()).await, &[5.0, 5.0]);
    assert_around(
        &delays_by(RetryPolicy::linear()).await,
        &[1.0, 2.0, 3.0, 4.0],
    );
    assert_around(&delays_by(RetryPolicy::none()).await, &[]);
}

#[tokio::test(start_paused = true)]
async fn an_exponential_policy_multiplies_its_delay_up_to_the_cap_of_a_minute() {
    let doubled = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0];
    assert_delays(&delays_by(EXACT.attempts(9)).await, &doubled);
    let capped = EXACT.attempts(6).max(Duration::from_secs(5));
    assert_delays(&delays_by(capped).await, &[1.0, 2.0, 4.0, 5.0, 5.0]);
    let slower = EXACT
        .attempts(5)
        .coefficient(1.5)
        .initial(Duration::from_secs(2));
    assert_delays(&delays_by(slower).await, &[2.0, 3.0, 4.5, 6.75]);
    let level = EXACT.attempts(4).coefficient(1.0);
    assert_delays(&delays_by(level).await, &[1.0, 1.0, 1.0]);
}

#[tokio::test(start_paused = true)]
async fn a_linear_policy_adds_its_delay_up_to_the_cap_of_a_minute() {
    let policy = RetryPolicy::linear()
        .jitter(false)
        .attempts(5)
        .initial(Duration::from_secs(25));
    assert_delays(&delays_by(policy).await, &[25.0, 50.0, 60.0, 60.0]);
}

#[tokio::test(start_paused = true)]
async fn a_fixed_policy_keeps_its_delay_whatever_it_is() {
    for seconds in [0, 5, 300] {
        let policy = RetryPolicy::fixed().jitter(false).attempts(4);
        let policy = policy.initial(Duration::from_secs(seconds));
        assert_delays(&delays_by(policy).await, &[seconds as f64; 3]);
    }
}

/// Spread over tasks, so that what failed together does not come back together; and never beyond the cap.
#[tokio::test(start_paused = true)]
async fn jitter_spreads_tasks_by_a_quarter_to_either_side_and_stays_below_the_cap() {
    let policy = RetryPolicy::fixed()
        .attempts(2)
        .initial(Duration::from_secs(40));
    let (mut early, mut late) = (0, 0);
    for capped in [false, true] {
        let policy = if capped {
            policy.max(Duration::from_secs(40))
        } else {
            policy
        };
        let def = FAILING.retry(policy);
        let times = Times::default();
        let engine = Engine::in_memory()
            .task(def, failing(&times))
            .open()
            .await
            .unwrap();
        for n in 0..100 {
            engine.run(def, format!("t{n}"), &()).await.unwrap_err();
            let delays = delays(&times);
            assert_around(&delays, &[40.0]);
            assert!(!capped || delays[0] < 40.01, "{delays:?}");
            early += usize::from(delays[0] < 40.0);
            late += usize::from(delays[0] >= 40.01);
        }
    }
    assert!((60..140).contains(&early), "{early} of 200 early");
    assert!(
        (30..70).contains(&late),
        "{late} of the 100 without that cap late"
    );
}

/// Each with what is wrong with it.
fn contradictions() -> Vec<(RetryPolicy, InvalidRetry)> {
    let second = Duration::from_secs(1);
    let (initial, max) = (61 * second, 60 * second);
    let mut all = vec![
        (RetryPolicy::fixed().attempts(0), InvalidRetry::NoAttempt),
        (
            RetryPolicy::exponential().initial(initial),
            InvalidRetry::MaxBelowInitial { initial, max },
        ),
        (
            RetryPolicy::linear().initial(initial),
            InvalidRetry::MaxBelowInitial { initial, max },
        ),
    ];
    for coefficient in [0.999, 0.0, -2.0, 1000.1, f64::INFINITY] {
        let policy = RetryPolicy::exponential().coefficient(coefficient);
        all.push((policy, InvalidRetry::Coefficient(coefficient)));
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_definition_whose_policy_contradicts_itself_does_not_open() {
    for (policy, wrong) in contradictions() {
        assert_eq!(policy.validate(), Err(wrong));
        let times = Times::default();
        let def = FAILING.with(TaskOptions::new().retry(policy));
        let opened = Engine::in_memory().task(def, failing(&times)).open().await;
        match opened {
            Err(OpenError::InvalidRetry {
                name: "failing",
                error,
            }) => assert_eq!(error, wrong),
            other => panic!("{policy:?}: {other:?}"),
        }
    }
    let undefined = RetryPolicy::exponential().coefficient(f64::NAN);
    assert!(
        matches!(undefined.validate(), Err(InvalidRetry::Coefficient(found)) if found.is_nan())
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_or_a_variant_whose_policy_contradicts_itself_starts_nothing() {
    let times = Times::default();
    let engine = Engine::in_memory()
        .task(FAILING, failing(&times))
        .open()
        .await
        .unwrap();
    for (policy, wrong) in contradictions() {
        let calls = [
            engine.start(FAILING, ID, &()).retry(policy).await,
            engine
                .start(FAILING, ID, &())
                .options(TaskOptions::new().retry(policy))
                .await,
            engine.start(FAILING.retry(policy), ID, &()).await,
        ];
        for call in calls {
            match call {
                Err(StartError::InvalidRetry(error)) => assert_eq!(error, wrong),
                other => panic!("{policy:?}: {other:?}"),
            }
        }
    }
    assert!(engine.get(ID).await.unwrap().is_none());
    assert!(times.is_empty());
}

#[test]
fn what_is_at_the_edge_of_the_rules_is_valid() {
    let second = Duration::from_secs(1);
    for policy in [
        RetryPolicy::exponential().attempts(1),
        RetryPolicy::exponential().attempts(u32::MAX),
        RetryPolicy::exponential().initial(Duration::ZERO),
        RetryPolicy::exponential().initial(second).max(second),
        RetryPolicy::exponential().coefficient(1.0),
        RetryPolicy::exponential().coefficient(1000.0),
        RetryPolicy::linear().max(Duration::MAX),
        // With a fixed delay the cap has nothing to cap.
        RetryPolicy::fixed().initial(Duration::from_secs(86_400)),
        // Other kinds have no coefficient.
        RetryPolicy::fixed().coefficient(0.0),
    ] {
        assert_eq!(policy.validate(), Ok(()), "{policy:?}");
    }
}
