//! The journal before redb: one record for each batch, which is durable before redb's own pages are.
//!
//! Records follow each other, each at a multiple of [`BLOCK`], and go on at the beginning of the journal where one does not
//! fit before its end. What the database has of them says its [`Mark`], which is put with every lot of batches: the number of
//! the last record, and where it ends. So whatever of the database is on the disk, what is missing there lies behind its
//! mark, and no record goes where one lies that is behind the mark on the disk.
//!
//! A record: `magic[2] version codec seq[8] body_len[4] chain[4] body_crc[4] head_crc[4]`, the body, zeros up to the next block.
//! Numbers are little-endian. The head's checksum begins with the salt of the file, so that nothing in a payload passes
//! for a record; the body's begins with that of the record before, but for the first one, so that a record stands only where
//! it was written.

mod beyond;

pub(super) use beyond::beyond;

use super::shape::{BLOCK, Shape};
use crate::codec::{self, Bodies};
use crate::commit::Commit;
use crate::store::StoreError;

const MAGIC: [u8; 2] = *b"oJ";
const HEAD_LEN: usize = 28;

/// How far the database is in its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    /// The number of the last record that is in the database. It never goes back.
    pub(super) seq: u64,
    /// Where in the journal the last record ends. The next one goes there, or to the beginning.
    at: u32,
    /// The checksum of the last record's body.
    chain: u32,
}

impl Mark {
    /// As it lies in the file: 48 bits of the number, 16 of the block, the checksum of the last record, and one of all this.
    pub(super) fn to_bits(self) -> u128 {
        let block = u128::from(self.at / BLOCK as u32);
        let said = u128::from(self.seq) << 48 | block << 32 | u128::from(self.chain);
        said << 32 | u128::from(seal(said))
    }

    /// The mark that lies in a file; `None` when it is damaged.
    pub(super) fn of_bits(bits: u128) -> Option<Mark> {
        let said = bits >> 32;
        let is_whole = seal(said) == bits as u32 || cfg!(planted = "mark_believed");
        is_whole.then_some(Mark {
            seq: (said >> 48) as u64,
            at: u32::from((said >> 32) as u16) * BLOCK as u32,
            chain: said as u32,
        })
    }

    /// The same number, with the next record at the beginning: for a database that has all there is.
    pub(super) fn rewound(self) -> Mark {
        Mark { at: 0, ..self }
    }

    /// True when it is not behind that one.
    pub(super) fn is_at_least(self, other: Mark) -> bool {
        self.seq >= other.seq
    }

    fn at(self) -> u64 {
        u64::from(self.at)
    }

    /// Behind the next record, which lies there.
    fn next(self, from: u64, len: usize, body_crc: u32) -> Mark {
        Mark {
            seq: self.seq + 1,
            at: (from as usize + len) as u32,
            chain: body_crc,
        }
    }
}

/// The bytes of the journal between two marks, of which the second is later, or nearly: where records go on at the beginning,
/// what is left free before its end counts as well.
pub(super) fn between(shape: Shape, (before, after): (Mark, Mark)) -> u64 {
    if before.seq == after.seq {
        return 0;
    }
    match after.at().checked_sub(before.at()) {
        Some(bytes) if bytes > 0 => bytes,
        _ => u64::from(shape.journal).saturating_sub(before.at()) + after.at(),
    }
}

fn seal(said: u128) -> u32 {
    crc32fast::hash(&said.to_le_bytes())
}

/// A record that has a place.
pub(super) struct Placed {
    /// Where in the journal it goes.
    pub(super) at: u64,
    /// The mark behind it.
    pub(super) next: Mark,
    /// Where in it the bodies of rows and of lines for the log are.
    pub(super) bodies: Bodies,
}

/// Puts the record of a batch into `out`, which is emptied first. `None` when there is no room for it.
///
/// `reached` is behind the last record, `durable` behind the last one that the database has on the disk.
///
/// # Errors
/// [`StoreError::Malformed`] when it cannot be encoded.
pub(super) fn record(
    shape: Shape,
    (reached, durable): (Mark, Mark),
    batch: &[&Commit],
    out: &mut Vec<u8>,
) -> Result<Option<Placed>, StoreError> {
    out.clear();
    out.resize(HEAD_LEN, 0);
    let bodies = codec::encode_batch(batch, out)?;
    let body_len = out.len() - HEAD_LEN;
    // What is in the journal, the database must be able to have: a larger one goes there at once, which may refuse it.
    if body_len > codec::BODY_MAX && !cfg!(planted = "journal_takes_anything") {
        return Ok(None);
    }
    let Some(len) = record_len(body_len) else {
        return Ok(None);
    };
    let Some(from) = place(shape, (reached, durable), len as u64) else {
        return Ok(None);
    };
    let body_crc = body_crc(reached.chain, &out[HEAD_LEN..]);
    let next = reached.next(from, len, body_crc);
    let mut head = [0; HEAD_LEN];
    head[..2].copy_from_slice(&MAGIC);
    head[2..4].copy_from_slice(&[codec::VERSION, codec::BINCODE]);
    head[4..12].copy_from_slice(&next.seq.to_le_bytes());
    head[12..16].copy_from_slice(&(body_len as u32).to_le_bytes());
    head[16..20].copy_from_slice(&reached.chain.to_le_bytes());
    head[20..24].copy_from_slice(&body_crc.to_le_bytes());
    let crc = head_crc(shape, &head[..24]);
    head[24..].copy_from_slice(&crc.to_le_bytes());
    out[..HEAD_LEN].copy_from_slice(&head);
    out.resize(len, 0);
    Ok(Some(Placed {
        at: from,
        next,
        bodies,
    }))
}

/// The bytes that a record takes; `None` for a body no journal has room for.
fn record_len(body_len: usize) -> Option<usize> {
    u32::try_from(body_len).ok()?;
    (HEAD_LEN + body_len).checked_next_multiple_of(BLOCK as usize)
}

/// Where a record of so many bytes goes: behind the last one or to the beginning, and never over one that the database does
/// not have on the disk.
fn place(shape: Shape, (reached, durable): (Mark, Mark), len: u64) -> Option<u64> {
    let end = u64::from(shape.journal);
    let (at, oldest) = (reached.at(), durable.at());
    let has_all = reached.seq == durable.seq || cfg!(planted = "journal_written_over");
    // A record never ends where the oldest one begins: a full journal would look like an empty one.
    if !has_all && at <= oldest {
        return (at + len < oldest).then_some(at);
    }
    if at + len <= end {
        return Some(at);
    }
    // Nor behind the mark: from there on records would be taken for free that are not.
    let free = match has_all {
        true if cfg!(planted = "journal_wraps_beyond_its_mark") => end + 1,
        true => at + 1,
        false => oldest,
    };
    (len < free).then_some(0)
}

fn head_crc(shape: Shape, head: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&shape.salt.to_le_bytes());
    hasher.update(head);
    hasher.finalize()
}

fn body_crc(chain: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&chain.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// The head of a record.
struct Head {
    version: [u8; 2],
    seq: u64,
    body_len: usize,
    chain: u32,
    body_crc: u32,
}

impl Head {
    fn of(shape: Shape, bytes: &[u8]) -> Option<Head> {
        let head = bytes.first_chunk::<HEAD_LEN>()?;
        let number = |at: usize| head[at..].first_chunk().map(|b| u32::from_le_bytes(*b));
        let is_ours = head.starts_with(&MAGIC) && number(24)? == head_crc(shape, &head[..24]);
        is_ours.then_some(Head {
            version: [head[2], head[3]],
            seq: u64::from_le_bytes(*head[4..].first_chunk()?),
            body_len: number(12)? as usize,
            chain: number(16)?,
            body_crc: number(20)?,
        })
    }
}

/// What lies in a journal behind a mark.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Behind {
    /// The batches, in order, each with the mark behind it.
    pub(super) batches: Vec<(Mark, Vec<Commit>)>,
    /// Why there may be more that cannot be read; `None` where the journal ends as a crash leaves it.
    pub(super) broken: Option<Broken>,
}

/// Why the end of a journal is not that of a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// A later record is whole, and it was written after this one was durable.
    Gap,
    /// A record is whole, and of a version this library does not read.
    Unread,
}

impl Broken {
    /// In words.
    pub(super) fn message(self) -> &'static str {
        match self {
            Broken::Gap => "a record within its journal is damaged",
            Broken::Unread => "its journal was written by another version: open it with that one",
        }
    }
}

/// Reads a journal, all of whose bytes these are, from a mark on.
pub(super) fn behind(shape: Shape, mut mark: Mark, journal: &[u8]) -> Behind {
    let mut batches = Vec::new();
    loop {
        let mut places = [mark.at(), 0].into_iter();
        let found = places.find_map(|from| Some((from, whole(shape, mark, rest(journal, from))?)));
        let Some((from, (head, body, len))) = found else {
            let broken = has_later(shape, mark, journal).then_some(Broken::Gap);
            return Behind { batches, broken };
        };
        let known = head.version == [codec::VERSION, codec::BINCODE];
        let Some(batch) = known.then(|| codec::decode_batch(body)).flatten() else {
            let broken = Some(Broken::Unread);
            return Behind { batches, broken };
        };
        mark = mark.next(from, len, head.body_crc);
        batches.push((mark, batch));
    }
}

fn rest(journal: &[u8], from: u64) -> &[u8] {
    journal.get(from as usize..).unwrap_or_default()
}

/// The mark before the first record of a journal; `None` where there is none.
pub(super) fn first(shape: Shape, journal: &[u8]) -> Option<Mark> {
    let marks = standing(shape, journal).map(|(before, ..)| before);
    marks.min_by_key(|before| before.seq)
}

/// The records that are whole, wherever they lie: the mark before each, as it says itself, its version and its body.
fn standing(shape: Shape, journal: &[u8]) -> impl Iterator<Item = (Mark, [u8; 2], &[u8])> {
    (0..journal.len())
        .step_by(BLOCK as usize)
        .filter_map(move |at| {
            let head = Head::of(shape, &journal[at..])?;
            let before = Mark {
                seq: head.seq.checked_sub(1)?,
                at: at as u32,
                chain: head.chain,
            };
            let (head, body, _) = whole(shape, before, &journal[at..])?;
            Some((before, head.version, body))
        })
}

/// The record that follows a mark, if all of it is there.
fn whole(shape: Shape, mark: Mark, rest: &[u8]) -> Option<(Head, &[u8], usize)> {
    let head = Head::of(shape, rest)?;
    let body = rest.get(HEAD_LEN..)?.get(..head.body_len)?;
    let len = record_len(head.body_len).filter(|len| *len <= rest.len())?;
    let follows = head.seq == mark.seq + 1 || cfg!(planted = "journal_order_ignored");
    let is_whole =
        body_crc(mark.chain, body) == head.body_crc || cfg!(planted = "journal_not_checked");
    (follows && is_whole).then_some((head, body, len))
}

/// True when a record lies there that was written after the one which should follow the mark: that one was durable then,
/// and is damaged now. What is left of earlier rounds has lower numbers.
fn has_later(shape: Shape, mark: Mark, journal: &[u8]) -> bool {
    let later = |block: &[u8]| Head::of(shape, block).is_some_and(|head| head.seq > mark.seq + 1);
    journal.chunks(BLOCK as usize).any(later) && !cfg!(planted = "journal_gap_unseen")
}

#[cfg(test)]
mod tests;
