//! What is shown of a `Secret`: nothing, in logs, errors, panics and explanations.

use super::*;
use outlive::{Ctx, Engine, HandlerError, RetryPolicy, Secret, TaskDef, WaitReason};
use outlive_storage::MemStore;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;

#[derive(Debug, Serialize, Deserialize)]
struct Login {
    user: String,
    password: Secret<String>,
}

/// The same, as a later program has it.
#[derive(Debug, Serialize, Deserialize)]
struct LoginByPin {
    user: String,
    password: Secret<u32>,
}

const LOGIN: TaskDef<Login, Secret<String>> = TaskDef::new("login").retry(RetryPolicy::none());
const LOGIN_BY_PIN: TaskDef<LoginByPin, ()> = TaskDef::new("login");

fn login(user: &str) -> Login {
    Login {
        user: user.to_owned(),
        password: Secret::new(NEEDLE.to_owned()),
    }
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_secret_is_in_no_log_error_panic_or_explanation() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone());
    // Where there is one alone, what other threads come to first is never logged.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _logs = tracing::subscriber::set_default(subscriber.finish());
    let rows = Arc::new(MemStore::new());
    let handler = |_: Ctx, login: Login| async move {
        match &*login.user {
            "panics" => panic!("not a user: {login:?}"),
            "fails" => Err(HandlerError::terminal(format!("no such login: {login:?}"))),
            _ => Ok::<_, HandlerError>(login.password),
        }
    };
    let engine = Engine::on_store(rows.clone()).inline();
    let engine = engine.task(LOGIN, handler).open().await.unwrap();
    let output = engine.run(LOGIN, "ada", &login("ada")).await.unwrap();
    assert_eq!(output.expose(), NEEDLE);
    let mut shown = format!("{output:?}");
    for user in ["panics", "fails"] {
        let error = engine.run(LOGIN, user, &login(user)).await.unwrap_err();
        shown += &format!("{error} {error:?} {:?}", engine.get(user).await.unwrap());
    }
    let start = engine.start(LOGIN, "later", &login("later"));
    start.start_in(SOON).await.unwrap();
    engine.shutdown(SOON).await;
    drop(engine);
    let handler = |_: Ctx, _: LoginByPin| async move { Ok::<_, HandlerError>(()) };
    let engine = Engine::on_store(rows).inline().task(LOGIN_BY_PIN, handler);
    let engine = engine.open().await.unwrap();
    tokio::time::pause();
    // It is due in a moment of the paused clock, and nobody answers for a task that is put aside.
    let run = engine.attach(LOGIN_BY_PIN, "later").await.unwrap();
    let parked = tokio::time::timeout(SOON * 10, run.result()).await;
    let explained = engine.explain("later").await.unwrap().unwrap();
    let found = engine.get("later").await.unwrap().unwrap();
    assert!(matches!(found.wait, Some(WaitReason::Undecodable { .. })));
    shown += &format!("{parked:?} {explained:?} {found:?}");
    assert!(shown.contains("Secret(***)"), "{shown}");
    assert!(!shown.contains(NEEDLE), "{shown}");
    engine.shutdown(SOON).await;
    let logged = String::from_utf8_lossy(&log.0.lock()).into_owned();
    assert!(!logged.is_empty() && !logged.contains(NEEDLE), "{logged}");
}

#[test]
fn a_secret_is_stored_as_what_is_in_it() {
    let json = serde_json::to_string(&login("ada")).unwrap();
    assert!(json.contains(NEEDLE));
    let read: Login = serde_json::from_str(&json).unwrap();
    assert_eq!(read.password.expose(), NEEDLE);
    assert_eq!(format!("{}", read.password), "***");
    let error = serde_json::from_str::<LoginByPin>(&json).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(NEEDLE));
}
