//! Which cases there are, that one runs alone, and that a seed decides the same each time.

use super::{careful, careless, paid_once, with};
use outlive::testing::{Problem, Side};
use std::process::Command;

#[test]
fn there_are_two_cases_for_each_commit_and_as_many_pairs_as_asked_for() {
    let report = with(careful).check(paid_once).run();
    assert_eq!(report.cases, 2 * report.commits.len());
    assert_eq!(report.double_cases, 0);
    let all = with(careful)
        .check(paid_once)
        .double_crashes(usize::MAX)
        .run();
    assert!(all.double_cases > 4 * report.commits.len(), "{all:?}");
}

#[test]
fn the_reported_case_runs_alone_and_fails_again() {
    let first = with(careless).check(paid_once).try_run().unwrap_err();
    let again = with(careless).check(paid_once).only(first.case()).try_run();
    let again = again.unwrap_err();
    assert_eq!(
        (&again.problem, &again.crashes),
        (&first.problem, &first.crashes)
    );
    assert_eq!(
        again.passed, 1,
        "beside the undisturbed run nothing was played"
    );
    let other = with(careless).check(paid_once).only("0:3-after").run();
    assert_eq!((other.cases, other.commits.len()), (1, 3));
}

#[test]
fn a_case_that_is_none_is_refused() {
    let failure = with(careful).only("3-before").try_run().unwrap_err();
    assert_eq!(failure.problem, Problem::NoSuchCase("3-before".to_owned()));
    let failure = with(careful).only("0:99-before").try_run().unwrap_err();
    assert!(matches!(failure.problem, Problem::NotReached { commits, .. } if commits < 99));
}

/// The test below, in a process of its own with that environment.
#[test]
fn the_environment_names_the_case_to_run() {
    let program = std::env::current_exe().expect("the path of this test");
    let runs = |case: &str| {
        let mut command = Command::new(&program);
        command.args([
            "--exact",
            "cases::a_careless_handler_is_caught_before_its_third_commit",
        ]);
        let output = command.env("OUTLIVE_CRASH_CASE", case).output();
        output.expect("the test runs").status.success()
    };
    assert!(runs("0:3-before"));
    assert!(
        !runs("0:3-after"),
        "there is nothing to catch, which that test requires"
    );
}

#[test]
fn a_careless_handler_is_caught_before_its_third_commit() {
    let failure = with(careless).check(paid_once).try_run().unwrap_err();
    assert_eq!(
        (failure.crashes[0].commit, failure.crashes[0].side),
        (3, Side::Before)
    );
}

#[test]
fn the_same_seed_gives_the_same_report_and_the_same_failure() {
    let report = |seed| {
        let test = with(careful).check(paid_once).seed(seed);
        test.double_crashes(12).run()
    };
    assert_eq!(report(3), report(3));
    let failure = || {
        with(careless)
            .check(paid_once)
            .seed(3)
            .try_run()
            .unwrap_err()
    };
    assert_eq!(failure(), failure());
    assert_eq!(failure().case(), "3:3-before");
}

#[test]
fn a_failure_says_where_the_engine_died_and_how_to_run_it_alone() {
    let failure = with(careless).check(paid_once).try_run().unwrap_err();
    let text = failure.to_string();
    println!("{text}");
    for said in [
        "2 payments",
        "just before it was applied",
        "invoice-7: succeeded",
        "0:3-before",
    ] {
        assert!(text.contains(said), "{said} is missing");
    }
}
