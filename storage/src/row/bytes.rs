//! Bytes as serde sees them: in one piece on disk, and as the JSON they are where people read rows.

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The user's bytes, on their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct UserBytes(#[serde(with = "user")] pub(crate) Vec<u8>);

/// The user's bytes: on disk as a list of numbers would be, several times as fast.
pub(crate) mod user {
    use super::{Deserializer, InOnePiece, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        #[cfg(feature = "redb")]
        if to.is_human_readable() {
            return serde::Serialize::serialize(&super::shown::Shown::of(bytes), to);
        }
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        #[cfg(feature = "redb")]
        if from.is_human_readable() {
            let shown: super::shown::Shown = serde::Deserialize::deserialize(from)?;
            return shown.bytes().map_err(serde::de::Error::custom);
        }
        from.deserialize_byte_buf(InOnePiece)
    }
}

/// As [`user`], where there may be none.
pub(super) mod maybe {
    use super::{Deserialize, Deserializer, Serialize, Serializer, UserBytes};

    pub(in super::super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.clone().map(UserBytes).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let bytes: Option<UserBytes> = Deserialize::deserialize(from)?;
        Ok(bytes.map(|UserBytes(bytes)| bytes))
    }
}

/// Sixteen bytes of a digest: hexadecimal where people read them.
pub(super) mod digest {
    use super::{Deserialize, Deserializer, Error, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        bytes: &[u8; 16],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return to.collect_str(&format_args!("{:032x}", u128::from_be_bytes(*bytes)));
        }
        bytes.serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<[u8; 16], D::Error> {
        if from.is_human_readable() {
            let text: Box<str> = Deserialize::deserialize(from)?;
            let number = u128::from_str_radix(&text, 16).map_err(D::Error::custom)?;
            return Ok(number.to_be_bytes());
        }
        Deserialize::deserialize(from)
    }
}

/// A chance number of 128 bits: hexadecimal where people read it, for few programs read such a number.
pub(crate) mod chance {
    use super::{Deserialize, Deserializer, Error, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(number: &u128, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return to.collect_str(&format_args!("{number:032x}"));
        }
        number.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        if from.is_human_readable() {
            let text: Box<str> = Deserialize::deserialize(from)?;
            return u128::from_str_radix(&text, 16).map_err(D::Error::custom);
        }
        Deserialize::deserialize(from)
    }
}

struct InOnePiece;

impl<'de> Visitor<'de> for InOnePiece {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

#[cfg(feature = "redb")]
mod shown {
    use serde::{Deserialize, Serialize};
    use serde_json::value::RawValue;
    use std::fmt::Write;

    /// How the user's bytes are shown. Each form gives back exactly the bytes it was made of.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub(super) enum Shown {
        /// JSON of one line, as it is.
        Json(Box<RawValue>),
        /// What has several lines, or blanks around it, or is no JSON.
        Text(String),
        /// What is no text.
        Hex(String),
    }

    impl Shown {
        pub(super) fn of(bytes: &[u8]) -> Shown {
            let Ok(text) = std::str::from_utf8(bytes) else {
                let mut hex = String::with_capacity(2 * bytes.len());
                for byte in bytes {
                    // Writing to a string does not fail.
                    let _ = write!(hex, "{byte:02x}");
                }
                return Shown::Hex(hex);
            };
            let one_line = !text.contains(['\n', '\r']) && text.trim().len() == text.len();
            match RawValue::from_string(text.into()) {
                Ok(raw) if one_line || cfg!(planted = "export_breaks_lines") => Shown::Json(raw),
                Ok(_) | Err(_) => Shown::Text(text.into()),
            }
        }

        /// # Errors
        /// What is wrong with the text.
        pub(super) fn bytes(self) -> Result<Vec<u8>, &'static str> {
            let hex = match self {
                Shown::Json(raw) => return Ok(raw.get().as_bytes().to_vec()),
                Shown::Text(text) => return Ok(text.into_bytes()),
                Shown::Hex(hex) => hex,
            };
            let digit = |at: &u8| char::from(*at).to_digit(16);
            let pairs = hex.as_bytes().chunks(2).map(|pair| match pair {
                [high, low] => Some((digit(high)? * 16 + digit(low)?) as u8),
                _ => None,
            });
            let bytes: Option<Vec<u8>> = pairs.collect();
            bytes.ok_or("hexadecimal digits in pairs")
        }
    }
}

#[cfg(all(test, feature = "redb"))]
mod tests {
    use super::UserBytes;

    #[test]
    fn bytes_come_back_from_one_line_as_they_were() {
        let samples: [&[u8]; 8] = [
            b"{\"n\":1.10}",
            b"[1,\n2]",
            b" 1",
            b"1 \r",
            b"not json",
            b"",
            &[0xff, 0, 0x0a],
            "\"\u{2028}\\ud800\"".as_bytes(),
        ];
        for bytes in samples {
            let line = serde_json::to_string(&UserBytes(bytes.to_vec())).unwrap();
            assert!(!line.contains('\n') && !line.contains('\r'), "{line}");
            let back: UserBytes = serde_json::from_str(&line).unwrap();
            assert_eq!(back.0, bytes, "{line}");
        }
        for refused in ["{\"hex\":\"0\"}", "{\"hex\":\"zz\"}", "[1]"] {
            assert!(serde_json::from_str::<UserBytes>(refused).is_err());
        }
    }
}
