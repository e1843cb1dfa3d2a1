//! What seals values and opens them: the hook for ciphers and key services of the user's.

use super::Location;

/// Why a codec did not open or seal a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// It is sealed under a key that the codec does not have: give it that key.
    #[error("sealed under the key {key}, which is not here; give that key too")]
    KeyMissing {
        /// How the key is called; never the key itself.
        key: Box<str>,
    },
    /// It is not what was sealed for this place: damaged, moved or forged.
    #[error("not what was sealed for this place")]
    Forged,
    /// The codec itself failed, for example because a key service did not answer. It may pass.
    #[error("the codec failed: {message}")]
    Failed {
        /// What happened; it is logged.
        message: Box<str>,
    },
}

/// Seals and opens the user's bytes. With the feature `seal`, [`Keys`](super::Keys) is one.
///
/// It is called on the threads that commit and read, so it blocks them for as long as it takes; one that must ask a
/// service keeps its data keys in memory. What it makes must say by itself under which key it was made.
pub trait PayloadCodec: Send + Sync + 'static {
    /// Seals a value for its place under the current key, so that it opens for no other place. Two calls with the same
    /// bytes must not give the same.
    ///
    /// # Errors
    /// [`CodecError`]; nothing is written then.
    fn seal(&self, at: &Location<'_>, clear: &[u8]) -> Result<Vec<u8>, CodecError>;

    /// The value that was sealed for this place, under any key there is.
    ///
    /// # Errors
    /// [`CodecError::KeyMissing`], [`CodecError::Forged`], [`CodecError::Failed`].
    fn open(&self, at: &Location<'_>, sealed: &[u8]) -> Result<Vec<u8>, CodecError>;

    /// Whether a sealed value is sealed under the current key, by what it says itself.
    fn is_current(&self, sealed: &[u8]) -> bool;

    /// Whether a clear value may be one of the store's, as long as the store itself does not say that all are sealed. By
    /// default it may: a store is adopted that way. Where it may not, nobody who can write to the file brings one in by
    /// taking its mark away.
    fn takes_clear(&self) -> bool {
        true
    }

    /// Fills the bytes by chance, good enough for a secret: once in the life of a file.
    ///
    /// # Errors
    /// [`CodecError::Failed`].
    fn chance(&self, out: &mut [u8]) -> Result<(), CodecError>;
}
