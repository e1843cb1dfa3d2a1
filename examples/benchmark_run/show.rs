//! Shows that kills change nothing: the same run undisturbed, and killed several times; then once more, and with
//! another model.

use crate::Failure;
use crate::case;
use crate::ledger;
use crate::run::Job;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const KILLS: usize = 4;
/// How often the parent looks how far the run is.
const LOOK: Duration = Duration::from_millis(1);

/// How a killed or finished run is told apart.
enum End {
    Killed,
    Finished,
}

pub(crate) fn show() -> Result<(), Failure> {
    let work = tempfile::Builder::new()
        .prefix("benchmark_run-")
        .tempdir()?;
    let shown = compare(work.path());
    if shown.is_err() {
        eprintln!("everything is kept in {}", work.keep().display());
    }
    shown
}

fn compare(work: &Path) -> Result<(), Failure> {
    let cases = work.join("cases.jsonl");
    case::make(&cases)?;
    let job = |out: &str, model: &str| Job {
        cases: Some(cases.clone()),
        out: work.join(out),
        model: model.to_owned(),
        at_once: 8,
    };
    let (calm, killed) = (job("calm", "parrot-1"), job("killed", "parrot-1"));

    println!("undisturbed:");
    finish(&calm, Stdio::inherit())?;
    let answers = answered(&calm)?;

    println!("\nkilled again and again:");
    let kills = kill_and_finish(&killed, answers)?;
    if std::fs::read(calm.results())? != std::fs::read(killed.results())? {
        return Err("the results differ".into());
    }
    if answered(&killed)? != answers {
        return Err("the ledgers differ".into());
    }
    println!(
        "survived {kills} kills: results identical, {answers} questions answered, each of them once"
    );

    println!("\nthe same once more:");
    let before = std::fs::read(killed.results())?;
    finish(&killed, Stdio::null())?;
    if answered(&killed)? != answers || std::fs::read(killed.results())? != before {
        return Err("it was not the same run".into());
    }
    println!("nothing was asked again");

    println!("\nanother model:");
    let other = Job {
        model: "parrot-2".to_owned(),
        ..killed
    };
    finish(&other, Stdio::inherit())?;
    let anew = answered(&other)? - answers;
    if anew != answers {
        return Err(format!("{anew} questions were asked anew, and not {answers}").into());
    }
    println!("all {anew} questions were asked anew");
    Ok(())
}

/// How many questions were answered; an error if one was answered twice.
fn answered(job: &Job) -> Result<usize, Failure> {
    let entries = ledger::read(&job.ledger())?;
    let mut keys = HashSet::new();
    for entry in &entries {
        if !keys.insert(&entry.key) {
            return Err(format!("{} was answered twice", entry.key).into());
        }
    }
    Ok(entries.len())
}

/// Kills the run when it is about one fifth through, starts it again, kills it at two fifths, and so on.
fn kill_and_finish(job: &Job, answers: usize) -> Result<usize, Failure> {
    let mut kills = 0;
    for kill in 1..=KILLS {
        let mut child = Running::spawn(job, Stdio::null())?;
        match child.kill_at(&job.ledger(), answers * kill / (KILLS + 1))? {
            End::Killed => kills += 1,
            End::Finished => break,
        }
        println!(
            "  kill {kill}: {} of {answers} questions were answered",
            answered(job)?
        );
    }
    if kills == 0 {
        return Err("the run was over before it could be killed".into());
    }
    finish(job, Stdio::inherit())?;
    Ok(kills)
}

fn finish(job: &Job, stdout: Stdio) -> Result<(), Failure> {
    let status = Running::spawn(job, stdout)?.0.wait()?;
    if !status.success() {
        return Err(format!("the run failed: {status}").into());
    }
    Ok(())
}

/// A run in a process of its own.
struct Running(Child);

impl Running {
    /// Starts what a user would start.
    fn spawn(job: &Job, stdout: Stdio) -> Result<Running, Failure> {
        let cases: Option<&PathBuf> = job.cases.as_ref();
        let child = Command::new(std::env::current_exe()?)
            .arg("run")
            .arg("--cases")
            .arg(cases.ok_or("the cases are written")?)
            .arg("--out")
            .arg(&job.out)
            .args(["--model", &job.model, "--at-once", &job.at_once.to_string()])
            .stdin(Stdio::null())
            .stdout(stdout)
            .spawn()?;
        Ok(Running(child))
    }

    /// Kills the process, as `kill -9` does, when so many questions are answered.
    fn kill_at(&mut self, ledger: &Path, answers: usize) -> Result<End, Failure> {
        loop {
            if self.0.try_wait()?.is_some() {
                return Ok(End::Finished);
            }
            if ledger::read(ledger)?.len() >= answers {
                self.0.kill()?;
                let status = self.0.wait()?;
                // It may have come to its end in the same moment.
                let killed = if status.success() {
                    End::Finished
                } else {
                    End::Killed
                };
                return Ok(killed);
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Running {
    /// Whatever went wrong, no process is left behind.
    fn drop(&mut self) {
        // Of a process that is gone already there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
