//! The server as a process: its settings, and its end.

use outlive::Engine;
use outlive_server::{Listen, Origin, Settings, SettingsError, serve};
use outlive_tests::play::{PLAY, Play};
use outlive_tests::process::{self, Other};
use std::collections::BTreeMap;
use std::path::Path;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn resolved(
    flags: &[(&str, &str)],
    environment: &[(&str, &str)],
) -> Result<Settings, SettingsError> {
    let environment: BTreeMap<_, _> = environment.iter().copied().collect();
    let flags = flags.iter().copied();
    Settings::resolve_with(flags, |name| {
        environment.get(name).map(|value| (*value).to_owned())
    })
}

#[test]
fn a_flag_comes_before_the_environment_before_a_file_before_the_default() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("server.conf");
    std::fs::write(
        &file,
        "# of this machine\ngrace = 3\nstreams = 4\n\nhosts = a, b\n",
    )
    .unwrap();
    let config = file.to_str().unwrap();
    let settings = resolved(
        &[("grace", "1"), ("config", config)],
        &[
            ("OUTLIVE_GRACE", "2"),
            ("OUTLIVE_STREAMS", "5"),
            ("OUTLIVE_TOKEN", SECRET),
        ],
    );
    let settings = settings.unwrap();
    assert_eq!(
        (settings.grace.value.as_secs(), &settings.grace.origin),
        (1, &Origin::Flag)
    );
    let environment = Origin::Environment("OUTLIVE_STREAMS".to_owned());
    assert_eq!(
        (settings.streams.value, &settings.streams.origin),
        (5, &environment)
    );
    assert_eq!(
        (&settings.hosts.value, &settings.hosts.origin),
        (
            &vec!["a".to_owned(), "b".to_owned()],
            &Origin::File(file.clone())
        )
    );
    assert_eq!(
        (settings.connections.value, &settings.connections.origin),
        (256, &Origin::Default)
    );
    let shown = settings.to_string();
    for line in [
        "grace = 1 (flag)",
        "streams = 5 (OUTLIVE_STREAMS)",
        &format!("hosts = a,b ({config})"),
        "connections = 256 (default)",
        "token = (set) (OUTLIVE_TOKEN)",
        "listen = 127.0.0.1:7420,[::1]:7420 (default)",
    ] {
        assert!(
            shown.lines().any(|shown| shown == line),
            "{line} is not in:\n{shown}"
        );
    }
    assert!(!shown.contains(SECRET) && !format!("{settings:?}").contains(SECRET));
}

#[test]
fn a_setting_that_is_none_or_lies_open_is_refused() {
    let unknown = resolved(&[("liste", "x")], &[]).unwrap_err();
    assert!(matches!(unknown, SettingsError::Unknown { .. }));
    for (name, value) in [
        ("listen", "everywhere"),
        ("listen", "unix:"),
        ("listen", ""),
        ("grace", "soon"),
    ] {
        let invalid = resolved(&[(name, value)], &[]).unwrap_err();
        assert!(
            matches!(invalid, SettingsError::Invalid { .. }),
            "{name} {value}"
        );
    }
    let exposed = resolved(&[("token", SECRET)], &[]).unwrap_err();
    assert!(matches!(&exposed, SettingsError::Exposed { .. }));
    assert!(!exposed.to_string().contains(SECRET));
    let short = resolved(&[], &[("OUTLIVE_TOKEN", "guessable")]).unwrap_err();
    assert!(
        matches!(&short, SettingsError::Invalid { .. }) && !short.to_string().contains("guessable")
    );
    let none = resolved(&[("config", "/none/such")], &[]).unwrap_err();
    assert!(matches!(none, SettingsError::File { .. }));
    let both = resolved(&[("listen", "localhost:0, unix:/run/outlive/socket")], &[]).unwrap();
    assert_eq!(both.listen.value.len(), 3);
    assert_eq!(
        both.listen.value[2],
        Listen::Unix("/run/outlive/socket".into())
    );
}

/// In a process of its own: serves until it is told to end.
#[tokio::test]
async fn a_process_that_serves() {
    let Some(directory) = process::path() else {
        return;
    };
    let play = Play::default();
    let builder = Engine::builder(directory.join("tasks.redb")).task(PLAY.remote(), play.handler());
    let engine = builder.open().await.expect("the engine opens");
    let socket = format!("unix:{}", directory.join("inner/socket").display());
    let settings = resolved(&[("listen", &socket), ("grace", "30")], &[]).unwrap();
    tokio::spawn({
        let directory = directory.clone();
        async move {
            while !directory.join("inner/socket").exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            process::say("serves");
        }
    });
    let report = serve(engine, &settings).await.expect("it serves");
    assert_eq!(report.still_running, 0);
    process::say("ended");
}

/// What the server answers to a request over its socket.
fn asked(directory: &Path, request: &str) -> String {
    use std::io::{Read, Write};
    let stream = std::os::unix::net::UnixStream::connect(directory.join("inner/socket"));
    let mut stream = stream.expect("it listens");
    write!(stream, "{request}").expect("it takes it");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

fn post(path: &str, body: &str) -> String {
    let head = "host: localhost\r\nconnection: close\r\ncontent-type: application/json";
    format!(
        "POST {path} HTTP/1.1\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn signal(other: &Other) {
    let pid = rustix::process::Pid::from_raw(other.id() as i32).expect("an id");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut other = Other::test("serve::a_process_that_serves", directory.path());
    assert_eq!(other.word().as_deref(), Some("serves"));
    let started = asked(
        directory.path(),
        &post(
            "/v1/tasks",
            r#"{"task": "play", "task_id": "a", "input": {"Say": "x"}}"#,
        ),
    );
    assert!(started.starts_with("HTTP/1.1 202"), "{started}");
    signal(&other);
    assert_eq!(other.word().as_deref(), Some("ended"));
    assert!(other.died().success());
    assert!(!directory.path().join("inner/socket").exists());
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_it_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut other = Other::test("serve::a_process_that_serves", directory.path());
    assert_eq!(other.word().as_deref(), Some("serves"));
    let held = r#"{"task": "play", "task_id": "a", "input": {"Held": {"Say": "x"}}}"#;
    assert!(asked(directory.path(), &post("/v1/tasks", held)).starts_with("HTTP/1.1 202"));
    signal(&other);
    // It waits for the handler, and says so, until the second one comes.
    let ready = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    while !asked(directory.path(), ready).starts_with("HTTP/1.1 503") {}
    signal(&other);
    assert_eq!(other.died().code(), Some(130));
}
