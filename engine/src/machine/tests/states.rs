//! Events that do not fit: each says how the task stands and changes nothing.

use super::task::{
    PLAIN, STEERABLE, Task, cancel, delete, died, every_end, id, of, orphan, probe, resume, retry,
    terminate, us,
};
use crate::machine::{Aim, Event, Overdue, Parting, Rejected, Status};
use outlive_storage::row::{Generation, Micros};

#[test]
fn nothing_but_an_input_finds_an_absent_task() {
    let task = Task::none(PLAIN);
    let events = [
        Event::Claim(us(1)),
        died(1),
        orphan(1, Parting::Stopped),
        Event::Lapse,
        Event::Reconsider,
        probe(1, true),
        Event::Acquit,
        resume("b"),
        retry(),
        cancel(Aim::Task, "enough"),
        cancel(of("a"), "enough"),
        terminate(Aim::Task),
        delete(true),
        Event::Expire,
        Event::ForgetInput {
            input_id: id("a"),
            listed_at: Micros(1),
        },
    ];
    for event in events {
        assert_eq!(task.refuses(event), Rejected::NotFound);
    }
}

#[test]
fn a_worker_whose_task_was_removed_learns_that_it_lost_it() {
    let task = Task::none(PLAIN);
    let generation = Generation(1);
    for end in every_end() {
        let claimant = us(1);
        let end = Event::End {
            generation,
            end,
            claimant,
            missed: Vec::new(),
        };
        assert_eq!(task.refuses(end), Rejected::LeaseLost);
    }
    let why = Overdue::TimedOut;
    let stop = Event::Stop { generation, why };
    assert_eq!(task.refuses(stop), Rejected::LeaseLost);
    let keep = Event::Keep { generation };
    assert_eq!(task.refuses(keep), Rejected::LeaseLost);
}

#[test]
fn what_the_engine_asks_of_a_state_that_moved_on_is_told_how_it_stands() {
    // Which states each event of the engine's own fits.
    let fits: [(Event, &[&str]); 5] = [
        (
            Event::Claim(us(9)),
            &[
                "due",
                "delayed",
                "backing off",
                "orphaned",
                "isolated",
                "sleeping",
            ],
        ),
        (died(9), &["running"]),
        (orphan(9, Parting::Died), &["running"]),
        (Event::Reconsider, &["undecodable"]),
        (probe(9, true), &["isolated"]),
    ];
    for (state, task) in Task::in_every_state(STEERABLE) {
        for (event, states) in &fits {
            let told = task.asks(event.clone());
            if states.contains(&state) {
                // Some of them are not due yet, which is another answer.
                assert!(!matches!(told, Err(Rejected::WrongState { .. })), "{state}");
                continue;
            }
            let status = Status::of(task.row());
            assert_eq!(told, Err(Rejected::WrongState { status }), "{state}");
        }
    }
}
