//! The names of the wire, made of the engine's own: a variant is told in snake case, its fields beside its `kind`.

use crate::times;
use serde::Serialize;
use serde_json::{Map, Value};

/// The name of a variant without fields, in snake case.
pub(crate) fn name(variant: &impl Serialize) -> String {
    match serde_json::to_value(variant) {
        Ok(Value::String(name)) => snake(&name),
        // Nothing but enums without fields is given here.
        Ok(_) | Err(_) => "unknown".to_owned(),
    }
}

/// A variant as an object: its name under `kind`, then its fields, moments as RFC 3339 under names without their unit.
pub(crate) fn tagged(variant: &impl Serialize) -> Map<String, Value> {
    let mut object = Map::new();
    let value = serde_json::to_value(variant).unwrap_or_default();
    let (kind, fields) = match value {
        Value::Object(outer) => match outer.into_iter().next() {
            Some((kind, Value::Object(fields))) => (kind, fields),
            Some((kind, _)) => (kind, Map::new()),
            None => return object,
        },
        Value::String(kind) => (kind, Map::new()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return object,
    };
    object.insert("kind".to_owned(), snake(&kind).into());
    for (key, value) in fields {
        let moment = key.strip_suffix("_us").map(str::to_owned);
        match (moment, value.as_u64()) {
            (Some(key), Some(at_us)) => _ = object.insert(key, times::text(at_us).into()),
            (Some(key), None) => _ = object.insert(key, value),
            (None, _) => _ = object.insert(key, value),
        }
    }
    object
}

fn snake(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for (at, letter) in camel.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlive::{EventKind, Release, WaitsFor};

    #[test]
    fn a_variant_is_told_by_its_name_and_its_fields() {
        assert_eq!(name(&EventKind::InputQueued), "input_queued");
        let release = Value::Object(tagged(&Release::Time { at_us: 0 }));
        let told = serde_json::json!({"kind": "time", "at": "1970-01-01T00:00:00Z"});
        assert_eq!(release, told);
        let waits = WaitsFor::Sleep {
            step: "nap".into(),
            due_us: 1_000_000,
        };
        let told =
            serde_json::json!({"kind": "sleep", "step": "nap", "due": "1970-01-01T00:00:01Z"});
        assert_eq!(Value::Object(tagged(&waits)), told);
        let told = serde_json::json!({"kind": "handler"});
        assert_eq!(Value::Object(tagged(&WaitsFor::Handler)), told);
    }
}
