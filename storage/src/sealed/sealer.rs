//! Seals the parts of a row and opens them again: a codec, for one file.

use super::codec::{CodecError, PayloadCodec};
use super::frame::{self, Frame};
use super::location::{Location, Which};
use super::parts::{Part, Parts};
use crate::slot::Slot;
use crate::store::StoreError;
use std::sync::Arc;

type Result<T> = std::result::Result<T, StoreError>;

/// What one file's values are sealed with.
#[derive(Clone)]
pub(crate) struct Sealer {
    pub(super) codec: Arc<dyn PayloadCodec>,
    /// The number of the file.
    pub(super) file: u128,
    /// The secret of its digests.
    pub(super) digests: [u8; 32],
    /// Whether a clear value is none of this store's.
    pub(super) is_strict: bool,
}

impl Sealer {
    /// Seals every part of a row.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the codec fails: nothing may be written.
    pub(crate) fn seal<P: Parts>(&self, slot: Slot<'_>, row: &mut P) -> Result<()> {
        let version = row.version();
        row.each(&mut |which, part| {
            let at = self.at(slot, version, which);
            match part {
                Part::Bytes(bytes) => {
                    if let Some(sealed) = self.sealed(&at, bytes)? {
                        *bytes = sealed;
                    }
                }
                Part::Text(text) => {
                    if let Some(sealed) = self.sealed(&at, text.as_bytes())? {
                        *text = frame::to_text(&sealed);
                    }
                }
            }
            Ok(())
        })
    }

    /// Opens every part of a row.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a part that was not sealed for its place; [`StoreError::KeyMissing`];
    /// [`StoreError::Failed`] when the codec fails.
    pub(crate) fn open<P: Parts>(&self, slot: Slot<'_>, row: &mut P) -> Result<()> {
        let version = row.version();
        row.each(&mut |which, part| {
            let at = self.at(slot, version, which);
            match part {
                Part::Bytes(bytes) => {
                    if let Some(clear) = self.opened(&at, bytes)? {
                        *bytes = clear;
                    }
                }
                Part::Text(text) => {
                    let framed = frame::of_text(text);
                    let found = framed.as_deref().unwrap_or(text.as_bytes());
                    if let Some(clear) = self.opened(&at, found)? {
                        let clear = String::from_utf8(clear).map_err(|_| slot.corrupt())?;
                        *text = clear.into();
                    }
                }
            }
            Ok(())
        })
    }

    /// Seals anew whatever is not sealed under the current key; whether there was anything.
    ///
    /// # Errors
    /// As for [`Sealer::open`] and [`Sealer::seal`]; the row must not be written then.
    #[cfg(feature = "redb")]
    pub(crate) fn renew<P: Parts>(&self, slot: Slot<'_>, row: &mut P) -> Result<bool> {
        let mut is_current = true;
        row.each(&mut |_, part| {
            is_current &= match part {
                Part::Bytes(bytes) => self.is_current(bytes),
                Part::Text(text) => match frame::of_text(text) {
                    Some(bytes) => self.is_current(&bytes),
                    None => text.is_empty(),
                },
            };
            Ok(())
        })?;
        if is_current {
            return Ok(false);
        }
        self.open(slot, row)?;
        self.seal(slot, row)?;
        Ok(true)
    }

    #[cfg(feature = "redb")]
    fn is_current(&self, bytes: &[u8]) -> bool {
        let Some(frame) = Frame::of(bytes) else {
            return bytes.is_empty();
        };
        self.codec.is_current(frame.sealed)
    }

    fn at<'l>(&self, slot: Slot<'l>, version: u64, which: Which) -> Location<'l> {
        Location {
            file: self.file,
            slot,
            version,
            which,
        }
    }

    /// A value as it is stored; `None` for what stays as it is, because there is nothing in it.
    fn sealed(&self, at: &Location<'_>, clear: &[u8]) -> Result<Option<Vec<u8>>> {
        if clear.is_empty() || cfg!(planted = "clear_written") {
            return Ok(None);
        }
        let Ok(clear_len) = u32::try_from(clear.len()) else {
            let what = "a value is larger than 4 GiB";
            return Err(StoreError::Malformed { what });
        };
        let sealed = self.codec.seal(at, clear);
        let sealed = sealed.map_err(|error| failed(&at.slot, error))?;
        let frame = Frame {
            clear_len,
            file: self.file,
            sealed: &sealed,
        };
        Ok(Some(frame.bytes()))
    }

    /// A stored value as it was given; `None` for one that is clear already.
    fn opened(&self, at: &Location<'_>, stored: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(frame) = Frame::of(stored) else {
            let is_strict = self.is_strict && !cfg!(planted = "clear_value_served");
            return match stored.is_empty() || !is_strict {
                true => Ok(None),
                false => Err(at.slot.corrupt()),
            };
        };
        if frame.file != self.file && !cfg!(planted = "number_in_frame_believed") {
            return Err(at.slot.corrupt());
        }
        let clear = self.codec.open(at, frame.sealed);
        let clear = clear.map_err(|error| failed(&at.slot, error))?;
        if clear.len() as u64 != u64::from(frame.clear_len) {
            return Err(at.slot.corrupt());
        }
        Ok(Some(clear))
    }
}

/// What a failure of the codec is to the caller of a store.
pub(super) fn failed(slot: &Slot<'_>, error: CodecError) -> StoreError {
    match error {
        CodecError::KeyMissing { key } => StoreError::KeyMissing {
            table: slot.table(),
            key: slot.to_string().into(),
            under: key,
        },
        CodecError::Forged => slot.corrupt(),
        CodecError::Failed { .. } if cfg!(planted = "codec_failure_taken_for_a_bug") => {
            let what = "a planted bug";
            StoreError::Malformed { what }
        }
        // As a disk that fails: it is tried again, and nothing was written.
        CodecError::Failed { message } => StoreError::Failed { message },
    }
}
