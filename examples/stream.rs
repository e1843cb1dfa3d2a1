//! A writer that streams its words, a reader that comes late, a process that is killed, and a reader that goes on from
//! the last word it had.
//!
//! The program starts itself twice: the first life is killed in the middle of the text, the second one finishes it.

use outlive::{Ctx, Ended, Engine, Entry, HandlerError, StreamEvent, TaskDef};
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Input: the text. Output: how many words. Stream: the words.
const WRITE: TaskDef<String, usize, String> = TaskDef::new("write");
const TEXT: &str =
    "a task that outlives its process is written down before it runs and read again after it died";
/// So many events are read before the first life is killed.
const KILLED_AFTER: u64 = 9;
/// The reader of the first life comes when so many words are there.
const LATE_BY: u64 = 3;

async fn write(ctx: Ctx<String>, text: String) -> Result<usize, HandlerError> {
    if let Entry::Recovered { .. } = ctx.entry() {
        eprintln!("  the writer begins again: readers are told so");
    }
    let mut words = 0;
    for word in text.split(' ') {
        // Durable when it returns; `emit` alone is as good as that some milliseconds later.
        ctx.emit_durable(word.to_owned()).await?;
        words += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(words)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [] => watch_two_lives(),
        [store, after] => live(Path::new(store), after.parse()?),
        _ => Err("no arguments".into()),
    }
}

/// One life of the program: it goes on with the text, and shows what a reader sees that has everything up to `after`.
#[tokio::main]
async fn live(store: &Path, after: u64) -> Result<(), Box<dyn Error>> {
    let engine = Engine::builder(store).task(WRITE, write).open().await?;
    // The same start in each life: the second time it attaches to what is there.
    let start = engine.start(WRITE, "essay", &TEXT.to_owned());
    let run = start.input_id("once").await?;
    let mut first = run.stream(after);
    for _ in after..LATE_BY {
        // Somebody else reads from the beginning; the reader that is shown here comes later, and misses nothing.
        first.next().await.ok_or("the stream goes on")??;
    }
    let mut stream = engine.stream(WRITE, "essay", after).await?;
    while let Some(event) = stream.next().await {
        let line = match event? {
            StreamEvent::Item { sequence, item, .. } => format!("{sequence} word {item}"),
            StreamEvent::Reset { sequence, .. } => format!("{sequence} reset"),
            StreamEvent::End {
                sequence, ended, ..
            } => {
                assert_eq!(ended, Ended::Succeeded);
                format!("{sequence} end")
            }
            other => return Err(format!("nothing is missing here: {other:?}").into()),
        };
        println!("{line}");
        std::io::stdout().flush()?;
    }
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// The outside: keeps what was read, and kills the first life in the middle.
fn watch_two_lives() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("stream.redb");
    let (mut seen, mut last) = (Vec::new(), 0);
    for life in 1..=2 {
        println!("life {life}, reading on behind {last}:");
        let mut process = start(&store, last)?;
        let says = process.stdout.take().ok_or("its output")?;
        for line in BufReader::new(says).lines() {
            let line = line?;
            println!("  {line}");
            let number = line.split(' ').next().unwrap_or_default();
            last = number.parse()?;
            seen.push(line);
            if life == 1 && last == KILLED_AFTER {
                process.kill()?;
                break;
            }
        }
        process.wait()?;
    }
    check(&seen)
}

fn start(store: &Path, after: u64) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(store).arg(after.to_string());
    command.stdout(Stdio::piped()).spawn()
}

/// Both lives together gave one sequence, and what was not abandoned is the text.
fn check(seen: &[String]) -> Result<(), Box<dyn Error>> {
    let mut words: Vec<&str> = Vec::new();
    let mut abandoned = 0;
    for (line, expected) in seen.iter().zip(1..) {
        let parts: Vec<&str> = line.split(' ').collect();
        let number: u64 = parts[0].parse()?;
        match parts[1..] {
            ["word", word] => words.push(word),
            ["reset"] => {
                abandoned = words.len();
                words.clear();
            }
            // The end has no number of its own.
            ["end"] => {
                assert_eq!(number, expected - 1);
                continue;
            }
            _ => return Err(format!("not a line of ours: {line}").into()),
        }
        assert_eq!(number, expected, "no gap, and nothing twice");
    }
    assert!(
        abandoned as u64 >= KILLED_AFTER,
        "the kill abandoned what was written before it"
    );
    assert_eq!(words.join(" "), TEXT);
    println!("one sequence over two lives: {abandoned} words abandoned, then the whole text");
    Ok(())
}
