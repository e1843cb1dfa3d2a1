//! A file that an engine has: who has it, and how it is reached.

use crate::program::run;
use crate::world::{World, tasks};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_use_names_its_process_and_the_call_that_reaches_it() {
    let world = World::filled().await;
    let served = world.served().await;
    let ran = world.file(&["ls", "-o", "json"]).await.ended(8);
    let told = ran.told();
    let pid = std::process::id().to_string();
    assert!(
        told["error"]
            .as_str()
            .is_some_and(|text| text.contains(&pid)),
        "{told}"
    );
    let next = told["next"].as_str().expect("a call");
    assert_eq!(next, format!("outlive --url {} ls", served.url));
    let args: Vec<&str> = next.split(' ').skip(1).collect();
    let ran = run(world.directory(), &args).await.ended(0);
    assert!(ran.out.contains("done-1"));
    served.end().await;
    world.file(&["ls"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_engine_serves_nothing_names_its_process() {
    let world = World::empty();
    let engine = tasks(&world.path()).open().await.expect("it opens");
    let ran = world.file(&["ls"]).await.ended(8);
    assert!(ran.err.contains(&std::process::id().to_string()), "{ran:?}");
    assert!(!ran.err.contains("--url"), "{ran:?}");
    engine.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_store_is_told_and_left_as_it_was() {
    let world = World::empty();
    world.file(&["ls"]).await.ended(3);
    assert!(!world.path().exists(), "who looks makes no file");
    std::fs::write(world.path(), "something else").expect("it is written");
    world.file(&["ls"]).await.ended(8);
    assert_eq!(
        std::fs::read_to_string(world.path()).expect("read"),
        "something else"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_told_apart_and_its_check_is_the_next_call() {
    let world = World::filled().await;
    let mut bytes = std::fs::read(world.path()).expect("read");
    let begins = b"redb\x1A\x0A\xA9\x0D\x0A";
    let at = bytes.windows(begins.len()).position(|at| at == begins);
    bytes[at.expect("a database") + 4096..].fill(0xa5);
    std::fs::write(world.path(), &bytes).expect("written");
    let told = world.file(&["ls", "-o", "json"]).await.ended(8).told();
    assert_eq!(
        told["next"], "outlive --store tasks.redb store verify",
        "{told}"
    );
    assert!(
        std::fs::read(world.path()).expect("read") == bytes,
        "it was changed"
    );
}
