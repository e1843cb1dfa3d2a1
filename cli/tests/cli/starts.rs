//! Starting: on a file for the program behind it, through a server only what it lets in, and once, whoever is killed.

use crate::program::{begun, run};
use crate::world::{World, tasks};
use outlive::Status;
use outlive_tests::chance::Chance;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

/// How often a start is killed.
const KILLS: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_started_on_a_file_waits_for_the_program_that_runs_it() {
    let world = World::filled().await;
    let args = [
        "start",
        "bytes",
        "a=1",
        "b.c:=[1.50]",
        "--id",
        "x",
        "--tag",
        "team=blue",
    ];
    let ran = world.file(&args).await.ended(0);
    assert_eq!(ran.out, "x\n");
    assert!(ran.err.contains("nobody runs it here"), "{ran:?}");
    let waits = world.file(&["show", "x", "-o", "json"]).await.json();
    assert_eq!(waits["status"], "pending");
    // The same start once more is the same start.
    world.file(&args).await.ended(0);
    world
        .file(&["start", "bytes", "a=2", "--id", "x"])
        .await
        .ended(4);
    world
        .file(&["start", "unheard-of", "--id", "y"])
        .await
        .ended(3);
    world
        .file(&["start", "unheard-of", "--id", "y", "--new"])
        .await
        .ended(0);
    world
        .file(&["start", "bytes", "1", "--tag", "outlive.task=x"])
        .await
        .ended(2);

    let served = world.served().await;
    let ran = served
        .call(&["result", "x", "--timeout", "30"])
        .await
        .ended(0);
    assert_eq!(ran.out, r#"{"a":"1","b":{"c":[1.5]}}"#);
    let y = served
        .engine
        .get("y")
        .await
        .expect("read")
        .expect("it is there");
    assert_eq!((y.status, y.name.as_str()), (Status::Pending, "unheard-of"));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_on_a_file_resumes_what_waits_for_one_and_nothing_else() {
    let world = World::filled().await;
    world
        .file(&["steer", "later-1", r#"{"Say":"x"}"#])
        .await
        .ended(4);
    let ran = world
        .file(&["steer", "chat-1", r#"{"Say":"more"}"#, "--key", "k"])
        .await
        .ended(0);
    assert_eq!(ran.out, "chat-1\n");
    let served = world.served().await;
    let ran = served
        .call(&["result", "chat-1", "--input", "k", "--timeout", "30"])
        .await;
    assert_eq!(ran.ended(0).out, "\"more\"");
    served.end().await;
}

/// A value of several MiB goes in from a file and comes out as it was; one that is larger than any is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_goes_through_a_file_and_comes_back() {
    let world = World::filled().await;
    let text = |bytes: usize| format!("{{\"x\" : \"{}\"}}", "y".repeat(bytes));
    let large = text(5 << 20);
    std::fs::write(world.directory().join("large.json"), &large).expect("written");
    std::fs::write(world.directory().join("larger.json"), text(11 << 20)).expect("written");
    let served = world.served().await;
    served
        .call(&["start", "bytes", "@larger.json"])
        .await
        .ended(2);
    served
        .call(&["start", "bytes", "@large.json", "--id", "l"])
        .await
        .ended(0);
    let ran = served
        .call(&["result", "l", "--timeout", "60"])
        .await
        .ended(0);
    assert!(
        ran.out == large,
        "{} bytes of {}",
        ran.out.len(),
        large.len()
    );
    served.end().await;
    let ran = world.file(&["result", "l"]).await.ended(0);
    assert!(
        ran.out == large,
        "{} bytes of {}",
        ran.out.len(),
        large.len()
    );
}

/// S16: through a server only what its program lets in is started.
#[tokio::test(flavor = "multi_thread")]
async fn through_a_server_nothing_is_started_that_is_not_remote() {
    let world = World::filled().await;
    let served = world.served().await;
    let args = ["start", "bytes", "17", "--wait"];
    assert_eq!(served.call(&args).await.ended(0).out, "17");
    assert_eq!(
        served
            .call(&["start", "hidden", "-o", "json"])
            .await
            .ended(1)
            .told()["code"],
        "not_remote"
    );
    served
        .call(&["start", "unheard-of", "--new"])
        .await
        .ended(3);
    served.end().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_program_serves_a_file_and_starts_nothing_on_it() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::filled().await;
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(world.directory(), private).expect("it is ours");
    let mut serving = begun(world.directory(), &["serve", "--listen", "unix:s.sock"]);
    let mut err = serving.stderr.take().expect("its words");
    let mut said = Vec::new();
    while !said.ends_with(b"\n") {
        assert!(
            err.read_buf(&mut said).await.expect("read") > 0,
            "{}",
            String::from_utf8_lossy(&said)
        );
    }
    let ran = run(
        world.directory(),
        &["--url", "unix:s.sock", "start", "bytes", "1"],
    )
    .await;
    ran.ended(3);
    let listed = run(world.directory(), &["--url", "unix:s.sock", "ls"])
        .await
        .ended(0);
    assert!(listed.out.contains("done-1"));
    let locked = world.file(&["ls", "-o", "json"]).await.ended(8).told();
    let next = locked["next"].as_str().expect("a call");
    let args: Vec<&str> = next.split(' ').skip(1).collect();
    let elsewhere = tempfile::tempdir().expect("a directory");
    run(elsewhere.path(), &args).await.ended(0);
}

/// Who is killed before the answer gives the same call again; `OUTLIVE_SEED` repeats a run.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_was_killed_is_given_once_more_and_happens_once() {
    let world = World::filled().await;
    let given = std::env::var("OUTLIVE_SEED").ok();
    let seed = given.map_or_else(
        || std::process::id().into(),
        |seed| seed.parse().expect("a number"),
    );
    println!("OUTLIVE_SEED={seed}");
    let mut chance = Chance(seed);
    // So long takes one that nobody kills.
    let began = Instant::now();
    world
        .file(&["start", "bytes", "0", "--id", "whole"])
        .await
        .ended(0);
    let within_us = began.elapsed().as_micros() as u64;
    let mut before_the_answer = 0;
    for n in 0..KILLS {
        let (id, input) = (format!("k-{n}"), n.to_string());
        let args = ["start", "bytes", input.as_str(), "--id", id.as_str()];
        let mut start = begun(world.directory(), &args);
        tokio::time::sleep(Duration::from_micros(chance.below(within_us))).await;
        // One that has ended cannot be killed any more.
        let _ = start.start_kill();
        let ended = start.wait_with_output().await.expect("it ends");
        before_the_answer += usize::from(ended.stdout.is_empty());
        let again = world.file(&args).await.ended(0);
        assert_eq!(again.out, format!("{id}\n"));
    }
    assert!(before_the_answer > 0, "none was killed in time");
    let engine = tasks(&world.path()).open().await.expect("it opens");
    for n in 0..KILLS {
        let id = format!("k-{n}");
        let run = engine
            .attach_untyped::<u64, ()>(&id)
            .await
            .expect("it is there");
        assert_eq!(run.result().await.expect("it ends"), n);
        let task = engine.get(&id).await.expect("read").expect("it is there");
        assert_eq!((task.run, task.turn, task.attempt), (1, 1, 1), "{id}");
    }
    engine.shutdown(Duration::ZERO).await;
}
