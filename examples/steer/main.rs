//! An agent that is steered while it works, killed, started again, and that answers every word it accepted.
//!
//! ```text
//! cargo run --release --example steer [DIR] [--script]
//! ```
//!
//! It reads the files of a directory, one after the other. From a terminal you steer it by lines (`read`, `focus WORD`,
//! `skip ENDING`, `longest`, `how far`, `bye`); elsewhere, and with `--script`, a dialogue is played to it. The work is
//! done in a process of its own, which this one kills, twice, and starts again. In the end every word that was accepted
//! must have one answer, and the store must say which turn gave it.

mod agent;
mod worker;

use outlive::InputStatus;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// What any part of this program fails with.
type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: steer [DIR] [--script]";
/// Tells the program that it is the one which works.
const WORK: &str = "--work";
/// Files that the dialogue needs.
const FILES_MIN: usize = 12;
/// A process that says nothing for so long is stuck.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The kills: after so many files each.
const KILLED_AFTER: [usize; 2] = [4, 9];

/// One line of the user, with the id that makes it one input however often it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) id: String,
    pub(crate) text: String,
}

impl Word {
    fn parse(line: &str) -> Option<Word> {
        let (id, text) = line.split_once(' ')?;
        let (id, text) = (id.to_owned(), text.to_owned());
        Some(Word { id, text })
    }
}

/// What the user says, and what must have happened before.
const SCRIPT: [(After, &str); 6] = [
    (After::Start, "read"),
    (After::Files(2), "focus outlive"),
    (After::Files(6), "longest"),
    (After::Files(7), "how far"),
    (After::Answers(4), "read"),
    (After::Answers(5), "bye"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Start,
    /// So many files were read.
    Files(usize),
    /// So many words were answered.
    Answers(usize),
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match &args[..] {
        [work, store, directory] if work == WORK => {
            worker::work(Path::new(store), Path::new(directory))
        }
        args => wish(args).and_then(|(directory, script)| steer(&directory, script)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("steer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wish(args: &[String]) -> Result<(PathBuf, bool), Failure> {
    let (mut directory, mut script) = (PathBuf::from("."), !std::io::stdin().is_terminal());
    for arg in args {
        match arg.as_str() {
            "--script" => script = true,
            option if option.starts_with('-') => return Err(USAGE.into()),
            path => directory = PathBuf::from(path),
        }
    }
    Ok((directory, script))
}

fn steer(directory: &Path, script: bool) -> Result<(), Failure> {
    let found = agent::files(directory)?.len();
    if script && found < FILES_MIN {
        return Err(format!("{} has {found} files, not {FILES_MIN}", directory.display()).into());
    }
    let work = tempfile::tempdir()?;
    let store = work.path().join("agent.redb");
    let (heard, events) = mpsc::channel();
    if !script {
        println!("{found} files. Say: read, focus WORD, skip ENDING, longest, how far, bye");
        let heard = heard.clone();
        std::thread::spawn(move || {
            let mut lines = std::io::stdin().lock().lines().map_while(Result::ok);
            lines.try_for_each(|line| heard.send(Event::User(line)))
        });
    }
    let process = Process::start(&store, directory, &heard)?;
    let mut dialogue = Dialogue {
        command: (store.clone(), directory.to_owned()),
        heard,
        process,
        script: if script { SCRIPT.to_vec() } else { Vec::new() },
        said: Vec::new(),
        answers: BTreeMap::new(),
        files: 0,
        kills: 0,
    };
    dialogue.lead(&events)?;
    let Dialogue {
        said,
        answers,
        kills,
        ..
    } = dialogue;
    check(&store, directory, (&said, &answers), script)?;
    println!(
        "killed {kills} times; {} words accepted, each answered once",
        said.len()
    );
    Ok(())
}

/// What comes to the process that leads.
enum Event {
    /// A line of the process with this number that works.
    Worker(u32, String),
    /// A line from the keyboard.
    User(String),
}

/// The process that works.
struct Process {
    child: Child,
    words: Option<ChildStdin>,
    number: u32,
}

impl Process {
    fn start(store: &Path, directory: &Path, heard: &Sender<Event>) -> Result<Process, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([WORK.as_ref(), store.as_os_str(), directory.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let words = child.stdin.take();
        let says = child.stdout.take().ok_or("a pipe")?;
        let (heard, number) = (heard.clone(), child.id());
        std::thread::spawn(move || {
            let mut lines = BufReader::new(says).lines().map_while(Result::ok);
            lines.try_for_each(|line| heard.send(Event::Worker(number, line)))
        });
        Ok(Process {
            child,
            words,
            number,
        })
    }

    /// One that has been killed meanwhile does not hear it; the next one will.
    fn give(&mut self, Word { id, text }: &Word) {
        if let Some(words) = &mut self.words {
            let _ = writeln!(words, "{id} {text}");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A dialogue with the agent, over as many processes as it takes.
struct Dialogue {
    command: (PathBuf, PathBuf),
    heard: Sender<Event>,
    process: Process,
    script: Vec<(After, &'static str)>,
    said: Vec<Word>,
    /// By the word's id: the turn, and the answer.
    answers: BTreeMap<String, (u32, String)>,
    files: usize,
    kills: usize,
}

impl Dialogue {
    fn lead(&mut self, events: &Receiver<Event>) -> Result<(), Failure> {
        self.follow_script();
        while !self.is_over() {
            match events.recv_timeout(SILENCE_MAX) {
                Ok(Event::User(line)) => self.say(&line),
                // What a process said last may come when it is gone.
                Ok(Event::Worker(number, line)) => self.hear(number, &line)?,
                Err(_) if self.script.is_empty() && self.answers.len() == self.said.len() => {}
                Err(silent) => return Err(format!("the agent is stuck: {silent}").into()),
            }
            self.follow_script();
        }
        // Its input ends, so it stops in order, and the file is free.
        self.process.words = None;
        self.process.child.wait()?;
        Ok(())
    }

    fn is_over(&self) -> bool {
        let bye = self.said.iter().find(|word| word.text == "bye");
        bye.is_some_and(|bye| self.answers.contains_key(&bye.id))
    }

    fn follow_script(&mut self) {
        while let Some((after, line)) = self.script.first().copied() {
            let now = match after {
                After::Start => true,
                After::Files(files) => self.files >= files,
                After::Answers(answers) => self.answers.len() >= answers,
            };
            if !now {
                return;
            }
            self.script.remove(0);
            self.say(line);
        }
    }

    fn say(&mut self, line: &str) {
        if worker::understood(line).is_none() {
            println!("  (say: read, focus WORD, skip ENDING, longest, how far, bye)");
            return;
        }
        let id = format!("word-{}", self.said.len() + 1);
        let text = line.to_owned();
        println!("you: {line}");
        let word = Word { id, text };
        self.process.give(&word);
        self.said.push(word);
    }

    fn hear(&mut self, number: u32, line: &str) -> Result<(), Failure> {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("file"), Some(count), Some(_), _) => {
                self.files = count.parse()?;
                let next = KILLED_AFTER.get(self.kills);
                if next.is_some_and(|after| self.files >= *after) && number == self.process.number {
                    self.kill()?;
                }
            }
            (Some("answer"), Some(id), Some(turn), Some(text)) => {
                let answer = (turn.parse()?, text.to_owned());
                println!("agent, turn {turn}: {text}   ({})", self.text_of(id));
                let before = self
                    .answers
                    .entry(id.to_owned())
                    .or_insert_with(|| answer.clone());
                if *before != answer {
                    return Err(format!("{id} is answered twice, and not alike").into());
                }
            }
            (Some("took"), Some(id), ..) => {
                println!(
                    "  (it takes {:?} {})",
                    self.text_of(id),
                    &line["took ".len() + id.len() + 1..]
                );
            }
            (Some("entered"), ..) => println!("  ({line})"),
            (Some("failed"), ..) => return Err(line.into()),
            _ => {}
        }
        Ok(())
    }

    fn text_of(&self, id: &str) -> &str {
        let word = self.said.iter().find(|word| word.id == id);
        word.map_or("", |word| &word.text)
    }

    /// SIGKILL, wherever it is; then the next process is given whatever has no answer.
    fn kill(&mut self) -> Result<(), Failure> {
        self.process.child.kill()?;
        self.process.child.wait()?;
        self.kills += 1;
        println!("  (killed after file {})", self.files);
        let (store, directory) = &self.command;
        self.process = Process::start(store, directory, &self.heard)?;
        for word in &self.said {
            if !self.answers.contains_key(&word.id) {
                self.process.give(word);
            }
        }
        Ok(())
    }
}

/// What the store says of each word, when all processes are gone.
#[tokio::main]
async fn check(
    store: &Path,
    directory: &Path,
    (said, answers): (&[Word], &BTreeMap<String, (u32, String)>),
    script: bool,
) -> Result<(), Failure> {
    let engine = worker::open(store, directory).await?;
    let mut steps = Vec::new();
    for Word { id, text } in said {
        let (answered, _) = answers.get(id).ok_or(format!("{text:?} has no answer"))?;
        let InputStatus::Consumed { turn, step, .. } = engine.input(agent::ID, id).await? else {
            return Err(format!("{text:?} is accepted and not consumed").into());
        };
        assert_eq!(
            turn, *answered,
            "{text:?} is answered by the turn that had it"
        );
        steps.push((turn, step.is_some()));
    }
    if script {
        // `focus` was taken by the turn that ran; every other word had a turn of its own, in the order they were said.
        let turns = [
            (1, false),
            (1, true),
            (2, false),
            (3, false),
            (4, false),
            (5, false),
        ];
        assert_eq!(steps, turns);
        let (_, summary) = &answers[&said[4].id];
        assert!(summary.contains("\"outlive\""), "{summary}");
    }
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
