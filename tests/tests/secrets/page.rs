//! The example of `docs/secrets.md`, which is compiled and run here, word by word.

use super::*;
use outlive::{Ctx, Engine, HandlerError, OpenError, Secret, TaskDef, store};
use std::error::Error;
use std::path::Path;

const PAGE: &str = include_str!("../../../docs/secrets.md");

// The example begins here.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Login {
    user: String,
    password: Secret<String>,
}

const SYNC: TaskDef<Login, usize> = TaskDef::new("sync");

async fn sync(_ctx: Ctx, login: Login) -> Result<usize, HandlerError> {
    println!("{login:?}"); // Login { user: "ada", password: Secret(***) }
    Ok(login.password.expose().len())
}

async fn open(path: &Path, keys: Keys) -> Result<Engine, OpenError> {
    let builder = Engine::builder(path).task(SYNC, sync);
    builder.payload_codec(keys).open().await
}

/// No engine is on the file.
fn change_keys(path: &Path, new: &Key, old: &Key) -> Result<(), Box<dyn Error>> {
    let keys = Keys::new(new.clone()).older(old.clone());
    let report = store::reseal(path, keys)?;
    assert!(report.is_whole(), "{:?}", report.unreadable.named());
    store::compact(path)?; // what was sealed under the old key is not in the file any more
    Ok(())
}
// The example ends here.

#[tokio::test]
async fn the_example_of_the_page_runs_as_it_stands() {
    let source = include_str!("page.rs");
    let (_, source) = source
        .split_once("// The example begins here.\n")
        .expect("it begins");
    let (source, _) = source
        .split_once("// The example ends here.")
        .expect("it ends");
    assert!(PAGE.contains(source), "the page shows another example");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let login = Login {
        user: "ada".into(),
        password: NEEDLE.to_owned().into(),
    };
    let engine = open(&path, old()).await.unwrap();
    assert_eq!(engine.run(SYNC, "a", &login).await.unwrap(), NEEDLE.len());
    engine.shutdown(SOON).await;
    drop(engine);
    change_keys(&path, &new_key(), &old_key()).unwrap();
    let engine = open(&path, new()).await.unwrap();
    let snapshot = engine.get("a").await.unwrap().unwrap();
    assert_eq!(snapshot.output, Some(NEEDLE.len().into()));
    engine.shutdown(SOON).await;
}
