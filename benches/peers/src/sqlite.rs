//! What the connections of a pool to SQLite tell of themselves.

use std::fmt;

/// The settings that decide what a commit of SQLite makes durable, of one connection: the level of sync is each one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pragmas {
    journal: String,
    synchronous: i64,
}

impl Pragmas {
    /// What `PRAGMA journal_mode` and `PRAGMA synchronous` answered.
    #[must_use]
    pub fn new(journal: String, synchronous: i64) -> Self {
        Self {
            journal,
            synchronous,
        }
    }

    /// Of all connections of a pool; those that are alike are told together.
    #[must_use]
    pub fn of_pool(connections: &[Self]) -> String {
        let Some((first, others)) = connections.split_first() else {
            return "no connection".to_owned();
        };
        let count = connections.len();
        if others.iter().all(|other| other == first) {
            return format!("each of {count} connections: {first} (read)");
        }
        let each: Vec<_> = connections.iter().map(Self::to_string).collect();
        format!("{count} connections: {} (read)", each.join("; "))
    }
}

impl fmt::Display for Pragmas {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.synchronous {
            0 => "OFF",
            1 => "NORMAL",
            2 => "FULL",
            3 => "EXTRA",
            _ => "unknown",
        };
        write!(out, "journal {}, synchronous {level}", self.journal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_differs_is_told() {
        let full = Pragmas::new("wal".to_owned(), 2);
        let off = Pragmas::new("wal".to_owned(), 0);
        assert_eq!(
            Pragmas::of_pool(&[full.clone(), full.clone()]),
            "each of 2 connections: journal wal, synchronous FULL (read)"
        );
        assert!(Pragmas::of_pool(&[full, off]).contains("synchronous OFF"));
    }
}
