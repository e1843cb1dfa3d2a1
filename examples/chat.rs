//! A conversation that goes on for as long as its user likes, through the end of any process.
//!
//! What grows stays outside the task: the transcript is a file of its own. What belongs in the task is small: where
//! the transcript is, how far it got, and each turn's answer. The engine keeps the last turns and forgets older ones.

use outlive::{Ctx, Engine, Entry, Handler, HandlerError, OpenError, Reply, Run, TaskDef};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Up to nine messages may wait while an answer is thought about, and results of the last 50 turns are kept.
const CHAT: TaskDef<String, String> = TaskDef::new("chat")
    .steerable(outlive::STEERABLE_DEFAULT)
    .keep_turns(50);

/// One turn as the transcript has it.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    turn: u32,
    user: String,
    agent: String,
}

/// The file that grows.
struct Transcript(PathBuf);

impl Transcript {
    /// Appends a turn, once, however often it is entered: what the file has of this turn goes first, be it the whole
    /// line or the half that a crash left. It is on disk when this returns.
    fn append(&self, line: &Line) -> io::Result<u64> {
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.0);
        let mut file: File = options?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let earlier = lines(&text).take_while(|(before, _)| before.turn < line.turn);
        let length = earlier.map(|(_, bytes)| bytes).sum();
        file.set_len(length)?;
        file.seek(SeekFrom::Start(length))?;
        let new = serde_json::to_string(line)? + "\n";
        file.write_all(new.as_bytes())?;
        file.sync_data()?;
        Ok(length + new.len() as u64)
    }

    fn read(&self) -> io::Result<Vec<Line>> {
        let text = std::fs::read_to_string(&self.0)?;
        Ok(lines(&text).map(|(line, _)| line).collect())
    }
}

/// The whole lines of a transcript, with their bytes.
fn lines(text: &str) -> impl Iterator<Item = (Line, u64)> {
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    whole.map_while(|line| Some((serde_json::from_str(line).ok()?, line.len() as u64)))
}

/// The agent.
struct Agent {
    transcript: Transcript,
    /// For this example: the process dies in this turn, after the transcript was written and before the answer was.
    dies_in: Option<u32>,
    died: Arc<Notify>,
}

impl Handler<String, String> for Agent {
    async fn run(&self, ctx: Ctx, user: String) -> Result<Reply<String>, HandlerError> {
        if let Entry::Recovered { .. } = ctx.entry() {
            println!("  (turn {} is entered again)", ctx.turn());
        }
        let agent = answer(&ctx, &user).await?;
        let bytes = self.transcript.append(&Line {
            turn: ctx.turn(),
            user: user.clone(),
            agent: agent.clone(),
        })?;
        // Small facts, for whoever looks at the task; they are durable with the end of the turn.
        let about = ctx.metadata();
        about.set("transcript", &self.transcript.0)?;
        about.set("bytes", bytes)?;
        if self.dies_in == Some(ctx.turn()) {
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
        if user == "bye" {
            return Ok(agent.into());
        }
        Ok(Reply::suspend(agent, "the user's next message"))
    }
}

/// What a language model is asked for elsewhere.
async fn answer(ctx: &Ctx, user: &str) -> Result<String, HandlerError> {
    Ok(match user {
        "what did I say?" => match ctx.previous_input::<String>()? {
            Some(before) => format!("you said {before:?}"),
            None => "nothing yet".to_owned(),
        },
        "think hard" => {
            // A new message sets the signal: the user has more to say, so the rest of the thought can wait.
            ctx.cancelled().await;
            let steered = ctx.cause().is_some_and(|causes| causes.steered());
            assert!(steered, "{:?}", ctx.cause());
            "hm, go on".to_owned()
        }
        other => format!("{} letters", other.len()),
    })
}

async fn open(directory: &Path, dies_in: Option<u32>) -> Result<(Engine, Arc<Notify>), OpenError> {
    let died = Arc::new(Notify::new());
    let agent = Agent {
        transcript: Transcript(directory.join("transcript.jsonl")),
        dies_in,
        died: Arc::clone(&died),
    };
    let engine = Engine::builder(directory.join("chat.redb"));
    Ok((engine.handler(CHAT, agent).open().await?, died))
}

/// Each message is an input with an id of its own: given twice, it is one message.
async fn say(engine: &Engine, number: u32, text: &str) -> Result<Run<String>, Box<dyn Error>> {
    let message = engine.start(CHAT, "ada", &text.to_owned());
    Ok(message.input_id(format!("message-{number}")).await?)
}

async fn show(text: &str, run: &Run<String>) -> Result<(), Box<dyn Error>> {
    let outcome = run.outcome().await?;
    let superseded = if outcome.is_superseded() {
        " (and at once the next message)"
    } else {
        ""
    };
    println!(
        "  turn {}: {text:?} -> {:?}{superseded}",
        outcome.turn(),
        outcome.output()
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    println!("a process that dies in the middle of turn 2:");
    let (engine, died) = open(directory.path(), Some(2)).await?;
    show("hello", &say(&engine, 1, "hello").await?).await?;
    say(&engine, 2, "what did I say?").await?;
    died.notified().await;
    // No grace: the turn is dropped where it is. A kill leaves the same behind.
    engine.shutdown(Duration::ZERO).await;

    println!("the next one:");
    let (engine, _) = open(directory.path(), None).await?;
    // The user saw no answer and says it again: it is the same message.
    show(
        "what did I say?",
        &say(&engine, 2, "what did I say?").await?,
    )
    .await?;
    two_messages_while_it_thinks(&engine).await?;

    let bye = say(&engine, 6, "bye").await?;
    show("bye", &bye).await?;
    assert!(bye.outcome().await?.is_completed());
    // Answers of earlier turns are kept as well.
    assert_eq!(say(&engine, 1, "hello").await?.result().await?, "5 letters");

    let transcript = Transcript(directory.path().join("transcript.jsonl"));
    let turns: Vec<u32> = transcript.read()?.iter().map(|line| line.turn).collect();
    assert_eq!(turns, [1, 2, 3, 4, 5, 6], "each turn once, in order");
    let task = engine.get("ada").await?.ok_or("the task is kept")?;
    let bytes = std::fs::metadata(&transcript.0)?.len();
    assert_eq!(task.metadata["default"]["bytes"], bytes);
    println!(
        "the transcript has each of {} turns once: {bytes} bytes, none of them in the task",
        task.turn
    );
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn two_messages_while_it_thinks(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let thought = say(engine, 3, "think hard").await?;
    let more = say(engine, 4, "about rain").await?;
    let again = say(engine, 5, "what did I say?").await?;
    assert!(more.is_queued());
    show("think hard", &thought).await?;
    show("about rain", &more).await?;
    show("what did I say?", &again).await?;
    assert_eq!(again.result().await?, "you said \"about rain\"");
    Ok(())
}
