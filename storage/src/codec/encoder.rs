//! Rows to the bytes of bincode's standard configuration.
//!
//! The bytes are those that bincode writes, and bincode reads them; the tests hold the two against each other. This is here
//! because rows are encoded for every commit, and of a commit's instructions in the store that was two thirds: here a field is
//! a byte and a comparison.

use super::Result;
use crate::store::StoreError;
use serde::{Serialize, ser};
use std::fmt;

/// From here on a number takes more than the byte it is.
const ONE_BYTE: u64 = 251;
const TWO_BYTES: u8 = 251;
const FOUR_BYTES: u8 = 252;
const EIGHT_BYTES: u8 = 253;
const SIXTEEN_BYTES: u8 = 254;

/// Appends what bincode makes of a value.
///
/// # Errors
/// [`StoreError::Malformed`] for a value that has no bytes: a list that does not know its length, a map key that fails.
pub(super) fn append<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<()> {
    let encoded = value.serialize(&mut Encoder { out });
    encoded.map_err(|Unencodable| StoreError::Malformed {
        what: "a row cannot be encoded",
    })
}

/// A value that has no bytes.
#[derive(Debug)]
struct Unencodable;

impl fmt::Display for Unencodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that cannot be encoded")
    }
}

impl std::error::Error for Unencodable {}

impl ser::Error for Unencodable {
    fn custom<T: fmt::Display>(_: T) -> Unencodable {
        Unencodable
    }
}

type Encoded = std::result::Result<(), Unencodable>;

struct Encoder<'a> {
    out: &'a mut Vec<u8>,
}

impl Encoder<'_> {
    #[inline]
    fn number(&mut self, number: u64) -> Encoded {
        if number < ONE_BYTE + u64::from(cfg!(planted = "mark_taken_for_a_number")) {
            self.out.push(number as u8);
            return Ok(());
        }
        self.large(number)
    }

    fn large(&mut self, number: u64) -> Encoded {
        // With its mark in one piece: most of them are moments.
        if let Ok(number) = u16::try_from(number) {
            let [a, b] = number.to_le_bytes();
            self.raw([TWO_BYTES, a, b])
        } else if let Ok(number) = u32::try_from(number) {
            let [a, b, c, d] = number.to_le_bytes();
            self.raw([FOUR_BYTES, a, b, c, d])
        } else {
            let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
            self.raw([EIGHT_BYTES, a, b, c, d, e, f, g, h])
        }
    }

    #[inline]
    fn raw<const N: usize>(&mut self, bytes: [u8; N]) -> Encoded {
        self.out.extend_from_slice(&bytes);
        Ok(())
    }

    /// Small numbers of both signs stay small.
    #[inline]
    fn signed(&mut self, number: i64) -> Encoded {
        self.number((number << 1 ^ number >> 63).cast_unsigned())
    }
}

impl<'a, 'o> ser::Serializer for &'a mut Encoder<'o> {
    type Ok = ();
    type Error = Unencodable;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Encoded {
        self.serialize_u8(u8::from(value))
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Encoded {
        self.out.push(value);
        Ok(())
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Encoded {
        self.number(value.into())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Encoded {
        self.number(value.into())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Encoded {
        self.number(value)
    }

    #[inline]
    fn serialize_u128(self, value: u128) -> Encoded {
        match u64::try_from(value) {
            Ok(value) => self.number(value),
            Err(_) => {
                self.out.push(SIXTEEN_BYTES);
                self.raw(value.to_le_bytes())
            }
        }
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Encoded {
        self.raw(value.to_le_bytes())
    }

    #[inline]
    fn serialize_i16(self, value: i16) -> Encoded {
        self.signed(value.into())
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Encoded {
        self.signed(value.into())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Encoded {
        self.signed(value)
    }

    #[inline]
    fn serialize_i128(self, value: i128) -> Encoded {
        self.serialize_u128((value << 1 ^ value >> 127).cast_unsigned())
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Encoded {
        self.raw(value.to_le_bytes())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Encoded {
        self.raw(value.to_le_bytes())
    }

    #[inline]
    fn serialize_char(self, value: char) -> Encoded {
        let mut bytes = [0; 4];
        let text = value.encode_utf8(&mut bytes);
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Encoded {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Encoded {
        self.number(value.len() as u64)?;
        self.out.extend_from_slice(value);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Encoded {
        self.serialize_u8(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Encoded {
        self.out.push(1);
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Encoded {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Encoded {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, variant: u32, _: &'static str) -> Encoded {
        self.number(variant.into())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Encoded {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        value: &T,
    ) -> Encoded {
        self.number(variant.into())?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> std::result::Result<Self, Unencodable> {
        self.number(len.ok_or(Unencodable)? as u64)?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> std::result::Result<Self, Unencodable> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> std::result::Result<Self, Unencodable> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        _: usize,
    ) -> std::result::Result<Self, Unencodable> {
        self.number(variant.into())?;
        Ok(self)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> std::result::Result<Self, Unencodable> {
        self.serialize_seq(len)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> std::result::Result<Self, Unencodable> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        variant: u32,
        of: &'static str,
        len: usize,
    ) -> std::result::Result<Self, Unencodable> {
        self.serialize_tuple_variant(name, variant, of, len)
    }
}

/// What has parts is the parts, one after the other.
macro_rules! parts {
    ($($of:ident: $part:ident($($name:ident)?)),*) => {$(
        impl ser::$of for &mut Encoder<'_> {
            type Ok = ();
            type Error = Unencodable;

            #[inline]
            fn $part<T: Serialize + ?Sized>(&mut self, $($name: &'static str,)? part: &T) -> Encoded {
                $(let _ = $name;)?
                part.serialize(&mut **self)
            }

            #[inline]
            fn end(self) -> Encoded {
                Ok(())
            }
        }
    )*};
}

parts!(
    SerializeSeq: serialize_element(),
    SerializeTuple: serialize_element(),
    SerializeTupleStruct: serialize_field(),
    SerializeTupleVariant: serialize_field(),
    SerializeStruct: serialize_field(name),
    SerializeStructVariant: serialize_field(name)
);

impl ser::SerializeMap for &mut Encoder<'_> {
    type Ok = ();
    type Error = Unencodable;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Encoded {
        key.serialize(&mut **self)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Encoded {
        value.serialize(&mut **self)
    }

    fn end(self) -> Encoded {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Unit,
        New(i32),
        Tuple(u16, Option<Box<Shape>>),
        Struct { a: (), b: [u8; 3], c: Vec<String> },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New(u64);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Nothing;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair(i16, i8);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct All {
        text: String,
        letters: Vec<char>,
        fractions: (f32, f64),
        shapes: Vec<Shape>,
        map: BTreeMap<String, bool>,
        new: New,
        nothing: Nothing,
        pair: Pair,
        large: (u128, i128),
    }

    fn same<T: Serialize>(value: &T) {
        let mut out = vec![7];
        append(value, &mut out).expect("it has bytes");
        let theirs = bincode::serde::encode_to_vec(value, bincode::config::standard());
        assert_eq!(out[1..], theirs.expect("it has bytes"));
    }

    /// Wherever a number begins to take more bytes, and on both sides of zero.
    #[test]
    fn numbers_are_those_of_bincode() {
        let mut edges = vec![0u64, 1, 250, 251, 252, 255, 256];
        for bits in [16, 32, 63] {
            let edge = 1u64 << bits;
            edges.extend([edge - 1, edge, edge + 1]);
        }
        edges.push(u64::MAX);
        for edge in edges {
            same(&edge);
            same(&(edge as u8, edge as u16, edge as u32, edge as usize));
            let signed = edge.cast_signed();
            same(&(signed, signed.wrapping_neg()));
            same(&(signed as i8, signed as i16, signed as i32));
            same(&(u128::from(edge) << 3, u128::from(edge) << 64));
            same(&(i128::from(signed) << 3, !(i128::from(signed) << 64)));
        }
    }

    #[test]
    fn every_shape_is_that_of_bincode() {
        let shapes = vec![
            Shape::Unit,
            Shape::New(-3),
            Shape::Tuple(700, Some(Box::new(Shape::Unit))),
            Shape::Tuple(7, None),
            Shape::Struct {
                a: (),
                b: [1, 251, 255],
                c: vec![String::new(), "a".repeat(300)],
            },
        ];
        same(&All {
            text: "größer".to_owned(),
            letters: vec!['a', 'ß', '€', '𝄞'],
            fractions: (1.5, -0.1),
            shapes,
            map: BTreeMap::from([("a".to_owned(), true), ("b".to_owned(), false)]),
            new: New(9),
            nothing: Nothing,
            pair: Pair(-700, -1),
            large: (u128::MAX, i128::MIN),
        });
    }

    #[test]
    fn a_list_that_does_not_know_its_length_is_refused() {
        struct Endless;
        impl Serialize for Endless {
            fn serialize<S: ser::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
                to.collect_seq(
                    std::iter::from_fn(|| Some(1))
                        .filter(|one| *one > 0)
                        .take(3),
                )
            }
        }
        let refused = append(&Endless, &mut Vec::new());
        assert!(matches!(refused, Err(StoreError::Malformed { .. })));
    }
}
