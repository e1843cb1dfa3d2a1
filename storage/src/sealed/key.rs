//! One key: 32 bytes, called by what it is, and shown to nobody.

use super::codec::CodecError;
use sha2::{Digest, Sha256};
use std::fmt;

/// Why a text is no key. The text is not in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A key is 64 hexadecimal digits, and this is none: see that all of it was copied.
    #[error("{from} is no key: a key is 64 hexadecimal digits")]
    Malformed {
        /// Where it came from.
        from: &'static str,
    },
    /// The variable of the environment is not set: set it.
    #[error("the variable {variable} is not set; it holds the key as 64 hexadecimal digits")]
    Unset {
        /// The variable.
        variable: &'static str,
    },
}

/// A key for [`Keys`](super::Keys). It is not shown by `Debug`; whether it stays in memory after its drop is not promised.
///
/// ```
/// use outlive_storage::sealed::Key;
/// let key: Key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff".parse()?;
/// assert_eq!(format!("{key:?}"), "Key(47a0e8cde74e461b)");
/// # Ok::<(), outlive_storage::sealed::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// A key of these bytes, which must be chance or derived from a secret: a password is no key.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Key {
        Key(bytes)
    }

    /// A new key by the system's chance. Keep [`Key::expose_hex`] of it where it outlives the file: without the key
    /// nothing in the file can be read.
    ///
    /// # Errors
    /// [`CodecError::Failed`] when the system gives no chance.
    pub fn generate() -> Result<Key, CodecError> {
        let mut bytes = [0; 32];
        chance(&mut bytes)?;
        Ok(Key(bytes))
    }

    /// How the key is called, in files and in errors: the first 8 bytes of a SHA-256 of it. It tells nothing of the key.
    pub fn id(&self) -> [u8; 8] {
        let mut hasher = Sha256::new();
        hasher.update(b"outlive.sealed.key");
        hasher.update(self.0);
        let mut id = [0; 8];
        id.copy_from_slice(&hasher.finalize()[..8]);
        id
    }

    /// The key as 64 hexadecimal digits, to be kept in a safe place.
    pub fn expose_hex(&self) -> String {
        hex(&self.0)
    }

    /// The key itself, for the cipher.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key that a text from somewhere is.
    pub(super) fn from_text(text: &str, from: &'static str) -> Result<Key, KeyError> {
        let malformed = || KeyError::Malformed { from };
        let digits = text.trim().as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 64 {
            return Err(malformed());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or_else(malformed);
            // Two digits of sixteen are no more than a byte.
            *byte = (digit(0)? * 16 + digit(1)?) as u8;
        }
        Ok(Key(bytes))
    }
}

impl std::str::FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Key, KeyError> {
        Key::from_text(text, "the text")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if cfg!(planted = "key_in_debug") {
            return write!(f, "Key({})", hex(&self.0));
        }
        write!(f, "Key({})", hex(&self.id()))
    }
}

/// Chance of the system.
pub(super) fn chance(out: &mut [u8]) -> Result<(), CodecError> {
    getrandom::fill(out).map_err(|error| CodecError::Failed {
        message: error.to_string().into(),
    })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
