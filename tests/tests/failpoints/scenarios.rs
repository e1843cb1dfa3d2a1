//! What is played through each death: each scenario shows one part of what an engine does, and ends in the same way whoever
//! dies meanwhile.

use outlive::{Delivery, OnConflict};
use outlive_tests::world::plan::{Given, Happening, Op};
use outlive_tests::world::script::{Act, End, Kind, Move};
use std::sync::atomic::{AtomicU32, Ordering};

/// A scenario.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) happenings: Vec<Happening>,
}

fn input(id: &str, input: &str, kind: Kind, moves: &[Move], end: End) -> Given {
    Given {
        id: id.to_owned(),
        input: input.to_owned(),
        kind,
        act: Act {
            tag: 0,
            moves: moves.to_vec(),
            end,
        },
        conflict: OnConflict::Refuse,
        delivery: Delivery::Interrupt,
        delay: None,
    }
}

fn solo(moves: &[Move]) -> Given {
    input("t0", "i0", Kind::Solo, moves, End::Reply)
}

fn start(given: Given) -> Happening {
    Happening::Call(Op::Start(given), true)
}

fn order(op: Op) -> Happening {
    Happening::Call(op, true)
}

fn leaf(moves: &[Move]) -> Box<Act> {
    Box::new(Act {
        // No two children of a turn are the same.
        tag: TAGS.fetch_add(1, Ordering::Relaxed),
        moves: moves.to_vec(),
        end: End::Reply,
    })
}

static TAGS: AtomicU32 = AtomicU32::new(1);

/// Long enough for whatever began to come to where it waits.
const A_WHILE: Happening = Happening::Pass(1_000);

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    let of = |name, happenings: Vec<Happening>| Scenario { name, happenings };
    let mut all = vec![
        of("first start", vec![start(solo(&[])), A_WHILE]),
        of("many starts", many()),
        of(
            "recorded steps",
            vec![start(solo(&[
                Move::Step(1),
                Move::Flaky(2, 1),
                Move::Step(3),
            ]))],
        ),
        of(
            "a step that may run once",
            vec![start(solo(&[Move::Once(1, true), Move::Step(2)]))],
        ),
        of("items and metadata", items()),
        of("a question", question()),
        of("children", children()),
        of("a sleep out of memory", sleep()),
        of("failures and retry", retries()),
        of("retention", retention()),
        of("recovery of several", recovery(Happening::Stop(0))),
        of("a stop with a grace", recovery(Happening::Stop(3_000))),
        of(
            "a stop that waits for nobody",
            vec![start(solo(&[])), A_WHILE, Happening::Stop(500)],
        ),
    ];
    all.extend(steering().map(|(name, happenings)| of(name, happenings)));
    all.extend(orders().map(|(name, happenings)| of(name, happenings)));
    all
}

fn many() -> Vec<Happening> {
    let starts = (0..4).map(|n| {
        let (id, given) = (format!("t{n}"), format!("i{n}"));
        input(&id, &given, Kind::Solo, &[Move::Pause(20)], End::Reply)
    });
    vec![order(Op::Many(starts.collect())), A_WHILE]
}

fn items() -> Vec<Happening> {
    let moves = [
        Move::Emit(2, true),
        Move::Keep(true),
        Move::Step(1),
        Move::Emit(2, false),
        Move::Keep(false),
        Move::Pause(1_500),
    ];
    vec![
        start(solo(&moves)),
        Happening::Pass(200),
        order(Op::Read("t0".to_owned())),
        Happening::Pass(3_000),
        order(Op::Read("t0".to_owned())),
    ]
}

fn question() -> Vec<Happening> {
    vec![
        start(solo(&[
            Move::Ask(1, Some(5)),
            Move::Ask(2, None),
            Move::Step(3),
        ])),
        Happening::Pass(8_000),
        order(Op::Answer(0)),
        A_WHILE,
    ]
}

fn children() -> Vec<Happening> {
    let moves = [
        Move::Child(1, leaf(&[Move::Step(2)]), false),
        Move::Child(3, leaf(&[Move::Sleep(4, 12)]), false),
        Move::Child(5, leaf(&[]), true),
        Move::Join(6),
    ];
    vec![start(solo(&moves)), Happening::Pass(20_000)]
}

fn sleep() -> Vec<Happening> {
    vec![
        start(solo(&[Move::Step(1), Move::Sleep(2, 30), Move::Step(3)])),
        Happening::Pass(40_000),
    ]
}

fn retries() -> Vec<Happening> {
    let failing = input("t1", "i1", Kind::Solo, &[Move::Step(1)], End::Fail);
    vec![
        start(solo(&[Move::FailUntil(2), Move::Step(1)])),
        start(failing.clone()),
        Happening::Pass(5_000),
        order(Op::Retry(failing, false)),
        A_WHILE,
    ]
}

fn retention() -> Vec<Happening> {
    vec![
        start(solo(&[Move::Emit(2, true)])),
        start(input("t4", "i4", Kind::Fleeting, &[], End::Reply)),
        Happening::Pass(130_000),
        Happening::Pass(130_000),
        order(Op::Look("t0".to_owned())),
    ]
}

fn recovery(stop: Happening) -> Vec<Happening> {
    let moves = [Move::Step(1), Move::Pause(2_000), Move::Step(2)];
    let starts = (0..5).map(|n| {
        let (id, given) = (format!("t{n}"), format!("i{n}"));
        input(&id, &given, Kind::Solo, &moves, End::Reply)
    });
    vec![
        order(Op::Many(starts.collect())),
        Happening::Pass(100),
        stop,
        Happening::Pass(4_000),
    ]
}

fn steering() -> [(&'static str, Vec<Happening>); 3] {
    let first = |moves: &[Move]| input("t1", "i1", Kind::Chat, moves, End::Suspend);
    let second = input("t1", "i2", Kind::Chat, &[Move::Step(1)], End::Suspend);
    let at_boundary = Given {
        delivery: Delivery::AtBoundary,
        ..second.clone()
    };
    let after = Given {
        delivery: Delivery::AfterTurn,
        ..input("t1", "i3", Kind::Chat, &[], End::Reply)
    };
    let steered = vec![
        start(first(&[Move::Yield(15)])),
        Happening::Pass(100),
        start(second.clone()),
        A_WHILE,
        start(input("t1", "i4", Kind::Chat, &[], End::Suspend)),
        A_WHILE,
    ];
    let taken = vec![
        start(first(&[Move::Pause(600), Move::Take(1), Move::Pause(600)])),
        Happening::Pass(100),
        start(at_boundary),
        start(after),
        Happening::Pass(3_000),
    ];
    let withdrawn = vec![
        start(first(&[Move::Pause(900)])),
        Happening::Pass(100),
        start(Given {
            delivery: Delivery::AfterTurn,
            ..second.clone()
        }),
        order(Op::Withdraw(second)),
        A_WHILE,
    ];
    [
        ("an input while a turn runs", steered),
        ("an input at a boundary", taken),
        ("an input taken back", withdrawn),
    ]
}

fn orders() -> [(&'static str, Vec<Happening>); 4] {
    let waits = solo(&[Move::Step(1), Move::Yield(40), Move::Pause(60_000)]);
    let id = || "t0".to_owned();
    let child = Move::Child(1, leaf(&[Move::Sleep(2, 60)]), false);
    let parent = solo(&[child, Move::Join(3)]);
    let cancelled = vec![
        start(waits.clone()),
        Happening::Pass(100),
        order(Op::Cancel(id())),
        A_WHILE,
    ];
    let with_children = vec![
        start(parent),
        Happening::Pass(3_000),
        order(Op::Cancel(id())),
        Happening::Pass(5_000),
    ];
    let removed = vec![
        start(waits.clone()),
        Happening::Pass(100),
        order(Op::Delete(id(), true)),
        start(input("t0", "i9", Kind::Solo, &[Move::Step(1)], End::Reply)),
        A_WHILE,
    ];
    let overdue = input(
        "t3",
        "i3",
        Kind::Chain,
        &[Move::Pause(90_000)],
        End::Suspend,
    );
    let terminated = vec![
        start(overdue),
        // Kept for longer than it takes to play this twice.
        start(Given {
            id: "t1".to_owned(),
            kind: Kind::Chat,
            ..waits
        }),
        Happening::Pass(100),
        order(Op::Terminate("t1".to_owned())),
        Happening::Pass(70_000),
    ];
    [
        ("a cancel", cancelled),
        ("a cancel with children", with_children),
        ("a removal", removed),
        ("a termination and a time-out", terminated),
    ]
}
