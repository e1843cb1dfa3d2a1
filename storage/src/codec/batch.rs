//! Batches of the journal to bytes and back.

use super::Result;
use super::encoder::append;
use crate::commit::{Commit, Write};
use crate::row::{Etag, TaskNumber};
use serde::Serialize;
use std::ops::Range;

/// Most that a batch of the journal takes in memory, in bytes: a few times what the largest journal holds.
const BATCH_MAX: usize = 256 << 20;
/// The numbers of [`Write::Row`] and [`Write::Event`] among their kind.
const ROW_OF_WRITES: u32 = 0;
const EVENT_OF_WRITES: u32 = 20;

/// Where in an encoded batch the bodies of rows and of lines for the log are, each in the order of its commits. They are as those
/// of [`encode_row`](super::encode_row) and [`encode`](super::encode): who writes them to the tables need not encode them once
/// more.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    /// Of rows, by their tasks.
    pub(crate) rows: Vec<(TaskNumber, Range<usize>)>,
    /// Of lines for the log, by their etags.
    pub(crate) events: Vec<(Etag, Range<usize>)>,
}

/// Appends a batch, for the journal, and says where in `out` the [`Bodies`] are. Its commits are in the memory of the caller
/// already, so they have no bound here.
///
/// The bytes are those of the list of commits in the standard configuration of bincode: [`decode_batch`] reads them as that.
///
/// # Errors
/// [`StoreError::Malformed`] when it cannot be encoded.
pub(crate) fn encode_batch(batch: &[&Commit], out: &mut Vec<u8>) -> Result<Bodies> {
    let mut bodies = Bodies {
        rows: Vec::with_capacity(batch.len()),
        events: Vec::with_capacity(batch.len()),
    };
    append(&(batch.len() as u64), out)?;
    for Commit {
        task,
        expect,
        writes,
    } in batch
    {
        append(&(task, expect, writes.len() as u64), out)?;
        for write in writes {
            match write {
                Write::Row(row) => {
                    append(&ROW_OF_WRITES, out)?;
                    bodies.rows.push((*task, append_body(row, out)?));
                }
                Write::Event(event) => {
                    append(&EVENT_OF_WRITES, out)?;
                    bodies.events.push((event.etag, append_body(event, out)?));
                }
                other => append(other, out)?,
            }
        }
    }
    Ok(bodies)
}

/// Appends the body of an entry, and says where it is.
///
/// # Errors
/// [`StoreError::Malformed`] when it cannot be encoded.
pub(crate) fn append_body<T: Serialize>(entry: &T, out: &mut Vec<u8>) -> Result<Range<usize>> {
    let from = out.len();
    append(entry, out)?;
    Ok(from..out.len())
}

/// Reads a batch of the journal; `None` when these bytes are not one.
pub(crate) fn decode_batch(body: &[u8]) -> Option<Vec<Commit>> {
    let config = bincode::config::standard().with_limit::<BATCH_MAX>();
    let (batch, read) = bincode::serde::decode_from_slice(body, config).ok()?;
    (read == body.len()).then_some(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{HEADER_LEN, append_of, encode, encode_row};
    use crate::conformance::rows::{by_etag, ended, event, moved, pending, start};
    use crate::header::Header;
    use crate::row::{EventRow, Micros};
    use crate::slot::Slot;

    /// What is written by hand is what bincode makes of the same commits, and a body is that of the row in the tables.
    #[test]
    fn a_batch_is_the_list_of_its_commits_and_its_bodies_are_those_of_its_rows() {
        let first = pending(10, "a");
        let next = moved(&first, 11, ended(Micros(900)));
        let mut commits = [start(&first), by_etag(10, 10, &next)];
        let ended = event(11, 10, 900);
        commits[1].writes.push(Write::Event(ended.clone()));
        let mut bytes = vec![1, 2, 3];
        let bodies = encode_batch(&commits.iter().collect::<Vec<_>>(), &mut bytes).unwrap();
        let list = bincode::serde::encode_to_vec(&commits[..], bincode::config::standard());
        assert_eq!(bytes[3..], list.unwrap());
        assert_eq!(bodies.rows.len(), 2);
        for (row, (task, at)) in [first, next].iter().zip(bodies.rows) {
            let mut out = Vec::new();
            encode_row(task, (&Header::of(row), row), &mut out).unwrap();
            assert_eq!(out[HEADER_LEN..out.len() - 4], bytes[at]);
        }
        let [(etag, at)] = &bodies.events[..] else {
            panic!("one line for the log, not {:?}", bodies.events);
        };
        let (mut of_body, mut of_entry) = (Vec::new(), Vec::new());
        let slot = Slot::Event(*etag);
        append_of::<EventRow>(slot, &bytes[at.clone()], &mut of_body).unwrap();
        encode(slot, &ended, &mut of_entry).unwrap();
        assert_eq!(of_body, of_entry);
    }
}
