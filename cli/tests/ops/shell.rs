//! Completions, as shells ask for them.

use crate::the::{directory, echo, filled, program, run, said};
use outlive::Engine;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A completion that takes so long keeps the shell.
const STUCK: Duration = Duration::from_secs(20);

/// What fish is offered for a line.
fn offered(store: Option<&Path>, words: &[&str]) -> Vec<String> {
    let mut command = program();
    command
        .env("COMPLETE", "fish")
        .arg("--")
        .arg("outlive")
        .args(words);
    if let Some(store) = store {
        command.env("OUTLIVE_STORE", store);
    }
    let (code, out, err) = said(command.output().expect("it runs"));
    assert_eq!(code, 0, "{err}");
    let words = out.lines().filter_map(|line| line.split('\t').next());
    words.map(str::to_owned).collect()
}

#[test]
fn verbs_and_the_ids_that_are_there_are_offered() {
    let directory = directory();
    let path = directory.path().join("tasks.redb");
    filled(&path, 3);
    let before = std::fs::read(&path).unwrap();
    assert!(offered(None, &["st"]).contains(&"store".to_owned()));
    assert!(offered(None, &["store", "s"]).contains(&"salvage".to_owned()));
    let later: Vec<String> = (0..3).map(|n| format!("later-{n:05}")).collect();
    assert_eq!(offered(Some(&path), &["show", "later"]), later);
    assert_eq!(offered(Some(&path), &["explain", "ended-4"]), ["ended-4"]);
    assert_eq!(offered(Some(&path), &["show", "nothing-so"]), [""; 0]);
    let named = ["--store", path.to_str().unwrap(), "show", "ended-1"];
    assert_eq!(offered(None, &named), ["ended-1"]);
    assert_eq!(
        std::fs::read(&path).unwrap(),
        before,
        "the file is not changed"
    );
}

#[test]
fn a_live_file_is_not_opened_for_a_completion() {
    let directory = directory();
    let path = directory.path().join("tasks.redb");
    filled(&path, 3);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = runtime.block_on(async { echo(Engine::builder(&path)).open().await.unwrap() });
    assert_eq!(offered(Some(&path), &["show", "later"]), [""; 0]);
    let input = "goes on".to_owned();
    let ran = runtime.block_on(async { engine.run(crate::the::ECHO, "after", &input).await });
    assert_eq!(ran.unwrap(), input);
    runtime.block_on(engine.shutdown(Duration::ZERO));
}

#[test]
fn a_server_that_does_not_answer_does_not_keep_the_shell() {
    let directory = directory();
    let socket = directory.path().join("socket");
    // Connections are taken in by the system, and never by anybody here.
    let _listener = UnixListener::bind(&socket).unwrap();
    let mut command = program();
    command
        .env("COMPLETE", "fish")
        .env("OUTLIVE_URL", format!("unix:{}", socket.display()))
        .args(["--", "outlive", "show", "a"])
        .stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let stuck = Instant::now() + STUCK;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > stuck => {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("it keeps the shell");
            }
            None => std::thread::yield_now(),
        }
    };
    assert!(status.success());
}

#[test]
fn bash_takes_the_script_and_completes_by_it() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, err) = run(&["completions", shell]);
        assert!(
            code == 0 && script.contains("COMPLETE"),
            "{shell}: {script}{err}"
        );
    }
    let directory = directory();
    let path = directory.path().join("tasks.redb");
    filled(&path, 2);
    let line = "source <(outlive completions bash) && COMP_WORDS=(outlive show later-00001) && COMP_CWORD=2 && \
                _clap_complete_outlive outlive later-00001 show && printf '%s\\n' \"${COMPREPLY[@]}\"";
    let bin = Path::new(env!("CARGO_BIN_EXE_outlive")).parent().unwrap();
    let bin = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-c", line])
        .env("PATH", bin)
        .env("OUTLIVE_STORE", &path);
    match bash.output() {
        Ok(output) => {
            let (code, out, err) = said(output);
            assert_eq!((code, out.trim()), (0, "later-00001"), "{err}");
        }
        Err(error) => println!("not tried in bash: {error}"),
    }
}
