//! The demonstration, run as a newcomer runs it.

use crate::the::{directory, done, run};

#[test]
fn the_demonstration_holds_what_it_claims() {
    let directory = directory();
    let kept = directory.path().join("kept");
    let (code, out, err) = run(&["demo", "--keep", kept.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}{err}");
    let (held, broken) = (
        out.matches("   ok ").count(),
        out.matches("   NOT ").count(),
    );
    assert_eq!((held, broken), (7, 0), "{out}");
    // What the file says now is what was told.
    let store = kept.join("demo.redb");
    let shown = done(&store, &["show", "the-task"]);
    assert_eq!(
        (&shown["outcome"]["kind"], &shown["crashes"]),
        (&"succeeded".into(), &1.into())
    );
    let (code, _, err) = run(&["demo", "--keep", kept.to_str().unwrap()]);
    assert_ne!(code, 0, "a directory that is there is not used: {err}");
}
