//! A file whose values are sealed: read with its key, and no other file is sealed by that.

use crate::program::{Ran, call};
use crate::world::{BYTES, World, raw, tasks};
use outlive::sealed::{Key, Keys};
use std::time::Duration;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const OTHER: &str = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

async fn with_key(world: &World, key: &str, args: &[&str]) -> Ran {
    let mut call = call(world.directory(), args);
    Ran::of(
        call.env("OUTLIVE_KEY", key)
            .output()
            .await
            .expect("it runs"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_file_is_read_with_its_key_alone() {
    let world = World::empty();
    let key: Key = KEY.parse().expect("a key");
    let engine = tasks(&world.path())
        .payload_codec(Keys::new(key))
        .open()
        .await;
    let engine = engine.expect("it opens");
    let run = engine.start(BYTES, "a", &raw("17")).await.expect("started");
    run.outcome().await.expect("it ends");
    engine.shutdown(Duration::ZERO).await;

    let refused = world.file(&["ls", "-o", "json"]).await.ended(8).told();
    assert!(
        refused["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("OUTLIVE_KEY"))
    );
    assert_eq!(
        with_key(&world, KEY, &["result", "a"]).await.ended(0).out,
        "17"
    );
    with_key(&world, KEY, &["start", "bytes", "18", "--id", "b"])
        .await
        .ended(0);
    with_key(&world, OTHER, &["ls"]).await.ended(8);
    let malformed = with_key(&world, "0011", &["ls"]).await.ended(2);
    assert!(!malformed.err.contains("0011"), "{malformed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_file_stays_clear_whatever_key_is_at_hand() {
    let world = World::filled().await;
    with_key(&world, KEY, &["start", "bytes", "18", "--id", "b"])
        .await
        .ended(0);
    assert!(world.file(&["ls"]).await.ended(0).out.contains("b "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_made_with_a_key_at_hand_is_sealed() {
    let world = World::empty();
    with_key(&world, KEY, &["start", "bytes", "18", "--new"])
        .await
        .ended(0);
    world.file(&["ls"]).await.ended(8);
    with_key(&world, KEY, &["ls"]).await.ended(0);
}
