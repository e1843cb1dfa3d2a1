//! Everything that an engine tells of its tasks, as text that can be compared.

use super::world::{JOB, Kind, Started};
use outlive::{
    AttachError, Engine, GetError, InputError, Snapshot, StoreError, StreamError, StreamEvent,
};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

/// A stream that says nothing for so long has nothing more to say.
const SILENCE: Duration = Duration::from_secs(5);

/// What an engine said when it was asked one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// An answer.
    Text(String),
    /// The entry is damaged.
    Damaged,
    /// The engine has stopped because its file is damaged.
    Stopped,
    /// Some of it is missing, and it says so.
    Gap,
}

/// What was asked, and what was said, in order.
pub type Told = BTreeMap<String, Said>;

fn of_store(error: &StoreError) -> Said {
    if error.is_of_one_entry() {
        Said::Damaged
    } else {
        Said::Stopped
    }
}

fn of_get<T: Debug>(answer: Result<T, GetError>) -> Said {
    match answer {
        Ok(answer) => Said::Text(format!("{answer:?}")),
        Err(GetError::Store(error)) => of_store(&error),
        Err(GetError::ShuttingDown) => Said::Stopped,
        Err(other) => Said::Text(format!("{other:?}")),
    }
}

/// What of a snapshot stays the same while the task is at work. Not its parent: a child of a task that is lost is let go.
fn lasting(seen: &Snapshot) -> String {
    format!(
        "{} {} {:?} {:?} {:?} {} {:?} {} {}",
        seen.id,
        seen.name,
        seen.tags,
        seen.session,
        seen.title,
        seen.owner,
        seen.source,
        seen.created_at_us,
        seen.priority
    )
}

/// All that is said of one task.
pub async fn of_task(engine: &Engine, task: &Started, told: &mut Told) {
    let Started { id, kind, .. } = task;
    let mut note = |what: &str, said| told.insert(format!("{id} {what}"), said);
    let seen = engine.get(id).await;
    let seen = match seen {
        Ok(Some(seen)) if kind.is_at_work() => Said::Text(lasting(&seen)),
        Ok(Some(mut seen)) => {
            // What lies beside the row may be lost without it.
            let (output, metadata) = (seen.output.take(), std::mem::take(&mut seen.metadata));
            seen.output_json = None;
            note("output", Said::Text(format!("{output:?}")));
            note("metadata", Said::Text(format!("{metadata:?}")));
            of_get(Ok(Some(seen)))
        }
        other => of_get(other),
    };
    note("task", seen);
    if kind.is_at_work() {
        return;
    }
    note("history", of_get(engine.history(id).await));
    note("steps", of_get(engine.steps(id).await));
    for input_id in inputs(*kind) {
        let said = match engine.input(id, input_id).await {
            Ok(status) => Said::Text(format!("{status:?}")),
            Err(InputError::Store(error)) => of_store(&error),
            Err(InputError::ShuttingDown) => Said::Stopped,
            Err(other) => Said::Text(format!("{other:?}")),
        };
        note(&format!("input {input_id}"), said);
    }
    if *kind == Kind::Rich {
        stream(engine, id, told).await;
    }
}

fn inputs(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Chat => &["i0", "i1", "i2"],
        Kind::Short
        | Kind::Long
        | Kind::Rich
        | Kind::Asks
        | Kind::Fails
        | Kind::Later
        | Kind::Runs
        | Kind::Parent => &["i0"],
    }
}

async fn stream(engine: &Engine, id: &str, told: &mut Told) {
    let mut note = |what: String, said| told.insert(format!("{id} stream {what}"), said);
    let mut stream = match engine.stream(JOB, id, 0).await {
        Ok(stream) => stream,
        Err(error) => {
            note("end".to_owned(), of_attach(error));
            return;
        }
    };
    loop {
        let next = tokio::time::timeout(SILENCE, stream.next()).await;
        match next {
            Ok(None) => return,
            Ok(Some(Ok(event))) => {
                let text = format!("{event:?}");
                match event {
                    StreamEvent::Gap { until, .. } => note(format!("gap {until}"), Said::Gap),
                    StreamEvent::End { .. } => note("end".to_owned(), Said::Text(text)),
                    other => note(other.sequence().to_string(), Said::Text(text)),
                };
            }
            Ok(Some(Err(StreamError::Store(error)))) => match of_store(&error) {
                // The reader goes on behind a damaged segment.
                Said::Damaged => drop(note("damaged".to_owned(), Said::Gap)),
                said => {
                    note("end".to_owned(), said);
                    return;
                }
            },
            Ok(Some(Err(_))) => {
                note("end".to_owned(), Said::Stopped);
                return;
            }
            Err(_) => {
                note("end".to_owned(), Said::Text("silence".to_owned()));
                return;
            }
        }
    }
}

fn of_attach(error: AttachError) -> Said {
    match error {
        AttachError::Get(error) => of_get::<()>(Err(error)),
        other => Said::Text(format!("{other:?}")),
    }
}

/// A list of everything, and of one index: which ids it has, and how many rows it says are damaged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// What was said of each.
    pub tasks: BTreeMap<String, String>,
    /// Rows that could not be read.
    pub damaged: usize,
    /// The list ended with an error.
    pub failed: Option<Said>,
}

/// Lists tasks, page by page.
pub async fn list(engine: &Engine, of_job: bool) -> Listed {
    let mut listed = Listed::default();
    let mut after = None;
    loop {
        let listing = if of_job {
            engine.list(JOB).tag("part", "p1")
        } else {
            engine.list_all()
        };
        let page = match listing.after(after).limit(500).await {
            Ok(page) => page,
            Err(error) => {
                listed.failed = Some(of_get::<()>(Err(error)));
                return listed;
            }
        };
        listed.damaged += page.damaged.len();
        for task in page.tasks {
            listed.tasks.insert(task.id.to_string(), lasting(&task));
        }
        // A damaged index may lead around in a circle.
        if page.next.is_none() || listed.damaged > 10_000 {
            return listed;
        }
        after = page.next;
    }
}
