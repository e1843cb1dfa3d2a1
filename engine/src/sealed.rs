//! Values sealed at rest: what a user said lies in the file as ciphertext, and only there.
//!
//! ```
//! # #[cfg(all(feature = "seal", feature = "redb"))] {
//! use outlive::sealed::{Key, Keys};
//! use outlive::{Engine, OpenError};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("tasks.redb");
//! let key = Key::generate()?; // kept elsewhere; or `Keys::from_environment()`
//! let engine = Engine::builder(&path).payload_codec(Keys::new(key)).open().await?;
//! # engine.shutdown(std::time::Duration::ZERO).await;
//! let without = Engine::builder(&path).open().await;
//! assert!(matches!(without, Err(OpenError::Sealed)));
//! # Ok(()) }
//! # main().unwrap();
//! # }
//! ```
//!
//! `docs/secrets.md` says what is sealed, what stays clear, how keys are changed, and what it costs.

use crate::error::OpenError;
use crate::value;
use outlive_storage::sealed::SealedStore;
use outlive_storage::{Store, sealed};
use sha2::{Digest, Sha256};
use std::sync::Arc;

pub use outlive_storage::sealed::{CodecError, Field, Location, PayloadCodec};
#[cfg(feature = "seal")]
pub use outlive_storage::sealed::{KEY_VARIABLE, Key, KeyError, Keys, OLDER_KEYS_VARIABLE};

/// What an engine was told to seal with.
pub(crate) type Codec = Option<Arc<dyn PayloadCodec>>;

/// What equal inputs are told by: digests that lie in the rows, which are not sealed.
#[derive(Clone)]
pub(crate) struct Digests {
    /// Keyed with the file's own secret, where its values are sealed: else a digest of few possible values would tell
    /// which one it is.
    keyed: Option<Hmac>,
}

impl Digests {
    /// The digest of a value.
    pub(crate) fn of(&self, bytes: &[u8]) -> [u8; 16] {
        match &self.keyed {
            Some(keyed) if !cfg!(planted = "digest_without_key") => keyed.of(bytes),
            Some(_) | None => value::digest(bytes),
        }
    }
}

/// HMAC-SHA256, with what does not change from value to value done once.
#[derive(Clone)]
struct Hmac {
    inner: Sha256,
    outer: Sha256,
}

impl Hmac {
    fn new(secret: &[u8; 32]) -> Hmac {
        let padded = |with: u8| {
            let mut block = [with; 64];
            for (byte, secret) in block.iter_mut().zip(secret) {
                *byte ^= secret;
            }
            Sha256::new_with_prefix(block)
        };
        Hmac {
            inner: padded(0x36),
            outer: padded(0x5c),
        }
    }

    /// The first half.
    fn of(&self, bytes: &[u8]) -> [u8; 16] {
        let inner = self.inner.clone().chain_update(bytes).finalize();
        let outer = self.outer.clone().chain_update(inner).finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&outer[..16]);
        half
    }
}

/// A store that is opened to be worked on.
///
/// # Errors
/// [`OpenError::Sealed`], [`OpenError::Store`].
pub(crate) fn over(
    store: Arc<dyn Store>,
    codec: Codec,
) -> Result<(Arc<dyn Store>, Digests), OpenError> {
    let Some(codec) = codec else {
        let store = unsealed(store)?;
        return Ok((store, Digests { keyed: None }));
    };
    let store = SealedStore::open(store, codec).map_err(OpenError::Store)?;
    let keyed = Some(Hmac::new(&store.digest_secret()));
    Ok((Arc::new(store), Digests { keyed }))
}

/// A store that is only looked into: nothing is written.
///
/// # Errors
/// [`OpenError::Sealed`], [`OpenError::Store`].
pub(crate) fn looked_into(
    store: Arc<dyn Store>,
    codec: Codec,
) -> Result<Arc<dyn Store>, OpenError> {
    match codec {
        Some(codec) => SealedStore::look(store, codec).map_err(OpenError::Store),
        None => unsealed(store),
    }
}

fn unsealed(store: Arc<dyn Store>) -> Result<Arc<dyn Store>, OpenError> {
    let is_sealed = sealed::is_sealed(&*store).map_err(OpenError::Store)?;
    match is_sealed && !cfg!(planted = "sealed_store_opened_clear") {
        true => Err(OpenError::Sealed),
        false => Ok(store),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2, whose key is filled up with zeros, as HMAC fills it.
    #[test]
    fn a_keyed_digest_is_an_hmac() {
        let mut secret = [0; 32];
        secret[..4].copy_from_slice(b"Jefe");
        let expected = 0x5bdcc146_bf60754e_6a042426_089575c7_u128.to_be_bytes();
        let digest = Hmac::new(&secret).of(b"what do ya want for nothing?");
        assert_eq!(digest, expected);
    }
}
