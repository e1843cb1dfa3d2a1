//! The file of a whole engine, and its copies: the secret is in none of them, and whoever has the key goes on with it.

use super::*;
use outlive::sealed::{CodecError, Location, PayloadCodec};
use outlive::{
    Ask, Ctx, Delivery, Engine, HandlerError, OpenError, Reply, RetryPolicy, StoreError, TaskDef,
    store,
};
use outlive_storage::row::TaskNumber;
use outlive_storage::{RedbStore, Store};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const WORK: TaskDef<String, String, String> = TaskDef::new("work").retry(RetryPolicy::none());
const CHAT: TaskDef<String, String> = TaskDef::new("chat").steerable(9);
const ASK: TaskDef<String, bool> = TaskDef::new("ask");

async fn work(ctx: Ctx<String>, input: String) -> Result<String, HandlerError> {
    if input.starts_with("fail") {
        return Err(HandlerError::terminal(said("error")));
    }
    ctx.metadata().set("note", said("metadata"))?;
    ctx.emit(said("item")).await?;
    let step = ctx
        .step("fetch", async || Ok::<_, std::io::Error>(said("step")))
        .await?;
    Ok(format!("{step}, {input}"))
}

async fn chat(_: Ctx, input: String) -> Result<Reply<String>, HandlerError> {
    Ok(Reply::suspend(input, said("reason")))
}

async fn ask(ctx: Ctx, _: String) -> Result<bool, HandlerError> {
    let ask = Ask::new(said("question")).schema(said("schema").into());
    Ok(ctx.ask("may", ask.default_answer(&true)).await?)
}

async fn open(path: &Path, keys: Keys) -> Engine {
    let builder = Engine::builder(path).payload_codec(keys);
    let builder = builder.task(WORK, work).task(CHAT, chat).task(ASK, ask);
    builder.open().await.unwrap()
}

/// One task for each way in which something of the user's gets into a file.
async fn fill(engine: &Engine) {
    let large = said(&"large ".repeat(1_000));
    engine.run(WORK, "small", &said("input")).await.unwrap();
    engine.run(WORK, "large", &large).await.unwrap();
    engine.run(WORK, "failed", &said("fail")).await.unwrap_err();
    for input in ["one", "two"] {
        engine.run(CHAT, "chat", &said(input)).await.unwrap();
    }
    engine.start(ASK, "ask", &said("input")).await.unwrap();
    while engine.ask("ask", "may").await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let later = engine.start(WORK, "cancelled", &said("input"));
    later.start_in(SOON * 1_000).await.unwrap();
    engine.cancel("cancelled", said("cancel")).await.unwrap();
    let waits = engine.start(CHAT, "queued", &said("input"));
    waits.start_in(SOON * 1_000).await.unwrap();
    let queued = engine.start(CHAT, "queued", &said("queued"));
    queued.delivery(Delivery::AfterTurn).await.unwrap();
}

/// All of it is there for who has the key.
async fn check(engine: &Engine) {
    let small = engine.get("small").await.unwrap().unwrap();
    let output = format!("{}, {}", said("step"), said("input"));
    assert_eq!(small.output, Some(output.into()));
    assert_eq!(small.metadata["default"]["note"], said("metadata"));
    let large = engine.get("large").await.unwrap().unwrap();
    assert!(large.output.unwrap().to_string().contains(NEEDLE));
    let failed = format!("{:?}", engine.get("failed").await.unwrap());
    assert!(failed.contains(&said("error")));
    let mut stream = engine.stream(WORK, "small", 0).await.unwrap();
    let item = format!("{:?}", stream.next().await);
    assert!(item.contains(&said("item")), "{item}");
    let asked = format!("{:?}", engine.ask("ask", "may").await.unwrap());
    assert!(asked.contains(&said("question")), "{asked}");
    let chat = engine.run(CHAT, "chat", &"three".to_owned()).await;
    assert_eq!(chat.unwrap(), "three");
}

#[track_caller]
fn assert_unreadable(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    // A base64 or an escaped form of it would have this part in one of three shapes; none is ever written.
    let found = bytes
        .windows(12)
        .any(|part| part == &NEEDLE.as_bytes()[..12]);
    assert!(!found, "a secret is in {}", path.display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_has_the_secret_and_every_copy_goes_on_with_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let [path, backup, restored, saved] =
        ["a", "backup", "restored", "saved"].map(|name| directory.path().join(name));
    let engine = open(&path, old()).await;
    fill(&engine).await;
    engine.backup(&backup).await.unwrap();
    engine.shutdown(SOON).await;
    drop(engine);
    store::restore(&backup, &restored).unwrap();
    store::salvage(&path, &saved).unwrap();
    for copy in [&path, &backup, &restored, &saved] {
        assert_unreadable(copy);
        assert!(store::verify(copy).unwrap().is_whole());
        let engine = open(copy, old()).await;
        check(&engine).await;
        engine.shutdown(SOON).await;
        assert_unreadable(copy);
    }
}

#[tokio::test]
async fn a_sealed_file_is_refused_without_its_key_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let engine = open(&path, old()).await;
    engine.shutdown(SOON).await;
    drop(engine);
    let clear = Engine::builder(&path).open().await;
    assert!(matches!(clear, Err(OpenError::Sealed)));
    let checked = Engine::builder(&path).task(WORK, work).check().await;
    assert!(checked.is_err());
    let other = Engine::builder(&path).payload_codec(new()).open().await;
    assert!(matches!(
        other,
        Err(OpenError::Store(StoreError::KeyMissing { .. }))
    ));
    open(&path, old()).await.shutdown(SOON).await;
}

/// A digest of an input in the clear would tell which of few possible inputs it is.
#[tokio::test]
async fn a_digest_of_an_input_tells_nothing_without_the_files_secret() {
    let directory = tempfile::tempdir().unwrap();
    let mut digests = Vec::new();
    for (name, is_sealed) in [("clear", false), ("sealed", true), ("other", true)] {
        let path = directory.path().join(name);
        let builder = Engine::builder(&path).task(WORK, work);
        let builder = match is_sealed {
            true => builder.payload_codec(old()),
            false => builder,
        };
        let engine = builder.open().await.unwrap();
        for _ in 0..2 {
            // The second is told to be the first by its bytes.
            let start = engine.start(WORK, "pin", &"1234".to_owned());
            start.start_in(SOON * 1_000).await.unwrap();
        }
        engine.shutdown(SOON).await;
        drop(engine);
        let below = RedbStore::open(&path, Default::default(), 9, 0).unwrap();
        let page = below.scan(outlive_storage::Scan::All, None, 1).unwrap();
        let row = below.get(TaskNumber(page.rows[0].task.0)).unwrap().unwrap();
        assert_eq!(row.inputs_accepted, 1);
        digests.push(row.input_digest);
    }
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 3);
}

#[tokio::test]
async fn an_engine_in_memory_works_on_sealed_values_too() {
    let engine = Engine::in_memory().task(WORK, work);
    let engine = engine.payload_codec(old()).open().await.unwrap();
    let output = engine.run(WORK, "a", &said("input")).await.unwrap();
    assert!(output.contains(NEEDLE));
}

/// Keys behind a service that is away for so many calls.
struct Away {
    keys: Keys,
    calls: Arc<AtomicUsize>,
}

impl Away {
    fn call(&self) -> Result<(), CodecError> {
        let left = |calls: usize| calls.checked_sub(1);
        match self
            .calls
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
        {
            Ok(_) => Err(CodecError::Failed {
                message: "no answer".into(),
            }),
            Err(_) => Ok(()),
        }
    }
}

impl PayloadCodec for Away {
    fn seal(&self, at: &Location<'_>, clear: &[u8]) -> Result<Vec<u8>, CodecError> {
        self.call()?;
        self.keys.seal(at, clear)
    }

    fn open(&self, at: &Location<'_>, sealed: &[u8]) -> Result<Vec<u8>, CodecError> {
        self.call()?;
        self.keys.open(at, sealed)
    }

    fn is_current(&self, sealed: &[u8]) -> bool {
        self.keys.is_current(sealed)
    }

    fn chance(&self, out: &mut [u8]) -> Result<(), CodecError> {
        self.keys.chance(out)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_codec_that_fails_for_a_moment_holds_up_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let codec = Away {
        keys: old(),
        calls: Arc::clone(&calls),
    };
    let builder = Engine::builder(directory.path().join("a")).payload_codec(codec);
    let engine = builder.task(WORK, work).open().await.unwrap();
    for number in 0..4 {
        calls.store(number + 1, Ordering::Relaxed);
        let id = format!("work-{number}");
        let output = engine.run(WORK, &id, &said("input")).await.unwrap();
        assert!(output.contains(NEEDLE));
    }
    calls.store(2, Ordering::Relaxed);
    let read = engine.get("work-0").await.unwrap().unwrap();
    assert!(read.output.unwrap().to_string().contains(NEEDLE));
    engine.shutdown(SOON).await;
}
