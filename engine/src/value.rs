//! The user's values: JSON bytes, checked against the limit at the door.

use outlive_storage::row::Payload;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Serializer;
use serde_json::ser::Formatter;
use sha2::{Digest, Sha256};
use std::io;

/// Largest input or output, in bytes of JSON: 10 MiB.
pub const VALUE_MAX: u64 = 10 * 1024 * 1024;

/// Deepest nesting of arrays and objects in the JSON of a value: what is deeper could be written and not be read again.
pub const VALUE_DEPTH_MAX: usize = 127;

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
    /// Its JSON has arrays and objects in each other deeper than the limit: make it flatter, for example a list of nodes
    /// that name their parents.
    #[error("the {what} nests deeper than {limit}; make it flatter")]
    TooDeep {
        /// `input` or `output`.
        what: &'static str,
        /// The limit: [`VALUE_DEPTH_MAX`].
        limit: usize,
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
    match json(value, VALUE_MAX) {
        Ok(Json::Fits(bytes)) => Ok(bytes),
        Ok(Json::TooLarge { size }) => Err(ValueError::TooLarge {
            what,
            size,
            limit: VALUE_MAX,
        }),
        Ok(Json::TooDeep) => Err(ValueError::TooDeep {
            what,
            limit: VALUE_DEPTH_MAX,
        }),
        Err(error) => Err(ValueError::NotJson { what, error }),
    }
}

/// The JSON of a value, or why it cannot be kept.
pub(crate) enum Json {
    Fits(Vec<u8>),
    TooLarge { size: u64 },
    TooDeep,
}

/// The JSON of a value, in no more memory than the limit, however large it is, and no more of the stack than what can be
/// read again takes, however deep.
pub(crate) fn json<T: Serialize + ?Sized>(
    value: &T,
    limit: u64,
) -> Result<Json, serde_json::Error> {
    let mut bounded = Bounded {
        bytes: Vec::new(),
        size: 0,
        limit,
    };
    let mut depth = Depth::default();
    let formatter = &mut depth;
    let written = value.serialize(&mut Serializer::with_formatter(&mut bounded, formatter));
    if depth.is_passed {
        return Ok(Json::TooDeep);
    }
    written?;
    if bounded.size > limit {
        return Ok(Json::TooLarge { size: bounded.size });
    }
    Ok(Json::Fits(bounded.bytes))
}

/// Keeps what is written for as long as it fits, and counts all of it.
struct Bounded {
    bytes: Vec<u8>,
    size: u64,
    limit: u64,
}

impl io::Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.size += part.len() as u64;
        if self.size <= self.limit || cfg!(planted = "large_value_written_out") {
            self.bytes.extend_from_slice(part);
        } else {
            self.bytes = Vec::new();
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes JSON without spaces, down to the depth that can be read again.
#[derive(Default)]
struct Depth {
    depth: usize,
    is_passed: bool,
}

impl Depth {
    fn enter(&mut self) -> io::Result<()> {
        self.depth += 1;
        if self.depth > VALUE_DEPTH_MAX && !cfg!(planted = "deep_value_taken") {
            self.is_passed = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

impl Formatter for &mut Depth {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }

    /// JSON that its owner has as text already: it is kept as it is, and nests no deeper than any other.
    fn write_raw_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let before = self.depth;
        if !cfg!(planted = "raw_depth_uncounted") {
            self.walk(fragment)?;
        }
        self.depth = before;
        writer.write_all(fragment.as_bytes())
    }
}

impl Depth {
    /// Goes into each array and object of a JSON text, and out again.
    fn walk(&mut self, json: &str) -> io::Result<()> {
        let (mut in_string, mut escaped) = (false, false);
        for byte in json.bytes() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'[' | b'{' if !in_string => self.enter()?,
                b']' | b'}' if !in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        Ok(())
    }
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
    (Payload::stored(&bytes), Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that is JSON text already was taken whatever its depth, and could not be read again.
    #[test]
    fn json_that_is_given_as_text_nests_no_deeper_than_any_other() {
        let nested = |depth: usize| format!("{}\"]}}{{[\"{}", "[".repeat(depth), "]".repeat(depth));
        for (depth, passes) in [(VALUE_DEPTH_MAX, false), (VALUE_DEPTH_MAX + 1, true)] {
            let mut counted = Depth::default();
            let written = (&mut &mut counted).write_raw_fragment(&mut Vec::new(), &nested(depth));
            assert_eq!((written.is_err(), counted.is_passed), (passes, passes));
        }
        let mut counted = Depth::default();
        let mut written = Vec::new();
        let text = r#"{"a": ["[[{", 1.50]}"#;
        (&mut &mut counted)
            .write_raw_fragment(&mut written, text)
            .unwrap();
        assert_eq!((written.as_slice(), counted.depth), (text.as_bytes(), 0));
    }

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
