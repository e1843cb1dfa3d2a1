//! The names of things: checked once at the edge, trusted inside.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Longest accepted [`TaskId`] or [`InputId`], in characters (all of them ASCII).
pub const ID_MAX: usize = 256;
/// Longest accepted task name, in characters (all of them ASCII).
pub const NAME_MAX: usize = 128;

/// Why a string is not an id or a name. Nothing was read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidId {
    /// The string is empty: give at least one character, or leave the id out to get a generated one.
    #[error("an id may not be empty; give one, or leave it out to get a generated one")]
    Empty,
    /// The string is longer than `max`: shorten it, for example to a hash of what it was made from.
    #[error(
        "an id of {len} characters is too long; at most {max} are kept, so hash the longer form"
    )]
    TooLong {
        /// Length of the refused string in bytes.
        len: usize,
        /// Longest accepted length in bytes.
        max: usize,
    },
    /// A character outside `A-Za-z0-9._:-`: replace it.
    #[error("character {found:?} at byte {at} is not allowed in an id; use A-Z a-z 0-9 . _ : -")]
    Character {
        /// The first refused character.
        found: char,
        /// Its position in bytes.
        at: usize,
    },
    /// `.` and `..` are refused because ids appear in URLs and file names of tools.
    #[error("'.' and '..' are not ids; they change meaning in a path")]
    Dots,
}

const fn first_bad(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < bytes.len() {
        if !matches!(bytes[at], b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b':' | b'-')
        {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// What the names of definitions begin with that a salvage did not find.
pub(crate) const LOST_NAME: &str = "lost.definition.";

/// True when `name` may be a task name: 1 to [`NAME_MAX`] characters of `A-Za-z0-9._:-`, not `.` or `..`.
///
/// It is `const` so that a literal name is checked by the compiler.
pub const fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let dots = matches!(bytes, b"." | b"..");
    !bytes.is_empty() && bytes.len() <= NAME_MAX && !dots && first_bad(bytes).is_none()
}

/// Checks `text` as an id of at most `max` characters.
///
/// # Errors
/// [`InvalidId`]: what is wrong and how to mend it.
pub fn check(text: &str, max: usize) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty);
    }
    if text.len() > max {
        return Err(InvalidId::TooLong {
            len: text.len(),
            max,
        });
    }
    if matches!(text, "." | "..") {
        return Err(InvalidId::Dots);
    }
    let Some(at) = first_bad(text.as_bytes()) else {
        return Ok(());
    };
    let found = text[at..].chars().next().unwrap_or('\u{fffd}');
    Err(InvalidId::Character { found, at })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a string.
            ///
            /// # Errors
            /// [`InvalidId`]: what is wrong and how to mend it.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                let text = text.as_ref();
                check(text, ID_MAX)?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }
    };
}

id! {
    /// The caller's name for a task: 1 to 256 characters of `A-Za-z0-9._:-`, not `.` or `..`.
    ///
    /// ```
    /// use outlive_storage::id::TaskId;
    /// assert!(TaskId::new("doc-17").is_ok());
    /// assert!(TaskId::new("no spaces").is_err());
    /// ```
    TaskId
}
id! {
    /// The idempotency key of one accepted input; the same rules as [`TaskId`].
    ///
    /// ```
    /// use outlive_storage::id::InputId;
    /// assert!(InputId::new("msg:0001").is_ok());
    /// ```
    InputId
}

impl From<&TaskId> for InputId {
    /// The same text, which is not copied: the rules of both are the same.
    fn from(id: &TaskId) -> InputId {
        InputId(Arc::clone(&id.0))
    }
}
