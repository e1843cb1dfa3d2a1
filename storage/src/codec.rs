//! Rows to bytes and back: the one module that uses bincode.
//!
//! bincode reads moved fields and flipped bits without complaint, so every entry carries a magic, the version of
//! its format, and checksums that cover its key. Nothing here panics on any bytes.
//!
//! A row: `magic[2] version codec place priority 0 0 etag[8] generation[8] def[4] run[4] identity_crc[4] line[16] at[8]
//! parent[8] turn[8] body_len[4] crc[4]`, the body, `crc[4]`. Anything else: `magic[2] version codec body_len[4]`, the
//! body, `crc[4]`.
//! Numbers are little-endian. The structs in `row` and `receipt` are version 1; a changed struct gets a further
//! version, and the old struct stays here with a `From`.

#[cfg(feature = "redb")]
mod batch;
mod encoder;

use crate::header::Header;
use crate::receipt::KeptReceipt;
use crate::row::{
    AskRow, Deadline, DefNumber, Etag, EventRow, Family, Generation, InputRow, LifeRow, Line,
    Micros, Place, Priority, RunRow, SegmentRow, StepRow, TaskNumber, TaskRow, TurnRow,
};
use crate::slot::Slot;
use crate::store::StoreError;
#[cfg(feature = "redb")]
pub(crate) use batch::{Bodies, append_body, decode_batch, encode_batch};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The newest format of an entry this version reads, and the one it writes.
pub(crate) const VERSION: u8 = 1;
/// Largest encoded body, in bytes: far above any row whose payloads are inline, far below a hostile length.
pub(crate) const BODY_MAX: usize = 4 << 20;
/// How much is read of a body at most, as bincode counts: a number as eight bytes, however few it has.
const READ_MAX: usize = BODY_MAX + (64 << 10);
/// Largest large value, in bytes.
const VALUE_MAX: usize = 1 << 30;

const ROW: [u8; 2] = *b"oT";
const VALUE: [u8; 2] = *b"oV";
/// The body is bincode 2 in its standard configuration: most numbers of a row are small, and take a byte each.
pub(crate) const BINCODE: u8 = 2;
/// The body is the user's bytes as given.
const RAW: u8 = 0;

const HEADER_LEN: usize = 84;
const SHORT_LEN: usize = 8;
const CRC_LEN: usize = 4;

type Result<T> = std::result::Result<T, StoreError>;

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<READ_MAX>()
}

/// Encodes a row and its header into `out`, which is emptied first.
///
/// # Errors
/// [`StoreError::Malformed`] when the row is larger than any row may be.
pub(crate) fn encode_row(
    task: TaskNumber,
    (header, row): (&Header, &TaskRow),
    out: &mut Vec<u8>,
) -> Result<()> {
    out.clear();
    out.extend_from_slice(&row_head(header));
    body_into(row, out)?;
    seal_row(task, 0, out);
    Ok(())
}

/// As [`encode_row`], of a row whose [body](append_body) is encoded already, behind what is in `out`.
///
/// # Errors
/// As for [`encode_row`]; [`StoreError::Malformed`] also without a body.
#[cfg(feature = "redb")]
pub(crate) fn append_row_of(
    task: TaskNumber,
    (header, body): (&Header, &[u8]),
    out: &mut Vec<u8>,
) -> Result<()> {
    if body.is_empty() {
        return Err(StoreError::Malformed {
            what: "a row has no body",
        });
    }
    check_body(body.len())?;
    let from = out.len();
    out.extend_from_slice(&row_head(header));
    out.extend_from_slice(body);
    seal_row(task, from, out);
    Ok(())
}

/// The header of a row, but for what is known of its body.
fn row_head(header: &Header) -> [u8; HEADER_LEN] {
    let (place, (life, ahead_us), at) = place_parts(header.place);
    let (parent, turn) = family_bytes(header.family);
    let mut head = [0; HEADER_LEN];
    let mut rest = &mut head[..];
    let mut put = |bytes: &[u8]| {
        let (here, behind) = std::mem::take(&mut rest).split_at_mut(bytes.len());
        here.copy_from_slice(bytes);
        rest = behind;
    };
    put(&ROW);
    put(&[VERSION, BINCODE, place, header.priority.rank(), 0, 0]);
    put(&header.etag.0.to_le_bytes());
    put(&header.generation.0.to_le_bytes());
    put(&header.def.0.to_le_bytes());
    put(&header.run.to_le_bytes());
    put(&header.identity_crc.to_le_bytes());
    put(&life.to_le_bytes());
    put(&ahead_us.to_le_bytes());
    put(&at.to_le_bytes());
    put(&parent.to_le_bytes());
    put(&turn.to_le_bytes());
    head
}

/// What the header, which is there in `out`, says of the body behind it, and their checksums.
fn seal_row(task: TaskNumber, from: usize, out: &mut Vec<u8>) {
    let (head, body) = out[from..].split_at_mut(HEADER_LEN);
    let slot = Slot::Task(task);
    head[HEADER_LEN - 8..HEADER_LEN - 4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    let crc = crc(slot, &head[..HEADER_LEN - 4]).to_le_bytes();
    head[HEADER_LEN - 4..].copy_from_slice(&crc);
    let crc = crc_of_body(slot, body);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Reads a row's header, without its body.
///
/// # Errors
/// [`StoreError::Corrupt`], [`StoreError::TooNew`].
pub(crate) fn header(task: TaskNumber, bytes: &[u8]) -> Result<Header> {
    let slot = Slot::Task(task);
    check_magic(slot, ROW, bytes)?;
    let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
        return Err(slot.corrupt());
    };
    let crc_ok = crc(slot, &head[..HEADER_LEN - 4]) == u32_at(head, HEADER_LEN - 4);
    let body_len = u64::from(u32_at(head, HEADER_LEN - 8));
    let whole = body_len + (HEADER_LEN + CRC_LEN) as u64 == bytes.len() as u64;
    let known = head[3] == BINCODE && head[5] < Priority::LEVELS && head[6] == 0 && head[7] == 0;
    let line = Line::of_parts(u64_at(head, 36), u64_at(head, 44).cast_signed());
    let place = place_of(head[4], line, u64_at(head, 52));
    let family = family_of(u64_at(head, 60), u64_at(head, 68));
    let (true, true, true, Some(place), Some(family)) = (
        crc_ok || cfg!(planted = "crc_not_checked"),
        whole,
        known,
        place,
        family,
    ) else {
        return Err(slot.corrupt());
    };
    Ok(Header {
        etag: Etag(u64_at(head, 8)),
        generation: Generation(u64_at(head, 16)),
        def: DefNumber(u32_at(head, 24)),
        priority: Priority::new(head[5]),
        place,
        run: u32_at(head, 28),
        family,
        identity_crc: u32_at(head, 32),
    })
}

/// Reads a row; its header must say the same as its body.
///
/// # Errors
/// [`StoreError::Corrupt`], [`StoreError::TooNew`].
pub(crate) fn decode_row(task: TaskNumber, bytes: &[u8]) -> Result<TaskRow> {
    let slot = Slot::Task(task);
    let header = header(task, bytes)?;
    let row: TaskRow = body_from(slot, &bytes[HEADER_LEN..])?;
    if Header::of(&row) != header {
        return Err(slot.corrupt());
    }
    Ok(row)
}

/// What lies in the short envelope, each under a magic of its own.
pub(crate) trait Entry: Serialize + DeserializeOwned {
    /// Its first two bytes.
    const MAGIC: [u8; 2];
}

impl Entry for InputRow {
    const MAGIC: [u8; 2] = *b"oI";
}

impl Entry for KeptReceipt {
    const MAGIC: [u8; 2] = *b"oR";
}

impl Entry for TurnRow {
    const MAGIC: [u8; 2] = *b"oU";
}

impl Entry for RunRow {
    const MAGIC: [u8; 2] = *b"oN";
}

impl Entry for SegmentRow {
    const MAGIC: [u8; 2] = *b"oS";
}

impl Entry for EventRow {
    const MAGIC: [u8; 2] = *b"oE";
}

impl Entry for LifeRow {
    const MAGIC: [u8; 2] = *b"oL";
}

impl Entry for StepRow {
    const MAGIC: [u8; 2] = *b"oS";
}

impl Entry for AskRow {
    const MAGIC: [u8; 2] = *b"oQ";
}

/// Encodes an entry into `out`, which is emptied first.
///
/// # Errors
/// [`StoreError::Malformed`] when it is larger than any entry may be.
pub(crate) fn encode<E: Entry>(slot: Slot<'_>, entry: &E, out: &mut Vec<u8>) -> Result<()> {
    start_short(E::MAGIC, BINCODE, out);
    body_into(entry, out)?;
    seal_short(slot, out);
    Ok(())
}

/// As [`encode`], of an entry whose [body](append_body) is encoded already, behind what is in `out`.
///
/// # Errors
/// As for [`encode`].
#[cfg(feature = "redb")]
pub(crate) fn append_of<E: Entry>(slot: Slot<'_>, body: &[u8], out: &mut Vec<u8>) -> Result<()> {
    check_body(body.len())?;
    out.extend_from_slice(&short_head(E::MAGIC, BINCODE, body.len()));
    out.extend_from_slice(body);
    out.extend_from_slice(&crc_of_body(slot, body).to_le_bytes());
    Ok(())
}

/// Reads an entry.
///
/// # Errors
/// [`StoreError::Corrupt`], [`StoreError::TooNew`].
pub(crate) fn decode<E: Entry>(slot: Slot<'_>, bytes: &[u8]) -> Result<E> {
    body_from(slot, short(slot, E::MAGIC, BINCODE, bytes)?)
}

/// Encodes a large value into `out`, which is emptied first.
///
/// # Errors
/// [`StoreError::Malformed`] when it is larger than any value may be.
pub(crate) fn encode_value(slot: Slot<'_>, value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    check_value(value)?;
    start_short(VALUE, RAW, out);
    out.extend_from_slice(value);
    seal_short(slot, out);
    Ok(())
}

fn check_value(value: &[u8]) -> Result<()> {
    if value.len() > VALUE_MAX {
        return Err(StoreError::Malformed {
            what: "a value is larger than 1 GiB",
        });
    }
    Ok(())
}

/// Reads a large value.
///
/// # Errors
/// [`StoreError::Corrupt`], [`StoreError::TooNew`].
pub(crate) fn decode_value(slot: Slot<'_>, bytes: &[u8]) -> Result<Vec<u8>> {
    let sealed = short(slot, VALUE, RAW, bytes)?;
    Ok(checked_body(slot, sealed)?.to_vec())
}

/// Whether a large value is the one that was written, without a copy of it.
///
/// # Errors
/// [`StoreError::Corrupt`], [`StoreError::TooNew`].
pub(crate) fn check_value_of(slot: Slot<'_>, bytes: &[u8]) -> Result<()> {
    let sealed = short(slot, VALUE, RAW, bytes)?;
    checked_body(slot, sealed).map(drop)
}

/// Encodes a step into `out`, which is emptied first: what is known of it, then its result as given.
///
/// # Errors
/// [`StoreError::Malformed`] when its result is larger than any value may be.
pub(crate) fn encode_step(slot: Slot<'_>, step: &StepRow, out: &mut Vec<u8>) -> Result<()> {
    check_value(&step.value)?;
    start_short(StepRow::MAGIC, BINCODE, out);
    body_into(step, out)?;
    out.extend_from_slice(&step.value);
    seal_short(slot, out);
    Ok(())
}

/// Reads a step.
///
/// # Errors
/// [`StoreError::Corrupt`], [`StoreError::TooNew`].
pub(crate) fn decode_step(slot: Slot<'_>, bytes: &[u8]) -> Result<StepRow> {
    let sealed = short(slot, StepRow::MAGIC, BINCODE, bytes)?;
    let body = checked_body(slot, sealed)?;
    let head = bincode::serde::decode_from_slice::<StepRow, _>(body, config());
    let (mut step, read) = head.map_err(|_| slot.corrupt())?;
    step.value = body.get(read..).ok_or_else(|| slot.corrupt())?.to_vec();
    Ok(step)
}

fn start_short(magic: [u8; 2], codec: u8, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&short_head(magic, codec, 0));
}

fn short_head(magic: [u8; 2], codec: u8, body_len: usize) -> [u8; SHORT_LEN] {
    let ([m, n], [a, b, c, d]) = (magic, (body_len as u32).to_le_bytes());
    [m, n, VERSION, codec, a, b, c, d]
}

fn seal_short(slot: Slot<'_>, out: &mut Vec<u8>) {
    let len = (out.len() - SHORT_LEN) as u32;
    out[4..SHORT_LEN].copy_from_slice(&len.to_le_bytes());
    let crc = crc_of_body(slot, &out[SHORT_LEN..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Makes lengths and checksums right, whatever the rest is.
#[cfg(feature = "fuzzing")]
pub(crate) fn seal(slot: Slot<'_>, row: bool, bytes: &mut [u8]) {
    let head_len = if row { HEADER_LEN } else { SHORT_LEN };
    let Some(body_len) = bytes.len().checked_sub(head_len + CRC_LEN) else {
        return;
    };
    let (head, sealed) = bytes.split_at_mut(head_len);
    let len = (body_len as u32).to_le_bytes();
    if row {
        head[HEADER_LEN - 8..HEADER_LEN - 4].copy_from_slice(&len);
        let crc = crc(slot, &head[..HEADER_LEN - 4]);
        head[HEADER_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
    } else {
        head[4..].copy_from_slice(&len);
    }
    let (body, crc) = sealed.split_at_mut(body_len);
    crc.copy_from_slice(&crc_of_body(slot, body).to_le_bytes());
}

/// The body and checksum of a short envelope, whose fixed part is checked bit by bit rather than by a checksum:
/// each of its fields has exactly one right value.
fn short<'a>(slot: Slot<'_>, magic: [u8; 2], codec: u8, bytes: &'a [u8]) -> Result<&'a [u8]> {
    check_magic(slot, magic, bytes)?;
    let Some((head, sealed)) = bytes.split_first_chunk::<SHORT_LEN>() else {
        return Err(slot.corrupt());
    };
    if head[3] != codec || u64::from(u32_at(head, 4)) + CRC_LEN as u64 != sealed.len() as u64 {
        return Err(slot.corrupt());
    }
    Ok(sealed)
}

/// Magic and version come first in every format there will ever be, so that a newer one is told from damage.
fn check_magic(slot: Slot<'_>, magic: [u8; 2], bytes: &[u8]) -> Result<()> {
    match bytes {
        [a, b, version, ..] if [*a, *b] == magic => match *version {
            VERSION => Ok(()),
            0 => Err(slot.corrupt()),
            found => Err(StoreError::TooNew {
                table: slot.table(),
                found,
                supported: VERSION,
            }),
        },
        _ => Err(slot.corrupt()),
    }
}

fn body_into<T: Serialize>(body: &T, out: &mut Vec<u8>) -> Result<()> {
    let from = out.len();
    encoder::append(body, out)?;
    check_body(out.len() - from)
}

fn check_body(len: usize) -> Result<()> {
    if len > BODY_MAX {
        return Err(StoreError::Malformed {
            what: "a row is larger than 4 MiB",
        });
    }
    Ok(())
}

/// Reads the body of a row that never left memory.
///
/// # Errors
/// [`StoreError::Corrupt`].
#[cfg(feature = "redb")]
pub(crate) fn decode_row_of(task: TaskNumber, body: &[u8]) -> Result<TaskRow> {
    body_in(Slot::Task(task), body)
}

fn body_from<T: DeserializeOwned>(slot: Slot<'_>, sealed: &[u8]) -> Result<T> {
    body_in(slot, checked_body(slot, sealed)?)
}

fn body_in<T: DeserializeOwned>(slot: Slot<'_>, body: &[u8]) -> Result<T> {
    match bincode::serde::decode_from_slice(body, config()) {
        Ok((value, read)) if read == body.len() => Ok(value),
        _ => Err(slot.corrupt()),
    }
}

fn checked_body<'a>(slot: Slot<'_>, sealed: &'a [u8]) -> Result<&'a [u8]> {
    let Some((body, stored)) = sealed.split_last_chunk::<CRC_LEN>() else {
        return Err(slot.corrupt());
    };
    if crc_of_body(slot, body) != u32::from_le_bytes(*stored) && !cfg!(planted = "crc_not_checked")
    {
        return Err(slot.corrupt());
    }
    Ok(body)
}

fn crc(slot: Slot<'_>, bytes: &[u8]) -> u32 {
    let mut hasher = slot.hasher();
    hasher.update(bytes);
    hasher.finalize()
}

/// Differs from [`crc`] so that a header and a body can never stand in for each other.
fn crc_of_body(slot: Slot<'_>, body: &[u8]) -> u32 {
    !crc(slot, body)
}

/// No task has the number zero.
fn family_bytes(family: Option<Family>) -> (u64, u64) {
    family.map_or((0, 0), |family| (family.task.0, family.turn))
}

fn family_of(parent: u64, turn: u64) -> Option<Option<Family>> {
    let task = TaskNumber(parent);
    match (parent, turn) {
        (0, 0) => Some(None),
        (0, _) if !cfg!(planted = "turn_without_parent") => None,
        _ => Some((parent > 0).then_some(Family { task, turn })),
    }
}

fn place_parts(place: Place) -> (u8, (u64, i64), u64) {
    let own = Line::Own.parts();
    match place {
        Place::Due(due) => (1, due.line.parts(), due.at.0),
        Place::Running => (2, own, 0),
        Place::Ended(at) => (3, own, at.0),
        Place::Kept => (4, own, 0),
    }
}

fn place_of(byte: u8, line: Option<Line>, at: u64) -> Option<Place> {
    let line = line?;
    let at = Micros(at);
    match (byte, line, at.0) {
        (1, _, _) => Some(Place::Due(Deadline { line, at })),
        (2, Line::Own, 0) => Some(Place::Running),
        (3, Line::Own, _) => Some(Place::Ended(at)),
        (4, Line::Own, 0) => Some(Place::Kept),
        _ => None,
    }
}

/// Both readers are given an array longer than `at` and the number, so the default is never taken.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .copied()
        .map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..]
        .first_chunk()
        .copied()
        .map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
pub(crate) mod tests;
