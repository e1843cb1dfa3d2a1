//! The process that starts the work, kills it at random moments, starts it again, and watches.

use crate::Failure;
use crate::journal::{Journal, Message};
use crate::rng::Rng;
use crate::worker::{COLLECT_ID, Job, task_id};
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Silence after which a working process is taken for stuck.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// The longest time from the entry that triggers a kill to the kill, in microseconds.
const KILL_DELAY_US: u64 = 200;
/// How often a kill that would hit no handler is put off to the next entry.
const PUT_OFF_MAX: u32 = 3;
/// Violations, and names of tasks, shown in one go.
const VIOLATIONS_SHOWN: usize = 20;
const NAMES_SHOWN: usize = 4;

/// The kills that are left.
pub(crate) struct Kills {
    left: u32,
    planned: u32,
    rng: Rng,
}

/// Whose entry triggers the next kill.
#[derive(Debug, Clone, Copy)]
enum Trigger {
    Never,
    /// So many handlers must have been entered by this process.
    Entries(u64),
    /// The task that collects.
    Collect,
}

impl Trigger {
    /// `entries` were made by this process so far.
    fn is_pulled_by(self, message: &Message, entries: u64) -> bool {
        let Message::Entered { id, .. } = message else {
            return false;
        };
        match self {
            Trigger::Never => false,
            Trigger::Entries(after) => entries >= after,
            Trigger::Collect => id == COLLECT_ID,
        }
    }
}

impl Kills {
    pub(crate) fn none() -> Kills {
        Kills::some(0, Rng::new(0))
    }

    pub(crate) fn some(planned: u32, rng: Rng) -> Kills {
        Kills {
            left: planned,
            planned,
            rng,
        }
    }

    /// Spreads the kills over the work that is left, however fast the machine is. `entries` handlers will be
    /// entered for certain. The last of several kills is kept for the task that collects.
    fn next(&mut self, entries: u64) -> Trigger {
        if self.left == 0 {
            return Trigger::Never;
        }
        if self.left == 1 && self.planned > 1 {
            return Trigger::Collect;
        }
        let share = (entries / (u64::from(self.left) + 1)).max(1);
        Trigger::Entries(1 + self.rng.below(2 * share - 1))
    }

    fn delay(&mut self) -> Duration {
        Duration::from_micros(self.rng.below(KILL_DELAY_US))
    }
}

/// What came of a job.
pub(crate) struct Tally {
    pub(crate) kills: u32,
    pub(crate) kills_with_handler: u32,
    pub(crate) ran_again: u64,
    pub(crate) results: u64,
}

/// Sees a job through, over as many processes as that takes.
pub(crate) struct Supervisor<'a> {
    job: &'a Job,
    paths: HashMap<String, &'a str>,
    kills: Kills,
    journal: Journal,
    shown: Shown,
}

/// What was printed, and what waits to be.
#[derive(Default)]
struct Shown {
    tenths: u64,
    /// What a restart found, until all of it was entered again.
    restart: Option<Restart>,
    again: Vec<String>,
}

struct Restart {
    found: u64,
    took: Duration,
    since_start: Duration,
}

/// How one process ended.
struct Death {
    status: ExitStatus,
    killed: bool,
}

impl<'a> Supervisor<'a> {
    pub(crate) fn new(job: &'a Job, files: &'a [String], kills: Kills) -> Supervisor<'a> {
        let mut paths: HashMap<String, &str> = HashMap::new();
        paths.insert(COLLECT_ID.to_owned(), "the collecting task");
        paths.extend(files.iter().map(|path| (task_id(path), path.as_str())));
        Supervisor {
            job,
            paths,
            kills,
            journal: Journal::default(),
            shown: Shown::default(),
        }
    }

    /// Starts the worker, kills it, starts it again, until one ends by itself; then checks all that was said.
    pub(crate) fn run(mut self) -> Result<Tally, Failure> {
        let mut kills = 0;
        let mut kills_with_handler = 0;
        loop {
            self.journal.begin_life();
            let Death { status, killed } = self.live()?;
            let cut_off = self.journal.end_life();
            if status.success() {
                break;
            }
            if !killed {
                return Err(format!("the working process ended by itself: {status}").into());
            }
            kills += 1;
            kills_with_handler += u32::from(!cut_off.is_empty());
            println!(
                "  kill {kills}: {} of {} handlers had returned; running: {}",
                self.journal.left(),
                self.paths.len(),
                self.named(&cut_off)
            );
        }
        let tally = Tally {
            kills,
            kills_with_handler,
            ran_again: self.journal.ran_again(),
            results: self.journal.ended(),
        };
        let expected: HashSet<String> = self.paths.into_keys().collect();
        match self.journal.finish(&expected).as_slice() {
            [] => Ok(tally),
            violations => {
                let count = violations.len();
                let shown = violations.iter().take(VIOLATIONS_SHOWN);
                let shown: Vec<String> = shown.map(|one| format!("\n  {one}")).collect();
                Err(format!("{count} violations:{}", shown.concat()).into())
            }
        }
    }

    /// One process, from its start to its death.
    fn live(&mut self) -> Result<Death, Failure> {
        let began = Instant::now();
        let mut worker = Worker::spawn(self.job)?;
        let entries_left = self.paths.len() as u64 - self.journal.left();
        let trigger = self.kills.next(entries_left);
        let mut put_off = 0;
        let mut killed = false;
        while let Some(message) = worker.hear()? {
            self.take(&message, began);
            if killed || !trigger.is_pulled_by(&message, self.journal.entries()) {
                continue;
            }
            std::thread::sleep(self.kills.delay());
            while let Some(said_meanwhile) = worker.heard()? {
                self.take(&said_meanwhile, began);
            }
            if put_off < PUT_OFF_MAX && self.hits_nobody() {
                put_off += 1;
                continue;
            }
            worker.child.kill()?;
            self.kills.left -= 1;
            killed = true;
        }
        self.show_restart();
        let status = worker.child.wait()?;
        Ok(Death { status, killed })
    }

    /// No handler runs, as far as was said, and another will be entered.
    fn hits_nobody(&self) -> bool {
        !self.journal.handler_runs() && self.journal.left() < self.paths.len() as u64
    }

    fn take(&mut self, message: &Message, began: Instant) {
        self.journal.take(message);
        self.show(message, began);
    }

    fn show(&mut self, message: &Message, began: Instant) {
        match message {
            Message::Recovered { found, took_us, .. } if self.journal.life() > 1 => {
                self.shown.restart = Some(Restart {
                    found: *found,
                    took: Duration::from_micros(*took_us),
                    since_start: began.elapsed(),
                });
            }
            Message::Entered {
                id,
                recovered: true,
                ..
            } => self.shown.again.push(id.clone()),
            Message::Left { .. } => self.show_progress(),
            _ => return,
        }
        let again = self.shown.again.len() as u64;
        let restart = self.shown.restart.as_ref();
        if restart.is_some_and(|restart| restart.found <= again) {
            self.show_restart();
        }
    }

    fn show_progress(&mut self) {
        let (left, all) = (self.journal.left(), self.paths.len() as u64);
        let tenths = left * 10 / all;
        if tenths > self.shown.tenths {
            self.shown.tenths = tenths;
            println!("  {left} of {all} handlers have returned");
        }
    }

    fn show_restart(&mut self) {
        let again = std::mem::take(&mut self.shown.again);
        let Some(restart) = self.shown.restart.take() else {
            return;
        };
        println!(
            "  restart: unfinished turns found: {}, recovered in {:.1} ms ({:.1} ms after the process was started)",
            restart.found,
            restart.took.as_secs_f64() * 1e3,
            restart.since_start.as_secs_f64() * 1e3,
        );
        println!("    ran again: {}", self.named(&again));
    }

    /// The tasks' paths, the first of them by name.
    fn named(&self, ids: &[String]) -> String {
        let path = |id: &String| {
            self.paths
                .get(id)
                .map_or(id.as_str(), |path| path)
                .to_owned()
        };
        let names: Vec<String> = ids.iter().take(NAMES_SHOWN).map(path).collect();
        match ids.len() - names.len() {
            _ if ids.is_empty() => "none".to_owned(),
            0 => names.join(", "),
            more => format!("{} and {more} more", names.join(", ")),
        }
    }
}

/// A working process and what it says.
struct Worker {
    child: Child,
    lines: Receiver<std::io::Result<String>>,
}

impl Worker {
    fn spawn(job: &Job) -> Result<Worker, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(job.args())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the worker has no output")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || read_lines(stdout, &sender));
        Ok(Worker { child, lines })
    }

    /// The next message; `None` once the process is gone and all it said was heard.
    fn hear(&mut self) -> Result<Option<Message>, Failure> {
        match self.lines.recv_timeout(SILENCE_MAX) {
            Ok(line) => Ok(Some(serde_json::from_str(&line?)?)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                let silent = SILENCE_MAX.as_secs();
                Err(format!("the working process said nothing for {silent} s").into())
            }
        }
    }

    /// A message that was said already.
    fn heard(&mut self) -> Result<Option<Message>, Failure> {
        match self.lines.try_recv() {
            Ok(line) => Ok(Some(serde_json::from_str(&line?)?)),
            Err(_) => Ok(None),
        }
    }
}

impl Drop for Worker {
    /// Whatever went wrong, no worker is left behind.
    fn drop(&mut self) {
        // Of a process that is gone already there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stdout: ChildStdout, sender: &mpsc::Sender<std::io::Result<String>>) {
    for line in BufReader::new(stdout).lines() {
        if sender.send(line).is_err() {
            return;
        }
    }
}
