//! Each transition of the life cycle has a death at its commit: before it, and after it with the answer lost.
//!
//! A script of calls is played to an engine whose store breaks at one commit. Another engine opens what is left, is asked
//! for all that was acknowledged, and plays on from the call that was not answered, with the same ids. In the end
//! everything must be as if nothing had happened.

mod batch;
mod script;
mod stage;

use outlive::{Engine, Snapshot, StartError, Status};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::{MemStore, Store};
use outlive_tests::faulty::Faulty;
use script::{Broken, SCRIPT, Step};
use stage::{ACT, Act, Caller, Entered, Stage};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Longer than any call of the script takes: who is not answered by then is never answered.
const NEVER: Duration = Duration::from_secs(120);

/// Where the store breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Crash {
    /// The commit, from 1.
    commit: u64,
    /// Whether it is in the store all the same.
    applied: bool,
    /// Whether the store is well again once it was opened again, so that nobody dies.
    heals: bool,
}

/// What is left of a play.
struct Played {
    caller: Caller,
    entered: Vec<Entered>,
    tasks: BTreeMap<String, Snapshot>,
    /// Commits of each life.
    commits: Vec<u64>,
}

/// Plays the whole script, through as many deaths.
async fn play(crashes: &[Crash]) -> Played {
    let truth = Arc::new(MemStore::new());
    let mut caller = Caller::default();
    let stage = Stage::default();
    let (mut commits, mut life) = (Vec::new(), 0);
    let tasks = loop {
        let store = Faulty::on(&truth);
        let crash = crashes.get(life);
        if let Some(crash) = crash {
            store.broken_from.store(crash.commit, Ordering::SeqCst);
            store.answer_lost.store(crash.applied, Ordering::SeqCst);
            store.heals.store(crash.heals, Ordering::SeqCst);
        }
        let stage = stage.next_life(life == 0);
        let builder = Engine::on_store(Arc::<Faulty>::clone(&store)).inline();
        let builder = builder.store_patience(Duration::ZERO);
        let engine = stage.act_in(builder).open().await.unwrap();
        engine.recovery().await;
        if crash.is_none() && life > 0 {
            nothing_is_lost(&engine, &truth, &mut caller).await;
        }
        stage.begin();
        let played = play_on(&engine, &stage, &mut caller).await;
        commits.push(store.commits.load(Ordering::SeqCst));
        if let Err(broken) = played {
            assert!(
                has_broken(&store),
                "life {life}: {broken:?} of {:?}",
                caller.step()
            );
            nothing_refused_is_there(&engine, &truth, &caller, broken).await;
        } else if !has_broken(&store) {
            let tasks = listed(&engine).await;
            engine.shutdown(Duration::ZERO).await;
            break tasks;
        }
        drop(engine);
        stage.end().await;
        life += 1;
    };
    let entered = stage.entered.take();
    Played {
        caller,
        entered,
        tasks,
        commits,
    }
}

fn has_broken(store: &Faulty) -> bool {
    let from = store.broken_from.load(Ordering::SeqCst);
    from > 0 && store.commits.load(Ordering::SeqCst) >= from
}

async fn play_on(engine: &Engine, stage: &Stage, caller: &mut Caller) -> Result<(), Broken> {
    while let Some(step) = SCRIPT.get(caller.at) {
        caller.tries += 1;
        let done = tokio::time::timeout(NEVER, step.call(engine, stage, caller)).await;
        // A call that nobody answers any more is one whose answer is unknown.
        done.unwrap_or(Err(Broken::Unknown))?;
        (caller.at, caller.tries) = (caller.at + 1, 0);
    }
    Ok(())
}

/// All tasks, each once, and each whole.
async fn listed(engine: &Engine) -> BTreeMap<String, Snapshot> {
    let page = engine.list_all().limit(100).await.unwrap();
    assert!(page.damaged.is_empty() && page.next.is_none());
    let count = page.tasks.len();
    let mut tasks = BTreeMap::new();
    for task in page.tasks {
        let task = engine.get(&task.id).await.unwrap().expect("it is listed");
        assert_whole(&task);
        tasks.insert(task.id.to_string(), task);
    }
    assert_eq!(tasks.len(), count, "each id once");
    tasks
}

/// What must hold of each task at each moment.
#[track_caller]
fn assert_whole(task: &Snapshot) {
    let waits = matches!(task.status, Status::Pending | Status::Suspended);
    assert_eq!(task.wait.is_some(), waits, "{task:?}");
    assert_eq!(
        task.ended.is_some(),
        task.status == Status::Completed,
        "{task:?}"
    );
    assert!(
        task.run >= 1 && task.turn >= 1 && task.attempt <= 3,
        "{task:?}"
    );
    let ended_empty = task.status != Status::Completed || task.inputs_waiting == 0;
    assert!(ended_empty && task.cancel_requested.is_none(), "{task:?}");
    assert!(
        task.timeline.len() <= 16 && !task.timeline.is_empty(),
        "{task:?}"
    );
}

/// While no handler has gone on: each acknowledged input is there, each told result is told again.
async fn nothing_is_lost(engine: &Engine, truth: &MemStore, caller: &mut Caller) {
    listed(engine).await;
    for (at, step) in SCRIPT[..caller.at].iter().enumerate() {
        // The call that was not answered may have been carried out.
        let since = SCRIPT[at..].iter().take(caller.at + 1 - at);
        if !step.is_undone_by(since) {
            let holds = tokio::time::timeout(NEVER, step.still_holds(at, engine, caller)).await;
            holds.unwrap_or_else(|_| panic!("{step:?} was acknowledged, and is not durable"));
        }
    }
    for (id, task) in listed(engine).await {
        let number = truth.find(&TaskId::new(&id).unwrap()).unwrap().unwrap();
        let inputs = truth.inputs(number, 100).unwrap();
        let waiting = inputs.iter().filter(|(_, input)| input.taken.is_none());
        assert_eq!(task.inputs_waiting, waiting.count() as u64, "{id}");
        let (etag, generation) = caller
            .seen
            .insert(id, (task.etag, task.generation))
            .unwrap_or_default();
        assert!(
            task.etag >= etag && task.generation >= generation,
            "nothing goes back"
        );
    }
}

/// What the dead engine refuses is not there; what it refused at its death is not, either.
async fn nothing_refused_is_there(
    engine: &Engine,
    truth: &MemStore,
    caller: &Caller,
    broken: Broken,
) {
    let late = engine.start(ACT, "late", &Act::Say).input_id("late").await;
    assert!(
        matches!(late, Err(StartError::Store(_) | StartError::ShuttingDown)),
        "{late:?}"
    );
    assert_eq!(truth.find(&TaskId::new("late").unwrap()).unwrap(), None);
    let Some(Step::Start { task, input, .. }) = caller.step() else {
        return;
    };
    if broken == Broken::Refused && caller.tries == 1 {
        let input = InputId::new(input).unwrap();
        let known = truth.find(&TaskId::new(task).unwrap()).unwrap();
        let row = known.and_then(|number| truth.get(number).unwrap());
        assert!(
            row.is_none_or(|row| row.input_id != input),
            "{task} has a refused input"
        );
        let receipt = known.and_then(|number| truth.receipt(number, &input).unwrap());
        assert_eq!(receipt, None, "{task} has the receipt of a refused input");
    }
}

/// Each turn is entered under generations that grow, and never again after it was answered.
#[track_caller]
fn assert_in_order(entered: &[Entered]) {
    let mut last: BTreeMap<&str, &Entered> = BTreeMap::new();
    for now in entered {
        if let Some(before) = last.insert(&now.task, now) {
            assert!(
                now.generation > before.generation,
                "{before:?}, then {now:?}"
            );
            let (place, place_before) = ((now.run, now.turn), (before.run, before.turn));
            assert!(place >= place_before, "{before:?}, then {now:?}");
            let later = place > place_before || now.attempt >= before.attempt;
            assert!(later, "{before:?}, then {now:?}");
        }
    }
}

/// What must be the same, however often its process died.
fn summary(played: &Played) -> Vec<String> {
    let told = played.caller.told.iter();
    let told = told.map(|(call, told)| format!("{call} was told {}", told.without_serial()));
    let tasks = played.tasks.values().map(|task| {
        let output = task.output.as_ref().map(|output| output["act"].clone());
        format!(
            "{} is {} after run {} turn {}, input {} of {}, {} wait, {:?}, {:?}, {:?}, attempt {}",
            task.id,
            task.status,
            task.run,
            task.turn,
            task.input_id,
            task.last_input_id,
            task.inputs_waiting,
            task.ended.as_ref().map(stage::kind_of),
            output,
            task.metadata,
            task.attempt,
        )
    });
    told.chain(tasks).collect()
}

#[track_caller]
fn assert_same(played: &Played, reference: &[String], crashes: &[Crash]) {
    assert_in_order(&played.entered);
    let summary = summary(played);
    for (found, expected) in summary.iter().zip(reference) {
        assert_eq!(found, expected, "after {crashes:?}");
    }
    assert_eq!(summary.len(), reference.len(), "after {crashes:?}");
}

fn crash(commit: u64, applied: bool) -> Crash {
    Crash {
        commit,
        applied,
        heals: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_at_any_commit_loses_nothing_and_doubles_nothing() {
    let whole = play(&[]).await;
    assert_in_order(&whole.entered);
    let (reference, commits) = (summary(&whole), whole.commits[0]);
    assert!(commits >= 40, "the script makes {commits} commits");
    println!("{}", reference.join("\n"));
    let mut deaths = 0;
    for commit in 1..=commits {
        for applied in [false, true] {
            let crashes = [crash(commit, applied)];
            let played = play(&crashes).await;
            assert!(played.commits.len() > 1, "{crashes:?} was never reached");
            assert_same(&played, &reference, &crashes);
            deaths += 1;
        }
    }
    println!("{commits} commits, {deaths} deaths, nothing lost and nothing doubled");
}

/// A store that fails for a moment is opened again and asked what became of the batch.
#[tokio::test(start_paused = true)]
async fn a_failure_that_the_store_gets_over_is_noticed_by_nobody() {
    let whole = play(&[]).await;
    let (reference, commits) = (summary(&whole), whole.commits[0]);
    for commit in 1..=commits {
        for applied in [false, true] {
            let failure = [Crash {
                commit,
                applied,
                heals: true,
            }];
            let played = play(&failure).await;
            assert_eq!(played.commits.len(), 1, "{failure:?} ended its engine");
            assert_same(&played, &reference, &failure);
            assert_eq!(played.entered.len(), whole.entered.len(), "{failure:?}");
        }
    }
    println!("{commits} commits, each failed and each lost its answer: noticed by nobody");
}

/// Commits of a life in which its recovery takes place, and a few more.
const OF_RECOVERY: u64 = 4;

#[tokio::test(start_paused = true)]
async fn a_further_death_within_the_recovery_loses_nothing_and_doubles_nothing() {
    let whole = play(&[]).await;
    let (reference, commits) = (summary(&whole), whole.commits[0]);
    let mut deaths = 0;
    for first in 1..=commits {
        for second in 1..=OF_RECOVERY {
            for (applied, applied_again) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let crashes = [crash(first, applied), crash(second, applied_again)];
                let played = play(&crashes).await;
                assert_same(&played, &reference, &crashes);
                deaths += played.commits.len() - 1;
            }
        }
    }
    println!("{deaths} deaths, nothing lost and nothing doubled");
}

#[test]
fn the_script_has_every_kind_of_call() {
    let mut kinds: Vec<_> = SCRIPT.iter().map(Step::kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), Step::KINDS, "{kinds:?}");
}
