//! How a sealed value lies in a row: recognised for one, and as long as it says, without any key.

#[cfg(feature = "redb")]
use crate::row::Payload;

/// No JSON begins with a zero; the last byte is the version.
const MAGIC: [u8; 4] = [0, b'o', b'P', 1];
/// Magic, length of the clear value, number of the file.
const HEAD_LEN: usize = 4 + 4 + 16;

/// A sealed value, taken apart.
pub(super) struct Frame<'f> {
    /// Length of the clear value, in bytes.
    pub(super) clear_len: u32,
    /// The number of the file it was sealed for.
    pub(super) file: u128,
    /// What the codec made.
    pub(super) sealed: &'f [u8],
}

impl<'f> Frame<'f> {
    /// Takes a sealed value apart; `None` for a clear one.
    pub(super) fn of(bytes: &'f [u8]) -> Option<Frame<'f>> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (file, sealed) = rest.split_first_chunk::<16>()?;
        Some(Frame {
            clear_len: u32::from_le_bytes(*len),
            file: u128::from_le_bytes(*file),
            sealed,
        })
    }

    /// The whole, as it is stored.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_LEN + self.sealed.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.clear_len.to_le_bytes());
        bytes.extend_from_slice(&self.file.to_le_bytes());
        bytes.extend_from_slice(self.sealed);
        bytes
    }
}

/// Whether a stored value may be the one that a row names: of a sealed one its length is all that can be seen.
#[cfg(feature = "redb")]
pub(crate) fn may_be(payload: &Payload, bytes: &[u8]) -> bool {
    match Frame::of(bytes) {
        Some(frame) if !cfg!(planted = "sealed_length_taken_for_clear") => {
            u64::from(frame.clear_len) == payload.len()
        }
        Some(_) | None => payload.is_of(bytes),
    }
}

/// Bytes as a text: each of them one character.
pub(super) fn to_text(bytes: &[u8]) -> Box<str> {
    let text: String = bytes.iter().copied().map(char::from).collect();
    text.into()
}

/// The bytes of such a text; `None` for a text that has other characters, and so was never one.
pub(super) fn of_text(text: &str) -> Option<Vec<u8>> {
    if !text.as_bytes().starts_with(&MAGIC) {
        return None;
    }
    text.chars().map(|c| u8::try_from(c).ok()).collect()
}
