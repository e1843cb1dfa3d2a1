//! Looking: the same on a file and through a server, and what `-o json` says is what HTTP said.

use crate::program::Ran;
use crate::world::World;

/// In place of a path: the answer has the moment of the question in it.
const MOVES: &str = "moves";

/// Calls that change nothing, with the status each ends with and the path of the same request.
const LOOKS: [(&[&str], i32, &str); 24] = [
    (&["ls"], 0, "/v1/tasks?limit=100"),
    (&["ls", "-n", "2"], 0, "/v1/tasks?limit=2"),
    (
        &["ls", "--status", "completed", "--task", "work"],
        0,
        "/v1/tasks?limit=100&task=work&status=completed",
    ),
    (
        &["ls", "--tag", "team=red", "--session", "s-1"],
        0,
        "/v1/tasks?limit=100&session_id=s-1&tag=team:red",
    ),
    (
        &["ls", "--since", "2020-01-31", "--parked"],
        0,
        "/v1/tasks?limit=100&created_from=2020-01-31T00:00:00Z&parked=true",
    ),
    (&["ls", "--status", "asleep"], 2, ""),
    (&["show", "done-1"], 0, "/v1/tasks/done-1"),
    (&["show", "done"], 0, "/v1/tasks/done-1"),
    (&["show", "later"], 2, ""),
    (&["show", "none"], 3, ""),
    (&["show", "not an id"], 2, ""),
    (&["show", ""], 2, ""),
    (&["show", ".."], 2, ""),
    (&["show", "asks-1", "--steps"], 0, "/v1/tasks/asks-1/steps"),
    (&["show", "chat", "--inputs"], 0, "/v1/tasks/chat-1/inputs"),
    (
        &["show", "bad-1", "--history"],
        0,
        "/v1/tasks/bad-1/history",
    ),
    (&["explain", "later-1"], 0, MOVES),
    (&["result", "done-1"], 0, "/v1/tasks/done-1/result"),
    (&["result", "bad"], 5, "/v1/tasks/bad-1/result"),
    (&["result", "gone-1"], 6, "/v1/tasks/gone-1/result"),
    (&["result", "chat-1"], 7, "/v1/tasks/chat-1/result"),
    (&["result", "later-1", "--timeout", "0"], 124, ""),
    (&["asks"], 0, "/v1/asks?limit=100"),
    (&["asks", "asks"], 0, "/v1/tasks/asks-1/asks?limit=100"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_json_says_is_what_http_says_on_a_file_and_through_a_server() {
    let world = World::filled().await;
    let mut on_file = Vec::new();
    for (args, code, _) in LOOKS {
        let args = [args, &["-o", "json"]].concat();
        on_file.push(world.file(&args).await.ended(code));
    }
    let served = world.served().await;
    for ((args, code, path), on_file) in LOOKS.into_iter().zip(on_file) {
        let args = [args, &["-o", "json"]].concat();
        let by_url = served.call(&args).await.ended(code);
        if code != 0 && path.is_empty() {
            assert_eq!(by_url.out, "", "{args:?}");
            assert_eq!(by_url.told()["exit"], code);
            continue;
        }
        if path == MOVES {
            let kind = |ran: &Ran| ran.json()["waits_for"]["kind"].to_string();
            assert_eq!(
                (kind(&on_file), kind(&by_url)),
                (r#""handler""#.into(), r#""time""#.into())
            );
            continue;
        }
        let body = served.client.get(path).await.text();
        assert_eq!(by_url.out, body, "{args:?}");
        // Here nobody has a handler, which is what a task waits for that is only due later elsewhere.
        let kind = |kind: &str| format!("{{\"kind\":\"{kind}\"}}");
        let here = body.replace(&kind("delayed"), &kind("waiting_handler"));
        assert_eq!(on_file.out, here, "{args:?}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_the_same_and_have_a_line_for_each_task() {
    let world = World::filled().await;
    for (args, code, _) in LOOKS {
        let ran = world.file(args).await.ended(code);
        assert!(
            code == 0 || ran.err.contains(' '),
            "{args:?} ends {code} without a word"
        );
    }
    let table = world.file(&["ls"]).await.out;
    assert_eq!(table.lines().count(), 9, "{table}");
    let lines = world.file(&["ls", "-o", "jsonl"]).await.out;
    assert_eq!(lines.lines().count(), 8, "{lines}");
    let one = world.file(&["show", "done-1", "-o", "json"]).await.out;
    assert!(
        one.contains(r#""output":{"b": 1.50"#),
        "byte for byte: {one}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_answer_is_told_how_to_give_it() {
    let world = World::filled().await;
    let ran = world.file(&["result", "asks-1", "-o", "json"]).await;
    let told = ran.ended(124).told();
    assert_eq!(told["next"], "outlive asks asks-1");
    let hint = told["hint"].as_str().expect("a hint");
    assert!(hint.contains("outlive answer asks-1 agree VALUE"), "{hint}");
    let ran = world.file(&["explain", "asks-1"]).await.ended(0);
    assert!(ran.err.contains("outlive asks asks-1"), "{ran:?}");
    assert!(
        ran.err.contains("outlive answer asks-1 agree VALUE"),
        "{ran:?}"
    );
    let ran = world.file(&["explain", "later-1"]).await.ended(0);
    assert_eq!(ran.err, "", "nothing is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_input_cannot_be_read_is_suspended_and_says_what_was_wrong() {
    let world = World::filled().await;
    world
        .file(&["start", "work", r#"{"Sing":1}"#, "--id", "odd"])
        .await
        .ended(0);
    let served = world.served().await;
    let ran = served
        .call(&["result", "odd", "--timeout", "30", "-o", "json"])
        .await;
    let told = ran.ended(7).told();
    assert_eq!(told["code"], "undecodable");
    let hint = told["hint"].as_str().expect("a hint");
    assert!(hint.contains("input") && hint.contains("Sing"), "{hint}");
    served.end().await;
    world.file(&["result", "odd"]).await.ended(7);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_is_printed_as_it_is_stored() {
    let world = World::filled().await;
    let ran = world.file(&["result", "done-1"]).await.ended(0);
    assert_eq!(ran.out, r#"{"b": 1.50, "a": "\u001b"}"#);
    assert_eq!(
        world.file(&["result", "chat-1"]).await.ended(7).out,
        "\"so far\""
    );
    assert_eq!(world.file(&["result", "bad-1"]).await.ended(5).out, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_beginning_of_an_id_names_it_where_it_is_looked_at_alone() {
    let world = World::filled().await;
    let ran = world.file(&["show", "later", "-o", "json"]).await.ended(2);
    let told = ran.told();
    assert!(
        told["error"]
            .as_str()
            .is_some_and(|text| text.contains("later-1, later-2"))
    );
    assert_eq!(told["next"], "outlive show later-1");
    world.file(&["cancel", "later-"]).await.ended(2);
    let ran = world.file(&["cancel", "chat", "-o", "json"]).await.ended(2);
    assert_eq!(ran.told()["next"], "outlive show chat-1");
    let chat = world.file(&["show", "chat-1", "-o", "json"]).await.json();
    assert_eq!(chat["status"], "suspended");
    world.file(&["cancel", "chat", "-y"]).await.ended(2);
    let chat = world.file(&["show", "chat", "-o", "json"]).await.ended(0);
    assert!(
        chat.err.contains("chat is taken for chat-1"),
        "{}",
        chat.err
    );
    assert_eq!(chat.json()["status"], "suspended");
}

/// The second of two equal calls, as scripts make them, found the task whose id begins with that of the first.
#[tokio::test]
async fn an_order_that_is_given_twice_never_finds_another_task() {
    let world = World::filled().await;
    let told = ["start", "work", "null", "--new", "--id", "later-11"];
    world.file(&told).await.ended(0);
    world.file(&["rm", "-y", "later-1"]).await.ended(0);
    world.file(&["rm", "-y", "later-1"]).await.ended(2);
    world.file(&["show", "later-11"]).await.ended(0);
}

/// The loop ended with its output, and told nobody.
#[tokio::test]
async fn a_batch_goes_on_when_its_reader_goes() {
    let world = World::filled().await;
    let program = env!("CARGO_BIN_EXE_outlive");
    let line = format!("{program} --store \"$1\" cancel --all -y | head -n 0");
    let ended = std::process::Command::new("sh")
        .args(["-c", &line, "sh"])
        .arg(world.path())
        .status();
    assert!(ended.expect("a shell").success());
    for status in ["pending", "suspended", "in_progress"] {
        let left = ["ls", "--status", status, "-o", "json"];
        let left = world.file(&left).await.json();
        assert_eq!(left["tasks"].as_array().map(Vec::len), Some(0), "{left}");
    }
}
