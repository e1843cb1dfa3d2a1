//! S7: nothing that a task says reaches a terminal as it is.

use crate::world::World;

/// Whatever drives a terminal, or turns the reading direction, but the line breaks of our own.
fn hostile(text: &str) -> Option<char> {
    let drives = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    text.chars().find(|c| drives(*c))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verb_shows_what_a_task_says_as_it_is() {
    let world = World::filled().await;
    let calls: [&[&str]; 12] = [
        &["ls"],
        &["show", "done-1"],
        &["show", "bad-1"],
        &["show", "chat-1"],
        &["show", "gone-1"],
        &["explain", "chat-1"],
        &["explain", "bad-1"],
        &["result", "bad-1"],
        &["result", "chat-1"],
        &["asks"],
        &["watch", "bad-1"],
        &["show", "\u{1b}[2J\u{9b}"],
    ];
    let mut shown = String::new();
    for args in calls {
        let ran = world.file(args).await;
        assert_eq!(hostile(&ran.out), None, "{args:?}: {:?}", ran.out);
        assert_eq!(hostile(&ran.err), None, "{args:?}: {:?}", ran.err);
        shown.push_str(&ran.out);
    }
    assert!(shown.contains("\\u{1b}[2J"), "it is written out");
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_there_when_they_are_asked_for_and_never_in_json() {
    let world = World::filled().await;
    let escape = |ran: &crate::program::Ran| ran.out.contains("\u{1b}[");
    let plain = world.file(&["ls"]).await;
    assert!(!escape(&plain), "it is no terminal");
    assert!(escape(&world.file(&["ls", "--color", "always"]).await));
    assert!(!escape(
        &world.file(&["ls", "--color", "always", "-o", "json"]).await
    ));
    for (name, args, coloured) in [
        ("CLICOLOR_FORCE", &["ls"][..], true),
        ("NO_COLOR", &["ls"], false),
        ("CLICOLOR_FORCE", &["ls", "--color", "never"], false),
    ] {
        let mut call = crate::program::call(world.directory(), args);
        let ran = crate::program::Ran::of(call.env(name, "1").output().await.expect("it runs"));
        assert_eq!(escape(&ran), coloured, "{name} {args:?}");
    }
}
