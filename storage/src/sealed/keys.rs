//! XChaCha20-Poly1305 under keys of the user's: the codec there is.

use super::Location;
use super::codec::{CodecError, PayloadCodec};
use super::key::{Key, KeyError, chance, hex};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key as CipherKey, XChaCha20Poly1305, XNonce};
use std::fmt;

/// The variable with the current key: 64 hexadecimal digits.
pub const KEY_VARIABLE: &str = "OUTLIVE_KEY";
/// The variable with the older keys, separated by commas.
pub const OLDER_KEYS_VARIABLE: &str = "OUTLIVE_OLDER_KEYS";

const ID_LEN: usize = 8;
const NONCE_LEN: usize = 24;

/// A current key, under which everything is sealed, and older ones, under which values still open.
///
/// A sealed value is the id of its key (8 bytes), a nonce by chance (24 bytes), and the ciphertext with its tag
/// (16 bytes more than the value). A key may serve several files.
///
/// ```
/// use outlive_storage::sealed::{Key, Keys};
/// let [old, new] = [Key::generate()?, Key::generate()?];
/// let before = Keys::new(old.clone());
/// let while_it_is_resealed = Keys::new(new.clone()).older(old);
/// let afterwards = Keys::new(new);
/// # Ok::<(), outlive_storage::sealed::CodecError>(())
/// ```
#[derive(Clone)]
pub struct Keys {
    current: Named,
    older: Vec<Named>,
    takes_clear: bool,
}

/// A key, ready for use.
#[derive(Clone)]
struct Named {
    id: [u8; ID_LEN],
    cipher: XChaCha20Poly1305,
}

impl Named {
    fn of(key: &Key) -> Named {
        Named {
            id: key.id(),
            cipher: XChaCha20Poly1305::new(CipherKey::from_slice(key.bytes())),
        }
    }
}

impl Keys {
    /// Seals under this key.
    #[must_use]
    pub fn new(current: Key) -> Keys {
        Keys {
            current: Named::of(&current),
            older: Vec::new(),
            takes_clear: true,
        }
    }

    /// Opens what was sealed under this key, too.
    #[must_use]
    pub fn older(mut self, key: Key) -> Keys {
        self.older.push(Named::of(&key));
        self
    }

    /// Takes no clear value for one of the store's, whatever the store says of itself: for a file that was resealed as a
    /// whole, or sealed from its beginning, and to which somebody else may write. A clear value is then
    /// [`StoreError::Corrupt`](crate::StoreError::Corrupt).
    #[must_use]
    pub fn require_sealed(mut self) -> Keys {
        self.takes_clear = false;
        self
    }

    /// The keys that the environment names: [`KEY_VARIABLE`], and [`OLDER_KEYS_VARIABLE`] if it is set. Whoever may read
    /// the environment of the process reads them too.
    ///
    /// # Errors
    /// [`KeyError`], which names the variable and not what is in it.
    pub fn from_environment() -> Result<Keys, KeyError> {
        let unset = |_| KeyError::Unset {
            variable: KEY_VARIABLE,
        };
        let current = std::env::var(KEY_VARIABLE).map_err(unset)?;
        let older = std::env::var(OLDER_KEYS_VARIABLE).unwrap_or_default();
        Keys::from_texts(&current, &older)
    }

    /// The keys in the texts of the two variables.
    fn from_texts(current: &str, older: &str) -> Result<Keys, KeyError> {
        let mut keys = Keys::new(Key::from_text(current, KEY_VARIABLE)?);
        let texts = older.split(',').filter(|text| !text.trim().is_empty());
        for text in texts {
            keys = keys.older(Key::from_text(text, OLDER_KEYS_VARIABLE)?);
        }
        Ok(keys)
    }

    fn named(&self, id: &[u8; ID_LEN]) -> Option<&Named> {
        let mut keys = std::iter::once(&self.current).chain(&self.older);
        keys.find(|key| key.id == *id)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let older: Vec<String> = self.older.iter().map(|key| hex(&key.id)).collect();
        f.debug_struct("Keys")
            .field("current", &hex(&self.current.id))
            .field("older", &older)
            .finish()
    }
}

impl PayloadCodec for Keys {
    fn seal(&self, at: &Location<'_>, clear: &[u8]) -> Result<Vec<u8>, CodecError> {
        let mut nonce = [0; NONCE_LEN];
        if !cfg!(planted = "nonce_reused") {
            chance(&mut nonce)?;
        }
        let aad = at.aad();
        let payload = Payload {
            msg: clear,
            aad: &aad,
        };
        let sealed = self
            .current
            .cipher
            .encrypt(XNonce::from_slice(&nonce), payload);
        // It fails for what is longer than 256 GiB alone.
        let sealed = sealed.map_err(|_| CodecError::Failed {
            message: "the cipher refused a value".into(),
        })?;
        let mut whole = Vec::with_capacity(ID_LEN + NONCE_LEN + sealed.len());
        whole.extend_from_slice(&self.current.id);
        whole.extend_from_slice(&nonce);
        whole.extend_from_slice(&sealed);
        Ok(whole)
    }

    fn open(&self, at: &Location<'_>, sealed: &[u8]) -> Result<Vec<u8>, CodecError> {
        let (id, rest) = sealed.split_first_chunk().ok_or(CodecError::Forged)?;
        let (nonce, text) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(CodecError::Forged)?;
        let missing = || match cfg!(planted = "missing_key_taken_for_damage") {
            true => CodecError::Forged,
            false => CodecError::KeyMissing {
                key: hex(id).into(),
            },
        };
        let key = self.named(id).ok_or_else(missing)?;
        let aad = at.aad();
        let payload = Payload {
            msg: text,
            aad: &aad,
        };
        let clear = key.cipher.decrypt(XNonce::from_slice(nonce), payload);
        clear.map_err(|_| CodecError::Forged)
    }

    fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.current.id)
    }

    fn takes_clear(&self) -> bool {
        self.takes_clear
    }

    fn chance(&self, out: &mut [u8]) -> Result<(), CodecError> {
        chance(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const B: &str = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn keys_are_read_from_texts_and_never_shown() {
        let keys = Keys::from_texts(&format!("{A}\n"), &format!("{B}, {A},")).unwrap();
        assert_eq!(keys.older.len(), 2);
        for (text, bad) in [("", ""), ("00", ""), (A, "zz"), (A, &A[1..])] {
            assert!(matches!(
                Keys::from_texts(text, bad),
                Err(KeyError::Malformed { .. })
            ));
        }
        let key: Key = A.parse().unwrap();
        assert_eq!(key.expose_hex(), A);
        for shown in [format!("{keys:?}"), format!("{key:?}")] {
            assert!(!shown.contains(A) && !shown.contains(B));
        }
    }
}
