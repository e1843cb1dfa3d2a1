//! `doctor`: what the tasks need of this machine, each a line that says what to do.

mod machine;
mod sync;

use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::facts::counted;
use crate::output::{Rows, Tone};
use crate::reach::{Call, Reach};
use crate::settings::Place;
use clap::Args;
use outlive::store::{self, OpenError, StoreInfo};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// No clock that is right shows less: seconds since 1970, in 2025.
const CLOCK_MIN: u64 = 1_735_689_600;

/// What a server answers that takes no work.
const NOT_READY: u16 = 503;
const SERVER: &str = "server";

#[derive(Debug, Args)]
#[command(
    after_help = "Example: outlive --store tasks.redb doctor\nEnds with 0 unless a line says fail."
)]
pub(crate) struct Doctor {}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One check.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    check: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

impl Check {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Check {
        Check {
            check,
            verdict: Verdict::Ok,
            found: found.into(),
            advice: None,
            exit: Exit::Done,
        }
    }

    pub(super) fn warn(
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Check {
        Check {
            verdict: Verdict::Warn,
            advice: Some(advice.into()),
            ..Check::ok(check, found)
        }
    }

    pub(super) fn fail(
        (check, exit): (&'static str, Exit),
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Check {
        Check {
            verdict: Verdict::Fail,
            advice: Some(advice.into()),
            exit,
            ..Check::ok(check, found)
        }
    }
}

impl Doctor {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        let checks = match app.place() {
            Place::File(path) => of_file(path, &app.settings.flags()).await,
            Place::Url(url) => {
                let mut checks = vec![clock(None), open_files()];
                checks.extend(server(url, app).await);
                checks
            }
        };
        let mut rows = Rows::new(&[]);
        for check in &checks {
            let (tone, word) = match check.verdict {
                Verdict::Ok => (Tone::Good, "ok"),
                Verdict::Warn => (Tone::Waiting, "warn"),
                Verdict::Fail => (Tone::Bad, "fail"),
            };
            if !app.out.is_for_people() {
                // A check is plain text and numbers.
                app.out
                    .json_line(&serde_json::to_string(check).unwrap_or_default())?;
            }
            rows.push([
                (tone, word),
                (Tone::Strong, check.check),
                (Tone::Plain, &check.found),
            ]);
            if let Some(advice) = check.advice.as_deref() {
                rows.push([(Tone::Plain, ""), (Tone::Plain, ""), (Tone::Faint, advice)]);
            }
        }
        if app.out.is_for_people() {
            app.out.table(rows)?;
        }
        let failed = checks.iter().find(|check| check.verdict == Verdict::Fail);
        if cfg!(planted = "cli_doctor_always_well") {
            return Ok(Exit::Done);
        }
        Ok(failed.map_or(Exit::Done, |check| check.exit))
    }
}

/// The checks of a file; `at` are the flags that say where it is.
async fn of_file(path: &Path, at: &str) -> Vec<Check> {
    let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().unwrap_or(path);
    let info = tokio::task::block_in_place(|| store::info(path));
    if !directory.is_dir() {
        return vec![Check::fail(
            ("directory", Exit::NotFound),
            format!("{} is not there", directory.display()),
            "create it, or give another --store",
        )];
    }
    let mut checks = vec![store_itself((path, at), &info)];
    let info = info.ok();
    checks.extend(machine::rights(path, directory));
    checks.extend(machine::file_system(directory));
    let bytes = info.as_ref().map_or(0, |info| info.file_bytes);
    checks.extend(machine::space(directory, bytes));
    checks.push(tokio::task::block_in_place(|| sync::latency(directory)));
    checks.push(clock(info.as_ref()));
    checks.push(open_files());
    let holder = info.and_then(|info| info.holder);
    if let Some(url) = holder.and_then(|holder| holder.reached_at.into_iter().next()) {
        checks.extend(health(&url, None).await);
    }
    checks
}

fn store_itself((path, at): (&Path, &str), info: &Result<StoreInfo, OpenError>) -> Check {
    const STORE: &str = "store";
    let failed = |error: &OpenError, advice: String| {
        Check::fail((STORE, Exit::Store), error.to_string(), advice)
    };
    match info {
        Ok(info) => match (&info.holder, &info.inside) {
            (Some(holder), _) => {
                let pid = holder
                    .pid
                    .map_or_else(|| "?".to_owned(), |pid| pid.to_string());
                match holder.still_running {
                    None => Check::ok(STORE, format!("in use by process {pid}")),
                    Some(left) => Check::warn(
                        STORE,
                        format!(
                            "process {pid} has stopped but for {left} handlers, which do not end"
                        ),
                        "kill that process; what ran is recovered",
                    ),
                }
            }
            (None, Some(inside)) => {
                let tasks = counted(inside.tasks, "task");
                Check::ok(STORE, format!("opens; {tasks}, nobody has it"))
            }
            (None, None) => Check::ok(STORE, "nobody has it"),
        },
        Err(OpenError::Missing { .. }) => {
            let found = format!("{} is not there yet", path.display());
            Check::ok(STORE, found)
        }
        Err(error @ OpenError::Damaged { .. }) => failed(
            error,
            format!(
                "outlive{at} store repair; and outlive{at} store salvage NEW where that does not help"
            ),
        ),
        Err(error @ OpenError::NotAStore { .. }) => failed(
            error,
            format!("outlive{at} store salvage NEW, where it was one once"),
        ),
        // The error says what to do.
        Err(error) => failed(error, "until then no engine opens it".to_owned()),
    }
}

fn clock(info: Option<&StoreInfo>) -> Check {
    const CLOCK: &str = "clock";
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    if now < CLOCK_MIN {
        return Check::fail(
            (CLOCK, Exit::Other),
            "it is years behind",
            "set it: what is due by the clock would wait for years",
        );
    }
    let life = info.and_then(|info| info.inside.as_ref()?.last_life);
    let latest = life.map_or(0, |life| life.stopped_at.unwrap_or(life.opened_at).0) / 1_000_000;
    match latest.saturating_sub(now) {
        0..=1 => Check::ok(CLOCK, "not behind what is in the file"),
        behind => Check::warn(
            CLOCK,
            format!("{behind} s behind the last use of the file"),
            "set it: what is due by the clock waits so long",
        ),
    }
}

fn open_files() -> Check {
    machine::open_files()
}

async fn server(url: &str, app: &App) -> Vec<Check> {
    health(url, app.reach().await.ok()).await
}

/// Whether a server answers, and whether its engine is well.
async fn health(url: &str, reach: Option<&Reach>) -> Vec<Check> {
    let place = Place::Url(url.to_owned());
    let own = match reach {
        Some(_) => None,
        None => Reach::open(&place, None, Default::default()).await.ok(),
    };
    let fail = |exit, found: String, advice| vec![Check::fail((SERVER, exit), found, advice)];
    let Some(reach) = reach.or(own.as_ref()) else {
        let found = format!("{url} is no address of a server");
        return fail(
            Exit::Usage,
            found,
            "give --url http://host:port or unix:/path",
        );
    };
    let asked = reach.said(Call::get(&["readyz"]));
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) if answer.status == NOT_READY => not_ready(url, &answer.body),
        Ok(Ok(answer)) => match answer.accepted() {
            Ok(_) => vec![Check::ok(SERVER, format!("{url} answers and is ready"))],
            Err(error) => fail(
                error.exit(),
                error.to_string(),
                "see that the token is right",
            ),
        },
        Ok(Err(error)) => fail(
            Exit::Unreachable,
            error.to_string(),
            "see that it runs, and that this is its address",
        ),
        Err(_) => {
            let found = format!("{url} has not answered");
            fail(Exit::Unreachable, found, "see what keeps it")
        }
    }
}

/// What a server said of itself that takes no work: a line for each of its parts.
fn not_ready(url: &str, lines: &[u8]) -> Vec<Check> {
    let mut checks = Vec::new();
    for line in String::from_utf8_lossy(lines).lines() {
        let Some((part, state)) = line.split_once(": ") else {
            continue;
        };
        let (part, advice) = match part {
            "server" => (SERVER, "it is being stopped: ask the one that follows it"),
            "engine" => ("engine", "start that program again: what ran is recovered"),
            "store" => (
                "store",
                "its log says why; mend that, then start the program again",
            ),
            _ => continue,
        };
        checks.push(match state == "ok" || state.starts_with("ok,") {
            true => Check::ok(part, state),
            false => Check::fail((part, Exit::Unreachable), state, advice),
        });
    }
    if checks.iter().all(|check| check.verdict == Verdict::Ok) {
        let found = format!("{url} answers, and is not ready");
        checks.push(Check::fail(
            (SERVER, Exit::Unreachable),
            found,
            "see what keeps it",
        ));
    }
    checks
}
