//! Calls and their grammar: help, settings, errors with a hint, a reader that has read enough.

use crate::program::{Ran, begun, call, run};
use crate::world::World;
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn the_help_of_each_verb_has_an_example() {
    let world = World::empty();
    let help = run(world.directory(), &["--help"]).await.ended(0).out;
    let listed = verbs(help.lines());
    assert!(listed.len() >= 18, "{listed:?}");
    for verb in listed {
        has_an_example(&world, &[verb]).await;
    }
    let help = run(world.directory(), &["store", "--help"]).await;
    let help = help.ended(0).out;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let mut listed = verbs(commands.take_while(|line| !line.is_empty()));
    listed.retain(|verb| *verb != "help");
    assert!(listed.len() >= 9, "{listed:?}");
    for verb in listed {
        has_an_example(&world, &["store", verb]).await;
    }
}

/// The first words of the lines of a list of verbs.
fn verbs<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let lines = lines.filter_map(|line| line.strip_prefix("  "));
    let verbs = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    verbs.filter_map(|line| line.split(' ').next()).collect()
}

async fn has_an_example(world: &World, verb: &[&str]) {
    let args = [verb, &["--help"]].concat();
    let help = run(world.directory(), &args).await.ended(0).out;
    assert!(help.contains("Example"), "{verb:?}: {help}");
    assert!(help.contains("outlive "), "{verb:?}");
}

#[tokio::test]
async fn a_wrong_call_ends_with_2_and_says_so_on_the_other_stream() {
    let world = World::empty();
    let calls: [&[&str]; 12] = [
        &[],
        &["fly"],
        &["ls", "--fast"],
        &["ls", "-o", "xml"],
        &["ls", "--store", "a", "--url", "b"],
        &["ls", "--url", "https://localhost"],
        &["ls", "--url", "ftp://x"],
        &["ls", "--url", "mailto:x"],
        &["start", "work", "@missing", "--new"],
        &["ls", "--url", "unix:x", "--token-file", "missing"],
        &["start", "work", "no json", "--new"],
        &["watch", "--items"],
    ];
    for args in calls {
        let ran = run(world.directory(), args).await.ended(2);
        assert_eq!(ran.out, "", "{args:?}");
        assert!(!ran.err.is_empty(), "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_refused_is_told_what_to_think_of_and_what_to_call_next() {
    let world = World::filled().await;
    std::fs::write(world.directory().join("lines"), "{}\n").expect("written");
    let calls: [(&[&str], i32); 9] = [
        (&["ls", "--status", "done"], 2),
        (&["ls", "--url", "ftp://x"], 2),
        (&["start", "work", "@missing"], 2),
        (&["ls", "--url", "unix:x", "--token-file", "missing"], 2),
        (&["store", "backup", "lines"], 4),
        (&["store", "backup", "no/directory/of/it"], 3),
        (&["store", "import", "missing", "--store", "new"], 3),
        (&["store", "import", "lines", "--store", "new"], 2),
        (&["cancel", "later-1", "later-2"], 2),
    ];
    for (args, code) in calls {
        let args = [args, &["-o", "json"]].concat();
        let told = world.file(&args).await.ended(code).told();
        assert!(told["hint"].is_string(), "{args:?}: {told}");
        assert!(told["next"].is_string(), "{args:?}: {told}");
    }
    let again = world.file(&["rm", "--task", "work", "-o", "json"]).await;
    let told = again.ended(2).told();
    assert_eq!(told["next"], "outlive rm --task work -o json -y");
}

#[tokio::test]
async fn nobody_at_an_address_is_told_apart_from_everything_else() {
    let world = World::empty();
    // Nobody listens on a socket that is not there.
    let ran = run(
        world.directory(),
        &["ls", "--url", "unix:nobody.sock", "-o", "json"],
    )
    .await;
    let told = ran.ended(9).told();
    assert!(told["hint"].is_string());
    assert_eq!(told["next"], "outlive --url unix:nobody.sock config");
}

#[tokio::test]
async fn a_setting_comes_from_the_nearest_place_that_says_it() {
    let world = World::empty();
    let file = world.directory().join("settings");
    std::fs::write(&file, "# ours\nstore = of-file.redb\ngrace = 7\n").expect("written");
    let lines = async |args: &[&str], variable: Option<(&str, &str)>| {
        let mut call = call(world.directory(), args);
        call.args(["config", "-o", "jsonl"])
            .env("OUTLIVE_CONFIG", &file);
        call.envs(variable);
        let ran = Ran::of(call.output().await.expect("it runs")).ended(0);
        ran.out
    };
    let has = |lines: &str, name: &str, value: &str, origin: &str| {
        let line = serde_json::json!({"name": name, "value": value, "origin": origin}).to_string();
        assert!(
            lines.lines().any(|found| found == line),
            "{line} is not in {lines}"
        );
    };
    let of_file = lines(&[], None).await;
    let path = file.display().to_string();
    has(&of_file, "store", "of-file.redb", &path);
    has(&of_file, "grace", "7", &path);
    has(&of_file, "color", "auto", "default");
    let of_variable = lines(&[], Some(("OUTLIVE_STORE", "v.redb"))).await;
    has(&of_variable, "store", "v.redb", "OUTLIVE_STORE");
    let of_flag = lines(&["--url", "unix:x"], Some(("OUTLIVE_STORE", "v.redb"))).await;
    has(&of_flag, "url", "unix:x", "flag");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_read_enough_is_no_error() {
    let world = World::filled().await;
    let mut ls = begun(world.directory(), &["watch", "-o", "jsonl"]);
    let mut out = ls.stdout.take().expect("its output");
    let mut first = [0];
    out.read_exact(&mut first).await.expect("something");
    drop(out);
    let ended = ls.wait_with_output().await.expect("it ends");
    let ran = Ran::of(ended).ended(0);
    assert_eq!(ran.err, "");
}

#[tokio::test]
async fn a_hash_is_not_taken_for_a_token() {
    let world = World::empty();
    std::fs::write(
        world.directory().join("token"),
        format!("sha256:{}", "0".repeat(64)),
    )
    .expect("written");
    let args = ["ls", "--url", "unix:nobody.sock", "--token-file", "token"];
    run(world.directory(), &args).await.ended(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_from_its_file_or_from_the_environment_and_is_in_no_word() {
    const SECRET: &str = "correct-horse-battery-staple-32-or-more";
    let world = World::filled().await;
    let served = world.served_for(Some(SECRET)).await;
    let refused = served.call(&["ls", "-o", "json"]).await.ended(1);
    assert_eq!(refused.told()["code"], "unauthorized");
    std::fs::write(world.directory().join("token"), format!("{SECRET}\n")).expect("written");
    let listed = served
        .call(&["ls", "--token-file", "token", "-vvv"])
        .await
        .ended(0);
    assert!(listed.out.contains("done-1"));
    assert!(!listed.err.contains(SECRET), "it is in the log");
    let mut call = call(world.directory(), &["config", "-o", "jsonl"]);
    let config = Ran::of(
        call.env("OUTLIVE_TOKEN", SECRET)
            .output()
            .await
            .expect("it runs"),
    );
    assert!(
        config.out.contains("OUTLIVE_TOKEN") && !config.out.contains(SECRET),
        "{config:?}"
    );
    served.end().await;
}
