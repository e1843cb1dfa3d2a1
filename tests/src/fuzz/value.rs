//! The way of an input from the store to a handler and of its output back: bytes that nobody checked.

use super::Verdict;
use crate::made;
use outlive::{Ctx, Engine, HandlerError, ResultError, Status, TaskDef};
use outlive_storage::MemStore;
use outlive_storage::row::TaskRow;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

/// What a user's input may look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: String,
    lines: Vec<Line>,
    #[serde(default)]
    note: Option<Box<Order>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Line {
    Item {
        name: String,
        price: f64,
        count: u32,
    },
    Discount(i64),
    Nothing,
}

/// Any bytes: which type reads them, and the input.
///
/// # Panics
/// When a handler is given what its type does not read, or is not given what it does.
pub fn value(data: &[u8]) -> Verdict {
    let Some((which, bytes)) = data.split_first() else {
        return Verdict::Refused;
    };
    match which % 8 {
        0 => read_as::<serde_json::Value>(bytes),
        1 => read_as::<String>(bytes),
        2 => read_as::<u64>(bytes),
        3 => read_as::<f64>(bytes),
        4 => read_as::<u128>(bytes),
        5 => read_as::<Vec<Option<i8>>>(bytes),
        6 => read_as::<BTreeMap<String, serde_json::Value>>(bytes),
        _ => read_as::<Order>(bytes),
    }
}

fn read_as<T>(bytes: &[u8]) -> Verdict
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Send + Sync + 'static,
{
    static TEMPLATE: OnceLock<TaskRow> = OnceLock::new();
    let template = TEMPLATE.get_or_init(made::template);
    let expected: Option<T> = serde_json::from_slice(bytes).ok();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let def: TaskDef<T, T> = TaskDef::new("value");
        let store = Arc::new(MemStore::new());
        made::due(&*store, template, def.name(), bytes);
        let echo = |_: Ctx, input: T| async move { Ok::<_, HandlerError>(input) };
        let builder = Engine::on_store(store).inline().task(def, echo);
        let engine = builder.open().await.expect("it opens");
        let run = engine.attach(def, template.id.as_str());
        let result = run.await.expect("it is there").result().await;
        let seen = engine.get(template.id.as_str()).await;
        let seen = seen.expect("it is read").expect("it is there");
        match (result, expected) {
            (Ok(output), Some(expected)) => {
                assert_eq!(output, expected, "{:?}", String::from_utf8_lossy(bytes));
                assert_eq!(seen.status, Status::Completed);
                Verdict::Accepted
            }
            (Err(ResultError::Undecodable { .. }), None) => {
                // It waits for a program that can read it, and has not failed.
                assert_eq!(seen.status, Status::Suspended);
                Verdict::Refused
            }
            other => panic!("{other:?} of {:?}", String::from_utf8_lossy(bytes)),
        }
    })
}
