//! The twelve stages of the pipeline, each a recorded step that builds on those before it.

use crate::documents::{headings, most_frequent, names, words};
use outlive::{Ctx, HandlerError, TaskDef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) const RESEARCH: TaskDef<PathBuf, String> = TaskDef::new("research");

/// The stages in their order.
pub(crate) const STAGES: [&str; 12] = [
    "list the documents",
    "count the words",
    "merge the counts",
    "find the common ground",
    "find what is particular",
    "collect the headings",
    "rank the documents",
    "choose the topics",
    "write the opening",
    "write the body",
    "write the close",
    "put it together",
];

/// Where work is noted, and how much of it is done in one life.
pub(crate) struct Work {
    pub(crate) log: PathBuf,
    pub(crate) limit: Option<usize>,
}

/// One life's way through the stages.
struct Stages<'a> {
    ctx: &'a Ctx,
    work: &'a Work,
    /// Stages worked in this life.
    worked: AtomicUsize,
}

impl Stages<'_> {
    /// Works a stage, unless it is recorded: then its result is there, and nothing is noted.
    async fn stage<T, F>(&self, number: usize, run: F) -> Result<T, HandlerError>
    where
        T: Serialize + DeserializeOwned + Send,
        F: Fn() -> io::Result<T> + Send + Sync,
    {
        let name = STAGES[number - 1];
        let result = self.ctx.step(name, || {
            let worked = self.note(name).and_then(|()| run());
            std::future::ready(worked)
        });
        let result = result.await?;
        // Everything up to here is recorded, and the process may die.
        let limit = self.work.limit.unwrap_or(usize::MAX);
        if self.worked.load(Ordering::SeqCst) >= limit {
            println!("waiting");
            std::future::pending::<()>().await;
        }
        Ok(result)
    }

    fn note(&self, name: &str) -> io::Result<()> {
        self.worked.fetch_add(1, Ordering::SeqCst);
        let mut log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.work.log)?;
        writeln!(log, "{name}")
    }
}

pub(crate) async fn research(
    ctx: &Ctx,
    directory: &Path,
    work: &Work,
) -> Result<String, HandlerError> {
    let stages = Stages {
        ctx,
        work,
        worked: AtomicUsize::new(0),
    };
    let listed = stages.stage(1, || names(directory)).await?;
    let counts: Vec<BTreeMap<String, usize>> = stages
        .stage(2, || {
            listed.iter().map(|name| words(directory, name)).collect()
        })
        .await?;
    let all: BTreeMap<String, usize> = stages.stage(3, || Ok(merged(&counts))).await?;
    let common: Vec<String> = stages.stage(4, || Ok(in_all(&all, &counts))).await?;
    let own: Vec<Vec<(String, usize)>> =
        stages.stage(5, || Ok(particular(&common, &counts))).await?;
    let chapters: Vec<Vec<String>> = stages
        .stage(6, || {
            listed
                .iter()
                .map(|name| headings(directory, name))
                .collect()
        })
        .await?;
    let ranked: Vec<usize> = stages.stage(7, || Ok(by_length(&counts))).await?;
    let topics = stages.stage(8, || Ok(most_frequent(&all, 5))).await?;
    let opening: String = stages.stage(9, || Ok(opening(&listed, &topics))).await?;
    let body: Vec<String> = stages
        .stage(10, || {
            let about = |at: &usize| paragraph(&listed[*at], &own[*at], chapters[*at].len());
            Ok(ranked.iter().map(about).collect())
        })
        .await?;
    let close: String = stages.stage(11, || Ok(close(&common))).await?;
    let report = || Ok(format!("{opening}\n\n{}\n\n{close}\n", body.join("\n")));
    stages.stage(12, report).await
}

fn merged(counts: &[BTreeMap<String, usize>]) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for (word, count) in counts.iter().flatten() {
        *all.entry(word.clone()).or_default() += count;
    }
    all
}

/// The words that every document has.
fn in_all(all: &BTreeMap<String, usize>, counts: &[BTreeMap<String, usize>]) -> Vec<String> {
    let everywhere = |word: &&String| counts.iter().all(|words| words.contains_key(*word));
    all.keys().filter(everywhere).cloned().collect()
}

/// What each document speaks of, beside what all speak of.
fn particular(common: &[String], counts: &[BTreeMap<String, usize>]) -> Vec<Vec<(String, usize)>> {
    let own = counts.iter().map(|words| {
        let mut words = words.clone();
        words.retain(|word, _| !common.contains(word));
        most_frequent(&words, 3)
    });
    own.collect()
}

/// The places of the documents, longest first.
fn by_length(counts: &[BTreeMap<String, usize>]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..counts.len()).collect();
    places.sort_by_key(|at| std::cmp::Reverse(counts[*at].values().sum::<usize>()));
    places
}

fn opening(listed: &[String], topics: &[(String, usize)]) -> String {
    let topics: Vec<&str> = topics.iter().map(|(word, _)| word.as_str()).collect();
    let count = listed.len();
    format!(
        "# {count} documents\n\nTogether they speak of {}.",
        topics.join(", ")
    )
}

fn paragraph(name: &str, own: &[(String, usize)], chapters: usize) -> String {
    let own: Vec<String> = own
        .iter()
        .map(|(word, count)| format!("{word} ({count})"))
        .collect();
    format!("- {name}, {chapters} chapters: {}", own.join(", "))
}

fn close(common: &[String]) -> String {
    format!("{} words are in all of them.", common.len())
}
