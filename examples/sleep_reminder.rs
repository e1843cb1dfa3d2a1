//! Reminders that sleep on disk: no handler, no timer and no process is there while they wait, and each rings once, never
//! early, although the program is killed twice meanwhile.
//!
//! The program starts itself three times: the first life is killed while all reminders sleep, the second one as soon as
//! the first of them has rung.

use outlive::{Ctx, Engine, HandlerError, TaskDef, WaitReason};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const REMIND: TaskDef<Reminder, Rang> = TaskDef::new("remind");
/// Waits as long as this leave memory: in earnest 30 s, the default, would do.
const PARK_AFTER: Duration = Duration::from_millis(100);
const REMINDERS: [(&str, u64); 3] = [("tea", 3_000), ("stretch", 3_500), ("call home", 4_000)];

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Reminder {
    text: String,
    /// Milliseconds since 1970.
    at_ms: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Rang {
    late_ms: u64,
    /// How often the handler was entered for it: counted in the task's metadata.
    entered: i64,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

async fn remind(ctx: Ctx, reminder: Reminder, bell: &Path) -> Result<Rang, HandlerError> {
    let entered = ctx.metadata().increment("entered", 1)?;
    let at = UNIX_EPOCH + Duration::from_millis(reminder.at_ms);
    // Here the handler leaves memory, with its slot; it is entered again from the top when the moment has come.
    ctx.sleep_until("the moment", at).await?;
    let late_ms = ctx
        .step("ring", async || {
            let mut bell = OpenOptions::new().create(true).append(true).open(bell)?;
            writeln!(bell, "{}", reminder.text)?;
            Ok::<_, std::io::Error>(now_ms().checked_sub(reminder.at_ms))
        })
        .await?;
    let late_ms = late_ms.ok_or("it rang early")?;
    Ok(Rang { late_ms, entered })
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [] => three_lives(),
        [directory, began_ms] => live(Path::new(directory), began_ms.parse()?),
        _ => Err("no arguments".into()),
    }
}

/// One life of the program: sets the reminders, which are there already in the second, and tells of each that rings.
#[tokio::main]
async fn live(directory: &Path, began_ms: u64) -> Result<(), Box<dyn Error>> {
    let bell = directory.join("bell.txt");
    let builder = Engine::builder(directory.join("reminders.redb")).park_after(PARK_AFTER);
    let handler = move |ctx, reminder| {
        let bell = bell.clone();
        async move { remind(ctx, reminder, &bell).await }
    };
    let engine = builder.task(REMIND, handler).open().await?;
    let mut runs = Vec::new();
    for (text, in_ms) in REMINDERS {
        let at_ms = began_ms + in_ms;
        let id = text.replace(' ', "-");
        let text = text.to_owned();
        let start = engine.start(REMIND, &id, &Reminder { text, at_ms });
        runs.push((id.clone(), start.input_id("set").await?));
    }
    let mut asleep = 0;
    for (id, _) in &runs {
        // It sleeps, or it has rung in an earlier life.
        loop {
            let seen = engine.get(id).await?.ok_or("it was set")?;
            let sleeps = matches!(seen.wait, Some(WaitReason::Sleeping { .. }));
            asleep += u32::from(sleeps);
            if sleeps || seen.ended.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    println!("{asleep} reminders sleep");
    std::io::stdout().flush()?;
    for (id, run) in runs {
        let Rang { late_ms, entered } = run.result().await?;
        println!("{id} rang, {late_ms} ms late; entered {entered} times");
        std::io::stdout().flush()?;
    }
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// The outside: kills the first life while all sleep, and the second when the first reminder has rung.
fn three_lives() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let began = now_ms().to_string();
    for (life, killed_at) in [(1, "3 reminders sleep"), (2, "tea rang"), (3, "never")] {
        println!("life {life}:");
        let mut command = Command::new(std::env::current_exe()?);
        let command = command.arg(directory.path()).arg(&began);
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let says = process.stdout.take().ok_or("its output")?;
        for line in BufReader::new(says).lines() {
            let line = line?;
            println!("  {line}");
            if line.starts_with(killed_at) {
                process.kill()?;
                println!("  killed");
                break;
            }
        }
        process.wait()?;
    }
    let bell = std::fs::read_to_string(directory.path().join("bell.txt"))?;
    let rang: Vec<&str> = bell.lines().collect();
    assert_eq!(rang, REMINDERS.map(|(text, _)| text));
    println!(
        "{} reminders, two kills: each rang once, in order",
        rang.len()
    );
    Ok(())
}
