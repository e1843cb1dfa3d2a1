//! `store export` and `store import`: a file as lines of JSON, and back.

use super::fault::{Live, damaged, of_copy, of_import, of_lines};
use super::is_standard;
use super::look::named;
use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::facts::{Facts, counted};
use crate::output::Tone;
use crate::progress::Bar;
use crate::safe;
use outlive::store::{self, ExportReport};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal, Write};
use std::path::Path;

/// How much is read or written at once, in bytes.
const BUFFER: usize = 1 << 20;

pub(super) fn export(app: &App, (from, to): (&Path, &Path)) -> Result<Exit, CliError> {
    let bar = Bar::of_bytes("export");
    let to_standard = is_standard(to);
    let exported = match to_standard {
        true => to_stdout(from, &bar),
        false => store::export_to(from, to, &bar.watch())
            .map_err(|error| of_copy((from, to), Live::IsStopped, error)),
    };
    bar.done();
    let report = exported?;
    // The lines themselves are the data: what is said of them goes beside them.
    match to_standard {
        true => app.out.note(&format!(
            "{} in {} lines",
            counted(report.tasks, "task"),
            report.lines
        )),
        false => {
            let mut facts = Facts::default();
            facts
                .say("new_file", to.display().to_string())
                .say("tasks", report.tasks)
                .say("lines", report.lines)
                .list("findings", Tone::Bad, named(&report.findings));
            facts.tell(app)?;
        }
    }
    if report.findings.is_empty() {
        return Ok(Exit::Done);
    }
    let total = report.findings.total();
    let what = match total {
        1 => "1 damaged entry was left out of the export".to_owned(),
        total => format!("{total} damaged entries were left out of the export"),
    };
    Err(damaged(from, what))
}

fn to_stdout(from: &Path, bar: &Bar) -> Result<ExportReport, CliError> {
    let out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let mut out = Remembering {
        out: Shown {
            out,
            line: io::stdout().is_terminal().then(Vec::new),
        },
        failed: None,
    };
    let exported = store::export(from, &mut out, &bar.watch());
    match (exported, out.failed) {
        (_, Some(error)) => Err(CliError::Output(error)),
        (Ok(report), None) => Ok(report),
        (Err(error), None) => Err(of_copy((from, Path::new("-")), Live::IsStopped, error)),
    }
}

/// Lines for people or for programs: what could drive a terminal is escaped where they go to one.
struct Shown<W> {
    out: W,
    /// The line so far, where they do.
    line: Option<Vec<u8>>,
}

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(line) = &mut self.line else {
            return self.out.write(bytes);
        };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let text = String::from_utf8_lossy(line);
                self.out.write_all(safe::json(&text).as_bytes())?;
                line.clear();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What the output said when it failed: a reader that has read enough is not a failure.
struct Remembering<W> {
    out: W,
    failed: Option<io::Error>,
}

impl<W> Remembering<W> {
    fn note<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }
}

impl<W: Write> Write for Remembering<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.out.write(bytes);
        self.note(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.out.flush();
        self.note(done)
    }
}

pub(super) fn import(app: &App, (from, to): (&Path, &Path)) -> Result<Exit, CliError> {
    let bar = Bar::of_bytes("import");
    let imported = match is_standard(from) {
        true => store::import(&mut io::stdin().lock(), to),
        false => {
            let failed = |error| of_lines(from, &error);
            let file = File::open(from).map_err(failed)?;
            let len = file.metadata().map_or(0, |found| found.len());
            let file = bar.reading(file, len);
            store::import(&mut BufReader::with_capacity(BUFFER, file), to)
        }
    };
    bar.done();
    let report = imported.map_err(|error| of_import((from, to), error))?;
    let mut facts = Facts::default();
    facts
        .say("new_file", to.display().to_string())
        .say("tasks", report.tasks)
        .say("lines", report.lines)
        .say("left_out_of_the_export", report.left_out)
        .list("settled", Tone::Waiting, named(&report.findings));
    facts.tell(app)?;
    app.out
        .note("what ran goes on with the first engine on the new file");
    Ok(Exit::Done)
}
