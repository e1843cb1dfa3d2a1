//! One file under an engine: everything is read and compared with what the undamaged file says, then everything runs.

use super::look::{self, Listed, Said, Told};
use super::world::{JOB, Kind, OF_CHILD, Stage, Started, World, answer, job};
use outlive::{Accepted, Engine, LogItem, OpenError, StartError};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long what is at work may take to end once it is let go.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long between the first looks at it; then twice as long each time, up to [`BETWEEN_MAX`]: where other programs take all
/// processors, hundreds of looks take minutes.
const BETWEEN: Duration = Duration::from_millis(5);
const BETWEEN_MAX: Duration = Duration::from_millis(160);
/// How many tasks are started once more with the same ids.
const ASKED_AGAIN: usize = 25;
/// How long the log may be silent before it is over, when its last transition has been told; and when it has not, for a reader
/// may be slow where other programs take all processors.
const LOG_SILENCE: Duration = Duration::from_millis(200);
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// What the undamaged file says.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// Of each task that is at rest.
    pub told: Told,
    /// In the list of everything.
    pub all: Listed,
    /// In the list of an index.
    pub of_part: Listed,
    /// In the log, by etag.
    pub log: BTreeMap<u64, String>,
}

/// What came of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trial {
    /// It was not opened, with a typed error.
    pub refused: bool,
    /// Answers that say that an entry is damaged or missing.
    pub reported: u64,
    /// The engine stopped because of the file.
    pub stopped: bool,
    /// What was told and is not so.
    pub wrong: Vec<String>,
    /// Tasks that lists left out without a word.
    pub omitted: u64,
    /// Entries told as not there although they are, without a word.
    pub hidden: u64,
    /// Tasks at work that did not end, and of which nothing says why.
    pub stalled: u64,
    /// Tasks that are not there, of a file that was salvaged.
    pub lost: u64,
}

impl Trial {
    /// Whether anything was amiss.
    pub fn noticed(&self) -> bool {
        self.refused
            || self.reported + self.omitted + self.hidden + self.stalled > 0
            || self.stopped
    }
}

/// Reads everything that is at rest.
pub async fn read(engine: &Engine, world: &World) -> Truth {
    let mut truth = Truth::default();
    for task in &world.tasks {
        look::of_task(engine, task, &mut truth.told).await;
    }
    truth.all = look::list(engine, false).await;
    truth.of_part = look::list(engine, true).await;
    truth.log = log(engine, world.last_etag).await;
    // What came after the file was taken is of this engine alone.
    let ours = |etag: u64| etag <= world.last_etag || etag == u64::MAX;
    truth.log.retain(|etag, _| ours(*etag));
    // A turn that was under way when the file was taken is done again by this engine, at a moment of its own, and under numbers
    // of its own in a salvaged file.
    let own = Own {
        times: world.taken_us..=now_us(),
        last_etag: world.last_etag,
    };
    for said in truth.told.values_mut() {
        if let Said::Text(text) = said {
            *text = own.without(text);
        }
    }
    for event in truth.log.values_mut() {
        *event = own.without(event);
    }
    truth
}

/// The wall clock, in microseconds.
pub(super) fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_micros() as u64)
}

/// What an engine adds to a file of its own accord, whatever is in it.
struct Own {
    times: RangeInclusive<u64>,
    /// The highest number that the file had given.
    last_etag: u64,
}

impl Own {
    /// A text in which each number is left out that this engine gave: the times, which alone have so many digits, and etags and
    /// generations beyond those of the file.
    fn without(&self, text: &str) -> String {
        let mut out = String::new();
        for part in text.split_inclusive(|letter: char| !letter.is_ascii_digit()) {
            let digits = part.trim_end_matches(|letter: char| !letter.is_ascii_digit());
            let is_own = digits.parse().is_ok_and(|number| {
                let is_version = out.ends_with("etag: ") || out.ends_with("generation: ");
                self.times.contains(&number) || is_version && number > self.last_etag
            });
            out.push_str(if is_own { "own" } else { digits });
            out.push_str(&part[digits.len()..]);
        }
        out
    }
}

/// The log up to where it is silent behind this transition; a gap has the etag up to which it goes.
pub(super) async fn log(engine: &Engine, last: u64) -> BTreeMap<u64, String> {
    let mut log = BTreeMap::new();
    let mut events = engine.events(None);
    loop {
        let is_told = log.last_key_value().is_some_and(|(etag, _)| *etag >= last);
        let patience = if is_told { LOG_SILENCE } else { LOG_PATIENCE };
        match tokio::time::timeout(patience, events.try_next()).await {
            Ok(Ok(Some(LogItem::Event(event)))) => {
                log.insert(event.etag, format!("{event:?}"));
            }
            Ok(Ok(Some(LogItem::Gap { until }))) => {
                log.insert(until, "gap".to_owned());
            }
            Ok(Ok(Some(other))) => {
                log.insert(other.etag(), format!("{other:?}"));
            }
            Ok(Ok(None)) | Err(_) => return log,
            Ok(Err(_)) => {
                log.insert(u64::MAX, "damaged".to_owned());
                return log;
            }
        }
    }
}

/// Opens the file with an engine and requires that it says what is so, or that it cannot say.
pub async fn run(path: &Path, world: &World, truth: &Truth, salvaged: bool) -> Trial {
    let mut trial = Trial::default();
    let stage = Stage::default();
    let engine = match stage.on(Engine::builder(path)).open().await {
        Ok(engine) => engine,
        Err(OpenError::File(_) | OpenError::Store(_)) => {
            trial.refused = true;
            return trial;
        }
        Err(other) => {
            trial.wrong.push(format!("refused with {other:?}"));
            return trial;
        }
    };
    let found = read(&engine, world).await;
    trial.compare_told(&truth.told, &found.told, salvaged);
    trial.compare_list(&truth.all, &found.all, salvaged);
    trial.compare_list(&truth.of_part, &found.of_part, salvaged);
    trial.compare_log(&truth.log, &found.log, salvaged);
    stage.let_go();
    trial.work(&engine, world).await;
    trial.ask_again(&engine, world, &found.told).await;
    trial.wrong.extend(stage.wrong());
    engine.shutdown(Duration::ZERO).await;
    trial
}

impl Trial {
    fn compare_told(&mut self, truth: &Told, found: &Told, salvaged: bool) {
        for (what, said) in found {
            match (said, truth.get(what)) {
                (Said::Text(text), Some(Said::Text(so))) if text == so => {}
                (Said::Damaged | Said::Gap, _) => self.reported += 1,
                (Said::Stopped, _) => {
                    self.reported += 1;
                    self.stopped = true;
                }
                (Said::Text(text), _) if salvaged && is_absent(text) => self.lost += 1,
                (Said::Text(text), _) if is_absent(text) || text == "[]" => self.hidden += 1,
                (Said::Text(text), Some(Said::Text(so)))
                    if salvaged && what.ends_with(" steps") && is_part(text, so) =>
                {
                    self.lost += 1;
                }
                // A stream that says that something is missing may not know where it ends.
                (Said::Text(_), Some(_)) if what.ends_with(" end") && tells_of_gap(found, what) => {
                }
                (Said::Text(text), so) => {
                    self.wrong.push(format!("{what}: {text} instead of {so:?}"));
                }
            }
        }
        // Items of streams: what is missing must be said to be missing.
        for what in truth.keys().filter(|what| !found.contains_key(*what)) {
            if !tells_of_gap(found, what) && !salvaged {
                // A page of them that reads as empty hides them, as it does any other entry.
                self.hidden += u64::from(what.contains(" stream "));
                self.wrong.push(format!("{what}: missing without a word"));
            }
        }
    }

    fn compare_list(&mut self, truth: &Listed, found: &Listed, salvaged: bool) {
        self.reported += found.damaged as u64;
        self.stopped |= found.failed == Some(Said::Stopped);
        for (id, so) in &truth.tasks {
            match found.tasks.get(id) {
                Some(text) if text == so => {}
                Some(text) => self
                    .wrong
                    .push(format!("listed {id}: {text} instead of {so}")),
                None => {}
            }
        }
        let strangers = found
            .tasks
            .keys()
            .filter(|id| !truth.tasks.contains_key(*id));
        for id in strangers {
            self.wrong.push(format!("listed {id}, which is not there"));
        }
        let there = found.tasks.len() + found.damaged;
        if found.failed.is_none() && !salvaged {
            self.omitted += truth.tasks.len().saturating_sub(there) as u64;
        }
    }

    fn compare_log(
        &mut self,
        truth: &BTreeMap<u64, String>,
        found: &BTreeMap<u64, String>,
        salvaged: bool,
    ) {
        let last = truth.keys().next_back().copied().unwrap_or(0);
        for (etag, text) in found.range(..=last) {
            match truth.get(etag) {
                Some(so) if so == text => {}
                _ if text == "gap" => self.reported += 1,
                so => self
                    .wrong
                    .push(format!("log {etag}: {text} instead of {so:?}")),
            }
        }
        if found.contains_key(&u64::MAX) {
            self.reported += 1;
            return;
        }
        let gap = found
            .iter()
            .filter(|(_, text)| *text == "gap")
            .map(|(until, _)| *until);
        let gap = gap.max().unwrap_or(0);
        let missing = truth
            .range(gap..)
            .filter(|(etag, _)| !found.contains_key(etag));
        if !salvaged {
            self.omitted += missing.count() as u64;
        }
    }

    /// What was at work goes on to its end.
    async fn work(&mut self, engine: &Engine, world: &World) {
        let mut open: Vec<&Started> = Vec::new();
        open.extend(world.tasks.iter().filter(|task| task.kind.is_at_work()));
        let (mut waited, mut between) = (Duration::ZERO, BETWEEN);
        while !open.is_empty() && waited < PATIENCE {
            let mut left = Vec::new();
            for task in open {
                match self.ended(engine, task).await {
                    true => {}
                    false => left.push(task),
                }
            }
            open = left;
            tokio::time::sleep(between).await;
            waited += between;
            between = (between * 2).min(BETWEEN_MAX);
        }
        // An engine that has stopped says so to whoever asks it to do something.
        let probe = engine.start(JOB, "probe", &job(Kind::Short, "probe", "i0"));
        if let Err(error) = probe.input_id("i0").await {
            self.failed(&error);
        }
        if !self.stopped {
            self.stalled += open.len() as u64;
        }
    }

    /// Whether nothing more is to be waited for.
    async fn ended(&mut self, engine: &Engine, task: &Started) -> bool {
        let Started { id, kind, is_child } = task;
        let last = match (is_child, kind) {
            (true, _) => OF_CHILD,
            (false, Kind::Runs) => "i2",
            (false, _) => "i0",
        };
        let seen = match engine.get(id).await {
            Ok(Some(seen)) => seen,
            // Told before.
            Ok(None) | Err(_) => return true,
        };
        if seen.ended.is_none() {
            // A handler that met damage waits for another attempt.
            self.reported += u64::from(seen.last_failure.is_some());
            return seen.last_failure.is_some();
        }
        let expected = answer(*kind, id, last);
        let said = seen.output.as_ref().and_then(serde_json::Value::as_str);
        match said {
            Some(said) if said == expected => {}
            // A handler that met damage fails its task with it.
            _ if seen.last_failure.is_some() || self.reported > 0 && said.is_none() => {
                self.reported += 1;
            }
            said => {
                let ended = &seen.ended;
                self.wrong
                    .push(format!("{id} ended with {said:?} {ended:?}"));
            }
        }
        true
    }

    /// The same ids with the same inputs are the same tasks, and a new task runs.
    async fn ask_again(&mut self, engine: &Engine, world: &World, found: &Told) {
        let step = world.tasks.len() / ASKED_AGAIN + 1;
        for task in world
            .tasks
            .iter()
            .filter(|task| !task.is_child)
            .step_by(step)
        {
            let Started { id, kind, .. } = task;
            // Of a salvaged file: who is lost with his receipts is not known again.
            let lost = |what: &str| {
                let said = found.get(&format!("{id} {what}"));
                said.is_some_and(|said| matches!(said, Said::Text(text) if is_absent(text)))
            };
            if lost("task") || lost("input i0") {
                continue;
            }
            let input = job(*kind, id, "i0");
            match engine.start(JOB, id, &input).input_id("i0").await {
                Ok(run) if run.accepted() == Some(Accepted::Attached) => {}
                // Its receipt, or its id, is on a page that reads as empty.
                Ok(_) => self.hidden += 1,
                Err(error) => self.failed(&error),
            }
        }
        let fresh = engine.start(JOB, "fresh", &job(Kind::Short, "fresh", "i0"));
        match fresh.input_id("i0").await {
            Err(error) => self.failed(&error),
            Ok(run) => match tokio::time::timeout(PATIENCE, run.result()).await {
                Ok(Ok(said)) if said == answer(Kind::Short, "fresh", "i0") => {}
                Ok(Ok(said)) => self.wrong.push(format!("fresh: {said}")),
                Ok(Err(_)) => {
                    self.reported += 1;
                    self.stopped = true;
                }
                Err(_) => self.stalled += 1,
            },
        }
    }

    fn failed(&mut self, error: &StartError) {
        self.reported += 1;
        self.stopped |= matches!(error, StartError::ShuttingDown | StartError::Unknown { .. });
    }
}

/// Whether the stream to which this belongs says that something of it is missing.
fn tells_of_gap(found: &Told, what: &str) -> bool {
    let stream = what.rsplit_once(' ').map_or("", |(stream, _)| stream);
    let said = found.range(stream.to_owned()..);
    let mut of_stream = said.take_while(|(what, _)| what.starts_with(stream));
    of_stream.any(|(_, said)| !matches!(said, Said::Text(_)))
}

/// Whether each of these steps is one of those.
fn is_part(found: &str, all: &str) -> bool {
    let steps = found.trim_matches(['[', ']']).split("Step {");
    steps
        .into_iter()
        .all(|step| all.contains(step.trim_end_matches(", ")))
}

/// What is said of something that is not there.
fn is_absent(text: &str) -> bool {
    text == "None"
        || text == "[]"
        || text == "{}"
        || text.starts_with("NotFound")
        || text == "silence"
}
