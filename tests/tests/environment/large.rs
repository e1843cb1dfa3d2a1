//! What is far too large is refused, and is not written out in memory before it is.

use outlive::{Ctx, EmitError, Engine, FailureKind, HandlerError, ResultError, RunError, TaskDef};
use outlive_tests::process::{self, Other};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

const LARGE: TaskDef<u64, Repeated> = TaskDef::new("large");
const EMITS: TaskDef<u64, bool, Repeated> = TaskDef::new("emits");
const MIB: u64 = 1 << 20;
/// What a refusal may take: a value up to the limit, twice while it grows, and whatever else the process does.
const TAKEN_MAX: u64 = 40 * MIB;

/// A text of a mebibyte, so often, although it takes one in memory.
struct Repeated(u64);

impl Serialize for Repeated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = "x".repeat(MIB as usize);
        let mut items = serializer.serialize_seq(None)?;
        (0..self.0).try_for_each(|_| items.serialize_element(&text))?;
        items.end()
    }
}

impl<'de> serde::Deserialize<'de> for Repeated {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Repeated, D::Error> {
        let items = Vec::<String>::deserialize(deserializer)?;
        Ok(Repeated(items.len() as u64))
    }
}

/// The most memory this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.unwrap().parse::<u64>().unwrap() * 1024
}

/// Not a test of its own: a process whose memory nobody else uses.
#[tokio::test]
async fn child() {
    let Some(path) = process::path() else {
        return;
    };
    let mebibytes = mebibytes();
    let builder = Engine::builder(path)
        .task(LARGE, |_: Ctx, n| async move {
            Ok::<_, HandlerError>(Repeated(n))
        })
        .task(EMITS, |ctx: Ctx<Repeated>, n| async move {
            let refused = ctx.emit(Repeated(n)).await;
            Ok::<_, HandlerError>(
                matches!(refused, Err(EmitError::TooLarge { size, .. }) if size > n * MIB),
            )
        });
    let engine = builder.open().await.unwrap();
    let before = peak();
    let output = engine.run(LARGE, "a", &mebibytes).await;
    let Err(RunError::Result(ResultError::Failed(failure))) = output else {
        panic!("it is refused");
    };
    assert_eq!(failure.kind, FailureKind::Output);
    assert_eq!(failure.attempts, 1, "no attempt makes it smaller");
    assert!(engine.run(EMITS, "b", &mebibytes).await.unwrap());
    let taken = peak() - before;
    assert!(engine.run(LARGE, "c", &2).await.is_ok());
    process::say(&taken.to_string());
}

/// `OUTLIVE_OUTPUT_MIB` says how many mebibytes (128).
fn mebibytes() -> u64 {
    std::env::var("OUTLIVE_OUTPUT_MIB").map_or(128, |mebibytes| mebibytes.parse().unwrap())
}

/// An output of a gigabyte was once written out whole, in a buffer that grew by doubling, to be refused then.
#[test]
fn an_output_and_an_item_of_gigabytes_are_refused_and_take_no_memory() {
    let directory = tempfile::tempdir().unwrap();
    let mut other = Other::test("large::child", &directory.path().join("tasks.redb"));
    let taken: u64 = other.word().expect("it is refused").parse().unwrap();
    other.end();
    println!(
        "{} MiB refused in {} MiB of memory",
        mebibytes(),
        taken / MIB
    );
    assert!(taken < TAKEN_MAX, "{taken}");
}
