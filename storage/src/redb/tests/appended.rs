//! Entries that come behind all others of their table, and those that do not.

use super::*;
use crate::redb::verify::verify;

/// Tasks of so many numbers, with ids that begin with this.
fn begin(store: &RedbStore, numbers: std::ops::Range<u64>, prefix: &str) {
    let starts: Vec<_> = numbers
        .map(|number| start(&pending(number, &format!("{prefix}{number:02}"))))
        .collect();
    let answers = store.commit(&starts).unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    // What was committed is in the tables then: what follows is a lot of its own.
    assert!(store.bring().is_ok() && store.ahead.lock().is_empty());
}

/// Ids, numbers and transitions that are not behind those in the file were left out, or the whole lot was refused.
#[test]
fn what_does_not_come_last_in_its_table_is_put_in_its_place() {
    for journal_bytes in [0, 1 << 20] {
        let (_directory, path) = place();
        let options = RedbOptions {
            journal_bytes,
            ..RedbOptions::default()
        };
        let store = RedbStore::open(&path, options, 0xabc, 17).unwrap();
        store.define(&["job"]).unwrap();
        begin(&store, 40..60, "m");
        begin(&store, 80..99, "a");
        begin(&store, 10..30, "z");
        begin(&store, 60..80, "m");
        let places = [(40..60, "m"), (80..99, "a"), (10..30, "z"), (60..80, "m")];
        for (numbers, prefix) in places {
            for number in numbers {
                let id = crate::conformance::rows::task_id(&format!("{prefix}{number:02}"));
                assert_eq!(store.find(&id), Ok(Some(TaskNumber(number))));
                assert_eq!(get(&store, number).map(|row| row.id), Some(id));
            }
        }
        drop(store);
        let report = verify(&path, 5, 0).unwrap();
        assert!(report.is_whole(), "{report:?}");
    }
}

/// Who begins beyond all others is not looked for: whoever is not beyond them is.
#[test]
fn a_taken_id_or_number_is_refused_once_it_is_in_the_tables() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    store.define(&["job"]).unwrap();
    begin(&store, 40..60, "m");
    let refused = |number, id: &str| {
        let answer = one(&store, start(&pending(number, id)));
        assert!(answer.is_err(), "{number} {id}: {answer:?}");
    };
    refused(70, "m59");
    refused(59, "z");
    refused(70, "m40");
    refused(40, "a");
    started(&store, 70, "z");
    started(&store, 30, "a");
}

/// Those between the ones that end are others' entries; those that are far from each other are taken out one by one.
#[test]
fn of_the_running_only_those_that_end_are_unlisted() {
    for step in [1, 3, 40] {
        let (_directory, path) = place();
        let store = open(&path).unwrap();
        store.define(&["job"]).unwrap();
        let rows = (1..=200).map(|number| {
            let row = pending(number, &format!("a{number:03}"));
            running(&row, number, number)
        });
        let rows: Vec<_> = rows.collect();
        let starts: Vec<_> = rows.iter().map(start).collect();
        assert!(store.commit(&starts).unwrap().iter().all(Result::is_ok));
        store.bring().unwrap();
        let ends = |row: &&TaskRow| row.etag.0 > 50 && row.etag.0.is_multiple_of(step);
        let (gone, stay): (Vec<_>, Vec<_>) = rows.iter().partition(ends);
        let ends = gone.iter().map(|row| {
            let number = row.etag.0;
            by_etag(
                number,
                number,
                &moved(row, 1_000 + number, ended(Micros(900))),
            )
        });
        let answers = store.commit(&ends.collect::<Vec<_>>()).unwrap();
        assert!(answers.iter().all(Result::is_ok));
        store.bring().unwrap();
        let listed = store.scan(Scan::Running, None, 1_000).unwrap();
        let listed: Vec<_> = listed.rows.iter().map(|found| found.task.0).collect();
        let stay: Vec<_> = stay.iter().map(|row| row.etag.0).collect();
        assert_eq!(listed, stay);
    }
}

/// A last id that damage had made smaller would have let a second task begin under a taken one; one that is no text stopped
/// every commit.
#[test]
fn a_last_entry_that_is_not_as_it_was_written_bounds_nothing() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    store.define(&["job"]).unwrap();
    begin(&store, 40..60, "m");
    drop(store);
    let database = bare_database(&path).unwrap();
    let txn = database.begin_write().unwrap();
    let mut ids = txn.open_table(tables::IDS).unwrap();
    ids.remove("m59").unwrap();
    ids.insert("z", (59, 7)).unwrap();
    drop(ids);
    txn.commit().unwrap();
    drop(database);
    let store = open(&path).unwrap();
    assert_eq!(standing::Seen::by(&store).tops(), Ok(tops::Tops::Unknown));
    begin(&store, 70..80, "a");
    assert!(one(&store, start(&pending(90, "m50"))).is_err());
}
