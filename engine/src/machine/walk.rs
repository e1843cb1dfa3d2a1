//! A walk over every state a task can reach within bounds: each event is tried in each state, each law checked after it.
//!
//! [`world`] holds a state, [`model`] knows what should become of it ([`verdict`]: the answers, [`advance`] and [`over`]:
//! what an accepted event changes and tells, [`expected`]: the rows that should be there), [`ops`] what is tried, [`laws`]
//! compares. In each walk one or two bounds are wide and the others narrow; `OUTLIVE_WIDE=1` makes each of them wider by
//! one, which takes minutes. Processes may die or stall at any instant: what they do later is the end of any claim that
//! was ever given, at any time.

mod advance;
mod expected;
mod laws;
mod model;
mod ops;
mod over;
mod verdict;
mod world;

use super::Event;
use laws::Step;
use model::Rules;
use ops::Op;
use std::collections::HashSet;
use std::rc::Rc;
use world::{Bounds, World};

/// A definition that takes one input.
const PLAIN: Rules = Rules {
    steerable_max: None,
    attempts_max: 2,
    timeout_us: u64::MAX,
    keep_us: Some(500),
    keep_turns: 2,
    keep_alive: false,
    deliveries: false,
    sleeps: false,
};
const STEERABLE: Rules = Rules {
    steerable_max: Some(1),
    ..PLAIN
};
const NARROW: Bounds = Bounds {
    inputs: 2,
    turns: 2,
    runs: 1,
    deaths: 0,
    lives: 1,
    forgotten: 0,
};

/// One visited state, and how it was first reached.
struct Visited {
    world: Rc<World>,
    from: usize,
    by: Option<Op>,
}

struct Walk {
    bounds: Bounds,
    visited: Vec<Visited>,
    known: HashSet<Rc<World>>,
    /// Events that changed something, and events that changed nothing as they should.
    transitions: usize,
    refusals: usize,
}

impl Walk {
    fn new(rules: Rules, bounds: Bounds) -> Walk {
        let mut walk = Walk {
            bounds,
            visited: Vec::new(),
            known: HashSet::new(),
            transitions: 0,
            refusals: 0,
        };
        walk.visit(World::empty(rules), 0, None);
        walk
    }

    fn run(mut self) -> Walk {
        let mut at = 0;
        while at < self.visited.len() {
            let world = Rc::clone(&self.visited[at].world);
            for op in ops::all(&world) {
                self.try_one(at, &world, op);
            }
            at += 1;
        }
        self
    }

    fn try_one(&mut self, at: usize, world: &World, op: Op) {
        let after = match &op {
            Op::Tick => Ok(Some(world.tick())),
            Op::StepBack => Ok(Some(world.step_back())),
            Op::Send(event) => decided(world, event),
        };
        match after {
            Ok(Some(after)) => {
                self.transitions += 1;
                // The step over the bound was checked like any other; only what lies behind it is left out.
                if after.within(self.bounds) {
                    self.visit(after.normal(), at, Some(op));
                }
            }
            Ok(None) => self.refusals += 1,
            Err(broken) => self.fail(at, &op, &broken),
        }
    }

    fn visit(&mut self, world: World, from: usize, by: Option<Op>) {
        let world = Rc::new(world);
        if self.known.insert(Rc::clone(&world)) {
            self.visited.push(Visited { world, from, by });
        }
    }

    /// Tells the shortest way to the broken law.
    fn fail(&self, at: usize, op: &Op, broken: &str) -> ! {
        let mut way = vec![format!("{op:?}")];
        let mut at = at;
        while let Visited {
            from, by: Some(by), ..
        } = &self.visited[at]
        {
            way.push(format!("{by:?}"));
            at = *from;
        }
        way.reverse();
        panic!(
            "{broken}\nwithin {:?}, after:\n  {}",
            self.bounds,
            way.join("\n  ")
        );
    }
}

/// Puts one event to the machine and holds its answer against every law. `None`: nothing changed, and nothing should.
fn decided(before: &World, event: &Event) -> Result<Option<World>, String> {
    let expected = before.model.verdict(event, before.now);
    let transition = match (before.ask(event), expected) {
        (Err(refused), Err(expected)) if refused == expected => return Ok(None),
        (Ok(transition), Ok(expected)) if transition.answer == expected => transition,
        (decision, expected) => {
            return Err(format!(
                "the machine says {decision:?}, the model {expected:?}"
            ));
        }
    };
    let mut after = before.clone();
    after.held.apply(event, &transition)?;
    let story = after.model.advance(event, &transition.answer, before.now);
    laws::of_step(&Step {
        before,
        event,
        transition: &transition,
        story: &story,
        after: &after,
    })?;
    laws::of_state(&after)?;
    let changes = transition.row.is_some() || !transition.writes.is_empty();
    Ok(changes.then_some(after))
}

/// Walks, and requires that it went as far as it used to: states, and events that changed something. A walk that visits
/// less has shrunk: a bound or an event was lost, and the laws are no longer tested.
#[track_caller]
fn every_law_holds(rules: Rules, bounds: Bounds, at_least: (usize, usize)) {
    let walk = Walk::new(rules, bounds.widened()).run();
    let (states, transitions) = (walk.visited.len(), walk.transitions);
    let refusals = walk.refusals;
    println!("{states} states, {transitions} transitions, {refusals} events that change nothing");
    assert!(states >= at_least.0, "{states} states");
    assert!(transitions >= at_least.1, "{transitions} transitions");
    assert!(refusals >= transitions, "{refusals} refusals");
}

#[test]
fn every_law_holds_over_the_runs_of_a_plain_task() {
    let bounds = Bounds {
        turns: 3,
        runs: 2,
        ..NARROW
    };
    every_law_holds(PLAIN, bounds, (2_300, 34_000));
}

#[test]
fn every_law_holds_over_a_chain_of_turns() {
    let rules = Rules {
        keep_turns: 1,
        ..PLAIN
    };
    let bounds = Bounds {
        inputs: 4,
        turns: 4,
        ..NARROW
    };
    every_law_holds(rules, bounds, (2_350, 39_000));
}

#[test]
fn every_law_holds_over_a_queue() {
    let rules = Rules {
        steerable_max: Some(2),
        attempts_max: 1,
        ..PLAIN
    };
    let bounds = Bounds {
        inputs: 4,
        ..NARROW
    };
    every_law_holds(rules, bounds, (7_000, 134_000));
}

#[test]
fn every_law_holds_over_what_turns_take_while_processes_die() {
    let rules = Rules {
        steerable_max: Some(2),
        attempts_max: 1,
        deliveries: true,
        ..PLAIN
    };
    let bounds = Bounds {
        inputs: 3,
        deaths: 1,
        turns: 1,
        ..NARROW
    };
    every_law_holds(rules, bounds, (18_400, 382_000));
}

#[test]
fn every_law_holds_over_what_turns_take_before_they_fail() {
    let rules = Rules {
        deliveries: true,
        ..STEERABLE
    };
    let bounds = Bounds { turns: 2, ..NARROW };
    every_law_holds(rules, bounds, (9_500, 177_000));
}

#[test]
fn every_law_holds_over_the_runs_of_a_chain_that_failures_do_not_end() {
    let rules = Rules {
        keep_alive: true,
        attempts_max: 1,
        ..STEERABLE
    };
    let bounds = Bounds {
        inputs: 3,
        runs: 2,
        ..NARROW
    };
    every_law_holds(rules, bounds, (6_400, 113_000));
}

#[test]
fn every_law_holds_over_deaths_in_a_row() {
    let bounds = Bounds {
        inputs: 1,
        turns: 1,
        deaths: 7,
        ..NARROW
    };
    let rules = Rules {
        timeout_us: 60,
        attempts_max: 1,
        ..PLAIN
    };
    every_law_holds(rules, bounds, (1_950, 41_000));
}

#[test]
fn every_law_holds_over_deaths_while_an_input_waits() {
    let rules = Rules {
        attempts_max: 1,
        ..STEERABLE
    };
    let bounds = Bounds {
        deaths: 3,
        ..NARROW
    };
    every_law_holds(rules, bounds, (4_200, 82_000));
}

#[test]
fn every_law_holds_over_a_time_out_that_falls_into_a_back_off() {
    let rules = Rules {
        timeout_us: 40,
        ..STEERABLE
    };
    every_law_holds(rules, NARROW, (3_400, 84_000));
}

#[test]
fn every_law_holds_over_a_time_out_that_outlives_a_back_off() {
    let rules = Rules {
        timeout_us: 60,
        attempts_max: 3,
        ..PLAIN
    };
    let bounds = Bounds {
        turns: 1,
        deaths: 1,
        ..NARROW
    };
    every_law_holds(rules, bounds, (1_100, 18_000));
}

#[test]
fn every_law_holds_over_what_retention_forgets() {
    let rules = Rules {
        keep_turns: 1,
        attempts_max: 1,
        ..STEERABLE
    };
    let bounds = Bounds {
        inputs: 3,
        forgotten: 3,
        ..NARROW
    };
    every_law_holds(rules, bounds, (6_000, 115_000));
}

#[test]
fn every_law_holds_over_two_lives_of_an_ephemeral_task() {
    let rules = Rules {
        keep_us: None,
        ..STEERABLE
    };
    let bounds = Bounds { lives: 2, ..NARROW };
    every_law_holds(rules, bounds, (850, 28_000));
}

#[test]
fn every_law_holds_over_sleeps_and_what_wakes_them() {
    let rules = Rules {
        sleeps: true,
        attempts_max: 1,
        ..STEERABLE
    };
    every_law_holds(rules, NARROW, (1_350, 26_800));
}

#[test]
fn every_law_holds_over_sleeps_of_turns_whose_time_stands_still() {
    let rules = Rules {
        sleeps: true,
        timeout_us: 60,
        ..PLAIN
    };
    let bounds = Bounds {
        inputs: 1,
        turns: 1,
        deaths: 1,
        ..NARROW
    };
    every_law_holds(rules, bounds, (1_140, 23_300));
}
