//! What a page may cost, and the text of a cursor.

use super::*;
use crate::ctx::Ctx;
use crate::handler::HandlerError;
use std::cell::Cell;

const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");

#[test]
fn a_cursor_comes_back_from_its_text_and_nothing_else_does() {
    for number in [0, 1, 0xdead_beef, u64::MAX] {
        let cursor = Cursor(TaskNumber(number));
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    let text = Cursor(TaskNumber(0xab)).to_string();
    let strange = [
        String::new(),
        text[1..].to_owned(),
        text.to_uppercase(),
        format!("{text}0"),
        format!(" {text}"),
        text.replace("00a", "0+a"),
        text.replace('a', "b"),
        "aé000000000000ab".to_owned(),
    ];
    for text in strange {
        assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text:?}");
    }
}

/// A slow disk, or a busy machine, makes a page short, not late.
#[tokio::test]
async fn a_page_ends_when_its_time_is_up_and_goes_on_there() {
    let engine = Engine::in_memory()
        .task(ECHO, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) })
        .open()
        .await
        .unwrap();
    let tasks = (0..450).map(|n| (format!("t{n}"), n));
    assert!(
        engine
            .start_many(ECHO, tasks)
            .await
            .iter()
            .all(Result::is_ok)
    );
    let read = |store: &dyn Store| {
        look_slowly(store);
        Ok(())
    };
    let reader = &engine.shared().dispatcher.reader;
    reader.read(read).await.unwrap();
}

fn look_slowly(store: &dyn Store) {
    let paths = [Path::Plain(Scan::All)];
    let wanted = Wanted {
        session: Some("nobody's".to_owned()),
        ..Wanted::default()
    };
    let look = Look {
        store,
        paths: &paths,
        wanted: &wanted,
        limit: 10,
    };
    // Each look at the clock finds it 60 ms on: after the second chunk the time is up.
    let looks = Cell::new(0);
    let slow = || {
        looks.set(looks.get() + 1);
        Micros(looks.get() * 60_000)
    };
    let mut after = None;
    let mut pages = 0;
    loop {
        let page = look.page(after, slow).unwrap();
        assert!(page.rows.is_empty());
        pages += 1;
        if page.next.is_none() {
            break;
        }
        assert_ne!(page.next, after, "each page comes further");
        after = page.next;
    }
    assert_eq!(pages, 3, "200, 200 and 50 were looked at");
    let quick = look.page(None, || Micros(0)).unwrap();
    assert_eq!(quick.next, None, "450 are within one page's bound");
}
