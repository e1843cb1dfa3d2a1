//! Every example runs to its end by itself, as a program of its own, and shows what it is there to show.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, SystemTime};

/// An example takes seconds; one that takes so long will not end.
const PATIENCE: Duration = Duration::from_secs(120);

/// The examples with a test below.
const RUN_HERE: [&str; 18] = [
    "approval",
    "ask",
    "benchmark_run",
    "cancel_timeout",
    "chat",
    "crash_test",
    "hello",
    "http",
    "list_and_explain",
    "payment",
    "provenance",
    "retry",
    "sink",
    "sleep_reminder",
    "steer",
    "steps",
    "stream",
    "survive",
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The directory of the profile this test was built in: it has the tests' programs in `deps`, and the examples in
/// `examples`.
fn profile() -> PathBuf {
    let this = std::env::current_exe().expect("the program's own path");
    let profile = this
        .ancestors()
        .nth(2)
        .expect("the programs of tests lie in deps");
    profile.to_owned()
}

fn program(example: &str) -> PathBuf {
    let name = format!("{example}{}", std::env::consts::EXE_SUFFIX);
    profile().join("examples").join(name)
}

/// Whether the example was built from the sources as they are now. A test of one package alone builds none, and the
/// one that lies there may be that of last week.
fn is_built(example: &str) -> bool {
    let program = program(example);
    let built = changed(&program);
    // The sources, as the compiler has written them down: `program: source source ...`, with `\ ` for a space.
    let sources = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let Some((_, sources)) = sources.split_once(": ") else {
        return false;
    };
    let sources = sources.trim().replace("\\ ", "\0");
    let older = |source: &str| changed(Path::new(&source.replace('\0', " "))) <= built;
    built.is_some() && sources.split(' ').all(older)
}

/// When a file was changed; nothing if there is none.
fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}

/// Sees to it that all examples are built, once for all tests. With a test of the whole workspace they are already.
fn build() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        if RUN_HERE.into_iter().all(is_built) {
            return;
        }
        let profile = profile();
        let target = profile
            .parent()
            .expect("a profile lies in the target directory");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "-p", "outlive-examples", "--examples"]);
        cargo.arg("--target-dir").arg(target);
        if profile.file_name() == Some(OsStr::new("release")) {
            cargo.arg("--release");
        }
        let status = cargo.current_dir(root()).status().expect("cargo runs");
        assert!(status.success(), "the examples do not compile: {status}");
    });
}

/// Ends the process however the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Of a process that is gone already there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the example in a directory of its own, and requires that it ends well and says each of `lines`, in this order.
#[track_caller]
fn shows(example: &str, args: &[&str], lines: &[&str]) {
    assert!(RUN_HERE.contains(&example) && !lines.is_empty());
    build();
    let directory = tempfile::tempdir().expect("a directory");
    let said = run(example, args, directory.path());
    expect_lines(example, &said, lines);
}

#[track_caller]
fn expect_lines(example: &str, said: &str, lines: &[&str]) {
    let mut rest = said;
    for line in lines {
        let Some(at) = rest.find(line) else {
            panic!("{example} does not say {line:?} where it should:\n{said}");
        };
        rest = &rest[at + line.len()..];
    }
}

/// What it says on its standard output.
#[track_caller]
fn run(example: &str, args: &[&str], directory: &Path) -> String {
    let stderr = directory.join("stderr.txt");
    let spawned = Command::new(program(example))
        .args(args)
        .current_dir(directory)
        .env_remove("RUST_LOG")
        .env_remove("OUTLIVE_SESSION")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&stderr).expect("a file"))
        .spawn();
    let mut running = Running(spawned.expect("the example was built"));
    let mut stdout = running.0.stdout.take().expect("its output");
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || {
        let mut said = String::new();
        let read = stdout.read_to_string(&mut said).map(|_| said);
        // A test that has given up does not listen any more.
        let _ = sender.send(read);
    });
    let said = match ended.recv_timeout(PATIENCE) {
        Ok(said) => said.expect("its output is text"),
        Err(RecvTimeoutError::Timeout) => panic!("{example} does not end"),
        Err(RecvTimeoutError::Disconnected) => panic!("nobody listened to {example}"),
    };
    let status = running.0.wait().expect("it ends");
    let erred = fs::read_to_string(&stderr).unwrap_or_default();
    assert!(status.success(), "{example}: {status}\n{said}\n{erred}");
    said
}

#[test]
fn every_example_is_run_here() {
    let manifest = root().join("examples/Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("the manifest of the examples");
    let declared = manifest.split("[[example]]").skip(1).map(|example| {
        let name = example.split('"').nth(1);
        name.expect("an example has a name")
    });
    assert_eq!(declared.collect::<BTreeSet<_>>(), BTreeSet::from(RUN_HERE));
}

#[test]
#[should_panic(expected = "does not say")]
fn an_example_that_does_not_say_its_line_is_found_out() {
    expect_lines("any", "one\ntwo\n", &["two", "one"]);
}

#[test]
fn hello_greets_and_the_second_time_nothing_runs() {
    build();
    let directory = tempfile::tempdir().expect("a directory");
    let first = run("hello", &[], directory.path());
    assert_eq!(first, "greet-world: Fresh\nhello, world\n");
    let second = run("hello", &[], directory.path());
    assert_eq!(second, "hello, world\n");
}

#[test]
fn retry_gets_through_and_keeps_the_time_of_its_back_off() {
    let lines = [
        "oslo: attempt 3, because the line is down",
        "sunny in Oslo, at the third attempt",
        "failed at once: the line is down",
        "sunny in Rome, after 300 ms",
        "nowhere: that is not a city (1 attempt)",
        "atlantis: there is no such city (1 attempt)",
        "sunny in Lima, in run 2; run 1 is history",
        "opened again: it is still pending, and due when it was",
        "sunny in Cairo",
    ];
    shows("retry", &[], &lines);
}

#[test]
fn approval_waits_through_restarts_for_a_decision() {
    let lines = [
        "monday:",
        "mail 1 (request): pay 2500 cents back for 17?",
        "tuesday:",
        "r-1 is suspended and waits for a decision",
        "mail 2 (reminder): pay 2500 cents back for 17?",
        "r-3 is cancelled: the customer keeps it",
        "thursday:",
        "paid under the key r-1/decision",
        "r-1: a second decision is refused, the task is completed",
        "r-2: Declined { by: \"ada\" }",
    ];
    shows("approval", &[], &lines);
}

#[test]
fn chat_has_each_turn_once_in_its_transcript() {
    let lines = [
        "(turn 2 is entered again)",
        "turn 2: \"what did I say?\" -> \"you said \\\"hello\\\"\"",
        "turn 3: \"think hard\" -> \"hm, go on\" (and at once the next message)",
        "turn 5: \"what did I say?\" -> \"you said \\\"about rain\\\"\"",
        "turn 6: \"bye\"",
        "the transcript has each of 6 turns once",
    ];
    shows("chat", &[], &lines);
}

#[test]
fn cancel_timeout_shows_each_of_the_five_causes() {
    let lines = [
        "told: cancel requested (enough)",
        "it agrees, and has no result: not needed any more",
        "told: time-out",
        "it pays no heed, and is dropped when the grace is over",
        "told: steered",
        "terminated, without asking the handler:",
        "told: lease lost",
        "told: shutdown",
        "no page was lost, and no attempt was charged",
    ];
    shows("cancel_timeout", &[], &lines);
}

#[test]
fn provenance_finds_tasks_by_session_owner_and_tag() {
    let lines = [
        "owner night-desk, session Some(\"monday-extra\")",
        "source Source { kind: \"outlive.task\", name: \"write-article\"",
        "x-2 was not started",
        "of the session monday: n-2, n-1",
        "of the day desk: d-1",
        "about the weather: d-1, n-1",
    ];
    shows("provenance", &[], &lines);
}

#[test]
fn list_and_explain_tells_of_each_state_what_would_release_it() {
    let lines = [
        "pending: tonight, in-line, jammed, fax",
        "in_progress: printing",
        "suspended: question",
        "completed: given-up, torn, printed",
        "7 print tasks on 3 pages",
        "question: It waits for a further input",
        "in-line: It is due, and 1 of the 1 tasks",
        "jammed: Attempt 1 of 2 failed",
        "fax: No program with a handler",
        "the page in line was printed",
    ];
    shows("list_and_explain", &[], &lines);
}

#[test]
fn benchmark_run_has_the_same_results_whatever_the_kills() {
    let lines = [
        "undisturbed:",
        "47 cases met infrastructure errors; 14 of them were run a second time",
        "kill 1: ",
        "results identical, 239 questions answered, each of them once",
        "nothing was asked again",
        "all 239 questions were asked anew",
    ];
    shows("benchmark_run", &[], &lines);
}

#[test]
fn steer_answers_every_word_whatever_the_kills() {
    let directory = root().join("engine/src");
    let directory = directory.to_str().expect("a path of text");
    let lines = [
        "you: read",
        "it takes \"focus outlive\"",
        "(killed after file 4)",
        "(entered turn 1 again)",
        "you: how far",
        "agent, turn 1: so far: ",
        "agent, turn 2: ",
        "agent, turn 3: ",
        "of 40 files, ",
        "agent, turn 5: bye",
        "killed 2 times; 6 words accepted, each answered once",
    ];
    shows("steer", &[directory, "--script"], &lines);
}

#[test]
fn stream_is_one_sequence_through_a_kill() {
    let lines = [
        "life 1, reading on behind 0:",
        "3 word that",
        "life 2, reading on behind 9:",
        " reset",
        " word a",
        " word died",
        "one sequence over two lives",
    ];
    shows("stream", &[], &lines);
}

#[test]
fn sink_has_every_line_once_through_a_kill() {
    let lines = [
        "life 1, 0 lines through the pipe so far:",
        "life 2, 12 lines through the pipe so far:",
        "lines in the file and through the pipe, each once, over two lives",
    ];
    shows("sink", &[], &lines);
}

#[test]
fn survive_has_the_same_report_whatever_the_kills() {
    let examples = root().join("examples");
    let examples = examples.to_str().expect("a path of text");
    let args = [examples, "--kills", "2", "--seed", "7"];
    shows("survive", &args, &["under SIGKILL", "reports identical"]);
}

#[test]
fn steps_does_each_stage_once_although_it_is_killed_after_each() {
    let lines = [
        "killed after stage 1",
        "killed after stage 12",
        "documents",
        "12 deaths, one after each stage: the same report, each stage's work done once",
    ];
    shows("steps", &[], &lines);
}

#[test]
fn payment_pays_once_although_its_outcome_is_lost() {
    let lines = [
        "2041: the money goes, and the engine stops before the answer comes",
        "somebody looks at the statement, and says so",
        "2042: the money goes, and the engine stops before the answer comes",
        "transfer for 2042",
        "2041: 1200 cents paid, once",
        "2042: 99 cents paid, once",
    ];
    shows("payment", &[], &lines);
}

#[test]
fn ask_deletes_what_was_seen_although_it_is_killed_while_it_waits() {
    let lines = [
        "It waits for the answer to \"may delete\", \"delete 3 files?\".",
        "killed",
        "tidy-up asks: \"delete 3 files?\"",
        "an answer to another question is refused",
        "yes",
        "3 files deleted",
        "what was seen is deleted, and nothing else",
    ];
    shows("ask", &[], &lines);
}

#[test]
fn sleep_reminder_rings_each_once_through_two_kills() {
    let lines = [
        "3 reminders sleep",
        "killed",
        "tea rang",
        "killed",
        "call-home rang",
        "3 reminders, two kills: each rang once, in order",
    ];
    shows("sleep_reminder", &[], &lines);
}

#[test]
fn crash_test_finds_a_double_payment_and_passes_where_there_is_none() {
    let lines = [
        "a payment outside of a step:",
        "after a crash: 2041 was paid 2 times",
        "engine 1 killed at its commit 4, just before it was applied",
        "2041: succeeded",
        r#"["2041 paid", "2041 paid"]"#,
        "case 0:4-before",
        "a payment in a step, under its key:",
        "5 commits, 10 runs with one crash and 20 with two: all is well",
    ];
    shows("crash_test", &[], &lines);
}

#[test]
fn http_is_driven_from_outside() {
    let lines = [
        "start: 202",
        "steer: 202",
        "answer: 204",
        "result: 200",
        "outline on tides",
        "paper on moons",
        "the server has ended",
    ];
    shows("http", &[], &lines);
}

/// The session with `curl`, on a port that is free.
#[test]
fn the_session_of_the_readme_runs_as_it_stands() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("there is no curl here");
        return;
    }
    build();
    let directory = tempfile::tempdir().expect("a directory");
    let spawned = Command::new(program("http"))
        .arg("serve")
        .current_dir(directory.path())
        .env("OUTLIVE_LISTEN", "127.0.0.1:0")
        .stderr(Stdio::piped())
        .spawn();
    let mut server = Running(spawned.expect("the example was built"));
    let says = BufReader::new(server.0.stderr.take().expect("its words"));
    let mut lines = says.lines().map_while(Result::ok);
    let url = lines.find_map(|line| {
        let url = line.strip_prefix("outlive-server: listening at ")?;
        Some(url.to_owned())
    });
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let from = readme
        .find("url=http://127.0.0.1:7420")
        .expect("the session");
    let length = readme[from..].find("```").expect("its end");
    let session = &readme[from..from + length];
    let session = session.replace("http://127.0.0.1:7420", &url.expect("an address"));
    let ran = Command::new("sh")
        .args(["-ec", &session])
        .output()
        .expect("sh runs");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}");
    let lines = [
        r#""accepted":"started""#,
        r#""accepted":"queued""#,
        r#""kind":"succeeded""#,
        "data: {\"sequence\":1,",
        "outline on tides",
        "paper on moons",
        "event: end",
    ];
    expect_lines("the session", &said, &lines);
}
