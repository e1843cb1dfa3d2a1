//! What is whole in a journal behind a record that is damaged, for whoever takes what there is.

use super::{Behind, Mark, body_crc, codec, standing};
use crate::commit::Commit;
use crate::redb::shape::Shape;
use std::collections::BTreeMap;

/// A record that is whole, wherever it lies.
struct Found {
    /// The checksum of the record before it.
    chain: u32,
    body_crc: u32,
    batch: Vec<Commit>,
}

/// The batches that are whole behind what was read, in order, each with its number. They may lie anywhere: damage may have put
/// one in the place of another.
///
/// Only behind a gap is one taken that does not follow the one before it: what is left of a batch that failed has a number, too.
pub(in crate::redb) fn beyond(
    shape: Shape,
    behind: &Behind,
    mark: Mark,
    journal: &[u8],
) -> Vec<(u64, Vec<Commit>)> {
    let mut last = behind.batches.last().map_or(mark, |(mark, _)| *mark);
    let mut batches = Vec::new();
    for (seq, found) in later(shape, last, journal) {
        let is_next = seq == last.seq + 1;
        let fits = |found: &Found| {
            !is_next || found.chain == last.chain || cfg!(planted = "salvage_does_what_failed")
        };
        let mut fitting = found.into_iter().filter(fits);
        let (Some(only), None) = (fitting.next(), fitting.next()) else {
            break;
        };
        (last.seq, last.chain) = (seq, only.body_crc);
        batches.push((seq, only.batch));
    }
    batches
}

/// Whatever is whole and has a higher number than the last one.
fn later(shape: Shape, last: Mark, journal: &[u8]) -> BTreeMap<u64, Vec<Found>> {
    let mut later = BTreeMap::<u64, Vec<Found>>::new();
    for (before, version, body) in standing(shape, journal) {
        let seq = before.seq + 1;
        let is_known = version == [codec::VERSION, codec::BINCODE];
        if seq <= last.seq || !is_known {
            continue;
        }
        if cfg!(planted = "salvage_ends_at_a_copied_record") && later.range(seq..).next().is_some()
        {
            continue;
        }
        let Some(batch) = codec::decode_batch(body) else {
            continue;
        };
        let found = Found {
            chain: before.chain,
            body_crc: body_crc(before.chain, body),
            batch,
        };
        let of_number = later.entry(seq).or_default();
        // A copy is the same one.
        if !(of_number.iter()).any(|known| known.body_crc == found.body_crc) {
            of_number.push(found);
        }
    }
    later
}

#[cfg(test)]
mod tests {
    use super::super::{BLOCK, behind, record};
    use super::*;
    use crate::conformance::rows::{pending, start};

    fn shape() -> Shape {
        Shape::new(64 << 10, 7)
    }

    /// A journal of as many batches, each in a block of its own, and the batches.
    fn journal(first: u64, batches: u64) -> (Vec<u8>, Vec<Vec<Commit>>) {
        let (mut journal, mut mark, mut bytes) = (Vec::new(), Mark::default(), Vec::new());
        let batch = |n| vec![start(&pending(n, &format!("task-{n}")))];
        let batches: Vec<_> = (first..first + batches).map(batch).collect();
        for batch in &batches {
            let commits: Vec<&Commit> = batch.iter().collect();
            let put = record(shape(), (mark, Mark::default()), &commits, &mut bytes);
            mark = put.unwrap().expect("room").next;
            journal.extend_from_slice(&bytes);
        }
        journal.resize(shape().journal as usize, 0);
        (journal, batches)
    }

    fn found(journal: &[u8]) -> (usize, Vec<Vec<Commit>>) {
        let mark = Mark::default();
        let behind = behind(shape(), mark, journal);
        let beyond = beyond(shape(), &behind, mark, journal);
        let batches = beyond.into_iter().map(|(_, batch)| batch);
        (behind.batches.len(), batches.collect())
    }

    /// A later record stood in the place of an earlier one, and all between them was passed over.
    #[test]
    fn a_record_in_the_place_of_another_hides_none() {
        let (mut journal, batches) = journal(10, 5);
        let block = BLOCK as usize;
        journal.copy_within(3 * block..4 * block, block);
        assert_eq!(found(&journal), (1, batches[2..].to_vec()));
    }

    #[test]
    fn what_is_left_of_a_batch_that_failed_is_never_done() {
        let (other, _) = journal(10, 2);
        let (mut journal, _) = journal(11, 1);
        let block = BLOCK as usize;
        journal[block..].copy_from_slice(&other[block..]);
        assert_eq!(found(&journal), (1, Vec::new()));
    }
}
