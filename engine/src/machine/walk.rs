//! A walk over every state a task can reach within bounds: each event is tried in each state, each law checked after it.
//!
//! [`world`] holds a state, [`model`] knows what should become of it, [`ops`] what is tried, [`laws`] compares. Two processes
//! may die or stall at any instant: what they do later is the end of any claim that was ever given, at any time.

mod laws;
mod model;
mod ops;
mod world;

use super::{Event, step};
use laws::Step;
use ops::Op;
use std::collections::HashSet;
use std::rc::Rc;
use world::{Bounds, World};

/// A walk that visits less than this has shrunk: a bound or an event was lost, and the laws are no longer tested.
const STATES_MIN: usize = 8_000;
const TRANSITIONS_MIN: usize = 55_000;
const REFUSALS_MIN: usize = 450_000;

const NOT_STEERABLE: Bounds = Bounds {
    steerable_max: None,
    attempts_max: 3,
    inputs: 2,
    deaths: 3,
};
const QUEUE_OF_ONE: Bounds = Bounds {
    steerable_max: Some(1),
    attempts_max: 2,
    inputs: 4,
    deaths: 2,
};
const QUEUE_OF_TWO: Bounds = Bounds {
    steerable_max: Some(2),
    attempts_max: 2,
    inputs: 4,
    deaths: 2,
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
    fn new(bounds: Bounds) -> Walk {
        let mut walk = Walk {
            bounds,
            visited: Vec::new(),
            known: HashSet::new(),
            transitions: 0,
            refusals: 0,
        };
        walk.visit(World::empty(bounds), 0, None);
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
    let decision = before.look(event, |view, now| step(view, event.clone(), now));
    let transition = match (decision, expected) {
        (Err(refused), Err(expected)) if refused == expected => return Ok(None),
        (Ok(transition), Ok(expected)) if transition.answer == expected => transition,
        (decision, expected) => {
            return Err(format!(
                "the machine says {decision:?}, the model {expected:?}"
            ));
        }
    };
    let mut after = before.clone();
    after.apply(event, &transition)?;
    let attempts_max = before.bounds.attempts_max;
    after
        .model
        .advance(event, &transition.answer, attempts_max, before.now);
    laws::of_step(&Step {
        before,
        event,
        transition: &transition,
        after: &after,
    })?;
    laws::of_state(&after)?;
    Ok(transition.row.is_some().then_some(after))
}

#[test]
fn every_law_holds_in_every_reachable_state() {
    let walks = [NOT_STEERABLE, QUEUE_OF_ONE, QUEUE_OF_TWO].map(|bounds| Walk::new(bounds).run());
    let (mut states, mut transitions, mut refusals) = (0, 0, 0);
    for walk in &walks {
        states += walk.visited.len();
        transitions += walk.transitions;
        refusals += walk.refusals;
    }
    println!("{states} states, {transitions} transitions, {refusals} events that change nothing");
    assert!(states >= STATES_MIN, "{states} states");
    assert!(transitions >= TRANSITIONS_MIN, "{transitions} transitions");
    assert!(refusals >= REFUSALS_MIN, "{refusals} refusals");
}
