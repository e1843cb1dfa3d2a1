//! Values sealed at rest: a store over a store, in whose file the user's bytes are not to be read.
//!
//! [`SealedStore`] hands whatever a user said (inputs, outputs, large values, metadata, results of steps, items of streams,
//! questions and answers, failures and reasons) through a [`PayloadCodec`] on its way to the store below, and back on
//! its way out. Whoever uses it sees clear values alone, and nothing above it is any different.
//!
//! **What stays clear**: ids, names of tasks and steps, keys of questions, titles, descriptions, tags, sessions, owners,
//! types, times, counts, states, the length of each value to the byte, and the CRC-32 of each that lies beside its row.
//! The digest of an input is keyed with a secret of the file where the engine computes it; the digest of a question, which
//! its asker knows too, is not.
//!
//! **Where a value belongs** is a part of what is sealed ([`Location`]): the file, the table and key, the part of the row,
//! and the row's version (the etag of a task's row, the number of a turn). So a value that was moved, from another task,
//! another field, an earlier version of the row or another file, is [`StoreError::Corrupt`](crate::StoreError::Corrupt)
//! for its own entry, and nothing else is harmed. The file is named by a chance number of its own that is not the
//! incarnation: backups, restored and salvaged copies keep it, and open with the same keys. What is not told: a whole file
//! put back to an earlier state, or a whole row; metadata put back; entries removed, and parts emptied.
//!
//! **The mark**: the first open with a codec writes a name among the definitions that no task can have. It holds, sealed
//! under the current key, the number of the file and the secret of its digests; every further current key gets one of its
//! own. By it a store without a codec is refused ([`is_sealed`]), and missing keys are told when the store is opened, not
//! at the first value. Where a salvage has lost it, the number is taken from the values.
//!
//! **Adoption**: clear values stay readable, until all are sealed. A store that was empty when it was first opened with a
//! codec takes no clear value for one of its own, nor does one that was resealed as a whole; its mark says so, which
//! somebody who can write to the file can take away, but not from a codec that never
//! [takes clear values](PayloadCodec::takes_clear).
//!
//! **On disk** a sealed value is `00 "oP" 01`, the length of the clear value (`u32`, little-endian), the number of the file
//! (16 bytes), and what the codec made of it. No JSON begins with a zero. A text that must stay text has each of these
//! bytes as one character. What is empty stays empty.

mod codec;
mod frame;
#[cfg(feature = "seal")]
mod key;
#[cfg(feature = "seal")]
mod keys;
mod location;
mod mark;
mod parts;
mod sealer;
mod store;
#[cfg(test)]
mod tests;

pub use codec::{CodecError, PayloadCodec};
#[cfg(feature = "redb")]
pub(crate) use frame::may_be;
#[cfg(feature = "seal")]
pub use key::{Key, KeyError};
#[cfg(feature = "seal")]
pub use keys::{KEY_VARIABLE, Keys, OLDER_KEYS_VARIABLE};
pub use location::{Field, Location};
pub use mark::is_sealed;
#[cfg(feature = "redb")]
pub(crate) use mark::{begin, finish, is_name_or_mark};
#[cfg(feature = "redb")]
pub(crate) use parts::{Parts, Raw, Reason};
#[cfg(feature = "redb")]
pub(crate) use sealer::Sealer;
pub use store::SealedStore;
