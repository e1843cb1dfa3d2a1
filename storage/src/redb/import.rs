//! A store made of the lines of an export, by what makes one of salvaged rows.

mod room;

use super::copy_error::CopyError;
use super::fresh::Fresh;
use super::lines::{EXPORT_VERSION, End, First, Line};
use super::report::Findings;
use super::salvage::{Gathered, Put, Rows, said, settle};
use crate::id::{self, ID_MAX};
use crate::row::StepRow;
use crate::sealed::is_name_or_mark;
use redb::WriteTransaction;
use std::collections::HashSet;
use std::io::{BufRead, Read};
use std::path::Path;

/// Longest line, in bytes, as it is held in memory. An engine takes values of up to 10 MiB, of which each byte takes up to
/// six in a line, and a row has up to 4 MiB, of which each byte takes up to fifteen.
const LINE_MAX: u64 = 64 << 20;
/// Longest first line, in bytes: whatever a later version says in it. What is no export is not read further.
const FIRST_MAX: u64 = 64 << 10;

/// What is wrong with one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// It is no line of an export: not JSON, or a field is missing or of another form.
    #[error("{message}")]
    Malformed {
        /// What was expected, and where in the line.
        message: Box<str>,
    },
    /// It is longer than any line of an export. Where the whole file is one line, something has joined them.
    #[error("it is longer than any line of an export, which has at most {most} bytes")]
    TooLong {
        /// The length of the longest line, in bytes.
        most: u64,
    },
    /// What it hangs on is not before it: a task, or the definition of a task.
    #[error("what it hangs on is not on a line before it")]
    OfNothing,
    /// An earlier line says the same entry.
    #[error("an earlier line has this entry already")]
    Twice,
    /// An id, a name or a number is none that this library hands out or takes.
    #[error("its {what} is none that a store could have")]
    Invalid {
        /// Which.
        what: &'static str,
    },
    /// A number is so high that an engine could not count on from it. No store of this library has come so far: the
    /// line was changed.
    #[error("its {what} is {found}; above {most} there is no room to count on")]
    NoRoom {
        /// Which, as the line has it.
        what: &'static str,
        /// The number.
        found: u64,
        /// The highest that leaves room.
        most: u64,
    },
    /// It stands before the first line or behind the last one.
    #[error("it is out of place")]
    Misplaced,
}

/// Why no store was made of an export. Nothing lies under its path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The lines begin unlike those of any export: give one.
    #[error("line 1 does not begin an export; give a file that `export` wrote")]
    NotAnExport,
    /// A newer version of this library wrote the lines: import them with that version.
    #[error(
        "the export has version {found}, this version reads up to {supported}; import it with the newer version"
    )]
    TooNew {
        /// The version found.
        found: u32,
        /// The newest this version reads.
        supported: u32,
    },
    /// A line is not right: mend it, or export again.
    #[error("line {line}: {fault}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        fault: LineFault,
    },
    /// The last line is not there or counts others: the export was cut off, or lines were lost; export again.
    #[error(
        "the export ends after {lines} lines without its last one, or lines are missing; export again"
    )]
    CutOff {
        /// Lines read.
        lines: u64,
    },
    /// The lines could not be read: mend the cause and try again.
    #[error("the export could not be read after {lines} lines ({message})")]
    Read {
        /// Lines read before.
        lines: u64,
        /// What happened.
        message: Box<str>,
    },
    /// The new file cannot be written; the error inside says what to do.
    #[error(transparent)]
    To(#[from] CopyError),
}

/// What an import made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportReport {
    /// Tasks in the new file.
    pub tasks: u64,
    /// Lines read, the first and the last one included.
    pub lines: u64,
    /// Damaged entries that the export had left out.
    pub left_out: u64,
    /// What did not fit together and was settled: inputs that were missing, definitions whose names were.
    pub findings: Findings,
}

/// Makes a new file at `to`, where nothing may lie, of the lines of an [`export`](super::export()). `instance` is a fresh
/// chance number and becomes the new file's incarnation, `now_us` is the wall clock in microseconds.
///
/// Every task stands in it as it stood: id, definition, state, facts and options, inputs that wait and their receipts,
/// results, steps, questions, stream, metadata, former runs, and the log. A task that was running is recovered by the
/// first engine that opens the file, as after a crash. Indexes are built anew, so a line that was changed by hand is
/// found by what it says now. Beyond that lines are trusted as an open trusts a file: take them only from whom you would
/// take a file. Etags and generations begin 2^32 above those of the exported file, as in a backup.
///
/// When it returns, the file is whole and durable; until then nothing lies under its path.
///
/// ```
/// use outlive_storage::redb::{RedbOptions, RedbStore, Watch, export, import};
/// let directory = tempfile::tempdir().unwrap();
/// let [from, to] = ["a.redb", "b.redb"].map(|name| directory.path().join(name));
/// drop(RedbStore::open(&from, RedbOptions::default(), 1, 0).unwrap());
/// let mut lines = Vec::new();
/// export(&from, &mut lines, (2, 0), &Watch::default()).unwrap();
/// assert_eq!(import(&mut &*lines, &to, (3, 0)).unwrap().tasks, 0);
/// ```
///
/// # Errors
/// [`ImportError`]; each says what to do, and a line that is not right is named by its number.
pub fn import(
    from: &mut dyn BufRead,
    to: &Path,
    (instance, now_us): (u128, u64),
) -> Result<ImportReport, ImportError> {
    let mut reader = Reader { from, lines: 0 };
    // Before anything is made: most files that are no export end here.
    let first = reader.first()?;
    let fresh = Fresh::begin(to, instance, now_us)?;
    let mut report = ImportReport {
        tasks: 0,
        lines: 0,
        left_out: 0,
        findings: Findings::default(),
    };
    fresh.fill(|txn| -> Result<_, ImportError> {
        let mut making = Making::begin(txn)?;
        making.take(1, &first)?;
        let end = making.read(&mut reader)?;
        report.left_out = end.left_out;
        let Making {
            mut rows, gathered, ..
        } = making;
        let counters = settle(txn, &mut rows, gathered, &mut report.findings)?;
        report.tasks = end.tasks;
        Ok(counters)
    })?;
    report.lines = reader.lines;
    fresh.publish()?;
    Ok(report)
}

/// The lines, counted.
struct Reader<'a> {
    from: &'a mut dyn BufRead,
    lines: u64,
}

impl Reader<'_> {
    /// The next line without its end; `None` behind the last one.
    fn next(&mut self) -> Result<Option<Vec<u8>>, ImportError> {
        let most = match cfg!(planted = "import_of_endless_lines") {
            true => u64::MAX,
            false => LINE_MAX,
        };
        self.next_of(most)
    }

    /// As [`Reader::next`], of a line that has at most so many bytes.
    fn next_of(&mut self, most: u64) -> Result<Option<Vec<u8>>, ImportError> {
        let mut line = Vec::new();
        let read = (&mut *self.from)
            .take(most.saturating_add(1))
            .read_until(b'\n', &mut line);
        let read = read.map_err(|error| ImportError::Read {
            lines: self.lines,
            message: error.to_string().into(),
        })?;
        if read == 0 {
            return Ok(None);
        }
        self.lines += 1;
        if line.pop_if(|last| *last == b'\n').is_none() && read as u64 > most {
            return Err(fault(self.lines, LineFault::TooLong { most }));
        }
        Ok(Some(line))
    }

    fn first(&mut self) -> Result<Line, ImportError> {
        let line = match self.next_of(FIRST_MAX) {
            Err(ImportError::Line { .. }) => return Err(ImportError::NotAnExport),
            line => line?.unwrap_or_default(),
        };
        let first: First = serde_json::from_slice(&line).map_err(|_| ImportError::NotAnExport)?;
        let found = first.outlive_export.version;
        if found != EXPORT_VERSION && !cfg!(planted = "import_of_any_version") {
            return Err(ImportError::TooNew {
                found,
                supported: EXPORT_VERSION,
            });
        }
        parsed(1, &line)
    }
}

fn parsed(number: u64, line: &[u8]) -> Result<Line, ImportError> {
    serde_json::from_slice(line).map_err(|error| {
        let message = error.to_string().into();
        fault(number, LineFault::Malformed { message })
    })
}

fn fault(line: u64, fault: LineFault) -> ImportError {
    ImportError::Line { line, fault }
}

/// The new file under way.
struct Making<'t> {
    rows: Rows<'t>,
    gathered: Gathered,
    ids: HashSet<Box<str>>,
    tasks: u64,
    buffer: Vec<u8>,
}

impl<'t> Making<'t> {
    fn begin(txn: &'t WriteTransaction) -> Result<Making<'t>, CopyError> {
        Ok(Making {
            rows: Rows::open(txn)?,
            gathered: Gathered::default(),
            ids: HashSet::new(),
            tasks: 0,
            buffer: Vec::new(),
        })
    }

    /// Takes every line, and answers the last one.
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<End, ImportError> {
        while let Some(line) = reader.next()? {
            let number = reader.lines;
            match parsed(number, &line)? {
                Line::OutliveExport(_) => return Err(fault(number, LineFault::Misplaced)),
                Line::End(end) => {
                    let counted = end.lines.checked_add(1) == Some(number);
                    let is_whole = counted && end.tasks == self.tasks;
                    if !is_whole && !cfg!(planted = "import_of_what_was_cut_off") {
                        return Err(ImportError::CutOff { lines: number });
                    }
                    if reader.next()?.is_some() {
                        return Err(fault(number + 1, LineFault::Misplaced));
                    }
                    return Ok(end);
                }
                line => self.take(number, &line)?,
            }
        }
        if cfg!(planted = "import_of_what_was_cut_off") {
            let (tasks, lines, left_out) = (self.tasks, reader.lines, 0);
            return Ok(End {
                tasks,
                lines,
                left_out,
            });
        }
        let lines = reader.lines;
        Err(ImportError::CutOff { lines })
    }

    fn take(&mut self, number: u64, line: &Line) -> Result<(), ImportError> {
        let wrong = |found: LineFault| fault(number, found);
        self.check(line).map_err(wrong)?;
        match line {
            Line::OutliveExport(head) => {
                self.gathered.etag = head.etag;
                self.gathered.generation = head.generation;
                self.gathered.trimmed = head.log_whole_above;
                self.gathered.wakes_whole = true;
            }
            Line::Definition { number, name } => {
                let before = self.gathered.names.insert(*number, name.clone());
                let is_new = self.ids.insert(format!("definition {name}").into());
                if before.is_some() || !is_new {
                    return Err(wrong(LineFault::Twice));
                }
            }
            Line::ChildrenEnded { task, turn, ended } => {
                self.gathered.wakes.insert((*task, *turn), *ended);
            }
            Line::FamilyOver {
                task,
                turn,
                cancelled,
            } => {
                self.gathered.over.insert((*task, *turn), cancelled.clone());
            }
            Line::Task { row, .. } => {
                self.put(number, line)?;
                self.tasks += 1;
                if !self.ids.insert(row.id.as_str().into()) {
                    return Err(wrong(LineFault::Twice));
                }
            }
            Line::Value { .. }
            | Line::Input { .. }
            | Line::Receipt { .. }
            | Line::Turn { .. }
            | Line::Step { .. }
            | Line::Ask { .. }
            | Line::Run { .. }
            | Line::Segment { .. }
            | Line::Event { .. }
            | Line::Life { .. } => self.put(number, line)?,
            Line::End(_) => {}
        }
        Ok(())
    }

    /// Puts the entry that a line stands for, encoded as every store encodes it.
    fn put(&mut self, number: u64, line: &Line) -> Result<(), ImportError> {
        let Some(slot) = line.slot() else {
            return Ok(());
        };
        let invalid = |_| fault(number, LineFault::Invalid { what: "row" });
        line.encode(&mut self.buffer).map_err(invalid)?;
        // Read again at once: what no store could have written is refused here, and not by whoever opens the file.
        let of = said(slot, &self.buffer).map_err(invalid)?;
        match self.rows.put(slot, &self.buffer, of)? {
            Put::New => Ok(()),
            Put::Newer | Put::Known => Err(fault(number, LineFault::Twice)),
        }
    }

    /// What the types of a line cannot hold.
    fn check(&self, line: &Line) -> Result<(), LineFault> {
        let invalid = |what| LineFault::Invalid { what };
        let is_id = |text: &str| id::check(text, ID_MAX).is_ok();
        room::check(line)?;
        match line {
            Line::Definition { name, .. } => {
                is_name_or_mark(name).then_some(()).ok_or(invalid("name"))
            }
            Line::Task {
                definition, row, ..
            } => {
                if !is_id(row.id.as_str()) || !is_id(row.input_id.as_str()) {
                    return Err(invalid("id"));
                }
                let name = self.gathered.names.get(&row.def.0);
                let agrees = name.map_or("", |name| name) == &**definition;
                agrees.then_some(()).ok_or(LineFault::OfNothing)
            }
            Line::Receipt { task, input_id, .. } => {
                is_id(input_id).then_some(()).ok_or(invalid("input id"))?;
                self.hangs_on(*task)
            }
            Line::Input { task, row, .. } => {
                let is_id = is_id(row.input_id.as_str());
                is_id.then_some(()).ok_or(invalid("input id"))?;
                self.hangs_on(*task)
            }
            Line::Step { task, key, .. } | Line::Ask { task, key, .. } => {
                let fits = key.len() <= StepRow::KEY_MAX;
                fits.then_some(()).ok_or(invalid("key"))?;
                self.hangs_on(*task)
            }
            Line::Value { task, .. }
            | Line::Turn { task, .. }
            | Line::Run { task, .. }
            | Line::Segment { task, .. } => self.hangs_on(*task),
            Line::OutliveExport(_)
            | Line::ChildrenEnded { .. }
            | Line::FamilyOver { .. }
            | Line::Event { .. }
            | Line::Life { .. }
            | Line::End(_) => Ok(()),
        }
    }

    fn hangs_on(&self, task: u64) -> Result<(), LineFault> {
        if cfg!(planted = "import_of_what_hangs_on_nothing") {
            return Ok(());
        }
        let found = self.rows.has_task(task);
        found.then_some(()).ok_or(LineFault::OfNothing)
    }
}
