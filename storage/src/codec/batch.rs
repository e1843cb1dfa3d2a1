//! Batches of the journal to bytes and back.

use super::{Appending, Result};
use crate::commit::{Commit, Write};
use crate::row::TaskNumber;
use crate::store::StoreError;
use serde::Serialize;
use std::ops::Range;

/// Most that a batch of the journal takes in memory, in bytes: a few times what the largest journal holds.
const BATCH_MAX: usize = 256 << 20;
/// The number of [`Write::Row`] among its kind.
const ROW_OF_WRITES: u32 = 0;

/// Where the bodies of rows are in an encoded batch, in the order of its commits.
pub(crate) type Bodies = Vec<(TaskNumber, Range<usize>)>;

/// Appends a batch, for the journal, and says where in `out` it has put the bodies of rows, which are as those of
/// [`encode_row`](super::encode_row): who writes them to the tables need not encode them once more. Its commits are in the memory of the caller
/// already, so they have no bound here.
///
/// The bytes are those of the list of commits in the standard configuration of bincode: [`decode_batch`] reads them as that.
///
/// # Errors
/// [`StoreError::Malformed`] when it cannot be encoded.
pub(crate) fn encode_batch(batch: &[&Commit], out: &mut Vec<u8>) -> Result<Bodies> {
    let mut bodies = Vec::with_capacity(batch.len());
    unbounded_into(&(batch.len() as u64), out)?;
    for Commit {
        task,
        expect,
        writes,
    } in batch
    {
        unbounded_into(&(task, expect, writes.len() as u64), out)?;
        for write in writes {
            let Write::Row(row) = write else {
                unbounded_into(write, out)?;
                continue;
            };
            unbounded_into(&ROW_OF_WRITES, out)?;
            let from = out.len();
            unbounded_into(row, out)?;
            bodies.push((*task, from..out.len()));
        }
    }
    Ok(bodies)
}

fn unbounded_into<T: Serialize>(part: &T, out: &mut Vec<u8>) -> Result<()> {
    let config = bincode::config::standard();
    match bincode::serde::encode_into_writer(part, Appending(out), config) {
        Ok(_) => Ok(()),
        Err(_) => Err(StoreError::Malformed {
            what: "a batch cannot be encoded",
        }),
    }
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
    use crate::codec::{HEADER_LEN, encode_row};
    use crate::conformance::rows::{by_etag, ended, moved, pending, start};
    use crate::header::Header;
    use crate::row::Micros;

    /// What is written by hand is what bincode makes of the same commits, and a body is that of the row in the tables.
    #[test]
    fn a_batch_is_the_list_of_its_commits_and_its_bodies_are_those_of_its_rows() {
        let first = pending(10, "a");
        let next = moved(&first, 11, ended(Micros(900)));
        let commits = [start(&first), by_etag(10, 10, &next)];
        let mut bytes = vec![1, 2, 3];
        let bodies = encode_batch(&commits.iter().collect::<Vec<_>>(), &mut bytes).unwrap();
        let list = bincode::serde::encode_to_vec(&commits[..], bincode::config::standard());
        assert_eq!(bytes[3..], list.unwrap());
        assert_eq!(bodies.len(), 2);
        for (row, (task, at)) in [first, next].iter().zip(bodies) {
            let mut out = Vec::new();
            encode_row(task, (&Header::of(row), row), &mut out).unwrap();
            assert_eq!(out[HEADER_LEN..out.len() - 4], bytes[at]);
        }
    }
}
