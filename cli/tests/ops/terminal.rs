//! The live view, in a terminal that tmux keeps.

use crate::the::{directory, filled, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What does not appear within this never will.
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal of its own, with a server of its own.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// `None` where there is no tmux, which is said.
    fn open(directory: &Path, command: &str) -> Option<Terminal> {
        let terminal = Terminal {
            socket: directory.join("tmux"),
        };
        let begun = terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "140",
            "-y",
            "30",
            command,
        ]);
        if begun.is_none() {
            println!("not tried: there is no tmux");
        }
        begun.map(|_| terminal)
    }

    fn tmux(&self, args: &[&str]) -> Option<String> {
        let mut tmux = Command::new("tmux");
        let output = tmux.arg("-S").arg(&self.socket).args(args).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).unwrap_or_default()
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Waits until the screen is as it must be.
    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let patience = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(Instant::now() < patience, "not {what}:\n{screen}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// The command of the view on a file, and what is printed when it is over.
fn command(directory: &Path, store: &Path) -> String {
    let top = format!(
        "exec {} --store {} top",
        env!("CARGO_BIN_EXE_outlive"),
        store.display()
    );
    let pid = directory.join("pid");
    format!(
        "sh -c 'sh -c \"echo \\$\\$ > {}; {top}\"; echo ended $?; stty -a; exec cat'",
        pid.display()
    )
}

/// Whether the terminal is one in which people type again.
fn is_given_back(screen: &str) -> bool {
    screen.contains("ended 0") && screen.contains(" icanon") && screen.contains(" echo ")
}

#[test]
fn the_view_shows_filters_explains_and_gives_the_terminal_back() {
    let directory = directory();
    let store = directory.path().join("tasks.redb");
    filled(&store, 3);
    let Some(terminal) = Terminal::open(directory.path(), &command(directory.path(), &store))
    else {
        return;
    };
    let screen = terminal.until("all tasks", |screen| screen.contains("later-00002"));
    assert!(
        screen.contains("3 pending") && screen.contains("5 ended"),
        "{screen}"
    );
    terminal.press(&["/", "e", "n", "d", "e", "d", "-", "3", "Enter"]);
    terminal.until("one task", |screen| {
        screen.contains("ended-3")
            && !screen.contains("later-00002")
            && screen.contains("filter: ended-3")
    });
    terminal.press(&["Enter"]);
    terminal.until("an explanation", |screen| {
        screen.contains("explain") && screen.contains("┌")
    });
    terminal.press(&["Escape"]);
    terminal.until("no explanation", |screen| !screen.contains("┌"));
    terminal.press(&["Escape"]);
    terminal.until("all tasks again", |screen| screen.contains("later-00002"));
    terminal.press(&["q"]);
    terminal.until("given back", is_given_back);
}

#[test]
fn a_view_that_is_told_to_stop_gives_the_terminal_back() {
    let directory = directory();
    let store = directory.path().join("tasks.redb");
    filled(&store, 1);
    let Some(terminal) = Terminal::open(directory.path(), &command(directory.path(), &store))
    else {
        return;
    };
    terminal.until("the task", |screen| screen.contains("later-00000"));
    let pid = std::fs::read_to_string(directory.path().join("pid")).expect("its process");
    let killed = Command::new("kill").args(["-TERM", pid.trim()]).status();
    assert!(killed.expect("a signal").success());
    terminal.until("given back", is_given_back);
}

#[test]
fn without_a_terminal_there_is_no_view() {
    let (code, out, err) = run(&["top"]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
}
