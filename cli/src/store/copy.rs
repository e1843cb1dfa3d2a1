//! `store backup`, `store restore` and `store salvage`: a new file made of one that is there.

use super::fault::{Live, of_copy, of_salvage, salvage as command_to_salvage, word};
use super::look::named;
use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::facts::{Facts, Line};
use crate::output::Tone;
use crate::progress::Bar;
use outlive::store::{self, CopyReport, FoundBy, SalvageReport};
use serde_json::json;
use std::path::Path;

pub(super) fn backup(app: &App, paths: (&Path, &Path)) -> Result<Exit, CliError> {
    copied(app, "backup", paths, Live::CopiesItself)
}

pub(super) fn restore(app: &App, paths: (&Path, &Path)) -> Result<Exit, CliError> {
    copied(app, "restore", paths, Live::IsStopped)
}

/// A backup of a file that nobody has is what a restore makes of it: a file of its own, whose numbers are far above.
fn copied(
    app: &App,
    what: &'static str,
    (from, to): (&Path, &Path),
    live: Live,
) -> Result<Exit, CliError> {
    let bar = Bar::of_bytes(what);
    let report = store::restore_watched(from, to, &bar.watch());
    bar.done();
    let report = report.map_err(|error| of_copy((from, to), live, error))?;
    tell(app, (from, to), &report)
}

fn tell(app: &App, (from, to): (&Path, &Path), report: &CopyReport) -> Result<Exit, CliError> {
    let mut facts = Facts::default();
    facts
        .say("new_file", to.display().to_string())
        .say("incarnation", format!("{:032x}", report.incarnation))
        .say("tasks", report.entries("tasks"))
        .list("findings", Tone::Bad, named(&report.findings));
    facts.tell(app)?;
    if report.findings.is_empty() {
        return Ok(Exit::Done);
    }
    app.out
        .note("the copy has the damage of the file; what is whole can be saved into a new file:");
    app.out.note(&command_to_salvage(from));
    Ok(Exit::Store)
}

pub(super) fn salvage(app: &App, (from, to): (&Path, &Path)) -> Result<Exit, CliError> {
    let bar = Bar::of_bytes("salvage");
    let report = store::salvage_watched(from, to, &bar.watch());
    bar.done();
    let report = report.map_err(|error| of_salvage((from, to), error))?;
    let found_by = match report.found {
        FoundBy::ByHeader => "the trees of the last commit",
        FoundBy::ByPages => "the latest trees that are whole, for the header is damaged",
        FoundBy::NotFound => "every page of the file, for no tree was found",
        // INVARIANT: the library and this crate are released together.
        _ => "its pages",
    };
    let tables = report.tables.iter();
    let tables = tables
        .filter(|table| table.saved + table.lost > 0)
        .map(|table| {
            let (name, saved, lost) = (table.table, table.saved, table.lost);
            let value = json!({ "table": name, "saved": saved, "lost": lost });
            Line::new(value, format!("{name}: {saved} saved, {lost} lost"))
        });
    let tables: Vec<Line> = tables.collect();
    let lost_tone = match report.lost() {
        0 => Tone::Good,
        _ => Tone::Bad,
    };
    let mut facts = Facts::default();
    facts
        .say("new_file", to.display().to_string())
        .say("found_by", found_by)
        .say_in(Tone::Good, "saved", report.saved())
        .say_in(lost_tone, "lost", report.lost())
        .say("outdated", report.outdated)
        .say("journal_done", report.journal.done)
        .say("journal_taken", report.journal.taken)
        .say("journal_refused", report.journal.refused)
        .say("journal_broken", report.journal.is_broken)
        .list("tables", Tone::Faint, tables)
        .list("findings", Tone::Bad, named(&report.findings));
    facts.tell(app)?;
    app.out.note(
        "the damaged file is as it was; what ran goes on with the first engine on the new one",
    );
    let Some(lacks) = lacks(&report) else {
        return Ok(Exit::Done);
    };
    app.out.note(&format!(
        "{lacks}: see what is in the new file, and keep the damaged one; a backup has what is lost"
    ));
    app.out.note(&format!("outlive store info {}", word(to)));
    Ok(Exit::Store)
}

/// What the new file lacks of the damaged one, in a few words; nothing where it has all of it.
fn lacks(report: &SalvageReport) -> Option<&'static str> {
    if cfg!(planted = "cli_loss_is_done") {
        return None;
    }
    let journal = report.journal;
    let of_journal = journal.is_broken || journal.taken + journal.refused > 0;
    let of_journal = of_journal && !cfg!(planted = "cli_broken_journal_is_whole");
    let is_less = report.lost() + report.outdated > 0 || !report.findings.is_empty() || of_journal;
    match (report.saved(), &report.found) {
        // The trees were found and had nothing in them: so it was before.
        (0, FoundBy::ByHeader) if !is_less => None,
        (0, _) => Some("nothing was saved"),
        _ if is_less => Some("not all of it was saved"),
        (_, FoundBy::NotFound) => Some("nobody knows what else was in it"),
        (_, _) => None,
    }
}
