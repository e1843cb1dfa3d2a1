//! The user's values: JSON bytes, checked against the limit at the door.

use outlive_storage::row::Payload;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// Largest input or output, in bytes of JSON: 10 MiB.
pub const VALUE_MAX: u64 = 10 * 1024 * 1024;

/// A value cannot be kept. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Its JSON is longer than the limit: keep large data in a file and give the task its path.
    #[error(
        "the {what} takes {size} bytes, the limit is {limit}; keep large data in a file and give its path"
    )]
    TooLarge {
        /// `input` or `output`.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// It has no JSON form (for example a map whose keys are not text): change the type.
    #[error("the {what} has no JSON form: {error}")]
    NotJson {
        /// `input` or `output`.
        what: &'static str,
        /// Why.
        error: serde_json::Error,
    },
}

pub(crate) fn encode<T: Serialize + ?Sized>(
    what: &'static str,
    value: &T,
) -> Result<Vec<u8>, ValueError> {
    let bytes = serde_json::to_vec(value).map_err(|error| ValueError::NotJson { what, error })?;
    let size = bytes.len() as u64;
    if size > VALUE_MAX {
        return Err(ValueError::TooLarge {
            what,
            size,
            limit: VALUE_MAX,
        });
    }
    Ok(bytes)
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// The first half of the SHA-256: equal inputs of a restarted batch are told by it.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 16] {
    let full = Sha256::digest(bytes);
    let mut half = [0; 16];
    half.copy_from_slice(&full[..16]);
    half
}

/// Splits a value into what the row holds and what goes to the table of values.
pub(crate) fn split(bytes: Vec<u8>) -> (Payload, Option<Vec<u8>>) {
    if bytes.len() <= Payload::INLINE_MAX {
        return (Payload::Inline(bytes), None);
    }
    (
        Payload::Stored {
            len: bytes.len() as u64,
        },
        Some(bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every tenth number between zero and one was read as its neighbour: a handler that got the recorded value of a step
    /// went on with another number than before the crash, and a caller got another one than the handler had returned.
    #[test]
    fn a_number_comes_back_as_it_was_given() {
        let mut bits: u64 = 0x5eed;
        let whole = |n: u64| n as f64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1);
            for number in [whole(bits >> 11) / whole(1 << 53), f64::from_bits(bits)] {
                if !number.is_finite() {
                    continue;
                }
                let bytes = encode("output", &number).unwrap();
                assert_eq!(decode::<f64>(&bytes).unwrap(), number);
            }
        }
    }
}
