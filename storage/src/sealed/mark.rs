//! The mark of a file whose values are sealed: names among its definitions that no task can have.
//!
//! Every store keeps names for ever and carries them into each copy, so a mark needs nothing of a store that it does not
//! have. A mark is [`MARK`] and, in hexadecimal, what the codec made of the file's number and the secret of its digests;
//! there is one for each key that ever was the current one. [`STRICT`] says that no value is clear.

use super::codec::{CodecError, PayloadCodec};
use super::frame::Frame;
use super::location::{Field, Location};
use super::sealer::Sealer;
use crate::id::LOST_NAME;
#[cfg(feature = "redb")]
use crate::id::is_name;
use crate::row::{Payload, TaskNumber, ValueKey, ValueKind};
use crate::slot::Slot;
use crate::store::{PAGE_MAX, Scan, Store, StoreError};
use std::sync::Arc;

type Result<T> = std::result::Result<T, StoreError>;

/// No name of a task has a slash.
const RESERVED: &str = "outlive/";
const MARK: &str = "outlive/sealed/";
const STRICT: &str = "outlive/sealed-only";

/// Bytes of a file's number.
const FILE: usize = 16;
/// Bytes of its number and the secret of its digests.
const SECRET: usize = FILE + 32;

/// No task has this number.
const NOWHERE: Slot<'static> = Slot::Task(TaskNumber(0));

/// Whether the values of a store are sealed, so that it is of no use without a [`PayloadCodec`].
///
/// ```
/// use outlive_storage::{MemStore, sealed};
/// assert_eq!(sealed::is_sealed(&MemStore::new()), Ok(false));
/// ```
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub fn is_sealed(store: &dyn Store) -> Result<bool> {
    let names = store.definitions()?;
    let begins = |with: &str| names.iter().any(|(_, name)| name.starts_with(with));
    // A salvage that has lost the mark has lost the names too.
    Ok(begins(MARK) || (begins(LOST_NAME) && number_of_values(store)?.is_some()))
}

/// Whether a name may be among the definitions of a file: that of a task, or a mark.
#[cfg(feature = "redb")]
pub(crate) fn is_name_or_mark(name: &str) -> bool {
    is_name(name) || (is_mark(name) && !cfg!(planted = "mark_taken_for_damage"))
}

/// Whether a name is a mark.
pub(super) fn is_mark(name: &str) -> bool {
    name.starts_with(RESERVED)
}

/// What the values of the store are sealed with. Where that is not written down for the current key, it is now, durably,
/// if `may_write`; `None` for a store that is not sealed and must not be written to.
///
/// # Errors
/// [`StoreError::KeyMissing`] when none of the keys is one the store was ever sealed under; [`StoreError::Corrupt`];
/// what the store fails with.
pub(crate) fn begin(
    store: &dyn Store,
    codec: Arc<dyn PayloadCodec>,
    may_write: bool,
) -> Result<Option<Sealer>> {
    let names = store.definitions()?;
    let is_strict = !codec.takes_clear() || names.iter().any(|(_, name)| &**name == STRICT);
    let marks: Vec<&str> = names
        .iter()
        .filter_map(|(_, name)| name.strip_prefix(MARK))
        .collect();
    let (secret, is_current) = match opened(&*codec, &marks)? {
        Some(found) => found,
        None if may_write => (made(store, &*codec)?, false),
        None => return Ok(None),
    };
    let (file, digests) = parted(&secret);
    let mut sealer = Sealer {
        codec,
        file,
        digests,
        is_strict,
    };
    if is_current || !may_write {
        return Ok(Some(sealer));
    }
    let sealed = sealer.codec.seal(&place(), &secret);
    let sealed = sealed.map_err(refused)?;
    let mark = format!("{MARK}{}", to_hex(&sealed));
    let is_empty = names.is_empty() && store.scan(Scan::All, None, 1)?.rows.is_empty();
    if is_empty {
        store.define(&[&mark, STRICT])?;
        sealer.is_strict = true;
    } else {
        store.define(&[&mark])?;
    }
    Ok(Some(sealer))
}

/// No value of the store is clear from now on.
///
/// # Errors
/// What the store fails with.
#[cfg(feature = "redb")]
pub(crate) fn finish(store: &dyn Store) -> Result<()> {
    store.define(&[STRICT]).map(drop)
}

/// The secret of a marked file, and whether a mark is under the current key.
fn opened(codec: &dyn PayloadCodec, marks: &[&str]) -> Result<Option<([u8; SECRET], bool)>> {
    let mut found = None;
    let mut is_current = false;
    let mut failure = None;
    for mark in marks {
        let sealed = of_hex(mark).ok_or_else(corrupt)?;
        is_current |= codec.is_current(&sealed);
        match codec.open(&place(), &sealed) {
            Ok(secret) => {
                let secret = <[u8; SECRET]>::try_from(secret).map_err(|_| corrupt())?;
                found.get_or_insert(secret);
            }
            Err(error) => failure = Some(refused(error)),
        }
    }
    match (found, failure) {
        (Some(secret), _) => Ok(Some((secret, is_current))),
        (None, Some(failure)) => Err(failure),
        (None, None) => Ok(None),
    }
}

/// A secret for a file that has none. Where its mark was lost, the file keeps the number its values were sealed for.
fn made(store: &dyn Store, codec: &dyn PayloadCodec) -> Result<[u8; SECRET]> {
    let mut secret = [0; SECRET];
    let filled = codec.chance(&mut secret);
    filled.map_err(refused)?;
    if let Some(file) = number_of_values(store)? {
        secret[..FILE].copy_from_slice(&file.to_le_bytes());
    }
    Ok(secret)
}

/// The number of the file that values were sealed for: the first sealed input says it, of those of the newest tasks.
fn number_of_values(store: &dyn Store) -> Result<Option<u128>> {
    for found in store.scan(Scan::All, None, PAGE_MAX)?.rows {
        // A damaged row has neighbours that say it too.
        let Ok(row) = found.row else { continue };
        let input = match row.input {
            Payload::Inline(bytes) => Some(bytes),
            Payload::Stored { .. } => store.value(ValueKey {
                task: found.task,
                kind: ValueKind::Input,
                index: row.input_seq,
            })?,
        };
        if let Some(frame) = input.as_deref().and_then(Frame::of) {
            return Ok(Some(frame.file));
        }
    }
    Ok(None)
}

fn parted(secret: &[u8; SECRET]) -> (u128, [u8; 32]) {
    let mut file = [0; FILE];
    file.copy_from_slice(&secret[..FILE]);
    let mut digests = [0; SECRET - FILE];
    digests.copy_from_slice(&secret[FILE..]);
    (u128::from_le_bytes(file), digests)
}

fn place() -> Location<'static> {
    Location {
        file: 0,
        slot: NOWHERE,
        version: 0,
        which: (Field::Mark, 0),
    }
}

fn corrupt() -> StoreError {
    StoreError::Corrupt {
        table: "definitions",
        key: MARK.into(),
    }
}

fn refused(error: CodecError) -> StoreError {
    match error {
        CodecError::KeyMissing { key } => StoreError::KeyMissing {
            table: "definitions",
            key: MARK.into(),
            under: key,
        },
        CodecError::Forged => corrupt(),
        CodecError::Failed { message } => StoreError::Failed { message },
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}
