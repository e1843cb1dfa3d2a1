//! Entries of the file: whatever is read must be written again as it was.

use super::Verdict;
use outlive_storage::StoreError;
use outlive_storage::fuzzing::{Key, Kind, reread, seal};

/// An entry and its key in one piece: kind, task, index, length of the text, the text, the bytes.
pub fn packed(key: &Key, bytes: &[u8]) -> Vec<u8> {
    let kind = Kind::ALL.iter().position(|kind| *kind == key.kind);
    let mut data = vec![kind.unwrap_or_default() as u8];
    data.extend_from_slice(&key.task.to_le_bytes());
    data.extend_from_slice(&key.index.to_le_bytes());
    data.push(key.text.len() as u8);
    data.extend_from_slice(key.text.as_bytes());
    data.extend_from_slice(bytes);
    data
}

/// The entry in one piece taken apart, `None` for what is none.
pub fn unpacked(data: &[u8]) -> Option<(Key, &[u8])> {
    let (kind, data) = data.split_first()?;
    let (task, data) = data.split_first_chunk()?;
    let (index, data) = data.split_first_chunk()?;
    let (text_len, data) = data.split_first()?;
    let (text, bytes) = data.split_at_checked(usize::from(*text_len))?;
    let key = Key {
        kind: Kind::ALL[usize::from(*kind) % Kind::ALL.len()],
        task: u64::from_le_bytes(*task),
        index: u128::from_le_bytes(*index),
        text: std::str::from_utf8(text).ok()?.into(),
    };
    Some((key, bytes))
}

/// Reads the bytes under the key.
///
/// # Panics
/// When they are taken for what they are not.
pub fn read(key: &Key, bytes: &[u8]) -> Verdict {
    match reread(key, bytes) {
        Ok(again) => {
            // A number that was written longer than it need be is that number: it is written shorter.
            if again.len() >= bytes.len() {
                assert_eq!(again, bytes, "{key:?} was read as something else");
            }
            let once_more = reread(key, &again);
            assert_eq!(
                once_more,
                Ok(again),
                "{key:?} is not what was written of it"
            );
            Verdict::Accepted
        }
        Err(StoreError::Corrupt { .. } | StoreError::TooNew { .. }) => Verdict::Refused,
        Err(other) => panic!("{key:?}: {other:?}"),
    }
}

/// Any bytes: an entry in one piece, read as it is, and with its lengths and checksums made right.
///
/// # Panics
/// As [`read`].
pub fn entry(data: &[u8]) -> Verdict {
    let Some((key, bytes)) = unpacked(data) else {
        return Verdict::Refused;
    };
    read(&key, bytes);
    let mut sealed = bytes.to_vec();
    seal(&key, &mut sealed);
    read(&key, &sealed)
}
