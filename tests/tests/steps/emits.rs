//! What steps emit: there once, in whole, whatever becomes of the attempts around them.

use super::{ID, NO_GRACE, World};
use outlive::{
    Ctx, EmitError, Engine, HandlerError, RetryPolicy, StepOptions, StreamEvent, TaskDef,
};
use outlive_storage::MemStore;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

const WRITE: TaskDef<u32, String, String> = TaskDef::new("write").retry(
    RetryPolicy::fixed()
        .attempts(9)
        .initial(Duration::from_secs(1))
        .jitter(false),
);

async fn open<F, Fut>(world: &World, handler: F) -> Engine
where
    F: Fn(World, Ctx<String>, u32) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<String, HandlerError>> + Send + 'static,
{
    let shared = world.clone();
    let store = Arc::<MemStore>::clone(&world.store);
    let builder = Engine::on_store(store).inline();
    let call = move |ctx, input| handler(shared.clone(), ctx, input);
    let engine = builder.task(WRITE, call).open().await.unwrap();
    engine.recovery().await;
    engine
}

/// A reader that keeps what the marks of the stream tell it to keep, as documented.
#[derive(Default)]
struct Page {
    /// Items of the attempt, and of steps that are not kept yet.
    open: Vec<(Option<Box<str>>, String)>,
    kept: Vec<String>,
    last: u64,
}

impl Page {
    fn show(&mut self, event: StreamEvent<String>) {
        assert_eq!(event.sequence(), self.last + 1, "no gap, no duplicate");
        self.last += 1;
        match event {
            StreamEvent::Item { step, item, .. } => self.open.push((step, item)),
            StreamEvent::Reset {
                step: None, all, ..
            } => {
                self.open.clear();
                if all {
                    self.kept.clear();
                }
            }
            StreamEvent::Reset { step, .. } => self.open.retain(|(owner, _)| *owner != step),
            StreamEvent::Kept { step, .. } => {
                let of_step = |owner: &Option<Box<str>>| owner.as_ref() == Some(&step);
                let open = std::mem::take(&mut self.open);
                for (owner, item) in open {
                    match of_step(&owner) {
                        true => self.kept.push(item),
                        false => self.open.push((owner, item)),
                    }
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn all(&self) -> Vec<String> {
        let open = self.open.iter().map(|(_, item)| item.clone());
        self.kept.iter().cloned().chain(open).collect()
    }
}

/// Reads the stream to its end.
async fn read(engine: &Engine) -> Page {
    let (mut page, mut stream) = (Page::default(), engine.stream(WRITE, ID, 0).await.unwrap());
    loop {
        match stream.next().await.unwrap().unwrap() {
            StreamEvent::End { .. } => return page,
            event => page.show(event),
        }
    }
}

/// A model that says its words, then a gate, then an end.
async fn write(world: World, ctx: Ctx<String>, _: u32) -> Result<String, HandlerError> {
    ctx.emit(format!("attempt {}", ctx.generation())).await?;
    let words = ctx.step_with("model", StepOptions::new(), |s| {
        let world = world.clone();
        async move {
            world.ran.add("model".to_owned());
            for word in ["one", "two", "three"] {
                s.emit(word.to_owned()).await?;
            }
            Ok::<_, EmitError>("one two three".to_owned())
        }
    });
    let words = words.await?;
    world.gate.pass().await;
    ctx.emit("end".to_owned()).await?;
    Ok(words)
}

/// What a recorded step had emitted was abandoned with its attempt, or came twice.
#[tokio::test(start_paused = true)]
async fn what_a_recorded_step_emitted_is_complete_across_a_crash_after_it() {
    let world = World::new();
    let engine = open(&world, write).await;
    engine.start(WRITE, ID, &0).await.unwrap();
    world.gate.came(1).await;
    engine.shutdown(NO_GRACE).await;

    let engine = open(&world, write).await;
    world.gate.came(1).await;
    world.gate.let_through(1);
    let run = engine.attach(WRITE, ID).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "one two three");
    assert_eq!(world.ran.take(), ["model"], "it ran once");
    let page = read(&engine).await;
    assert_eq!(page.kept, ["one", "two", "three"]);
    let attempt: Vec<String> = page.open.iter().map(|(_, item)| item.clone()).collect();
    assert_eq!(attempt.len(), 2, "of the last attempt alone: {attempt:?}");
    assert_eq!(attempt[1], "end");
}

/// The process dies in the middle of the step: its words are abandoned, and come again with the next try.
#[tokio::test(start_paused = true)]
async fn what_an_interrupted_step_emitted_is_abandoned() {
    let world = World::new();
    let handler = async |world: World, ctx: Ctx<String>, _| {
        let words = ctx.step_with("model", StepOptions::new(), |s| {
            let world = world.clone();
            async move {
                s.emit("one".to_owned()).await?;
                world.gate.pass().await;
                s.emit("two".to_owned()).await?;
                Ok::<_, EmitError>("done".to_owned())
            }
        });
        Ok::<_, HandlerError>(words.await?)
    };
    let engine = open(&world, handler).await;
    engine.start(WRITE, ID, &0).await.unwrap();
    world.gate.came(1).await;
    // Far longer than an item takes to be durable.
    tokio::time::sleep(Duration::from_secs(1)).await;
    engine.shutdown(NO_GRACE).await;

    let engine = open(&world, handler).await;
    world.gate.came(1).await;
    world.gate.let_through(1);
    let run = engine.attach(WRITE, ID).await.unwrap();
    run.result().await.unwrap();
    let page = read(&engine).await;
    assert_eq!(page.kept, ["one", "two"]);
    assert!(page.open.is_empty(), "{:?}", page.open);
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_try_of_a_step_emitted_is_abandoned() {
    let world = World::new();
    let engine = open(&world, async |_, ctx: Ctx<String>, silent| {
        let thrice = StepOptions::new().retry(RetryPolicy::fixed().attempts(3));
        let words = ctx.step_with("model", thrice, |s| async move {
            let attempt = s.attempt();
            if attempt < 3 || silent == 0 {
                s.emit(format!("try {attempt}"))
                    .await
                    .map_err(|_| "no stream")?;
            }
            if attempt < 3 { Err("no") } else { Ok(()) }
        });
        words.await?;
        ctx.emit("after".to_owned()).await?;
        Ok(String::new())
    });
    let engine = engine.await;
    for (silent, kept) in [(0, vec!["try 3"]), (1, vec![])] {
        if silent == 1 {
            engine.delete(ID).await.unwrap();
        }
        let run = engine.start(WRITE, ID, &silent).await.unwrap();
        run.result().await.unwrap();
        let page = read(&engine).await;
        assert_eq!(page.kept, kept, "{silent}");
        assert_eq!(page.all().last().unwrap(), "after");
        assert_eq!(page.open.len(), 1);
    }
}

/// The words of a step are on disk with its record, in one commit: neither without the other.
#[tokio::test(start_paused = true)]
async fn a_step_and_what_it_emitted_are_one_commit() {
    use outlive_storage::row::StreamEntry;
    use outlive_storage::{Store, id::TaskId};
    let world = World::new();
    let engine = open(&world, write).await;
    engine.start(WRITE, ID, &0).await.unwrap();
    world.gate.came(1).await;
    engine.shutdown(NO_GRACE).await;
    let id = TaskId::new(ID).unwrap();
    let task = world.store.find(&id).unwrap().unwrap();
    let recorded = world.store.steps(task, 1, None, 9).unwrap();
    let segments = world.store.segments(task, 0, usize::MAX).unwrap();
    let entries = segments
        .iter()
        .flat_map(|segment| &segment.row.as_ref().unwrap().entries);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for entry in entries {
        let what = match entry {
            StreamEntry::Item { step: Some(_), .. } => "of the step",
            StreamEntry::Item { step: None, .. } => "of the attempt",
            StreamEntry::Kept { .. } => "kept",
            StreamEntry::Reset { .. } => "reset",
        };
        *counts.entry(what).or_default() += 1;
    }
    assert_eq!(recorded.len(), 1);
    let expected = [("kept", 1), ("of the attempt", 1), ("of the step", 3)];
    assert_eq!(counts, BTreeMap::from(expected));
}

/// The mark was in the stream before the step was recorded: what came between them left it there alone.
#[tokio::test(start_paused = true)]
async fn a_step_that_is_not_recorded_keeps_nothing() {
    // Somewhere among these the first poll of the step ends right before its record is sent.
    for items in 30..70u32 {
        let world = World::new();
        let engine = open(&world, async |world: World, ctx: Ctx<String>, items| {
            let step = ctx.step_with("many", StepOptions::new(), |s| {
                let world = world.clone();
                async move {
                    world.ran.add("many".to_owned());
                    for item in 0..items {
                        s.emit(format!("{item}")).await?;
                    }
                    Ok::<_, EmitError>(())
                }
            });
            tokio::pin!(step);
            if ctx.attempt() > 1 {
                step.await?;
                return Ok(String::new());
            }
            tokio::select! {
                biased;
                _ = &mut step => {}
                () = std::future::ready(()) => {}
            }
            Err("its patience is over".into())
        });
        let engine = engine.await;
        let run = engine.start(WRITE, ID, &items).await.unwrap();
        run.result().await.unwrap();
        let page = read(&engine).await;
        let expected: Vec<String> = (0..items).map(|item| item.to_string()).collect();
        assert_eq!(page.kept, expected, "{items} items");
        engine.shutdown(NO_GRACE).await;
    }
}

/// A run without the steps of the one before showed what they had emitted beside what its own emit.
#[tokio::test(start_paused = true)]
async fn a_run_from_the_start_abandons_what_steps_had_kept() {
    let world = World::new();
    let engine = open(&world, async |_, ctx: Ctx<String>, _| {
        let said = ctx.step_with("model", StepOptions::new(), |s| async move {
            s.emit("one".to_owned()).await.map(drop)
        });
        said.await?;
        match ctx.run() {
            1 => Err(HandlerError::terminal("no")),
            _ => Ok(String::new()),
        }
    });
    let engine = engine.await;
    let run = engine.start(WRITE, ID, &0).await.unwrap();
    run.result().await.unwrap_err();
    let further = engine.retry(WRITE, ID).from_start().await.unwrap();
    further.result().await.unwrap();
    assert_eq!(read(&engine).await.all(), ["one"]);
}

/// What a failed try had left behind emitted beside the next one, whose items were abandoned for it.
#[tokio::test(start_paused = true)]
async fn what_a_try_left_behind_emits_nothing() {
    let world = World::new();
    let engine = open(&world, async |_, ctx: Ctx<String>, _| {
        let left = parking_lot::Mutex::new(None);
        let twice = StepOptions::new().retry(RetryPolicy::fixed().attempts(2));
        let said = ctx.step_with("model", twice, |s| {
            let left = &left;
            async move {
                s.emit(format!("try {}", s.attempt())).await.unwrap();
                let before = left.lock().replace(s);
                let Some(before) = before else {
                    return Err("once more");
                };
                let late = before.emit("late".to_owned()).await;
                assert!(matches!(late, Err(EmitError::StepOver)), "{late:?}");
                Ok(())
            }
        });
        said.await?;
        let last = left.lock().take().unwrap();
        let late = last.emit("late".to_owned()).await;
        assert!(matches!(late, Err(EmitError::StepOver)), "{late:?}");
        Ok(String::new())
    });
    let engine = engine.await;
    let run = engine.start(WRITE, ID, &0).await.unwrap();
    run.result().await.unwrap();
    assert_eq!(read(&engine).await.all(), ["try 2"]);
}
