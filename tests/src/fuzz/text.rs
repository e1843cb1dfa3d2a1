//! Text from outside: ids, cursors and keys of steps.

use super::Verdict;
use outlive::{AskCursor, Cursor, StepKey};
use outlive_storage::id::{ID_MAX, InputId, NAME_MAX, TaskId, is_name};
use outlive_storage::row::StepRow;

/// The rule of ids, written down once more.
fn may_be_an_id(text: &str, max: usize) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    (1..=max).contains(&text.len()) && text != "." && text != ".." && text.chars().all(allowed)
}

/// Any bytes, as far as they are text.
///
/// # Panics
/// When a rule of ids is not kept, a cursor is not the one it came from, or a key is too long or another one's.
pub fn text(data: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(data) else {
        return Verdict::Refused;
    };
    let is_id = may_be_an_id(text, ID_MAX);
    assert_eq!(TaskId::new(text).is_ok(), is_id, "{text:?}");
    assert_eq!(InputId::new(text).is_ok(), is_id, "{text:?}");
    assert_eq!(is_name(text), may_be_an_id(text, NAME_MAX), "{text:?}");
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text);
    }
    if let Ok(cursor) = text.parse::<AskCursor>() {
        assert_eq!(cursor.to_string(), text);
    }
    key_of(StepKey::from(text), text);
    let value: Option<serde_json::Value> = serde_json::from_str(text).ok();
    if let Some(value) = value {
        let key = StepKey::from(("pay", &value));
        let again: serde_json::Value = serde_json::from_str(&value.to_string()).expect("JSON");
        assert_eq!(key, StepKey::from(("pay", &again)), "{text:?}");
    }
    if is_id {
        Verdict::Accepted
    } else {
        Verdict::Refused
    }
}

/// A short key is the text itself; a long one is not that of a text that differs at its end.
fn key_of(key: StepKey, text: &str) {
    assert!(key.as_str().len() <= StepRow::KEY_MAX, "{text:?}");
    if text.len() <= StepRow::KEY_MAX {
        assert_eq!(key.as_str(), text);
        return;
    }
    assert_ne!(key, StepKey::from(format!("{text}.")), "{text:?}");
}
