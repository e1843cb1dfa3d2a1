//! JSON that is passed on as it is, and the definitions that carry it.

use outlive::{Definition, TaskDef};
use serde_json::value::RawValue;

/// A value byte for byte as its owner gave it.
pub(crate) type Raw = Box<RawValue>;

/// A definition of the registered name whose values nobody looks into.
pub(crate) fn untyped(definition: &Definition) -> TaskDef<Raw, Raw, Raw> {
    TaskDef::new(definition.name)
}

/// JSON text that the engine keeps, as a value; nothing where it is none.
pub(crate) fn of_text(text: &str) -> Option<Raw> {
    RawValue::from_string(text.to_owned()).ok()
}

/// How deep arrays and objects nest in a JSON text.
pub(crate) fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_a_string_are_no_depth() {
        assert_eq!(depth(br#"{"a": "[[[\"[", "b": [1, [2]]}"#), 3);
        assert_eq!(depth(b"17"), 0);
    }
}
