//! An agent that asks before it deletes files: it is killed while it waits, another program answers while it is dead, and
//! the answer counts for what was seen, for nothing else.
//!
//! The program starts itself three times: as the agent, which is killed with its question open; as the program of the
//! person who answers, which has no handler at all; and as the agent again.

use outlive::{AnswerError, Ask, Ctx, Engine, HandlerError, TaskDef};
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const TIDY: TaskDef<PathBuf, usize> = TaskDef::new("tidy");
const ID: &str = "tidy-up";
const DAYS: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// Plans, asks, and does what it was allowed to do: exactly that.
async fn tidy(ctx: Ctx, directory: PathBuf) -> Result<usize, HandlerError> {
    // What a question is made of comes from a recorded step: the answer is about this plan, not about another one.
    let plan = ctx.step("plan", async || old_logs(&directory)).await?;
    let ask = Ask::new(format!("delete {} files?", plan.len()))
        .options([true, false])
        .action(&plan)
        .deadline(DAYS)
        .default_answer(&false);
    println!("asks under {}", ask.digest());
    // Here the agent leaves memory; it is entered again from the top when somebody has answered, or after three days.
    if !ctx.ask::<bool>("may delete", ask).await? {
        return Ok(0);
    }
    let delete = async || {
        for name in &plan {
            match fs::remove_file(directory.join(name)) {
                // It was gone before a crash.
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(plan.len())
    };
    Ok(ctx.step("delete", delete).await?)
}

fn old_logs(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut planned = OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("planned.txt"))?;
    writeln!(planned, "planned")?;
    let mut logs = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".log") {
            logs.push(name);
        }
    }
    logs.sort();
    Ok(logs)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [] => outside(),
        ["agent", directory] => agent(Path::new(directory)),
        ["person", directory] => person(Path::new(directory)),
        _ => Err("no arguments".into()),
    }
}

fn store(directory: &Path) -> PathBuf {
    directory.join("ask.redb")
}

/// The agent's program: whenever it is started it goes on where it was.
#[tokio::main]
async fn agent(directory: &Path) -> Result<(), Box<dyn Error>> {
    let engine = Engine::builder(store(directory)).task(TIDY, tidy);
    let engine = engine.open().await?;
    let run = engine.start(TIDY, ID, &directory.to_owned());
    let run = run.input_id("once").await?;
    let waits = async {
        while engine.ask(ID, "may delete").await?.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        println!("{}", engine.explain(ID).await?.ok_or("it is there")?.what());
        println!("waits");
        std::io::stdout().flush()?;
        std::future::pending::<Result<(), Box<dyn Error>>>().await
    };
    tokio::select! {
        deleted = run.result() => println!("{} files deleted", deleted?),
        waits = waits => waits?,
    }
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// The program of the person who answers: it needs neither the agent's code nor its process.
fn person(directory: &Path) -> Result<(), Box<dyn Error>> {
    let inbox = Engine::builder(store(directory)).open_blocking()?;
    for asked in inbox.asks(|asks| asks.of(TIDY))?.asks {
        println!("{} asks: {}", asked.id, asked.question);
        // Whoever has seen another plan has not allowed this one.
        let other = Ask::new("delete 300 files?").digest();
        let answer = inbox.engine().answer(&asked.id, &asked.key, &true);
        let refused = inbox.wait(answer.digest(other));
        let outlive::BlockingError::Call(AnswerError::DigestMismatch { expected, .. }) = refused
            .err()
            .ok_or("an answer to another question counts")?
        else {
            return Err("refused for another reason".into());
        };
        println!("an answer to another question is refused, this one is {expected}");
        let answer = inbox.engine().answer(&asked.id, &asked.key, &true);
        inbox.wait(answer.digest(&asked.digest))?;
        println!("yes");
        let again = inbox.answer(&asked.id, &asked.key, &false);
        assert!(again.is_err(), "it is answered once");
    }
    inbox.shutdown(Duration::from_secs(5))?;
    Ok(())
}

/// The outside: three programs one after the other, of which the first is killed.
fn outside() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    for name in ["a.log", "b.log", "c.log", "keep.txt"] {
        fs::write(directory.path().join(name), name)?;
    }
    for program in ["agent", "person", "agent"] {
        println!("the {program}:");
        let mut command = Command::new(std::env::current_exe()?);
        let command = command.arg(program).arg(directory.path());
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let says = process.stdout.take().ok_or("its output")?;
        let mut killed = false;
        for line in BufReader::new(says).lines() {
            let line = line?;
            println!("  {line}");
            if line == "waits" {
                process.kill()?;
                println!("  killed");
                killed = true;
                // A file that appears now is not in the plan.
                fs::write(directory.path().join("new.log"), "new")?;
                break;
            }
        }
        let status = process.wait()?;
        assert!(killed || status.success(), "the {program}: {status}");
    }
    let is_there = |name: &str| directory.path().join(name).exists();
    assert!(!["a.log", "b.log", "c.log"].into_iter().any(is_there));
    assert!(is_there("keep.txt") && is_there("new.log"));
    let planned = fs::read_to_string(directory.path().join("planned.txt"))?;
    assert_eq!(planned.lines().count(), 1, "it was planned once");
    println!("what was seen is deleted, and nothing else");
    Ok(())
}
