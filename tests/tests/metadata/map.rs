//! The map itself: its methods, its namespaces, its types and its limit.

use crate::{TASK, in_a_turn};
use outlive::{METADATA_DEPTH_MAX, METADATA_KEY_MAX, METADATA_MAX, MetadataError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn it_reads_like_a_map() {
    let (_engine, seen) = in_a_turn(|ctx| {
        let map = ctx.metadata();
        assert!(map.is_empty() && !map.contains("b"));
        assert_eq!(map.get::<u32>("b").unwrap(), None);
        assert!(map.keys().is_empty() && map.values().is_empty() && map.to_map().is_empty());
        map.set("b", 2).unwrap();
        map.set("a", "text").unwrap();
        map.set("c", json!({"deep": [1, null]})).unwrap();
        assert_eq!(
            (map.len(), map.is_empty(), map.contains("b")),
            (3, false, true)
        );
        assert_eq!(map.keys(), ["a", "b", "c"]);
        assert_eq!(
            map.values(),
            [json!("text"), json!(2), json!({"deep": [1, null]})]
        );
        let pairs: Vec<(String, Value)> = map.iter().collect();
        assert_eq!(pairs[1], ("b".to_owned(), json!(2)));
        assert_eq!(map.to_map()["a"], "text");
        assert_eq!(map.get::<u32>("b").unwrap(), Some(2));
        assert_eq!(map.get::<String>("a").unwrap().as_deref(), Some("text"));
        map.set("b", 3).unwrap();
        assert_eq!(
            map.get::<u8>("b").unwrap(),
            Some(3),
            "a later value replaces it"
        );
        assert!(map.remove("a") && !map.remove("a"));
        assert_eq!(map.keys(), ["b", "c"]);
    })
    .await;
    assert_eq!(
        json!(seen),
        json!({"default": {"b": 3, "c": {"deep": [1, null]}}})
    );
}

#[tokio::test(start_paused = true)]
async fn clear_empties_its_own_namespace_alone() {
    let (_engine, seen) = in_a_turn(|ctx| {
        let (map, other) = (ctx.metadata(), ctx.metadata().namespace("other").unwrap());
        for key in ["a", "b", "c"] {
            map.set(key, 1).unwrap();
            other.set(key, 2).unwrap();
        }
        map.clear();
        assert!(map.is_empty());
        assert_eq!(other.len(), 3);
    })
    .await;
    assert_eq!(seen["other"].len(), 3);
    assert!(seen.get("default").is_none_or(serde_json::Map::is_empty));
}

#[tokio::test(start_paused = true)]
async fn a_number_is_incremented_from_nothing_and_never_wraps() {
    let (_engine, seen) = in_a_turn(|ctx| {
        let map = ctx.metadata();
        assert_eq!(map.increment("n", 5).unwrap(), 5);
        assert_eq!(map.increment("n", -7).unwrap(), -2);
        map.set("most", i64::MAX).unwrap();
        let over = map.increment("most", 1);
        assert_eq!(over, Err(MetadataError::Overflow { key: "most".into() }));
        assert_eq!(
            map.get::<i64>("most").unwrap(),
            Some(i64::MAX),
            "nothing changed"
        );
        map.set("text", "1").unwrap();
        map.set("half", 0.5).unwrap();
        map.set("large", u64::MAX).unwrap();
        for (key, found) in [
            ("text", "a string"),
            ("half", "a number"),
            ("large", "a number"),
        ] {
            let wrong = map.increment(key, 1);
            assert_eq!(
                wrong,
                Err(MetadataError::MetadataType {
                    key: key.into(),
                    found
                })
            );
        }
    })
    .await;
    assert_eq!(seen["default"]["n"], -2);
}

#[tokio::test(start_paused = true)]
async fn items_are_appended_to_an_array_or_to_none() {
    let (_engine, seen) = in_a_turn(|ctx| {
        let map = ctx.metadata();
        assert_eq!(map.append("seen", "x").unwrap(), 1);
        assert_eq!(map.append("seen", 2).unwrap(), 2);
        map.set("object", json!({})).unwrap();
        let wrong = map.append("object", 1);
        let found = "an object";
        assert_eq!(
            wrong,
            Err(MetadataError::MetadataType {
                key: "object".into(),
                found
            })
        );
        assert_eq!(
            map.get::<Value>("object").unwrap(),
            Some(json!({})),
            "nothing changed"
        );
    })
    .await;
    assert_eq!(seen["default"]["seen"], json!(["x", 2]));
}

#[tokio::test(start_paused = true)]
async fn a_value_of_another_type_is_told_with_its_own() {
    in_a_turn(|ctx| {
        let map = ctx.metadata();
        let values = [
            (json!(null), "null"),
            (json!(true), "a boolean"),
            (json!(1.5), "a number"),
            (json!("x"), "a string"),
            (json!([1]), "an array"),
            (json!({"x": 1}), "an object"),
        ];
        for (value, found) in values {
            map.set("key", &value).unwrap();
            let wrong = map.get::<i32>("key");
            let key = "key".to_owned();
            assert_eq!(wrong, Err(MetadataError::MetadataType { key, found }));
            assert_eq!(
                map.get::<Value>("key").unwrap(),
                Some(value),
                "it is still there"
            );
        }
        map.set("key", 300).unwrap();
        assert!(map.get::<u8>("key").is_err(), "a number that does not fit");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_type_of_the_users_is_kept_whole() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Progress {
        done: u64,
        failed: Vec<String>,
    }
    let progress = || Progress {
        done: 7,
        failed: vec!["x".into()],
    };
    let (_engine, seen) = in_a_turn(move |ctx| {
        ctx.metadata().set("progress", progress()).unwrap();
        assert_eq!(ctx.metadata().get("progress").unwrap(), Some(progress()));
    })
    .await;
    assert_eq!(
        seen["default"]["progress"],
        json!({"done": 7, "failed": ["x"]})
    );
}

#[tokio::test(start_paused = true)]
async fn namespaces_keep_the_same_keys_apart() {
    let (_engine, seen) = in_a_turn(|ctx| {
        let (mine, theirs) = (ctx.metadata(), ctx.metadata().namespace("theirs").unwrap());
        mine.set("key", "mine").unwrap();
        theirs.set("key", "theirs").unwrap();
        assert_eq!(mine.get::<String>("key").unwrap().as_deref(), Some("mine"));
        assert!(theirs.remove("key"));
        assert!(mine.contains("key"));
        theirs.set("key", 2).unwrap();
        let again = theirs.namespace("theirs").unwrap();
        assert_eq!(
            again.get::<u32>("key").unwrap(),
            Some(2),
            "a namespace has no depth"
        );
    })
    .await;
    assert_eq!(
        json!(seen),
        json!({"default": {"key": "mine"}, "theirs": {"key": 2}})
    );
}

#[tokio::test(start_paused = true)]
async fn names_of_the_engines_and_names_that_are_none_are_refused() {
    let (_engine, seen) = in_a_turn(|ctx| {
        let map = ctx.metadata();
        let long = "x".repeat(METADATA_KEY_MAX + 1);
        for name in ["", "_", "_engine", &long] {
            let refused = MetadataError::Name { name: name.into() };
            assert_eq!(map.set(name, 1), Err(refused.clone()));
            assert_eq!(map.increment(name, 1), Err(refused.clone()));
            assert_eq!(map.append(name, 1), Err(refused.clone()));
            assert_eq!(map.namespace(name).err(), Some(refused));
            assert!(!map.contains(name) && !map.remove(name));
        }
        map.set(&"é".repeat(METADATA_KEY_MAX / 2), 1).unwrap();
        map.set("a_b", 1).unwrap();
    })
    .await;
    assert_eq!(seen["default"].len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_value_without_a_json_form_is_refused() {
    let (_engine, seen) = in_a_turn(|ctx| {
        let map = ctx.metadata();
        map.set("key", 1).unwrap();
        let no_text = std::collections::HashMap::from([((1, 2), 3)]);
        let refused = MetadataError::NotJson { key: "key".into() };
        assert_eq!(map.set("key", &no_text), Err(refused.clone()));
        assert_eq!(
            map.append("list", &no_text),
            Err(MetadataError::NotJson { key: "list".into() })
        );
        assert_eq!(map.get::<u32>("key").unwrap(), Some(1));
    })
    .await;
    assert_eq!(json!(seen), json!({"default": {"key": 1}}));
}

#[tokio::test(start_paused = true)]
async fn all_namespaces_together_stay_below_one_mebibyte_and_who_goes_beyond_is_told_at_once() {
    const PART: usize = 256 * 1024;
    let (_engine, seen) = in_a_turn(|ctx| {
        let map = ctx.metadata();
        let names = ["one", "two", "three", "four"];
        let spaces = names.map(|name| map.namespace(name).unwrap());
        for space in &spaces[..3] {
            space.set("part", "x".repeat(PART)).unwrap();
        }
        let refused = spaces[3].set("part", "x".repeat(PART));
        let Err(MetadataError::TooLarge { size, limit }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(limit, METADATA_MAX);
        assert!(size > limit && size < limit + 1024, "{size}");
        assert!(!spaces[3].contains("part"), "nothing changed");
        // Room that is given back can be used again.
        spaces[0].set("part", "x".repeat(PART / 2)).unwrap();
        spaces[3].set("part", "x".repeat(PART)).unwrap();
        assert!(spaces[3].append("list", "x".repeat(PART)).is_err());
        assert!(spaces[1].remove("part"));
        assert_eq!(spaces[3].append("list", "x".repeat(PART)).unwrap(), 1);
    })
    .await;
    let size = serde_json::to_vec(&seen).unwrap().len() as u64;
    assert!(size <= METADATA_MAX && size > METADATA_MAX / 2, "{size}");
}

/// What nested too deep was once taken, and could not be read again: nobody saw any of the task's metadata any more, and a
/// turn that came back after a crash was parked.
#[tokio::test(start_paused = true)]
async fn what_nests_too_deep_to_be_read_again_is_refused_and_what_does_not_is_read_again() {
    let nested = |depth| (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let (_engine, seen) = in_a_turn(move |ctx| {
        let map = ctx.metadata();
        map.set("deepest", nested(METADATA_DEPTH_MAX)).unwrap();
        for depth in [METADATA_DEPTH_MAX + 1, 4000] {
            let refused = map.set("key", nested(depth));
            let limit = METADATA_DEPTH_MAX;
            let key = "key".to_owned();
            assert_eq!(refused, Err(MetadataError::TooDeep { key, limit }));
        }
        let appended = map.append("list", nested(METADATA_DEPTH_MAX));
        assert!(matches!(appended, Err(MetadataError::TooDeep { .. })));
        assert_eq!(map.len(), 1, "nothing changed");
    })
    .await;
    let seen = serde_json::to_value(&seen).unwrap();
    let text = seen.to_string();
    assert!(text.contains("deepest"), "{text}");
}

/// Escapes make a text longer on disk than in memory.
#[tokio::test(start_paused = true)]
async fn the_limit_counts_what_is_written() {
    let (_engine, seen) = in_a_turn(|ctx| {
        let map = ctx.metadata();
        let refused = map.set("key", "\u{1}".repeat(200_000));
        assert!(
            matches!(refused, Err(MetadataError::TooLarge { .. })),
            "six bytes each"
        );
        let mut count = 0;
        while map.set(&format!("\u{1}{count}"), "").is_ok() {
            count += 1;
        }
        assert!(count > 10_000, "{count}");
    })
    .await;
    let size = serde_json::to_vec(&seen).unwrap().len() as u64;
    assert!(size <= METADATA_MAX && size > METADATA_MAX / 2, "{size}");
}

#[tokio::test(start_paused = true)]
async fn its_text_for_people_shows_the_entries() {
    in_a_turn(|ctx| {
        ctx.metadata().set("done", 3).unwrap();
        let shown = format!("{:?}", ctx.metadata());
        assert!(shown.contains("done") && shown.contains('3'), "{shown}");
    })
    .await;
    assert_eq!(TASK.name(), "task");
}
