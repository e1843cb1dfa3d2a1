//! The key of a step: what a replay finds it by.

use outlive_storage::row::StepRow;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The key of a step within its turn: a name, or a name with a value, so that each item of a list has a step of its own
/// wherever it stands.
///
/// Adding, removing and reordering steps between versions of a program is safe: they are found by key, never by
/// position. A name with a value is kept as `name(JSON of the value)`: `("pay", 17)` and the plain name `"pay(17)"` are
/// one key. A key of more than 256 bytes is kept as its beginning and its hash.
///
/// ```
/// use outlive::StepKey;
/// assert_eq!(StepKey::from(("pay", &17)).as_str(), "pay(17)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StepKey(Box<str>);

impl StepKey {
    /// The key as it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(text: String) -> StepKey {
        if text.len() <= StepRow::KEY_MAX {
            return StepKey(text.into());
        }
        let hash = Sha256::digest(text.as_bytes());
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let room = StepRow::KEY_MAX - hex.len() - 1;
        let fits = |end: &usize| text.is_char_boundary(*end);
        let end = (0..=room).rev().find(fits).unwrap_or(0);
        StepKey(format!("{}#{hex}", &text[..end]).into())
    }
}

impl From<&str> for StepKey {
    fn from(name: &str) -> Self {
        StepKey::of(name.to_owned())
    }
}

impl From<String> for StepKey {
    fn from(name: String) -> Self {
        StepKey::of(name)
    }
}

impl From<&String> for StepKey {
    fn from(name: &String) -> Self {
        StepKey::of(name.clone())
    }
}

impl<V: Serialize> From<(&str, V)> for StepKey {
    /// The entries of a map are taken in the order of their keys, so a `HashMap` is one key in every process. A `HashSet`
    /// is not: give its items in an order. Values without a JSON form are all one: two such steps of one name have one
    /// key, which parks the task as any duplicate does.
    fn from((name, value): (&str, V)) -> Self {
        StepKey::of(format!("{name}({})", json_of(&value)))
    }
}

fn json_of<V: Serialize>(value: &V) -> String {
    match serde_json::to_value(value) {
        Ok(mut sorted) if !cfg!(planted = "key_of_map_unsorted") => {
            sorted.sort_all_objects();
            sorted.to_string()
        }
        // A number beyond 64 bits has a JSON form all the same.
        Ok(_) | Err(_) => serde_json::to_string(value).unwrap_or_else(|_| "?".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    #[test]
    fn a_long_key_is_kept_short_and_apart_from_others() {
        let long = "ä".repeat(300);
        let (one, other) = (format!("{long}1"), format!("{long}2"));
        let (one, other) = (StepKey::from(one), StepKey::from(other));
        assert!(one.as_str().len() <= StepRow::KEY_MAX);
        assert_ne!(one, other);
        assert_eq!(one, StepKey::from(format!("{long}1")));
    }

    #[test]
    fn values_make_keys_of_their_own() {
        let keys = ["a", "b"].map(|id| StepKey::from(("pay", id)));
        assert_eq!(keys[0].as_str(), "pay(\"a\")");
        assert_ne!(keys[0], keys[1]);
    }

    /// A step with such a key ran again after a crash.
    #[test]
    fn a_map_is_one_key_however_it_is_ordered() {
        let entries = (0..20).map(|n| (format!("k{n}"), n));
        // Each of them has an order of its own.
        let maps = (0..5).map(|_| entries.clone().collect::<HashMap<_, _>>());
        let keys: HashSet<_> = maps.map(|map| StepKey::from(("pay", map))).collect();
        assert_eq!(keys.len(), 1);
        let wide = u128::MAX;
        assert_eq!(
            StepKey::from(("pay", wide)).as_str(),
            format!("pay({wide})")
        );
    }
}
