//! Another process that runs one test of the same program, does as it is told, and can be killed.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

const PATH: &str = "OUTLIVE_CHILD_PATH";
/// What it says begins with this, so that the words of the test's own runner are told apart.
const MARK: char = '@';

/// How often a program that was just copied is tried.
const BUSY_MAX: usize = 1000;

/// Runs it. A copy is busy for as long as a process that another test forked in the meantime has not yet let go of it.
fn spawned(command: &mut Command) -> Child {
    for _ in 0..BUSY_MAX {
        match command.spawn() {
            Err(busy) if busy.kind() == io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            spawned => return spawned.expect("a process"),
        }
    }
    panic!("the copy of the program stays busy");
}

/// A process and what it says.
#[derive(Debug)]
pub struct Other {
    process: Child,
    says: BufReader<ChildStdout>,
}

impl Other {
    /// Runs the test of this name, which finds `path` with [`path`].
    ///
    /// # Panics
    /// When there is no process to be had.
    pub fn test(name: &str, path: &Path) -> Other {
        Other::run(Command::new(this_program()), name, path)
    }

    /// As [`Other::test`], as a user without rights, by a copy of the program beside `path`.
    ///
    /// # Panics
    /// When there is no process to be had.
    #[cfg(unix)]
    pub fn test_as_nobody(name: &str, path: &Path) -> Other {
        use std::os::unix::process::CommandExt;
        const NOBODY: u32 = 65_534;
        // The program may lie where nobody else may look.
        let program = path.with_extension("program");
        std::fs::copy(this_program(), &program).expect("a copy of the program");
        let mut command = Command::new(program);
        if rustix::process::geteuid().is_root() {
            command.gid(NOBODY).uid(NOBODY);
        }
        Other::run(command, name, path)
    }

    /// As [`Other::test`], run by another program, which is given the test's own and its arguments as its last ones.
    ///
    /// # Panics
    /// When there is no process to be had.
    pub fn test_by(by: &[&str], name: &str, path: &Path) -> Other {
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).arg(this_program());
        Other::run(command, name, path)
    }

    fn run(mut command: Command, name: &str, path: &Path) -> Other {
        command
            .args(["--exact", name, "--nocapture"])
            .env(PATH, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = spawned(&mut command);
        let says = BufReader::new(process.stdout.take().expect("its output"));
        Other { process, says }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next thing it says; `None` when it has nothing more to say.
    ///
    /// # Panics
    /// When it cannot be heard.
    pub fn word(&mut self) -> Option<String> {
        let lines = self.says.by_ref().lines();
        lines
            .map(|line| line.expect("its output"))
            .find_map(|line| line.strip_prefix(MARK).map(str::to_owned))
    }

    /// Lets [`wait_for_go`] return there.
    ///
    /// # Panics
    /// When it has gone.
    pub fn go(&mut self) {
        let stdin = self.process.stdin.as_mut().expect("its input");
        stdin.write_all(b"!").expect("it listens");
    }

    /// Kills it as the system would: nothing of it runs any more.
    ///
    /// # Panics
    /// When it has gone already.
    pub fn kill(mut self) {
        self.process.kill().expect("it lives");
        self.process.wait().expect("it ends");
    }

    /// How it ended by itself, having nothing more to say.
    ///
    /// # Panics
    /// When nothing is known of it.
    pub fn died(mut self) -> ExitStatus {
        self.process.wait().expect("it ends")
    }

    /// Lets [`wait_for_end`] return there, and waits for its own end.
    ///
    /// # Panics
    /// When it ends badly.
    pub fn end(mut self) {
        drop(self.process.stdin.take());
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "the other process: {status}");
    }
}

fn this_program() -> PathBuf {
    std::env::current_exe().expect("the program's own path")
}

/// In the other process: what it was given. `None` where its test runs as a test of its own.
pub fn path() -> Option<PathBuf> {
    std::env::var_os(PATH).map(PathBuf::from)
}

/// In the other process: says something.
///
/// # Panics
/// When nobody listens.
pub fn say(word: &str) {
    let mut out = io::stdout().lock();
    // The runner has left its own line open.
    writeln!(out, "\n{MARK}{word}").expect("somebody listens");
    out.flush().expect("somebody listens");
}

/// In the other process: waits to be let go; `false` when it shall end instead.
pub fn wait_for_go() -> bool {
    io::stdin().read_exact(&mut [0]).is_ok()
}

/// In the other process: waits until it may end.
pub fn wait_for_end() {
    // An input that fails has ended as well.
    let _ = io::stdin().read_to_end(&mut Vec::new());
}
