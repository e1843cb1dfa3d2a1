//! The last record of a journal. A crash that tears its write leaves of it whatever was written so far, and nobody was told then
//! that it is durable: damage to it later looks the same, so the file is right to say what it says without that record. That
//! holds of the last record alone: where a later one follows, this one was durable, and damage to it must be told.

use super::kind::SECTOR;
use std::ops::Range;

/// The first bytes of a file with a journal, and where it says how long the journal is.
const MAGIC: &[u8] = b"outlive\x1A\n";
const JOURNAL_LEN_AT: usize = 10;
/// The journal begins, and each record in it, at a multiple of this many bytes.
const BLOCK: usize = 4096;
/// What a record begins with, where its number and the length of its body lie, and where its body begins.
const RECORD: &[u8] = b"oJ";
const SEQ_AT: usize = 4;
const BODY_LEN_AT: usize = 12;
const BODY_AT: usize = 28;

/// The bytes of the last record in the journal of a whole file; `None` where there is none.
fn last_record(file: &[u8]) -> Option<Range<usize>> {
    if !file.starts_with(MAGIC) {
        return None;
    }
    let number = |at: usize| Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?) as usize);
    let end = BLOCK + number(JOURNAL_LEN_AT)?;
    let heads = (BLOCK..end)
        .step_by(BLOCK)
        .filter(|at| file[*at..].starts_with(RECORD));
    let seq = |at: &usize| {
        file[*at + SEQ_AT..]
            .first_chunk()
            .map(|seq| u64::from_le_bytes(*seq))
    };
    let last = heads.max_by_key(seq)?;
    Some(last..last + BODY_AT + number(last + BODY_LEN_AT)?)
}

/// The sectors of the last record of a whole file's journal, and the file without it, as a crash leaves it of which nothing of
/// that record came to the disk.
pub fn torn(file: &[u8]) -> Option<(Range<usize>, Vec<u8>)> {
    let last = last_record(file)?;
    let sectors = last.start / SECTOR..last.end.div_ceil(SECTOR);
    let mut torn = file.to_vec();
    torn[last].fill(0);
    Some((sectors, torn))
}
