//! The agent: it reads the files of a directory one by one, and after each it looks whether somebody has a word for it.

use outlive::{Ctx, Entry, Handler, HandlerError, Reply, STEERABLE_DEFAULT, TaskDef};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const AGENT: TaskDef<Order, String> = TaskDef::new("agent").steerable(STEERABLE_DEFAULT);
/// The task of this example.
pub(crate) const ID: &str = "the-agent";
/// What a model's thought about a file takes elsewhere.
const THOUGHT: Duration = Duration::from_millis(25);
/// Most files it reads, and most bytes of one.
const FILES_MAX: usize = 40;
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What its user says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Read the files, or go on where it was.
    Read,
    /// Count this word as well, from here on.
    Focus(String),
    /// Leave out the files whose names end so.
    Skip(String),
    /// How far is it?
    HowFar,
    /// Which file is the longest so far?
    Longest,
    /// That was all.
    Bye,
}

/// What it knows so far; in the task's metadata, so a crash costs one file at most.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Summary {
    /// Files it is done with.
    done: usize,
    lines: usize,
    words: usize,
    longest: Option<(String, usize)>,
    focus: Option<(String, usize)>,
    skip: Option<String>,
}

/// Where it reads.
pub(crate) struct Agent {
    pub(crate) directory: PathBuf,
}

impl Handler<Order, String> for Agent {
    async fn run(&self, ctx: Ctx, order: Order) -> Result<Reply<String>, HandlerError> {
        if let Entry::Recovered { .. } = ctx.entry() {
            println!("entered turn {} again", ctx.turn());
        }
        let known = ctx.metadata().get::<Summary>("summary")?;
        let mut summary = known.unwrap_or_default();
        let files = files(&self.directory)?;
        let answer = match order {
            Order::Bye => return Ok(Reply::output("bye".to_owned())),
            Order::Read => self.read(&ctx, &files, &mut summary).await?,
            Order::HowFar => format!("{} of {} files", summary.done, files.len()),
            Order::Longest => match summary.longest {
                Some((name, lines)) => format!("{name}, {lines} lines"),
                None => "none yet".to_owned(),
            },
            word @ (Order::Focus(_) | Order::Skip(_)) => {
                summary.hear(word);
                ctx.metadata().set("summary", &summary)?;
                "noted".to_owned()
            }
        };
        Ok(Reply::suspend(answer, "the user's next word"))
    }
}

impl Agent {
    async fn read(
        &self,
        ctx: &Ctx,
        files: &[PathBuf],
        summary: &mut Summary,
    ) -> Result<String, HandlerError> {
        for (number, file) in (1..).zip(files) {
            if number > summary.done {
                tokio::time::sleep(THOUGHT).await;
                summary.add(&self.directory, file)?;
                ctx.metadata().set("summary", &*summary)?;
                ctx.flush_metadata().await?;
                println!("file {number} {}", file.display());
            }
            // Asked at every boundary, also at those it has passed: what was taken there before a crash is found again.
            let key = format!("after file {number}");
            if let Some(taken) = ctx.inbox().take::<Order>(&key).await? {
                println!("took {} {key}", taken.input_id);
                summary.hear(taken.input);
            }
            if ctx.cause().is_some_and(|causes| causes.steered()) {
                return Ok(format!("so far: {}", summary.text(files.len())));
            }
        }
        Ok(summary.text(files.len()))
    }
}

impl Summary {
    fn add(&mut self, directory: &Path, file: &Path) -> std::io::Result<()> {
        self.done += 1;
        let name = file.display().to_string();
        if self.skip.as_ref().is_some_and(|skip| name.ends_with(skip)) {
            return Ok(());
        }
        let bytes = std::fs::read(directory.join(file))?;
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().count();
        self.lines += lines;
        self.words += text.split_whitespace().count();
        if self.longest.as_ref().is_none_or(|(_, most)| lines > *most) {
            self.longest = Some((name, lines));
        }
        if let Some((word, count)) = &mut self.focus {
            *count += text.matches(word.as_str()).count();
        }
        Ok(())
    }

    /// Heard twice, a word changes nothing more: a turn that is entered again hears what it had taken once more.
    fn hear(&mut self, order: Order) {
        match order {
            Order::Focus(word) if self.focus.as_ref().is_none_or(|(known, _)| *known != word) => {
                self.focus = Some((word, 0));
            }
            Order::Skip(ending) => self.skip = Some(ending),
            Order::Focus(_) | Order::Read | Order::HowFar | Order::Longest | Order::Bye => {}
        }
    }

    fn text(&self, files: usize) -> String {
        let Summary {
            done, lines, words, ..
        } = self;
        let focus = self.focus.as_ref();
        let focus = focus.map_or(String::new(), |(word, count)| {
            format!(", {word:?} {count} times")
        });
        format!("{done} of {files} files, {lines} lines, {words} words{focus}")
    }
}

/// The files of a directory and those below it, in the order of their names.
pub(crate) fn files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next)? {
            let (path, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            // What is built, and what hides, is nobody's text.
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            if name.is_none_or(|name| name.starts_with('.') || name == "target") {
                continue;
            }
            if metadata.is_dir() {
                open.push(path);
            } else if metadata.len() <= FILE_BYTES_MAX {
                found.push(path.strip_prefix(directory).unwrap_or(&path).to_owned());
            }
        }
    }
    found.sort();
    found.truncate(FILES_MAX);
    Ok(found)
}
