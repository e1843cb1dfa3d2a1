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

/// A file with one task, sealed under the first key.
async fn sealed(world: &World) {
    with_key(world, KEY, &["start", "bytes", "18", "--id", "b", "--new"])
        .await
        .ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_sealed_anew_under_a_key_in_a_file() {
    let world = World::empty();
    sealed(&world).await;
    std::fs::write(world.directory().join("new.key"), format!("{OTHER}\n")).expect("written");
    let args = ["store", "reseal", "--key-file", "new.key", "-o", "json"];
    let ran = with_key(&world, KEY, &args).await.ended(0);
    let told = ran.json();
    assert!(told["resealed"].as_u64().is_some_and(|count| count > 0));
    assert_eq!(
        (&told["unreadable"], &told["current"]),
        (&0.into(), &0.into())
    );
    with_key(&world, KEY, &["show", "b"]).await.ended(8);
    with_key(&world, OTHER, &["show", "b"]).await.ended(0);
    // Once more there is nothing to do, and the older key is not needed.
    let ran = with_key(
        &world,
        OTHER,
        &["store", "reseal", "tasks.redb", "-o", "json"],
    )
    .await;
    let told = ran.ended(0).json();
    assert_eq!(told["resealed"], 0, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_sealed_anew_under_the_keys_of_the_environment() {
    let world = World::empty();
    sealed(&world).await;
    let mut call = call(world.directory(), &["store", "reseal"]);
    let call = call
        .env("OUTLIVE_KEY", OTHER)
        .env("OUTLIVE_OLDER_KEYS", KEY);
    let ran = Ran::of(call.output().await.expect("it runs")).ended(0);
    assert!(
        ran.err.contains("outlive store compact tasks.redb"),
        "{ran:?}"
    );
    with_key(&world, OTHER, &["show", "b"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reseal_without_the_right_keys_changes_no_value_and_shows_no_key() {
    let world = World::empty();
    sealed(&world).await;
    world.file(&["store", "reseal"]).await.ended(2);
    let ran = with_key(&world, OTHER, &["store", "reseal"]).await.ended(8);
    assert!(ran.err.contains("--older-key-file"), "{ran:?}");
    std::fs::write(world.directory().join("no.key"), &KEY[1..]).expect("written");
    for args in [
        &["store", "reseal", "--key-file", "no.key"][..],
        &["store", "reseal", "--older-key-file", "no.key"],
        &["store", "reseal", "--key-file", "missing.key"],
    ] {
        let ran = with_key(&world, KEY, args).await.ended(2);
        assert!(!ran.err.contains(&KEY[1..]), "{ran:?}");
    }
    let ran = with_key(&world, &KEY[1..], &["store", "reseal"])
        .await
        .ended(2);
    assert!(!ran.err.contains(&KEY[1..]), "{ran:?}");
    with_key(&world, KEY, &["show", "b"]).await.ended(0);
}

/// What cannot be opened stays as it is, and its key is needed: that is not the end of a change of keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_reseal_that_leaves_something_does_not_end_well() {
    let world = World::empty();
    sealed(&world).await;
    // Under a third key, which is not given below.
    let third = KEY.replace('0', "1");
    let mut call = call(world.directory(), &["start", "bytes", "19", "--id", "c"]);
    let call = call
        .env("OUTLIVE_KEY", &third)
        .env("OUTLIVE_OLDER_KEYS", KEY);
    Ran::of(call.output().await.expect("it runs")).ended(0);
    std::fs::write(world.directory().join("new.key"), OTHER).expect("written");
    let args = ["store", "reseal", "--key-file", "new.key", "-o", "json"];
    let ran = with_key(&world, KEY, &args).await.ended(8);
    let told = ran.json();
    assert!(told["unreadable"].as_u64().is_some_and(|count| count > 0));
    assert!(!told["findings"].as_array().expect("a list").is_empty());
}
