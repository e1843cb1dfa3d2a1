//! A death at a commit that many callers share: none of them is told more than the others know.

use crate::stage::{ACT, Act, Stage};
use outlive::{Accepted, Engine, StartError};
use outlive_storage::MemStore;
use outlive_tests::faulty::Faulty;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const CALLERS: usize = 50;

#[tokio::test(start_paused = true)]
async fn a_lost_commit_is_unknown_to_all_of_its_callers_and_resolved_for_each_by_its_ids() {
    for applied in [false, true] {
        let truth = Arc::new(MemStore::new());
        let store = Faulty::on(&truth);
        store.broken_from.store(1, Ordering::SeqCst);
        store.answer_lost.store(applied, Ordering::SeqCst);
        let stage = Stage::default().next_life(true);
        let builder = Engine::on_store(Arc::<Faulty>::clone(&store)).inline();
        let engine = stage.act_in(builder).open().await.unwrap();
        engine.recovery().await;
        let tasks = (0..CALLERS).map(|n| (format!("t{n}"), Act::Say));
        let unknown: Vec<_> = (engine.start_many(ACT, tasks).await.into_iter())
            .map(|answer| match answer {
                Err(StartError::Unknown {
                    task_id, input_id, ..
                }) => (task_id, input_id),
                other => panic!("{other:?}"),
            })
            .collect();
        let largest = store.largest_commit.load(Ordering::SeqCst);
        assert_eq!(largest, CALLERS, "they shared it");
        assert_eq!(unknown.len(), CALLERS);
        assert!(stage.entered.is_empty(), "nobody acts on what may not be");
        drop(engine);

        let stage = stage.next_life(true);
        let builder = Engine::on_store(Arc::<MemStore>::clone(&truth)).inline();
        let engine = stage.act_in(builder).open().await.unwrap();
        engine.recovery().await;
        let expected = if applied {
            Accepted::Attached
        } else {
            Accepted::Started
        };
        for (task_id, input_id) in unknown {
            let start = engine.start(ACT, task_id, &Act::Say);
            let run = start.input_id(input_id.as_str()).await.unwrap();
            assert_eq!(run.accepted(), Some(expected));
            run.result().await.unwrap();
        }
        assert_eq!(stage.entered.len(), CALLERS, "each once");
        engine.shutdown(Duration::ZERO).await;
    }
}
