//! A stream that goes to a file of JSON lines and down a pipe, beside a reader of the store that comes late. The process
//! is killed; the factory makes the sink anew, and each of its two ends goes on where it was.
//!
//! The program starts itself twice: the first life is killed in the middle, the second one finishes.

use outlive::{
    Ctx, Engine, HandlerError, SinkEnd, SinkError, StreamEvent, StreamSink, TaskDef, TaskId,
};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Input: how many readings. Stream: the readings.
const MEASURE: TaskDef<u32, u32, Reading> = TaskDef::new("measure");
const READINGS: u32 = 30;
/// The first life is killed when so many lines came through the pipe.
const KILLED_AFTER: usize = 12;

/// An item of the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Reading {
    n: u32,
    celsius: f64,
}

/// A line of the file, and of the pipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    sequence: u64,
    /// Empty where earlier readings of the turn are abandoned.
    reading: Option<Reading>,
}

async fn measure(ctx: Ctx<Reading>, readings: u32) -> Result<u32, HandlerError> {
    for n in 1..=readings {
        let celsius = 20.0 + f64::from(n % 7) / 2.0;
        ctx.emit(Reading { n, celsius }).await?;
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
    Ok(readings)
}

/// Both ends of one sink. Each knows how far it is, so after a kill neither misses a line nor gets one twice.
struct Both {
    file: File,
    in_file: u64,
    in_pipe: u64,
}

impl Both {
    /// Goes on with a file that a kill may have left in the middle of a line.
    fn open(path: &Path, in_pipe: u64) -> Result<Both, SinkError> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.set_len(whole.len() as u64)?;
        file.flush()?;
        let last = whole.lines().last().map(serde_json::from_str::<Line>);
        let in_file = last.transpose()?.map_or(0, |line| line.sequence);
        eprintln!("  sink: {in_file} in the file, {in_pipe} through the pipe");
        Ok(Both {
            file,
            in_file,
            in_pipe,
        })
    }
}

impl StreamSink<Reading> for Both {
    async fn last(&mut self) -> Result<Option<u64>, SinkError> {
        // Whatever either of them lacks is given again; the other one passes it over.
        Ok(Some(self.in_file.min(self.in_pipe)))
    }

    async fn put(&mut self, event: StreamEvent<Reading>) -> Result<(), SinkError> {
        let sequence = event.sequence();
        let reading = event.into_item();
        let mut line = serde_json::to_string(&Line { sequence, reading })?;
        line.push('\n');
        if sequence > self.in_file {
            self.file.write_all(line.as_bytes())?;
            self.in_file = sequence;
        }
        if sequence > self.in_pipe {
            let mut pipe = std::io::stdout().lock();
            pipe.write_all(line.as_bytes())?;
            pipe.flush()?;
            self.in_pipe = sequence;
        }
        Ok(())
    }

    async fn close(&mut self, how: SinkEnd) -> Result<(), SinkError> {
        eprintln!("  sink: closed, {how:?}");
        self.file.sync_all()?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [] => watch_two_lives(),
        [directory, in_pipe] => live(Path::new(directory), in_pipe.parse()?),
        _ => Err("no arguments".into()),
    }
}

/// One life of the program. Its standard output is the pipe, of which `in_pipe` lines have arrived in earlier lives.
#[tokio::main]
async fn live(directory: &Path, in_pipe: u64) -> Result<(), Box<dyn Error>> {
    let path = lines_of(directory);
    let sink = move |_: &TaskId| Both::open(&path, in_pipe);
    let builder = Engine::builder(directory.join("sink.redb"));
    let builder = builder.task(MEASURE, measure).sink_by(MEASURE, sink);
    let engine = builder.open().await?;
    let run = engine.start(MEASURE, "oven", &READINGS);
    let run = run.input_id("once").await?;
    assert_eq!(run.result().await?, READINGS);

    // A reader of the store, long after: it sees what the sink was given.
    let mut stream = engine.stream(MEASURE, "oven", 0).await?;
    let mut lines = Vec::new();
    while let Some(event) = stream.next().await {
        let event = event?;
        let sequence = event.sequence();
        match event {
            StreamEvent::Item { item, .. } => lines.push(Line {
                sequence,
                reading: Some(item),
            }),
            StreamEvent::Reset { .. } => lines.push(Line {
                sequence,
                reading: None,
            }),
            _ => {}
        }
    }
    // The task never waits for its sink, so the program does.
    while read_lines(&lines_of(directory))?.len() < lines.len() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(read_lines(&lines_of(directory))?, lines);
    eprintln!(
        "  a late reader of the store sees the same {} lines",
        lines.len()
    );
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

fn lines_of(directory: &Path) -> PathBuf {
    directory.join("oven.jsonl")
}

/// The whole lines of the file.
fn read_lines(path: &Path) -> Result<Vec<Line>, Box<dyn Error>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let lines = whole.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

/// The other end of the pipe: keeps what arrives, and kills the first life in the middle.
fn watch_two_lives() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let mut arrived: Vec<Line> = Vec::new();
    for life in 1..=2 {
        let in_pipe = arrived.last().map_or(0, |line| line.sequence);
        println!("life {life}, {in_pipe} lines through the pipe so far:");
        let mut process = start(directory.path(), in_pipe)?;
        let pipe = process.stdout.take().ok_or("its output")?;
        for line in BufReader::new(pipe).lines() {
            arrived.push(serde_json::from_str(&line?)?);
            if life == 1 && arrived.len() == KILLED_AFTER {
                process.kill()?;
                break;
            }
        }
        let status = process.wait()?;
        assert!(life == 1 || status.success(), "{status}");
    }
    let in_file = read_lines(&lines_of(directory.path()))?;
    assert_eq!(arrived, in_file, "both ends have every line once");
    let numbers = arrived.iter().map(|line| line.sequence);
    assert!(
        numbers.eq(1..=arrived.len() as u64),
        "and no number is missing"
    );
    let begun_again = arrived.iter().filter(|line| line.reading.is_none()).count();
    assert_eq!(begun_again, 1, "the kill is marked");
    println!(
        "{} lines in the file and through the pipe, each once, over two lives",
        arrived.len()
    );
    Ok(())
}

fn start(directory: &Path, in_pipe: u64) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(directory).arg(in_pipe.to_string());
    command.stdout(Stdio::piped()).spawn()
}
