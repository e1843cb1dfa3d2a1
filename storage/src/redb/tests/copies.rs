//! Files that are copied, looked over and saved, and damage that is met where it is read.

use super::shape::Shape;
use super::*;
use crate::commit::Write;
use crate::conformance::rows::{ask_row, labelled, task_id};
use crate::row::{AskRow, Payload, ValueKind};
use redb::{ReadableTable, TableDefinition, WriteTransaction};

pub(super) const TASKS_OF_FILE: u64 = 60;
/// Above anything that the rows of the file carry.
const LAST: u64 = 9_000;

fn value_key() -> ValueKey {
    ValueKey {
        task: TaskNumber(2),
        kind: ValueKind::Output,
        index: 0,
    }
}

/// A closed file of many tasks, each moved three times, of which the first runs and the second has a value and a
/// question.
pub(super) fn filled(path: &Path) -> Counters {
    let store = open(path).unwrap();
    assert_eq!(store.define(&["job"]), Ok(vec![DefNumber(1)]));
    let first = |number| labelled(number, &format!("task-{number:03}"), &["red"]);
    let all = |commits: Vec<Commit>| {
        let answers = store.commit(&commits).unwrap();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    };
    all((1..=TASKS_OF_FILE)
        .map(|number| start(&first(number)))
        .collect());
    for step in 1..=3 {
        let moved = |number| {
            let mut next = first(number);
            next.etag = Etag(1_000 * step + number);
            next.input = Payload::Inline(vec![step as u8; 200]);
            next.asked = number == 2;
            let before = if step == 1 {
                number
            } else {
                next.etag.0 - 1_000
            };
            by_etag(number, before, &next)
        };
        all((1..=TASKS_OF_FILE).map(moved).collect());
    }
    let beside = vec![
        Write::Value {
            key: value_key(),
            bytes: vec![9; 3_000],
        },
        Write::Ask {
            key: "may".into(),
            ask: Box::new(AskRow {
                turn: 1,
                ..ask_row("may I?")
            }),
        },
    ];
    one(&store, commit(2, Expect::Etag(Etag(3_002)), beside)).unwrap();
    let claimed = running(&get(&store, 1).unwrap(), LAST, 7);
    one(&store, by_etag(1, 3_001, &claimed)).unwrap();
    store.counters().unwrap()
}

/// Every row of a file.
pub(super) fn rows(path: &Path) -> Vec<(TaskNumber, TaskRow)> {
    let store = open(path).unwrap();
    let page = store.scan(Scan::All, None, 1_000).unwrap();
    let whole = page
        .rows
        .into_iter()
        .map(|found| (found.task, found.row.unwrap()));
    whole.collect()
}

/// Changes entries behind the store's back.
fn tamper(path: &Path, tamper: impl FnOnce(&WriteTransaction)) {
    let database = bare_database(path).unwrap();
    let txn = database.begin_write().unwrap();
    tamper(&txn);
    txn.commit().unwrap();
}

/// Gives an entry another key.
pub(super) fn rename<'k, K, V>(
    path: &Path,
    table: TableDefinition<'static, K, V>,
    from: K::SelfType<'k>,
    to: K::SelfType<'k>,
) where
    K: redb::Key + 'static,
    V: redb::Value + 'static,
{
    tamper(path, |txn| {
        let mut table = txn.open_table(table).unwrap();
        let bytes = {
            let value = table.remove(from).unwrap();
            V::as_bytes(&value.expect("it is there").value())
                .as_ref()
                .to_vec()
        };
        table.insert(to, V::from_bytes(&bytes)).unwrap();
    });
}

/// Zeroes every page in which the text lies.
fn wipe(path: &Path, text: &[u8]) -> usize {
    let mut bytes = fs::read(path).unwrap();
    let mut wiped = 0;
    for page in bytes.chunks_mut(4096) {
        if page.windows(text.len()).any(|window| window == text) {
            page.fill(0);
            wiped += 1;
        }
    }
    fs::write(path, bytes).unwrap();
    wiped
}

#[test]
fn a_backup_is_a_file_of_its_own_that_counts_on_far_above() {
    let (directory, path) = place();
    let counters = filled(&path);
    let [backup, restored] = ["backup", "restored"].map(|name| directory.path().join(name));
    let store = open(&path).unwrap();
    let copied = store.backup(&backup, 0xb, 18).unwrap();
    assert_eq!(copied.entries("tasks"), TASKS_OF_FILE);
    assert!(copied.findings.is_empty());
    let live = rows_of(&store);
    drop(store);
    let again = restore(&backup, &restored, 0xc, 19).unwrap();
    assert_eq!(again.tables, copied.tables);
    let mut incarnations = vec![
        RedbStore::open(&path, RedbOptions::default(), 1, 0)
            .unwrap()
            .incarnation(),
    ];
    let mut before = counters;
    for (file, instance) in [(&backup, 0xb_u128), (&restored, 0xc)] {
        assert!(verify(file, 5, 0).unwrap().is_whole());
        let copy = open(file).unwrap();
        assert_eq!(copy.incarnation(), instance);
        assert!(!incarnations.contains(&copy.incarnation()));
        incarnations.push(copy.incarnation());
        let after = copy.counters().unwrap();
        assert!(after.etag.0 > before.etag.0 + (1 << 31), "{after:?}");
        assert!(
            after.generation.0 > before.generation.0 + (1 << 31),
            "{after:?}"
        );
        before = after;
        assert_eq!(rows_of(&copy), live, "the running one runs");
        assert_eq!(copy.value(value_key()), Ok(Some(vec![9; 3_000])));
    }
}

fn rows_of(store: &RedbStore) -> Vec<TaskRow> {
    let page = store.scan(Scan::All, None, 1_000).unwrap();
    page.rows
        .into_iter()
        .map(|found| found.row.unwrap())
        .collect()
}

#[test]
fn a_copy_is_never_written_over_anything() {
    let (directory, path) = place();
    filled(&path);
    let taken = directory.path().join("taken");
    fs::write(&taken, b"somebody's").unwrap();
    let exists = |path: &Path| CopyError::Exists {
        path: path.to_owned(),
    };
    assert_eq!(restore(&path, &taken, 2, 0), Err(exists(&taken)));
    assert_eq!(salvage(&path, &taken, 3, 0), Err(exists(&taken)));
    assert_eq!(restore(&path, &path, 4, 0), Err(exists(&path)));
    assert_eq!(
        open(&path).unwrap().backup(&taken, 5, 0),
        Err(exists(&taken))
    );
    assert_eq!(fs::read(&taken).unwrap(), b"somebody's");
    assert_eq!(
        names(directory.path()),
        ["taken", "tasks.redb", "tasks.redb.lock"]
    );
}

#[test]
fn a_file_in_use_is_neither_looked_over_nor_saved_nor_restored() {
    let (directory, path) = place();
    let store = open(&path).unwrap();
    let to = directory.path().join("to");
    let in_use = |error| matches!(error, OpenError::AlreadyRunning { .. });
    assert!(verify(&path, 2, 0).is_err_and(in_use));
    let copy_in_use = |error| matches!(error, CopyError::From(OpenError::AlreadyRunning { .. }));
    assert!(salvage(&path, &to, 3, 0).is_err_and(copy_in_use));
    assert!(restore(&path, &to, 4, 0).is_err_and(copy_in_use));
    drop(store);
}

#[test]
fn all_is_saved_of_a_file_without_a_header() {
    let (directory, path) = place();
    let counters = filled(&path);
    let before = rows(&path);
    let mut bytes = fs::read(&path).unwrap();
    let at = Shape::new(JOURNAL_BYTES, 0).database_at() as usize;
    bytes[at..at + 4096].fill(0xee);
    fs::write(&path, &bytes).unwrap();
    assert!(open(&path).is_err());
    let to = directory.path().join("saved");
    let report = salvage(&path, &to, 0x5a, 0).unwrap();
    assert_eq!(report.found, FoundBy::ByPages);
    assert_eq!((report.lost(), report.findings.total()), (0, 0));
    assert_eq!(rows(&to), before);
    assert!(verify(&to, 2, 0).unwrap().is_whole());
    let saved = open(&to).unwrap();
    assert_eq!(saved.incarnation(), 0x5a);
    assert!(saved.counters().unwrap().etag > counters.etag);
    assert_eq!(
        fs::read(&path).unwrap(),
        bytes,
        "the damaged file stays as it is"
    );
}

#[test]
fn the_newest_versions_are_saved_of_a_file_whose_trees_are_lost() {
    let (directory, path) = place();
    filled(&path);
    let before = rows(&path);
    assert!(wipe(&path, b"lease_generations") > 0);
    assert!(open(&path).is_err());
    let to = directory.path().join("saved");
    let report = salvage(&path, &to, 2, 0).unwrap();
    assert_eq!(report.found, FoundBy::NotFound);
    assert_eq!(rows(&to), before);
    let saved = open(&to).unwrap();
    assert_eq!(saved.definitions(), Ok(vec![(DefNumber(1), "job".into())]));
    assert_eq!(saved.value(value_key()), Ok(Some(vec![9; 3_000])));
    assert!(saved.ask(TaskNumber(2), "may").unwrap().is_some());
}

#[test]
fn what_is_damaged_is_left_out_and_named() {
    let (directory, path) = place();
    filled(&path);
    tamper(&path, |txn| {
        let mut tasks = txn.open_table(tables::TASKS).unwrap();
        let mut bytes = tasks.get(5).unwrap().unwrap().value().to_vec();
        bytes[100] ^= 4;
        tasks.insert(5, bytes.as_slice()).unwrap();
        let mut asks = txn.open_table(tables::ASKS).unwrap();
        let mut bytes = asks.get((2, "may")).unwrap().unwrap().value().to_vec();
        bytes[20] ^= 4;
        asks.insert((2, "may"), bytes.as_slice()).unwrap();
    });
    let report = verify(&path, 2, 0).unwrap();
    let named: Vec<_> = report.findings.named().to_vec();
    let damaged = |table, key: &str| Finding {
        table,
        key: key.into(),
        what: Wrong::Damaged,
    };
    assert_eq!(named, [damaged("tasks", "5"), damaged("asks", "2/may")]);
    let to = directory.path().join("saved");
    let report = salvage(&path, &to, 3, 0).unwrap();
    let tasks = report
        .tables
        .iter()
        .find(|table| table.table == "tasks")
        .unwrap();
    // Its version before the damage lies about still, or it is lost; in no case is it something else.
    assert_eq!(tasks.saved + tasks.lost, TASKS_OF_FILE);
    assert!(verify(&to, 4, 0).unwrap().is_whole());
}

/// A search passes by a key that damage has changed: the task seemed not to be there, and its id was given again.
#[test]
fn an_id_hidden_by_damage_is_not_free() {
    let (_directory, path) = place();
    filled(&path);
    rename(&path, tables::IDS, "task-005", "task-0050");
    let store = open(&path).unwrap();
    let damaged = |found| matches!(found, Err(StoreError::Corrupt { table: "ids", .. }));
    assert!(damaged(store.find(&task_id("task-005"))));
    assert!(
        damaged(store.find(&task_id("task-0050"))),
        "it has another's number"
    );
    assert_eq!(
        store.find(&task_id("task-0051")),
        Ok(None),
        "it was never given"
    );
    assert_eq!(store.find(&task_id("task-006")), Ok(Some(TaskNumber(6))));
}

#[test]
fn a_name_with_another_number_opens_nothing() {
    let (_directory, path) = place();
    filled(&path);
    rename(&path, tables::DEFINITIONS, "job", "jab");
    let store = open(&path).unwrap();
    let damaged = matches!(
        store.define(&["job"]),
        Err(StoreError::Corrupt {
            table: "definitions",
            ..
        })
    );
    assert!(damaged);
}

/// Numbers are counted up from the highest there is, and a file may come from anybody.
#[test]
fn names_are_not_counted_beyond_the_last_number() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    let txn = store.begin_write().unwrap();
    let mut names = txn.open_table(tables::DEFINITIONS).unwrap();
    let last = seal::of_name("last", u32::MAX);
    names.insert("last", last).unwrap();
    drop(names);
    txn.commit().unwrap();
    assert_eq!(store.define(&["last"]), Ok(vec![DefNumber(u32::MAX)]));
    let refused = matches!(
        store.define(&["last", "further"]),
        Err(StoreError::Corrupt {
            table: "definitions",
            ..
        })
    );
    assert!(refused);
    assert_eq!(store.definitions().unwrap().len(), 1, "nothing was put");
}

/// The same search, in the tables of what hangs on tasks.
#[test]
fn what_is_hidden_by_damage_is_not_missing() {
    let (_directory, path) = place();
    filled(&path);
    rename(&path, tables::VALUES, (2, 2, 0), (2, 2, 1));
    rename(&path, tables::ASKS, (2, "may"), (2, "mby"));
    let store = open(&path).unwrap();
    let of = |error: StoreError| matches!(error, StoreError::Corrupt { .. });
    assert!(store.value(value_key()).is_err_and(of));
    assert!(store.ask(TaskNumber(2), "may").is_err_and(of));
    assert_eq!(
        store.ask(TaskNumber(3), "may"),
        Ok(None),
        "nobody ever asked"
    );
}

/// A list of a turn's steps was empty where a bit of the turn's number had changed: the entry beside it was taken for
/// another turn's, with damage of its own.
#[test]
fn a_step_under_another_turn_is_not_missing() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    let row = started(&store, 2, "a");
    let step = Write::Step {
        turn: 1,
        key: "may".into(),
        step: Box::new(crate::conformance::rows::step_row("done")),
    };
    let writes = commit(2, Expect::Etag(row.etag), vec![step]);
    one(&store, writes).expect("it is recorded");
    drop(store);
    rename(&path, tables::STEPS, (2, 1, "may"), (2, 65, "may"));
    let store = open(&path).unwrap();
    let of = |error: StoreError| matches!(error, StoreError::Corrupt { .. });
    assert!(store.steps(TaskNumber(2), 1, None, 10).is_err_and(of));
    assert!(store.step(TaskNumber(2), 1, "may").is_err_and(of));
}

#[test]
fn a_list_has_no_strangers_and_says_that_its_end_is_damaged() {
    let (_directory, path) = place();
    filled(&path);
    // A number that damage has changed, and the first entry under another definition.
    rename(&path, tables::BY_DEFINITION, (1, 30), (1, 29 << 32));
    rename(&path, tables::BY_DEFINITION, (1, 1), (0, 1));
    // A task in the list of another definition.
    rename(&path, tables::BY_DEFINITION, (1, 5), (2, 5));
    let store = open(&path).unwrap();
    let page = store
        .scan(Scan::Definition(DefNumber(1)), None, 1_000)
        .unwrap();
    let (whole, damaged): (Vec<_>, Vec<_>) = page.rows.iter().partition(|found| found.row.is_ok());
    assert_eq!(whole.len() as u64, TASKS_OF_FILE - 3);
    assert_eq!(damaged.len(), 2, "{damaged:?}");
    let strangers = store.scan(Scan::Definition(DefNumber(2)), None, 1_000);
    let strangers = strangers.unwrap().rows;
    assert!(
        strangers.iter().any(|found| found.task == TaskNumber(5)),
        "{strangers:?}"
    );
    assert!(strangers.iter().all(|found| found.row.is_err()));
}

/// A disk that brought back an old page brought back an old table, in which later tasks were not there.
#[test]
fn a_file_whose_tables_are_of_two_moments_is_refused_and_saved() {
    let (directory, path) = place();
    filled(&path);
    let before = rows(&path);
    tamper(&path, |txn| {
        let mut ids = txn.open_table(tables::IDS).unwrap();
        ids.retain(|id, _| id < "task-031").unwrap();
    });
    let damaged = matches!(open(&path), Err(OpenError::Damaged { .. }));
    assert!(damaged);
    let to = directory.path().join("saved");
    assert_eq!(salvage(&path, &to, 2, 0).unwrap().lost(), 0);
    assert_eq!(rows(&to), before);
}
