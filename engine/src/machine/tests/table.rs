//! The table "States and events" of `ARCHITECTURE.md` is what the machine does: it is made from its answers.
//!
//! It has so many lines because every row of the table stands here with the tasks and events it is made of.

use super::task::{
    OPTIONS, PLAIN, STEERABLE, Task, anonymous, cancel, cancel_by, delete, died, failed, failure,
    id, input, of, orphan, probe, question, recover, succeeded, suspended, terminate, undecodable,
    us,
};
use crate::machine::{
    Accepted, Aim, Answer, Asking, Claimant, DefLimits, Event, Given, Named, NewInput, OnConflict,
    Overdue, ParentOver, Parting, Rejected, Resolution, Transition, TurnEnd, Unanswered, Verdict,
    Wait, WaitFor,
};
use outlive_storage::commit::Write;
use outlive_storage::id::InputId;
use outlive_storage::row::{
    Deadline, Delivery, Family, Generation, Keep, Micros, OptionsRow, Receipt, State, StepRow,
    StepState, TaskNumber, TaskRow, WaitReason,
};
use std::collections::BTreeSet;
use std::path::Path;

const BEGIN: &str = "<!-- states and events: made by a test -->\n";
const END: &str = "<!-- end of states and events -->\n";

/// A column, and what an event may make of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stands {
    Nowhere,
    Pending,
    Isolated,
    InProgress,
    Waits,
    Asks,
    Parked,
    Completed,
}

const COLUMNS: [(Stands, &str); 8] = [
    (Stands::Nowhere, "no task"),
    (Stands::Pending, "pending"),
    (Stands::Isolated, "isolated"),
    (Stands::InProgress, "in_progress"),
    (Stands::Waits, "waits for input"),
    (Stands::Asks, "waits for answer"),
    (Stands::Parked, "parked"),
    (Stands::Completed, "completed"),
];

impl Stands {
    fn of(row: Option<&TaskRow>) -> Stands {
        match row.map(|row| &row.state) {
            None => Stands::Nowhere,
            Some(State::Pending {
                wait: WaitReason::Isolated { .. },
                ..
            }) => Stands::Isolated,
            Some(State::Pending { .. }) => Stands::Pending,
            Some(State::InProgress { .. }) => Stands::InProgress,
            Some(State::Suspended {
                wait: WaitReason::Input { .. },
                ..
            }) => Stands::Waits,
            Some(State::Suspended {
                wait: WaitReason::Answer { .. },
                ..
            }) => Stands::Asks,
            Some(State::Suspended { .. }) => Stands::Parked,
            Some(State::Completed { .. }) => Stands::Completed,
        }
    }

    fn name(self) -> &'static str {
        let found = COLUMNS.iter().find(|(column, _)| *column == self);
        found.expect("a column").1
    }
}

/// What comes of an event; in this order in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Comes {
    To(Stands),
    Queued,
    Taken,
    Nothing,
    Refused(&'static str),
}

impl Comes {
    fn of(answer: &Result<Transition, Rejected>) -> Comes {
        match answer {
            Ok(transition) if transition.writes.contains(&Write::RemoveTask) => {
                Comes::To(Stands::Nowhere)
            }
            Ok(Transition {
                answer:
                    Answer::Accepted {
                        how: Accepted::Queued,
                        ..
                    },
                ..
            }) => Comes::Queued,
            Ok(Transition {
                answer: Answer::Taken(Some(_)),
                ..
            }) => Comes::Taken,
            Ok(Transition { row: Some(row), .. }) => Comes::To(Stands::of(Some(row))),
            Ok(_) => Comes::Nothing,
            Err(rejected) => Comes::Refused(match rejected {
                Rejected::NotFound => "NotFound",
                Rejected::CannotCreate => "CannotCreate",
                Rejected::OtherDefinition { .. } => "OtherDefinition",
                Rejected::Conflict { .. } => "Conflict",
                Rejected::PreconditionFailed { .. } => "PreconditionFailed",
                Rejected::QueueFull { .. } => "QueueFull",
                Rejected::TakenFull { .. } => "TakenFull",
                Rejected::LeaseLost => "LeaseLost",
                Rejected::NotDue { .. } => "NotDue",
                Rejected::WrongState { .. } => "WrongState",
                Rejected::Unanswered(why) => match why {
                    Unanswered::NotAsked => "NotAsked",
                    Unanswered::Before { .. } => "AlreadyAnswered",
                    Unanswered::TooLate => "Expired",
                    Unanswered::OtherQuestion { .. } => "DigestMismatch",
                },
            }),
        }
    }

    fn text(self) -> String {
        match self {
            Comes::To(stands) => stands.name().to_owned(),
            Comes::Queued => "queued".to_owned(),
            Comes::Taken => "taken".to_owned(),
            Comes::Nothing => "·".to_owned(),
            Comes::Refused(name) => format!("*{name}*"),
        }
    }
}

/// Tasks in every state, of each kind that a rule makes a difference between.
fn tasks() -> Vec<Task> {
    let mut tasks = Vec::new();
    for limits in [PLAIN, STEERABLE] {
        tasks.push(Task::none(limits));
        let every = Task::in_every_state(limits);
        tasks.extend(every.into_iter().map(|(_, task)| task));
        for options in [
            OptionsRow {
                timeout_us: 50,
                ..OPTIONS
            },
            OptionsRow {
                keep: Keep::Ephemeral,
                ..OPTIONS
            },
            OptionsRow {
                keep_alive_on_failure: true,
                ..OPTIONS
            },
        ] {
            let running = Task::running_with(limits, options);
            let mut backing_off = running.clone();
            backing_off.end(failed(false));
            tasks.extend([running, backing_off, Task::due(limits, options)]);
        }
        tasks.extend(suspects(limits));
        tasks.extend(second_turns(limits));
    }
    let mut variants = Vec::new();
    for task in tasks {
        let changes = [input("b"), input("c")].map(Event::Input);
        let cancels = [cancel(Aim::Task, "enough"), cancel(of("a"), "enough")];
        variants.extend(cancels.into_iter().filter_map(|event| kept(&task, event)));
        let mut queued = task.clone();
        for event in changes {
            let Some(with_queue) = kept(&queued, event) else {
                break;
            };
            variants.extend(kept(&with_queue, cancel(of("a"), "enough")));
            variants.push(with_queue.clone());
            queued = with_queue;
        }
        variants.extend(taken(&task));
        variants.extend(asking(&task));
        variants.push(task);
    }
    variants
        .clone()
        .into_iter()
        .chain(later(variants))
        .collect()
}

/// With an input for a boundary, and after its turn has taken it.
fn taken(task: &Task) -> Vec<Task> {
    let boundary = Event::Input(NewInput {
        delivery: Delivery::AtBoundary,
        ..input("b")
    });
    let queued = kept(task, boundary);
    let takes = queued.as_ref().and_then(|queued| {
        let generation = queued.row().generation;
        kept(queued, taking(generation, "1"))
    });
    queued.into_iter().chain(takes).collect()
}

/// With a question that is open, with its answer, and outside of memory for it.
fn asking(task: &Task) -> Vec<Task> {
    let Some(row) = &task.held.row else {
        return Vec::new();
    };
    let Some(asking) = kept(task, asks(row.generation)) else {
        return Vec::new();
    };
    let answered = kept(&asking, answers());
    let mut parked = asking.clone();
    parked.end(waits());
    let steered = kept(&parked, Event::Input(input("b")));
    let all = [asking, parked].into_iter();
    all.chain(answered).chain(steered).collect()
}

fn until() -> Deadline {
    Deadline::own(Micros(1 << 30))
}

fn asks(generation: Generation) -> Event {
    Event::Ask(Asking {
        generation,
        key: "q".into(),
        ask: question(until()),
    })
}

/// Puts the turn aside until its question is answered.
fn waits() -> TurnEnd {
    TurnEnd::Parked(vec![Wait {
        key: "q".into(),
        wait_for: WaitFor::Answer {
            until: until(),
            ask: Some(question(until())),
        },
        step: None,
    }])
}

fn answers() -> Event {
    Event::Answer(Given {
        key: "q".into(),
        answer: Box::new(StepRow {
            state: StepState::Done,
            attempt: 0,
            at: Micros(0),
            type_name: "u32".into(),
            value: b"1".to_vec(),
        }),
        digest: None,
        turn: None,
        if_etag: None,
    })
}

/// One about to be suspected, and one about to be quarantined.
fn suspects(limits: DefLimits) -> [Task; 2] {
    let mut suspected = Task::after(limits, died(2));
    suspected.does(died(3));
    let mut alone = Task::isolated(limits);
    alone.does(probe(5, true));
    alone.does(died(6));
    alone.does(probe(5, true));
    [suspected, alone]
}

/// In their second turn, and after it.
fn second_turns(limits: DefLimits) -> Vec<Task> {
    let mut second = Task::ended(limits, suspended("1"));
    second.send(input("b"));
    let mut tasks = Vec::new();
    let step = "s".into();
    let unknown = TurnEnd::Held(WaitReason::UnknownOutcome { step });
    for end in [
        suspended("2"),
        succeeded("2"),
        undecodable(),
        unknown,
        failed(false),
    ] {
        let mut over = second.clone();
        over.end(end);
        tasks.push(over);
    }
    for process in [2, 3, 4] {
        let mut dead = second.clone();
        dead.does(died(process));
        tasks.push(second);
        second = dead;
    }
    tasks.push(second);
    tasks
}

/// The task after an event that leaves it where it stands.
fn kept(task: &Task, event: Event) -> Option<Task> {
    let stands = Stands::of(task.held.row.as_ref());
    if stands == Stands::Nowhere || task.asks(event.clone()).is_err() {
        return None;
    }
    let mut after = task.clone();
    after.does(event);
    (Stands::of(after.held.row.as_ref()) == stands).then_some(after)
}

/// The same tasks when every time has come.
fn later(tasks: Vec<Task>) -> Vec<Task> {
    let mut tasks = tasks;
    for task in &mut tasks {
        task.at += 1 << 40;
    }
    tasks
}

type Events = fn(&Task) -> Vec<Event>;

/// With a free slot, and without.
fn slots(event: impl Fn(Option<Claimant>) -> Event) -> Vec<Event> {
    vec![event(None), event(Some(us(1)))]
}

fn sent(input: &NewInput) -> Vec<Event> {
    slots(|claimant| {
        Event::Input(NewInput {
            claimant,
            ..input.clone()
        })
    })
}

fn new_input(on_conflict: OnConflict) -> Vec<Event> {
    sent(&NewInput {
        on_conflict,
        ..input("z")
    })
}

/// The input the turn has; of no task, any.
fn current(task: &Task) -> InputId {
    let row = task.held.row.as_ref();
    row.map_or_else(|| id("a"), |row| row.input_id.clone())
}

/// What a handle to the present turn names.
fn named(task: &Task) -> Named {
    let run = task.held.row.as_ref().map_or(1, |row| row.run);
    Named {
        input_id: current(task),
        run,
    }
}

/// Cancels the inputs whose receipts are like this, the present turn's aside.
fn cancel_those(task: &Task, like: fn(&Receipt) -> bool) -> Vec<Event> {
    let receipts = task.held.receipts.iter();
    let found =
        receipts.filter(|(input_id, (receipt, _))| like(receipt) && **input_id != current(task));
    let event = |(input_id, _): (&InputId, _)| {
        let (input_id, run) = (input_id.clone(), task.row().run);
        cancel(Aim::Input(Named { input_id, run }), "enough")
    };
    found.map(event).collect()
}

/// The event of the worker that holds the claim.
fn held(task: &Task, end: TurnEnd) -> Vec<Event> {
    let row = task.held.row.as_ref();
    let generation = row.map_or(Generation(1), |row| row.generation);
    let claimant = us(1);
    vec![Event::End {
        generation,
        end,
        claimant,
        missed: Vec::new(),
    }]
}

fn stop(task: &Task, why: Overdue) -> Vec<Event> {
    let row = task.held.row.as_ref();
    let generation = row.map_or(Generation(1), |row| row.generation);
    vec![Event::Stop { generation, why }]
}

fn recorded(generation: Generation) -> Event {
    Event::Step {
        generation,
        key: "s".into(),
        step: Some(Box::new(StepRow {
            state: StepState::Done,
            attempt: 0,
            at: Micros(0),
            type_name: "u32".into(),
            value: b"1".to_vec(),
        })),
    }
}

/// Somebody says what became of a step.
fn resolutions() -> Vec<Event> {
    let of = |resolution| Event::Resolve {
        key: "s".into(),
        resolution,
        if_etag: None,
    };
    let failure = failure();
    vec![of(Resolution::NotDone), of(Resolution::Failed(failure))]
}

fn taking(generation: Generation, key: &str) -> Event {
    Event::Take {
        generation,
        key: key.into(),
    }
}

/// What people and programs ask for.
const ASKED: [(&str, Events); 20] = [
    ("a new input", |_| new_input(OnConflict::Refuse)),
    ("a new input, or restart", |_| {
        new_input(OnConflict::Restart)
    }),
    ("a new input, or attach", |_| new_input(OnConflict::Attach)),
    ("the input again, by its id", |task| {
        let input_id = current(task);
        sent(&NewInput {
            input_id,
            ..input("a")
        })
    }),
    ("the first bytes again, without an id", |_| {
        sent(&anonymous("a"))
    }),
    ("resume", |_| {
        slots(|claimant| Event::Resume {
            input_id: id("z"),
            if_etag: None,
            claimant,
        })
    }),
    ("retry", |_| {
        slots(|claimant| Event::Retry {
            if_etag: None,
            from_start: false,
            claimant,
        })
    }),
    ("cancel the task", |_| vec![cancel(Aim::Task, "enough")]),
    ("cancel the input of the turn", |task| {
        vec![cancel(Aim::Input(named(task)), "enough")]
    }),
    ("cancel the input of an earlier turn", |task| {
        cancel_those(task, |receipt| matches!(receipt, Receipt::Turn { .. }))
    }),
    ("cancel an input that waits", |task| {
        cancel_those(task, |receipt| matches!(receipt, Receipt::Queued { .. }))
    }),
    ("withdraw an input", |task| {
        let queued = |input_id: &InputId| cancel(Aim::Queued(input_id.clone()), "enough");
        let mut events: Vec<Event> = task.held.receipts.keys().map(queued).collect();
        events.push(queued(&current(task)));
        events
    }),
    ("cancel the input of an earlier run", |task| {
        let mut earlier = named(task);
        earlier.run = earlier.run.saturating_sub(1);
        vec![cancel(Aim::Input(earlier), "enough")]
    }),
    ("cancel the task, its process being gone", |_| {
        vec![cancel_by(99, Aim::Task, "enough")]
    }),
    ("terminate the task", |_| vec![terminate(Aim::Task)]),
    ("terminate the input of the turn", |task| {
        vec![terminate(Aim::Input(named(task)))]
    }),
    ("resolve a step", |_| resolutions()),
    ("answer a question", |_| vec![answers()]),
    ("delete", |_| vec![delete(false)]),
    ("delete by force", |_| vec![delete(true)]),
];

/// What the engine's own loops send.
const SENT: [(&str, Events); 12] = [
    ("claim", |_| vec![Event::Claim(us(1))]),
    ("recover: died", |_| vec![died(99)]),
    ("recover: stopped in order", |_| {
        vec![recover(99, Parting::Stopped, Verdict::Count)]
    }),
    ("orphan", |_| vec![orphan(99, Parting::Died)]),
    ("lapse", |_| vec![Event::Lapse]),
    ("reconsider", |_| vec![Event::Reconsider]),
    ("probe", |_| vec![probe(1, true)]),
    ("acquit", |_| vec![Event::Acquit]),
    ("a child of it has ended", |_| vec![Event::ChildEnded]),
    ("its parent's turn is over", |_| {
        let (task, turn) = (TaskNumber(1), 1);
        vec![Event::LetGo(ParentOver {
            family: Family { task, turn },
            reason: None,
            instance: 1,
        })]
    }),
    ("expire", |_| vec![Event::Expire]),
    ("forget an input's receipt", |_| {
        vec![Event::ForgetInput {
            input_id: id("a"),
            listed_at: Micros(1),
        }]
    }),
];

/// What comes from a turn that runs, or did.
const REPORTED: [(&str, Events); 19] = [
    ("reply", |task| held(task, succeeded("1"))),
    ("reply that suspends", |task| held(task, suspended("1"))),
    ("error", |task| held(task, failed(false))),
    ("terminal error", |task| held(task, failed(true))),
    ("agreed to be cancelled", |task| {
        held(task, TurnEnd::Cancelled)
    }),
    ("input not readable", |task| held(task, undecodable())),
    ("overdue: time-out", |task| stop(task, Overdue::TimedOut)),
    ("overdue: cancel ignored", |task| {
        stop(task, Overdue::CancelIgnored)
    }),
    ("put aside: a key used twice", |task| {
        let key = "s".into();
        held(task, TurnEnd::Held(WaitReason::DuplicateStep { key }))
    }),
    ("put aside: an unknown outcome", |task| {
        let step = "s".into();
        held(task, TurnEnd::Held(WaitReason::UnknownOutcome { step }))
    }),
    ("put aside: its handler sleeps", |task| {
        held(task, super::task::sleeps(&[("s", 1_000_000)]))
    }),
    ("record a step", |task| {
        let row = task.held.row.as_ref();
        let generation = row.map_or(Generation(1), |row| row.generation);
        vec![recorded(generation)]
    }),
    ("put aside: a wait for an answer", |task| {
        held(task, waits())
    }),
    ("ask a question", |task| {
        let row = task.held.row.as_ref();
        vec![asks(row.map_or(Generation(1), |row| row.generation))]
    }),
    ("the time of a question is over", |task| {
        let row = task.held.row.as_ref();
        vec![Event::ExpireAsk {
            generation: row.map_or(Generation(1), |row| row.generation),
            key: "q".into(),
        }]
    }),
    ("about to start tasks", |task| {
        let row = task.held.row.as_ref();
        let generation = row.map_or(Generation(1), |row| row.generation);
        vec![Event::BecomeParent { generation }]
    }),
    ("kept beside the row", |task| {
        let row = task.held.row.as_ref();
        let generation = row.map_or(Generation(1), |row| row.generation);
        vec![Event::Keep { generation }]
    }),
    ("take an input", |task| {
        let row = task.held.row.as_ref();
        let generation = row.map_or(Generation(1), |row| row.generation);
        ["1", "2"].map(|key| taking(generation, key)).into()
    }),
    ("any of these under a lost claim", |_| {
        let ends = super::task::every_end();
        let stale = ends.into_iter().map(|end| Event::End {
            generation: Generation(u64::MAX),
            end,
            claimant: us(1),
            missed: Vec::new(),
        });
        let generation = Generation(u64::MAX);
        let why = Overdue::TimedOut;
        let mut events: Vec<Event> = stale.collect();
        events.push(Event::Keep { generation });
        events.push(taking(generation, "1"));
        events.push(Event::Stop { generation, why });
        events
    }),
];

fn row_of(name: &str, events: Events, tasks: &[Task]) -> String {
    let mut line = format!("| {name} |");
    for (column, _) in COLUMNS {
        let here = tasks
            .iter()
            .filter(|task| Stands::of(task.held.row.as_ref()) == column);
        let comes: BTreeSet<Comes> = here
            .flat_map(|task| {
                let answers = events(task).into_iter().map(|event| task.asks(event));
                answers.map(|answer| Comes::of(&answer)).collect::<Vec<_>>()
            })
            .collect();
        let mut cell: Vec<String> = comes.into_iter().map(Comes::text).collect();
        if cell.is_empty() {
            // There is no such input in this state.
            cell.push("–".to_owned());
        }
        line.push_str(&format!(" {} |", cell.join(", ")));
    }
    line.push('\n');
    line
}

fn table() -> String {
    let tasks = tasks();
    let mut table = String::from("| Event |");
    for (_, name) in COLUMNS {
        table.push_str(&format!(" {name} |"));
    }
    table.push_str("\n|---|---|---|---|---|---|---|---|---|\n");
    for (group, rows) in [
        ("Asked of a task", &ASKED[..]),
        ("Sent by the engine", &SENT[..]),
        ("Reported by the worker of the turn", &REPORTED[..]),
    ] {
        table.push_str(&format!("| **{group}** | | | | | | | | |\n"));
        for (name, events) in rows {
            table.push_str(&row_of(name, *events, &tasks));
        }
    }
    table
}

#[test]
fn the_architecture_shows_what_each_event_makes_of_each_state() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md");
    let document = std::fs::read_to_string(&path).expect("the document");
    let (before, rest) = document.split_once(BEGIN).expect("where the table begins");
    let (shown, after) = rest.split_once(END).expect("where the table ends");
    let table = table();
    if std::env::var_os("OUTLIVE_BLESS").is_some() {
        let written = format!("{before}{BEGIN}{table}{END}{after}");
        std::fs::write(&path, written).expect("the document is written");
        return;
    }
    assert!(
        shown == table,
        "the table is not what the machine does; make it anew with\n  \
         OUTLIVE_BLESS=1 cargo test -p outlive --no-default-features --lib machine::tests::table\n\
         the machine says\n{table}"
    );
}
