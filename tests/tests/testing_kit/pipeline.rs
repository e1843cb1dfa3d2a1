//! The kit on a task of twelve recorded steps, the stages of the example `steps` over documents in memory: killed at each of
//! its commits it ends with the same report, byte by byte, and no recorded stage ran again.

use outlive::testing::{CrashTest, Effects, Side};
use outlive::{Ctx, HandlerError, TaskDef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io;

type Documents = BTreeMap<String, String>;
type Counts = BTreeMap<String, usize>;

const RESEARCH: TaskDef<Documents, String> = TaskDef::new("research");
const STAGES: usize = 12;

fn documents() -> Documents {
    let texts = [
        (
            "crash.md",
            "# Crash\n\na task outlives the crash of its process, and the crash costs nothing",
        ),
        (
            "steps.md",
            "# Steps\n\na step of a task is recorded once, and a recorded step runs never again",
        ),
        (
            "time.md",
            "# Time\n\na task waits in the file, and the file outlives the process",
        ),
    ];
    texts
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into()
}

/// A stage, noted when it is worked.
async fn stage<T, F>(ctx: &Ctx, world: &Effects, name: &str, work: F) -> Result<T, HandlerError>
where
    T: Serialize + DeserializeOwned + Send,
    F: Fn() -> T + Send + Sync,
{
    let step = ctx.step(name, || {
        world.record(name);
        std::future::ready(Ok::<_, io::Error>(work()))
    });
    Ok(step.await?)
}

async fn research(ctx: Ctx, documents: Documents, world: Effects) -> Result<String, HandlerError> {
    let (ctx, world) = (&ctx, &world);
    let names: Vec<String> = stage(ctx, world, "list the documents", || {
        documents.keys().cloned().collect()
    })
    .await?;
    let counts: Vec<Counts> = stage(ctx, world, "count the words", || {
        names.iter().map(|name| counted(&documents[name])).collect()
    })
    .await?;
    let all: Counts = stage(ctx, world, "merge the counts", || merged(&counts)).await?;
    let common: Vec<String> = stage(ctx, world, "find the common ground", || {
        let everywhere = |word: &&String| counts.iter().all(|words| words.contains_key(*word));
        all.keys().filter(everywhere).cloned().collect()
    })
    .await?;
    let own: Vec<usize> = stage(ctx, world, "find what is particular", || {
        let own = |words: &Counts| words.keys().filter(|word| !common.contains(word)).count();
        counts.iter().map(own).collect()
    })
    .await?;
    let headings: Vec<String> = stage(ctx, world, "collect the headings", || {
        documents
            .values()
            .filter_map(|text| text.lines().next())
            .map(str::to_owned)
            .collect()
    })
    .await?;
    let ranked: Vec<usize> = stage(ctx, world, "rank the documents", || {
        let mut places: Vec<usize> = (0..names.len()).collect();
        places.sort_by_key(|at| std::cmp::Reverse(own[*at]));
        places
    })
    .await?;
    let topics: Vec<String> = stage(ctx, world, "choose the topics", || {
        all.iter()
            .filter(|(_, count)| **count > 2)
            .map(|(word, _)| word.clone())
            .collect()
    })
    .await?;
    let opening: String = stage(ctx, world, "write the opening", || {
        format!("{} documents speak of {}", names.len(), topics.join(", "))
    })
    .await?;
    let body: Vec<String> = stage(ctx, world, "write the body", || {
        ranked
            .iter()
            .map(|at| format!("{}: {} words of its own", headings[*at], own[*at]))
            .collect()
    })
    .await?;
    let close: String = stage(ctx, world, "write the close", || {
        format!("{} words are in all of them", common.len())
    })
    .await?;
    stage(ctx, world, "put it together", || {
        format!("{opening}\n{}\n{close}\n", body.join("\n"))
    })
    .await
}

fn counted(text: &str) -> Counts {
    let mut words = Counts::new();
    for word in text
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty())
    {
        *words.entry(word.to_lowercase()).or_default() += 1;
    }
    words
}

fn merged(counts: &[Counts]) -> Counts {
    let mut all = Counts::new();
    for (word, count) in counts.iter().flatten() {
        *all.entry(word.clone()).or_default() += count;
    }
    all
}

fn killed_pipeline() -> CrashTest<'static, Effects, String> {
    CrashTest::new(Effects::new)
        .engine(|builder, world| {
            let world = world.clone();
            builder.task(RESEARCH, move |ctx, documents| {
                research(ctx, documents, world.clone())
            })
        })
        .script(async |engine, _| {
            Ok(engine
                .start(RESEARCH, "report", &documents())
                .input_id("once")
                .await?
                .result()
                .await?)
        })
}

#[test]
fn a_pipeline_killed_at_each_of_its_commits_ends_with_the_same_report() {
    let test = killed_pipeline().check(|world, _| {
        let worked = world.all();
        let twice = worked.len() - STAGES;
        // The stage whose record was lost is the one that was not recorded.
        assert!(twice <= 1, "{worked:?}");
    });
    let report = test.run();
    println!("{report}");
    assert_eq!(report.commits.len(), STAGES + 3, "{:?}", report.commits);
    assert_eq!(report.cases, 2 * (STAGES + 3));
}

#[test]
fn no_recorded_stage_runs_again() {
    for commit in 1..=STAGES + 3 {
        let case = format!("0:{commit}-{}", Side::After);
        let test = killed_pipeline().only(case).check(|world, _| {
            let worked = world.all();
            assert_eq!(worked.len(), STAGES, "each once: {worked:?}");
        });
        test.run();
    }
}
