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
use hmac::{Hmac, Mac};
use outlive_storage::sealed::SealedStore;
use outlive_storage::{Store, sealed};
use sha2::Sha256;
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
    keyed: Option<Hmac<Sha256>>,
}

impl Digests {
    /// The digest of a value.
    pub(crate) fn of(&self, bytes: &[u8]) -> [u8; 16] {
        match &self.keyed {
            Some(keyed) if !cfg!(planted = "digest_without_key") => half(keyed, bytes),
            Some(_) | None => value::digest(bytes),
        }
    }
}

/// HMAC-SHA256 under the secret, with what does not change from value to value done once.
fn keyed(secret: &[u8; 32]) -> Hmac<Sha256> {
    // A key of a whole block is always one, and HMAC fills a shorter one up with zeros just so.
    let mut block = [0; 64];
    block[..32].copy_from_slice(secret);
    Hmac::new(&block.into())
}

/// The first half of the keyed digest.
fn half(keyed: &Hmac<Sha256>, bytes: &[u8]) -> [u8; 16] {
    let whole = keyed.clone().chain_update(bytes).finalize().into_bytes();
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    half
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
    let keyed = Some(keyed(&store.digest_secret()));
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
        let digest = half(&keyed(&secret), b"what do ya want for nothing?");
        assert_eq!(digest, expected);
    }
}
