//! What is wrong in a file, entry by entry.

use std::fmt;

/// Most findings that one report names; further ones are counted.
pub const FINDINGS_MAX: usize = 1000;

/// What is wrong with one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Wrong {
    /// It does not match its checksum, or is not what its table holds: it is lost, and salvage leaves it out.
    Damaged,
    /// A newer version of this library wrote it: open the file with that version.
    TooNew,
    /// It is sealed under a key that was not given: try again with that key among the older ones.
    KeyMissing,
    /// It hangs on a task that is neither there nor about to be swept away. Nobody reads it; salvage leaves it out.
    NoTask,
    /// The task's row is whole and not listed where it says. It is not found by that way; salvage lists it again.
    NotListed {
        /// The table in which it is missing.
        table: &'static str,
    },
    /// The entry lists a task whose row says otherwise. Whoever follows it asks the row; salvage leaves it out.
    Stray,
    /// The large value that the row names is not there, or is another one's: the row is whole, the value is lost.
    ValueMissing,
    /// A number was handed out that the file's counters do not know of: it could be handed out again. Salvage counts
    /// from above it.
    AboveCounter,
    /// The pages from here on cannot be read: what follows in this table is lost to redb. Salvage looks for it in the
    /// bytes of the file.
    Unreadable,
}

/// One entry with something wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The table.
    pub table: &'static str,
    /// The key as text; empty where the table as a whole is meant.
    pub key: Box<str>,
    /// What is wrong.
    pub what: Wrong,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { table, key, what } = self;
        match what {
            Wrong::Damaged => write!(f, "{table} {key}: damaged"),
            Wrong::TooNew => write!(f, "{table} {key}: written by a newer version"),
            Wrong::KeyMissing => write!(f, "{table} {key}: sealed under a key that was not given"),
            Wrong::NoTask => write!(f, "{table} {key}: of no task"),
            Wrong::NotListed { table: index } => write!(f, "{table} {key}: missing in {index}"),
            Wrong::Stray => write!(f, "{table} {key}: its task says otherwise"),
            Wrong::ValueMissing => write!(f, "{table} {key}: its large value is missing"),
            Wrong::AboveCounter => write!(f, "{table} {key}: above the file's counters"),
            Wrong::Unreadable => write!(f, "{table} {key}: the pages from here on are unreadable"),
        }
    }
}

/// Findings, of which the first [`FINDINGS_MAX`] are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    named: Vec<Finding>,
    total: u64,
}

impl Findings {
    pub(super) fn add(&mut self, table: &'static str, key: impl fmt::Display, what: Wrong) {
        self.total += 1;
        if self.named.len() < FINDINGS_MAX {
            self.named.push(Finding {
                table,
                key: key.to_string().into(),
                what,
            });
        }
    }

    /// Those that are named, in the order in which they were met.
    pub fn named(&self) -> &[Finding] {
        &self.named
    }

    /// How many there are, named or not.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// True when nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

/// How many entries of one table were read, or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableCount {
    /// The table.
    pub table: &'static str,
    /// Its entries that are whole.
    pub entries: u64,
}
