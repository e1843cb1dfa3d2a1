//! `store verify`, `store repair` and `store compact`: a file looked over, and what is done to it where it lies.

use super::fault::{Live, of_open, salvage};
use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::facts::{Facts, Line, bytes};
use crate::output::Tone;
use crate::progress::Bar;
use outlive::store::{self, PageCheck, VerifyReport};
use std::path::Path;

pub(super) fn verify(app: &App, path: &Path) -> Result<Exit, CliError> {
    let bar = Bar::of_bytes("verify");
    let report = store::verify_watched(path, &bar.watch());
    bar.done();
    let report = report.map_err(|error| of_open(path, Live::IsStopped, error))?;
    let mut facts = Facts::default();
    found(&mut facts, &report);
    facts.tell(app)?;
    Ok(verdict(app, path, &report))
}

pub(super) fn repair(app: &App, path: &Path) -> Result<Exit, CliError> {
    let bar = Bar::of_bytes("repair");
    let report = store::repair(path, Some(bar.on_repair()), &bar.watch());
    bar.done();
    let report = report.map_err(|error| of_open(path, Live::IsStopped, error))?;
    let mut facts = Facts::default();
    let done = match report.opened.repaired {
        true => "read as a whole and repaired",
        false => "nothing to repair: it opens as it is",
    };
    facts.say("repair", done);
    found(&mut facts, &report.verified);
    facts.tell(app)?;
    Ok(verdict(app, path, &report.verified))
}

pub(super) fn compact(app: &App, path: &Path) -> Result<Exit, CliError> {
    let bar = Bar::of_nothing("compact");
    let report = store::compact(path);
    bar.done();
    let report = report.map_err(|error| of_open(path, Live::IsStopped, error))?;
    let mut facts = Facts::default();
    match app.out.is_for_people() {
        true => facts
            .say("before", bytes(report.bytes_before))
            .say("after", bytes(report.bytes_after)),
        false => facts
            .say("bytes_before", report.bytes_before)
            .say("bytes_after", report.bytes_after),
    };
    facts.tell(app)?;
    Ok(Exit::Done)
}

/// What a look has found.
fn found(facts: &mut Facts, report: &VerifyReport) {
    let (tone, pages) = match &report.pages {
        PageCheck::Whole => (Tone::Good, "whole".to_owned()),
        PageCheck::Damaged { message } => (Tone::Bad, format!("damaged: {message}")),
        PageCheck::Refused { message } => (Tone::Bad, format!("it does not open: {message}")),
        // INVARIANT: the library and this crate are released together.
        _ => (Tone::Bad, "damaged".to_owned()),
    };
    let entries: u64 = report.tables.iter().map(|table| table.entries).sum();
    let wrong = report.findings.total();
    let tone_of_wrong = match wrong {
        0 => Tone::Good,
        _ => Tone::Bad,
    };
    facts
        .say_in(tone, "pages", pages)
        .say("whole", report.is_whole())
        .say("tasks", report.entries("tasks"))
        .say("entries", entries)
        .say_in(tone_of_wrong, "wrong", wrong)
        .list("findings", Tone::Bad, named(&report.findings));
}

/// What is wrong, a line for each.
pub(super) fn named(findings: &store::Findings) -> Vec<Line> {
    let named = findings.named().iter();
    named
        .map(|finding| Line::text(finding.to_string()))
        .collect()
}

fn verdict(app: &App, path: &Path, report: &VerifyReport) -> Exit {
    if report.is_whole() || cfg!(planted = "cli_damage_is_done") {
        return Exit::Done;
    }
    app.out.note(
        "what is damaged cannot be repaired in place; what is whole can be saved into a new file:",
    );
    app.out.note(&salvage(path));
    Exit::Store
}
