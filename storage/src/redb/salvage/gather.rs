//! Gathering what is whole: along the trees first, then, where a tree is broken, from every page of the file.

use super::pages::{Kind, PAGE, PageRef, Pages, Root, Widths, u32_at, u64_at};
use super::rows::{Put, Rows};
use super::shelf::{Shelf, said};
use super::trees::{Trees, walk};
use crate::codec;
use crate::redb::copy_error::CopyError;
use crate::redb::fresh::written;
use crate::redb::journal::Mark;
use crate::redb::report::{Findings, Wrong};
use crate::redb::seal;
use crate::row::{Etag, EventKind, EventRow, TaskNumber, ValueKey, ValueKind};
use crate::sealed::is_name_or_mark;
use crate::slot::Slot;
use crate::store::StoreError;

use redb::ReadableTable;
use std::collections::{BTreeMap, BTreeSet, HashSet};

type Result<T> = std::result::Result<T, CopyError>;

/// The bytes of a value that tell whether it may be an entry.
const MAGIC_LEN: usize = 2;

/// What was gathered beside the rows.
#[derive(Default)]
pub(in crate::redb) struct Gathered {
    /// Names and their numbers.
    pub(in crate::redb) names: BTreeMap<u32, Box<str>>,
    /// Ends of children counted, by parent and turn.
    pub(in crate::redb) wakes: BTreeMap<(u64, u64), u64>,
    /// None of these counts is missing.
    pub(in crate::redb) wakes_whole: bool,
    /// Turns that are over, by parent and turn, and why their children are to end.
    pub(in crate::redb) over: BTreeMap<(u64, u64), Option<Box<str>>>,
    /// The highest numbers that the file's own counters had reserved.
    pub(in crate::redb) etag: u64,
    pub(in crate::redb) generation: u64,
    /// The highest etag whose event was removed.
    pub(in crate::redb) trimmed: u64,
    /// How far the database is in its journal; empty where it does not say.
    pub(super) mark: Option<Mark>,
    /// The incarnation of the file; empty where it does not say.
    pub(super) incarnation: Option<u128>,
    /// How many entries each table had by its own word.
    pub(super) expected: BTreeMap<Shelf, u64>,
    /// Tables of which something was looked for page by page.
    pub(super) searched: BTreeSet<Shelf>,
    /// Every page of the values that is not damaged itself was met along their tree.
    values_met: bool,
    /// Tasks that were removed, by the log.
    removed: HashSet<u64>,
    /// The latest etag of each task whose row was found page by page, by the log.
    pub(super) latest: BTreeMap<u64, u64>,
}

/// Fills the rows, and answers what else was found.
///
/// # Errors
/// [`CopyError`] of the new file: nothing in the damaged one is an error.
pub(super) fn gather(
    pages: &Pages,
    trees: &Trees,
    rows: &mut Rows<'_>,
    findings: &mut Findings,
) -> Result<Gathered> {
    let mut gathered = Gathered::default();
    for shelf in Shelf::ALL {
        let whole = match trees.root(shelf.name()) {
            Some(root) => gathered.along(pages, (shelf, root), rows, findings)?,
            // An empty table has no root; who lists the tables lists all of them.
            None => trees.names(shelf.name()),
        };
        if !whole {
            gathered.searched.insert(shelf);
        }
    }
    gathered.others(pages, trees);
    let names_known = trees.root("definitions").is_some() && !gathered.names.is_empty();
    if !gathered.searched.is_empty() || !names_known {
        gathered.note_removed(rows)?;
        gathered.search(pages, rows)?;
        rows.tell_disputed(findings);
    }
    Ok(gathered)
}

impl Gathered {
    /// Takes what a tree has. True when nothing of it is missing.
    fn along(
        &mut self,
        pages: &Pages,
        (shelf, root): (Shelf, Root),
        rows: &mut Rows<'_>,
        findings: &mut Findings,
    ) -> Result<bool> {
        let mut failed = None;
        let mut saved = 0;
        let walked = walk(pages, root.page, &mut |offset| {
            let leaf = pages.leaf(offset, shelf.widths());
            for pair in 0..leaf.pairs() {
                let key = leaf.key(pair);
                let slot = key.as_deref().and_then(|key| shelf.slot(key));
                let (Some(slot), Some(value)) = (slot, leaf.value(pair)) else {
                    let place = format_args!("page {} pair {pair}", offset / PAGE);
                    findings.add(shelf.name(), place, Wrong::Damaged);
                    continue;
                };
                match said(slot, &value) {
                    Ok(said) => match rows.put(slot, &value, said) {
                        Ok(Put::New) => saved += 1,
                        Ok(Put::Newer | Put::Known) => {}
                        Err(error) => failed = failed.take().or(Some(error)),
                    },
                    Err(StoreError::TooNew { .. }) => {
                        findings.add(shelf.name(), slot, Wrong::TooNew);
                    }
                    Err(_) => findings.add(shelf.name(), slot, Wrong::Damaged),
                }
            }
            leaf.pairs() as u64
        });
        if let Some(error) = failed {
            return Err(error);
        }
        self.expected.insert(shelf, root.entries);
        self.values_met |= shelf == Shelf::Values && walked.branches_whole;
        if walked.broken > 0 {
            findings.add(shelf.name(), "", Wrong::Unreadable);
        }
        Ok(walked.broken == 0 && saved >= root.entries)
    }

    /// The tables whose entries do not prove themselves, as far as they make sense.
    fn others(&mut self, pages: &Pages, trees: &Trees) {
        pairs(
            pages,
            trees.root("definitions"),
            (None, Some(8)),
            |key, value| {
                self.name(key, value);
            },
        );
        pairs(
            pages,
            trees.root("etags"),
            (Some(16), Some(8)),
            |_, value| {
                self.etag = self.etag.max(u64_at(value, 0).unwrap_or(0));
            },
        );
        let generations = trees.root("lease_generations");
        pairs(pages, generations, (Some(16), Some(8)), |_, value| {
            self.generation = self.generation.max(u64_at(value, 0).unwrap_or(0));
        });
        pairs(pages, trees.root("meta"), (None, Some(16)), |key, value| {
            if key == crate::redb::tables::TRIMMED.as_bytes() {
                self.trimmed = u64_at(value, 0).unwrap_or(0);
            }
            if key == crate::redb::tables::JOURNALLED.as_bytes() {
                let bits = value.first_chunk().map(|bits| u128::from_le_bytes(*bits));
                self.mark = bits.and_then(Mark::of_bits);
            }
            if key == crate::redb::tables::INCARNATION.as_bytes() {
                let bits = value.first_chunk();
                self.incarnation = bits.map(|bits| u128::from_le_bytes(*bits));
            }
        });
        pairs(
            pages,
            trees.root("wakes"),
            (Some(16), Some(8)),
            |key, value| {
                if let Some(family) = family(key) {
                    self.wakes.insert(family, u64_at(value, 0).unwrap_or(0));
                }
            },
        );
        pairs(
            pages,
            trees.root("families_over"),
            (Some(16), None),
            |key, value| {
                let Some(family) = family(key) else { return };
                let reason = match value {
                    [1, text @ ..] => std::str::from_utf8(text).ok().map(Box::from),
                    _ => None,
                };
                self.over.insert(family, reason);
            },
        );
    }

    /// A name with its number, if it is sealed: then it is one, wherever it was found.
    fn name(&mut self, key: &[u8], value: &[u8]) {
        let (Ok(name), Some(number), Some(found)) =
            (std::str::from_utf8(key), u32_at(value, 0), u32_at(value, 4))
        else {
            return;
        };
        if is_name_or_mark(name) && seal::open_name(name, (number, found)).is_ok() {
            self.names.insert(number, name.into());
        }
    }

    /// What the log says of tasks, before rows are taken from pages that no tree leads to: those may be long gone.
    fn note_removed(&mut self, rows: &Rows<'_>) -> Result<()> {
        for entry in rows.events.iter().map_err(written)? {
            let (etag, bytes) = entry.map_err(written)?;
            let slot = Slot::Event(Etag(etag.value()));
            let Ok(event) = codec::decode::<EventRow>(slot, bytes.value()) else {
                continue;
            };
            self.latest.insert(event.task.0, event.etag.0);
            if event.kind == EventKind::Removed {
                self.removed.insert(event.task.0);
            }
        }
        Ok(())
    }

    /// Looks at every page of the file, whichever tree it belongs or belonged to.
    fn search(&mut self, pages: &Pages, rows: &mut Rows<'_>) -> Result<()> {
        // Tasks first: what hangs on them is taken only where there is one.
        let (first, rest): (Vec<Shelf>, Vec<Shelf>) = (self.searched.iter().copied())
            .partition(|shelf| matches!(shelf, Shelf::Events | Shelf::Tasks));
        for shelves in [first, rest] {
            for offset in (PAGE..pages.len).step_by(PAGE as usize) {
                if pages.kind(offset) != Kind::Leaf {
                    continue;
                }
                for shelf in &shelves {
                    self.take_page(pages, (offset, *shelf), rows)?;
                }
                let widths = Widths {
                    key: None,
                    value: Some(8),
                };
                let leaf = pages.leaf(offset, widths);
                for pair in 0..leaf.pairs() {
                    let (Some(key), Some(value)) = (leaf.key(pair), leaf.value(pair)) else {
                        break;
                    };
                    self.name(&key, &value);
                }
            }
            if !shelves.is_empty() {
                self.note_removed(rows)?;
                self.drop_removed(rows)?;
            }
        }
        Ok(())
    }

    fn take_page(
        &mut self,
        pages: &Pages,
        (offset, shelf): (u64, Shelf),
        rows: &mut Rows<'_>,
    ) -> Result<()> {
        let leaf = pages.leaf(offset, shelf.widths());
        for pair in 0..leaf.pairs() {
            let start = leaf.value_start(pair, MAGIC_LEN);
            if !start.is_some_and(|(start, _)| shelf.begins(&start)) {
                continue;
            }
            let (Some(key), Some(value)) = (leaf.key(pair), leaf.value(pair)) else {
                continue;
            };
            let Some(slot) = shelf.slot(&key) else {
                continue;
            };
            if self.is_of_nobody(slot, rows)? {
                continue;
            }
            let Ok(said) = said(slot, &value) else {
                continue;
            };
            match slot {
                Slot::Value(key) if self.is_former(key) => {}
                Slot::Value(key) => rows.put_stray_value(key, &value)?,
                Slot::Task(_)
                | Slot::Input(..)
                | Slot::Receipt(..)
                | Slot::Turn(..)
                | Slot::Step(..)
                | Slot::Ask(..)
                | Slot::Run(..)
                | Slot::Segment(..)
                | Slot::Event(_)
                | Slot::Life(..) => rows.put(slot, &value, said).map(drop)?,
            }
        }
        Ok(())
    }

    /// True for a value that was written over since: it lies on a page that was given up.
    fn is_former(&self, key: ValueKey) -> bool {
        let is_written_over = match key.kind {
            ValueKind::Output | ValueKind::Metadata => true,
            // Each input has a number of its own.
            ValueKind::Input => false,
        };
        self.values_met && is_written_over && !cfg!(planted = "salvage_takes_former_values")
    }

    /// True for what hangs on no task there is.
    fn is_of_nobody(&self, slot: Slot<'_>, rows: &Rows<'_>) -> Result<bool> {
        match (slot, slot.task()) {
            (Slot::Task(task), _) => Ok(self.removed.contains(&task.0)),
            (_, Some(task)) => Ok(rows.tasks.get(task.0).map_err(written)?.is_none()),
            (_, None) => Ok(false),
        }
    }

    /// Whether the log says that the task was removed.
    pub(super) fn is_removed(&self, task: TaskNumber) -> bool {
        self.removed.contains(&task.0)
    }

    /// Rows found page by page of which the log knows a later transition.
    pub(super) fn outdated(&self, rows: &Rows<'_>) -> Result<u64> {
        let mut outdated = 0;
        for (task, etag) in &self.latest {
            let Some(bytes) = rows.tasks.get(*task).map_err(written)? else {
                continue;
            };
            let header = codec::header(TaskNumber(*task), bytes.value());
            outdated += u64::from(header.is_ok_and(|header| header.etag.0 < *etag));
        }
        Ok(outdated)
    }

    /// Rows that were taken before the log was known to say that they are gone.
    fn drop_removed(&mut self, rows: &mut Rows<'_>) -> Result<()> {
        for task in &self.removed {
            rows.tasks.remove(*task).map_err(written)?;
        }
        Ok(())
    }
}

fn family(key: &[u8]) -> Option<(u64, u64)> {
    Some((u64_at(key, 0)?, u64_at(key, 8)?))
}

fn pairs(
    pages: &Pages,
    root: Option<Root>,
    (key, value): (Option<usize>, Option<usize>),
    mut take: impl FnMut(&[u8], &[u8]),
) {
    let Some(root): Option<Root> = root else {
        return;
    };
    let page: PageRef = root.page;
    walk(pages, page, &mut |offset| {
        let leaf = pages.leaf(offset, Widths { key, value });
        for pair in 0..leaf.pairs() {
            if let (Some(key), Some(value)) = (leaf.key(pair), leaf.value(pair)) {
                take(&key, &value);
            }
        }
        leaf.pairs() as u64
    });
}
