//! `demo`: a task of twelve stages whose process is killed in the fifth, and what becomes of it, told as it goes.
//!
//! Everything that is said at the end was checked: what ran, by a file into which the stages write; the rest, by asking.

mod checks;
mod part;
mod worker;

use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::facts::{Facts, Line};
use crate::output::Tone;
use checks::{Check, checks};
use clap::Args;
use part::{Part, Told};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The stages of the task.
const STAGES: u32 = 12;
/// In the midst of this one its process dies.
const DIES_AT: u32 = 5;
/// After this one somebody has a word for it.
const WORD_AFTER: u32 = 7;
/// The word.
const WORD: &str = "be brief";
/// The whole of it takes a few seconds; something is wrong with what takes longer.
const TIME_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(
    after_help = "Example: outlive demo --keep /tmp/demo && outlive --store /tmp/demo/demo.redb show the-task"
)]
pub(crate) struct Demo {
    /// Keep the file of the tasks in this directory, which is made
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// The process that does the work: the demonstration starts it itself
    #[arg(long, hide = true, value_name = "DIR")]
    worker: Option<PathBuf>,
    /// The stage in which it dies
    #[arg(long, hide = true, value_name = "STAGE", requires = "worker")]
    dies_at: Option<u32>,
}

impl Demo {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        if let Some(directory) = &self.worker {
            return worker::run(directory, self.dies_at).await;
        }
        let scratch = Scratch::make(self.keep)?;
        let shown = tokio::time::timeout(TIME_MAX, show(app, &scratch.path)).await;
        let checks = shown.map_err(|_| CliError::TimedOut {
            what: format!(
                "the demonstration has not ended within {} s",
                TIME_MAX.as_secs()
            ),
            hint: "see whether this machine is well".to_owned(),
            next: "doctor".to_owned(),
        })??;
        let all_well = checks.iter().all(|check| check.holds);
        tell(app, &checks, &scratch)?;
        match all_well {
            true => Ok(Exit::Done),
            false => Ok(Exit::Other),
        }
    }
}

/// The directory of the demonstration, removed with this unless it is to be kept.
struct Scratch {
    path: PathBuf,
    is_kept: bool,
}

impl Scratch {
    fn make(keep: Option<PathBuf>) -> Result<Scratch, CliError> {
        let is_kept = keep.is_some();
        let path = keep.unwrap_or_else(|| {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let since = since.unwrap_or_default().as_nanos();
            let name = format!("outlive-demo-{}-{since}", std::process::id());
            std::env::temp_dir().join(name)
        });
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|error| CliError::System {
            what: format!("{} cannot be made", path.display()),
            error,
        })?;
        Ok(Scratch { path, is_kept })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed is in the directory for such files.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// What both processes have said, and when.
#[derive(Debug, Default)]
struct Story {
    first: Vec<Told>,
    second: Vec<Told>,
    /// From the start of the second process to the first stage that goes on.
    back_after: Duration,
    killed_by: Option<i32>,
}

async fn show(app: &App, directory: &Path) -> Result<Vec<Check>, CliError> {
    let narrator = Narrator { app };
    let mut story = Story::default();
    let mut part = Part::begin(directory, Some(DIES_AT))?;
    narrator.chapter(&format!(
        "1. A task of {STAGES} stages runs in a process of its own ({}).",
        part.pid()
    ))?;
    narrator.say(
        Tone::Faint,
        "Each stage is a step: what it returns is in a file before the next one begins.",
    )?;
    while let Some(told) = part.next().await? {
        narrator.tell(&told)?;
        story.first.push(told);
    }
    story.killed_by = part.ended().await?;
    narrator.chapter(&format!(
        "2. In the midst of stage {DIES_AT} the process was killed."
    ))?;
    let how = match story.killed_by {
        Some(signal) => format!("signal {signal}: nothing could be tidied up or written down"),
        None => "it had no chance to tidy up".to_owned(),
    };
    narrator.say(Tone::Bad, &how)?;
    let began = Instant::now();
    let mut part = Part::begin(directory, None)?;
    narrator.chapter(&format!(
        "3. Another process ({}) opens the same file, and the task goes on.",
        part.pid()
    ))?;
    while let Some(told) = part.next().await? {
        narrator.tell(&told)?;
        match &told {
            Told::Entered { .. } => story.back_after = began.elapsed(),
            Told::Stage { n, .. } if n + 1 == WORD_AFTER => {
                narrator.chapter(&format!(
                    "4. While it runs, somebody has a word for it: {WORD:?}."
                ))?;
                part.say(WORD).await?;
            }
            Told::Opened { .. }
            | Told::Stage { .. }
            | Told::Taken { .. }
            | Told::Done { .. }
            | Told::Item { .. } => {}
        }
        story.second.push(told);
    }
    part.ended().await?;
    let effects = std::fs::read_to_string(worker::effects(directory));
    let effects = effects.map_err(|error| CliError::System {
        what: "what the stages did cannot be read".to_owned(),
        error,
    })?;
    Ok(checks(&story, &effects))
}

/// Who tells people what happens, while it happens.
struct Narrator<'a> {
    app: &'a App,
}

impl Narrator<'_> {
    fn chapter(&self, text: &str) -> Result<(), CliError> {
        match self.app.out.is_for_people() {
            true => self.app.out.text(Tone::Strong, text),
            false => Ok(()),
        }
    }

    fn say(&self, tone: Tone, text: &str) -> Result<(), CliError> {
        match self.app.out.is_for_people() {
            true => self.app.out.text(tone, &format!("   {text}")),
            false => Ok(()),
        }
    }

    fn tell(&self, told: &Told) -> Result<(), CliError> {
        match told {
            Told::Opened { us } => {
                let ms = *us as f64 / 1e3;
                self.say(Tone::Faint, &format!("the file is open after {ms:.1} ms"))
            }
            Told::Entered { again: true } => {
                self.say(Tone::Faint, "the task is entered again, by itself")
            }
            Told::Entered { again: false } => Ok(()),
            Told::Stage { n, what, ran: true } => {
                self.say(Tone::Plain, &format!("stage {n:2} of {STAGES}  {what}"))
            }
            Told::Stage { n, what, .. } => self.say(
                Tone::Good,
                &format!("stage {n:2} of {STAGES}  {what}: in the file, not run again"),
            ),
            Told::Taken { after, word } => self.say(
                Tone::Good,
                &format!("it took {word:?} at the end of stage {after}, once, and durably"),
            ),
            Told::Done { output } => {
                self.chapter("5. Its result, for whoever asks, now or in a week:")?;
                self.say(Tone::Plain, output)?;
                self.chapter("6. And its stream, read from the start by somebody who comes late:")
            }
            Told::Item { text } => self.say(Tone::Plain, text),
        }
    }
}

fn tell(app: &App, checks: &[Check], scratch: &Scratch) -> Result<(), CliError> {
    if !app.out.is_for_people() {
        let mut facts = Facts::default();
        let all = checks.iter().map(|check| {
            let value = serde_json::json!({ "claim": check.claim, "holds": check.holds });
            Line::new(value, check.claim.clone())
        });
        let holds = checks.iter().all(|check| check.holds);
        facts
            .say("holds", holds)
            .list("checks", Tone::Plain, all.collect());
        return facts.tell(app);
    }
    app.out.text(Tone::Strong, "What was checked just now:")?;
    for check in checks {
        let (tone, word) = match check.holds {
            true => (Tone::Good, "ok  "),
            false => (Tone::Bad, "NOT "),
        };
        app.out.text(tone, &format!("   {word} {}", check.claim))?;
    }
    if scratch.is_kept {
        let file = worker::store(&scratch.path);
        let at = crate::settings::quoted(&file.display().to_string());
        app.out.note(&format!(
            "the file is kept: outlive --store {at} show {}",
            worker::ID
        ));
        return Ok(());
    }
    app.out.note("your own: examples/hello.rs is a task in forty lines; outlive demo --keep DIR keeps the file of this one");
    Ok(())
}
