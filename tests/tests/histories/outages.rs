//! Lives of an engine on a store that fails, on a paused clock: what was not answered happened once, before the next
//! life, or never.

use crate::register::{Answer, Asked, Caller, Known, LATER, Register, later, refused};
use crate::{Campaign, KEYS};
use outlive::Engine;
use outlive_storage::MemStore;
use outlive_tests::chance::Chance;
use outlive_tests::faulty::Faulty;
use outlive_tests::history::History;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const LIVES: u64 = 6;
/// Callers at once.
const CALLERS: u64 = 6;
/// A store fails after at most so many commits; as many calls as that and more are made in each life.
const COMMITS_MAX: u64 = 30;
const OPERATIONS: u64 = 20;

/// All lives of one seed. Each but the last ends with a commit that fails, in the store or not.
async fn lives(seed: u64) -> History<Asked, Answer> {
    let rows = Arc::new(MemStore::new());
    let history = Arc::new(History::default());
    let mut chance = Chance(seed);
    for life in 0..LIVES {
        let faulty = Faulty::on(&rows);
        let store = Arc::<Faulty>::clone(&faulty);
        let builder = Engine::on_store(store).inline().task(LATER, later);
        let engine = builder.open().await.expect("it opens");
        if life + 1 < LIVES {
            let commits = faulty.commits.load(Ordering::SeqCst);
            let broken_from = commits + 1 + chance.below(COMMITS_MAX);
            faulty.broken_from.store(broken_from, Ordering::SeqCst);
            let lost = chance.below(2) == 0;
            faulty.answer_lost.store(lost, Ordering::SeqCst);
        }
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..CALLERS {
            let (engine, history) = (engine.clone(), Arc::clone(&history));
            let seed = chance.below(u64::MAX).wrapping_add(caller);
            callers.spawn(async move {
                let mut caller = Caller::new(seed, KEYS);
                for _ in 0..OPERATIONS {
                    if !caller.call(&engine, &history).await {
                        break;
                    }
                    if caller.chance.below(3) == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
        while let Some(ended) = callers.join_next().await {
            ended.expect("a caller ends");
        }
        engine.shutdown(Duration::ZERO).await;
        history.settles();
    }
    Arc::into_inner(history).expect("every caller has ended")
}

#[test]
fn what_was_not_answered_happened_once_or_never() {
    let mut campaign = Campaign::of("calls of engines whose store fails");
    for seed in campaign.seeds(100) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build();
        let history = runtime.expect("a runtime").block_on(lives(seed));
        campaign.check::<Register>(seed, &Known::nothing(), &history, refused);
    }
    assert!(
        campaign.tally.unknown > 0,
        "no call was left without an answer"
    );
    campaign.ends();
}
