//! A death at each point of the engine's own code, in each scenario: between a commit and its answer, between a claim and its
//! handler, in the middle of an open, a recovery, a sweep, a shutdown. Afterwards everything is as if nobody had died.
//!
//! Commits are atomic, so what could be lost is what the engine holds between them. A scenario is played undisturbed, which
//! counts how often it comes by each point; then anew for each of these, with a death there, and on the engine that is
//! opened next.

mod scenarios;

use outlive::testing::Failpoint;
use outlive_tests::world::{Death, Written, play_written};
use scenarios::{Scenario, all};
use std::collections::BTreeMap;

/// Of a point that a scenario comes by more often, the first and the last are died at, and some in between.
const DEATHS_MAX: u64 = 6;

/// Which of the times that a point is passed are died at.
fn chosen(count: u64) -> Vec<u64> {
    if count <= DEATHS_MAX {
        return (1..=count).collect();
    }
    let last = DEATHS_MAX - 1;
    (0..DEATHS_MAX)
        .map(|at| 1 + at * (count - 1) / last)
        .collect()
}

/// The scenario with nobody dying.
fn undisturbed(scenario: &Scenario) -> Written {
    let whole = play_written(&scenario.happenings, &[], false);
    assert_eq!(whole.report.broken, None, "{}", scenario.name);
    whole
}

/// The scenario ends as it does with nobody dying.
#[track_caller]
fn assert_same(scenario: &Scenario, whole: &Written, deaths: &[Death]) {
    let played = play_written(&scenario.happenings, deaths, false);
    let what = || {
        let told = play_written(&scenario.happenings, deaths, true);
        format!(
            "{} through {deaths:?}:\n{}",
            scenario.name, told.report.text
        )
    };
    assert_eq!(played.report.broken, None, "{}", what());
    assert_eq!(played.summary, whole.summary, "{}", what());
    // A death in a recovery is not reached where the first one left nothing to recover.
    assert!(played.deaths >= 1, "{}", what());
}

#[test]
fn a_death_at_any_point_of_the_engines_code_changes_nothing() {
    let mut passed: BTreeMap<Failpoint, u64> = BTreeMap::new();
    let (mut pairs, mut deaths) = (0, 0);
    for scenario in all() {
        let whole = undisturbed(&scenario);
        for (point, count) in &whole.reached {
            pairs += 1;
            for nth in chosen(*count) {
                let death = Death { point: *point, nth };
                assert_same(&scenario, &whole, &[death]);
                *passed.entry(*point).or_default() += 1;
                deaths += 1;
            }
        }
    }
    let missing: Vec<_> = Failpoint::ALL
        .into_iter()
        .filter(|point| !passed.contains_key(point))
        .collect();
    assert!(missing.is_empty(), "no scenario comes by {missing:?}");
    println!(
        "{pairs} failpoints × scenarios passed ({} points, {} scenarios, {deaths} deaths)",
        passed.len(),
        all().len()
    );
}

/// The points at which a life that follows a death comes to what the dead one left.
const OF_RECOVERY: [Failpoint; 8] = [
    Failpoint::Defined,
    Failpoint::LifePut,
    Failpoint::RecoveryRead,
    Failpoint::RecoverySent,
    Failpoint::Decided,
    Failpoint::Committed,
    Failpoint::Claimed,
    Failpoint::Prepared,
];

#[test]
fn a_further_death_in_the_recovery_changes_nothing() {
    let mut deaths = 0;
    for scenario in all() {
        let whole = undisturbed(&scenario);
        let firsts = [
            Failpoint::Committed,
            Failpoint::Spawned,
            Failpoint::HandlerEnded,
        ];
        for point in firsts {
            let count = whole.reached.get(&point).copied().unwrap_or_default();
            for nth in chosen(count).into_iter().step_by(2) {
                for again in OF_RECOVERY {
                    let first = Death { point, nth };
                    let second = Death {
                        point: again,
                        nth: 1,
                    };
                    assert_same(&scenario, &whole, &[first, second]);
                    deaths += 1;
                }
            }
        }
    }
    println!("{deaths} double deaths passed");
}

#[test]
fn a_scenario_ends_in_the_same_way_again() {
    for scenario in all() {
        let (once, again) = (undisturbed(&scenario), undisturbed(&scenario));
        assert_eq!(once.report.digest, again.report.digest, "{}", scenario.name);
        assert_eq!(once.reached, again.reached, "{}", scenario.name);
    }
}
