//! Two processes and one path: one runs, the other learns who; a killed creator leaves nothing in the way.

#![cfg(all(unix, feature = "redb"))]

use outlive_storage::redb::{OpenError, RedbOptions, RedbStore};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PATH: &str = "OUTLIVE_CHILD_PATH";

fn rounds() -> u32 {
    std::env::var("OUTLIVE_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(20)
}

/// Not a test of its own: the other process. Opens when told to, says what came of it, and ends when its input does.
#[test]
fn child() {
    let Some(path) = std::env::var_os(PATH) else {
        return;
    };
    let mut stdin = std::io::stdin();
    println!("\n@ready");
    stdin.read_exact(&mut [0]).unwrap();
    let instance = u128::from(std::process::id());
    let opened = RedbStore::open(path, RedbOptions::default(), instance, 0);
    match &opened {
        Ok(_) => println!("\n@running"),
        Err(OpenError::AlreadyRunning { pid, .. }) => {
            println!("\n@refused by {}", pid.unwrap_or(0))
        }
        Err(other) => println!("\n@failed {other:?}"),
    }
    let _ = stdin.read_to_end(&mut Vec::new());
}

/// A child process and what it says.
struct Other {
    process: Child,
    says: BufReader<std::process::ChildStdout>,
}

impl Other {
    fn ready(path: &Path) -> Other {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(PATH, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        let mut other = Other { process, says };
        assert_eq!(other.word(), "ready");
        other
    }

    fn go(&mut self) {
        self.process
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"!")
            .unwrap();
    }

    /// The next thing it says.
    fn word(&mut self) -> String {
        for line in self.says.by_ref().lines() {
            if let Some(word) = line.unwrap().strip_prefix('@') {
                return word.to_owned();
            }
        }
        "nothing more".to_owned()
    }

    fn end(mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

#[test]
fn of_two_first_starts_exactly_one_runs_and_the_other_learns_its_process() {
    for round in 0..rounds() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tasks.redb");
        let (mut a, mut b) = (Other::ready(&path), Other::ready(&path));
        a.go();
        b.go();
        let words = [a.word(), b.word()];
        let refused = |by: &Other| format!("refused by {}", by.process.id());
        let right = words == ["running".to_owned(), refused(&a)]
            || words == [refused(&b), "running".to_owned()];
        assert!(
            right,
            "round {round}: {words:?} of {} and {}",
            a.process.id(),
            b.process.id()
        );
        a.end();
        b.end();
    }
}

#[test]
fn a_kill_while_the_file_is_created_leaves_a_path_that_opens() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..rounds() {
        let path = directory.path().join(format!("{round}.redb"));
        let mut other = Other::ready(&path);
        other.go();
        // Different lengths of life, from none to about the time a creation takes.
        for _ in 0..round * 400 {
            std::thread::yield_now();
        }
        other.process.kill().unwrap();
        other.process.wait().unwrap();
        let store = RedbStore::open(&path, RedbOptions::default(), 1, 0);
        assert!(store.is_ok(), "round {round}: {store:?}");
    }
    let names = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let leftovers = names
        .filter(|name| name.to_string_lossy().ends_with(".tmp"))
        .count();
    assert_eq!(leftovers, 0);
}
