//! Each rule of the journal is seen to fail.

use super::*;

fn entered(generation: u64, crashes: u32) -> Message {
    Message::Entered {
        id: "a".to_owned(),
        generation,
        crashes,
        recovered: crashes > 0,
        waited: false,
    }
}

fn left() -> Message {
    Message::Left { id: "a".to_owned() }
}

fn acknowledged() -> Message {
    Message::Acknowledged { id: "a".to_owned() }
}

fn recovered(found: u64, dispatched: u64) -> Message {
    Message::Recovered {
        found,
        dispatched,
        took_us: 1,
    }
}

fn record() -> Ended {
    Ended {
        id: "a".to_owned(),
        succeeded: true,
        etag: 9,
        generation: 2,
        crashes: 1,
        run: 1,
        turn: 1,
        attempt: 1,
    }
}

fn ended(change: impl FnOnce(&mut Ended)) -> Message {
    let mut record = record();
    change(&mut record);
    Message::Ended(record)
}

/// Three processes: killed in the handler, killed after the answer, ended by itself.
fn good() -> [Vec<Message>; 3] {
    let list = || [ended(|_| {}), Message::EndedTold];
    let [second, third] = [list(), list()];
    let mut lives = [
        vec![recovered(0, 0), Message::EndedTold, entered(1, 0)],
        vec![
            recovered(1, 1),
            Message::EndedTold,
            entered(2, 1),
            left(),
            acknowledged(),
        ],
        vec![recovered(0, 0)],
    ];
    lives[2].extend(second);
    lives[2].extend(third);
    lives
}

fn broken(lives: &[Vec<Message>]) -> Vec<Broken> {
    let mut journal = Journal::default();
    for life in lives {
        journal.begin_life();
        life.iter().for_each(|message| journal.take(message));
        journal.end_life();
    }
    let violations = journal.finish(&HashSet::from(["a".to_owned()]));
    violations.into_iter().map(|one| one.broken).collect()
}

/// What a change to a good run breaks.
fn breaks(change: impl FnOnce(&mut [Vec<Message>; 3])) -> Vec<Broken> {
    let mut lives = good();
    change(&mut lives);
    broken(&lives)
}

/// Both lists of the last process say this.
fn ended_as(lives: &mut [Vec<Message>; 3], change: impl Fn(&mut Ended)) {
    lives[2][1] = ended(&change);
    lives[2][3] = ended(&change);
}

#[test]
fn a_good_run_breaks_nothing() {
    assert_eq!(broken(&good()), []);
}

#[test]
fn a_killed_handler_is_told_as_running() {
    let mut journal = Journal::default();
    journal.begin_life();
    journal.take(&entered(1, 0));
    assert_eq!(journal.end_life(), ["a"]);
}

#[test]
fn an_entry_after_the_end_is_seen() {
    let broken = breaks(|lives| lives[2].push(entered(3, 2)));
    assert!(broken.contains(&Broken::EnteredAfterEnd), "{broken:?}");
}

#[test]
fn an_old_generation_is_seen() {
    let broken = breaks(|lives| lives[0][2] = entered(3, 0));
    assert_eq!(broken, [Broken::GenerationOld]);
}

#[test]
fn a_generation_of_another_task_is_seen() {
    let other = Message::Entered {
        id: "b".to_owned(),
        generation: 2,
        crashes: 0,
        recovered: false,
        waited: false,
    };
    let broken = breaks(|lives| lives[0].push(other));
    assert!(broken.contains(&Broken::GenerationShared), "{broken:?}");
}

#[test]
fn two_entries_by_one_process_are_seen() {
    let broken = breaks(|lives| {
        lives[0].pop();
        lives[1].insert(2, entered(1, 1));
    });
    assert_eq!(broken, [Broken::EnteredTwice]);
}

#[test]
fn an_entry_that_hides_the_crash_is_seen() {
    let broken = breaks(|lives| lives[1][2] = entered(2, 0));
    assert!(broken.contains(&Broken::ToldNew), "{broken:?}");
    assert!(broken.contains(&Broken::CrashesTooFew), "{broken:?}");
}

#[test]
fn an_entry_that_contradicts_its_crashes_is_seen() {
    let contradiction = Message::Entered {
        id: "a".to_owned(),
        generation: 2,
        crashes: 1,
        recovered: false,
        waited: false,
    };
    let broken = breaks(|lives| lives[1][2] = contradiction);
    assert!(broken.contains(&Broken::CrashesContradict), "{broken:?}");
}

#[test]
fn a_turn_found_and_not_entered_is_seen() {
    let told = breaks(|lives| lives[1][0] = recovered(2, 1));
    assert_eq!(told, [Broken::FoundNotEntered]);
    let not_told = breaks(|lives| lives[2][0] = recovered(1, 1));
    assert_eq!(not_told, [Broken::FoundNotEntered]);
}

#[test]
fn a_lost_result_is_seen() {
    let acknowledged = breaks(|lives| drop(lives[2].remove(1)));
    assert_eq!(acknowledged, [Broken::Lost]);
    let listed = breaks(|lives| drop(lives[2].remove(3)));
    assert_eq!(listed, [Broken::Lost]);
}

#[test]
fn a_record_that_changes_is_seen() {
    let broken = breaks(|lives| lives[2][3] = ended(|record| record.etag = 8));
    assert_eq!(broken, [Broken::RecordChanged]);
}

#[test]
fn a_record_of_another_entry_is_seen() {
    let broken = breaks(|lives| ended_as(lives, |record| record.generation = 7));
    assert_eq!(broken, [Broken::RecordOfAnotherEntry]);
}

#[test]
fn a_record_of_a_second_turn_or_of_a_failure_is_seen() {
    let second = breaks(|lives| ended_as(lives, |record| record.turn = 2));
    assert_eq!(second, [Broken::EndedMoreThanOnce; 2]);
    let failed = breaks(|lives| ended_as(lives, |record| record.succeeded = false));
    assert_eq!(failed, [Broken::Failed; 2]);
}

#[test]
fn an_end_without_a_return_is_seen() {
    let broken = breaks(|lives| drop(lives[1].remove(3)));
    assert_eq!(broken, [Broken::EndedUnreturned; 2]);
}

#[test]
fn a_record_listed_twice_is_seen() {
    let broken = breaks(|lives| lives[2].insert(1, ended(|_| {})));
    assert_eq!(broken, [Broken::ListedTwice]);
}

#[test]
fn an_unknown_task_is_seen() {
    let id = "b".to_owned();
    let broken = breaks(|lives| lives[0].push(Message::Left { id }));
    assert_eq!(broken, [Broken::Unknown]);
}

#[test]
fn a_task_without_a_result_is_seen() {
    assert_eq!(broken(&[vec![Message::EndedTold]]), [Broken::NoResult]);
}
