//! Tasks that a turn of another task has started.

use super::Factory;
use super::rows::{
    by_etag, commit, ended, get, moved, one, pending, put, removal, start, started, task_id,
    written,
};
use crate::commit::{Expect, Write};
use crate::row::{Etag, Family, Fate, Micros, ParentRow, TaskNumber, TaskRow};
use crate::store::{PAGE_MAX, Store, StoreError};

/// The task of all parents here.
const PARENT: u64 = 10;

fn family(turn: u64) -> Family {
    let task = TaskNumber(PARENT);
    Family { task, turn }
}

fn child(number: u64, turn: u64) -> TaskRow {
    let parent = ParentRow {
        family: family(turn),
        id: task_id("parent"),
        detached: false,
    };
    TaskRow {
        parent: Some(parent),
        ..pending(number, &format!("child-{number}"))
    }
}

/// A store with a parent and these children, each a child of the turn beside it.
fn with<F: Factory>(factory: &F, children: &[(u64, u64)]) -> F::Store {
    let store = factory.fresh();
    started(&store, PARENT, "parent");
    for (number, turn) in children {
        assert!(one(&store, start(&child(*number, *turn))).is_ok());
    }
    store
}

#[track_caller]
fn children(store: &impl Store, turn: u64) -> Vec<u64> {
    let children = store.children(family(turn), None, 100).expect("children");
    children.into_iter().map(|child| child.0).collect()
}

fn over(turn: u64) -> Write {
    Write::FamilyOver {
        turn,
        fate: Fate::Alone,
    }
}

/// The child is nobody's any more.
fn let_go(number: u64) -> TaskRow {
    let row = pending(number, &format!("child-{number}"));
    moved(&row, number + 1, ended(Micros(900)))
}

/// Oldest first, page by page; those of another turn are not among them.
pub fn children_are_listed_under_their_turn(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, PARENT, "parent");
    for (number, turn) in [(30, 1), (20, 1), (40, 2), (50, 1)] {
        assert!(one(&store, start(&child(number, turn))).is_ok());
    }
    let store = factory.reopen(store);
    assert_eq!(children(&store, 1), [20, 30, 50]);
    assert_eq!(children(&store, 2), [40]);
    assert_eq!(children(&store, 3), [0; 0]);
    let page = store.children(family(1), Some(TaskNumber(20)), 1);
    assert_eq!(page, Ok(vec![TaskNumber(30)]));
    let many: Vec<_> = (1000..=1000 + PAGE_MAX as u64)
        .map(|number| start(&child(number, 5)))
        .collect();
    assert!(store.commit(&many).is_ok());
    let page = store.children(family(5), None, usize::MAX);
    assert_eq!(page.expect("a page").len(), PAGE_MAX);
}

/// Also where it is the last row of several in a commit, and where the row goes.
pub fn a_former_child_is_listed_no_more(factory: &impl Factory) {
    let store = with(factory, &[(20, 1), (30, 1), (40, 1)]);
    assert!(one(&store, by_etag(20, 20, &let_go(20))).is_ok());
    assert_eq!(children(&store, 1), [30, 40]);
    assert!(one(&store, removal(30, 30)).is_ok());
    assert_eq!(children(&store, 1), [40]);
    let kept = moved(&child(40, 1), 41, ended(Micros::NEVER));
    assert!(one(&store, by_etag(40, 40, &kept)).is_ok());
    assert_eq!(children(&store, 1), [40], "it ended, and is still a child");
    let taken_over = TaskRow {
        etag: Etag(22),
        ..child(20, 2)
    };
    assert!(one(&store, by_etag(20, 21, &taken_over)).is_ok());
    assert_eq!(children(&store, 2), [20]);
}

/// Each end counts, also a second one; those of another turn are counted apart.
pub fn ends_of_children_are_counted(factory: &impl Factory) {
    let store = with(factory, &[(20, 1), (30, 2)]);
    assert_eq!(store.ended_children(family(1)), Ok(0));
    written(&store, 20, vec![Write::ChildEnded(family(1))]);
    written(&store, 20, vec![Write::ChildEnded(family(1))]);
    written(&store, 30, vec![Write::ChildEnded(family(2))]);
    let store = factory.reopen(store);
    assert_eq!(store.ended_children(family(1)), Ok(2));
    assert_eq!(store.ended_children(family(2)), Ok(1));
    assert_eq!(get(&store, PARENT), Some(pending(PARENT, "parent")));
}

/// What a commit says to another task stays when its own task goes with it.
pub fn an_end_is_counted_with_the_removal_of_the_child(factory: &impl Factory) {
    let store = with(factory, &[(20, 1)]);
    let writes = vec![Write::ChildEnded(family(1)), Write::RemoveTask];
    assert!(one(&store, commit(20, Expect::Etag(Etag(20)), writes)).is_ok());
    assert_eq!(store.ended_children(family(1)), Ok(1));
}

/// It is listed until its last child was told, and then nothing is left of it; without children at once.
pub fn a_family_that_is_over_lasts_as_long_as_its_children(factory: &impl Factory) {
    let store = with(factory, &[(20, 1), (30, 1), (40, 2)]);
    written(&store, 20, vec![Write::ChildEnded(family(1))]);
    let cancelled = Fate::Cancelled { reason: "r".into() };
    let fate = cancelled.clone();
    written(&store, PARENT, vec![Write::FamilyOver { turn: 1, fate }]);
    written(&store, PARENT, vec![over(2), over(3)]);
    let store = factory.reopen(store);
    let both = vec![(family(1), cancelled), (family(2), Fate::Alone)];
    assert_eq!(store.families_over(None, 100), Ok(both.clone()));
    assert_eq!(store.families_over(None, 1), Ok(both[..1].to_vec()));
    let later = store.families_over(Some(family(1)), 100);
    assert_eq!(later, Ok(both[1..].to_vec()));
    assert!(one(&store, by_etag(20, 20, &let_go(20))).is_ok());
    assert_eq!(store.ended_children(family(1)), Ok(1), "one is left");
    // Its removal counts it once more, and nobody will ask.
    let last = vec![Write::ChildEnded(family(1)), Write::RemoveTask];
    assert!(one(&store, commit(30, Expect::Etag(Etag(30)), last)).is_ok());
    assert_eq!(store.families_over(None, 100), Ok(both[1..].to_vec()));
    assert_eq!(store.ended_children(family(1)), Ok(0), "none is left");
}

/// A task that goes while its turn is open says what becomes of the children, and they find it.
pub fn the_children_of_a_removed_parent_are_found(factory: &impl Factory) {
    let store = with(factory, &[(20, 1)]);
    let removed = commit(
        PARENT,
        Expect::Etag(Etag(PARENT)),
        vec![over(1), Write::RemoveTask],
    );
    assert!(one(&store, removed).is_ok());
    assert_eq!(get(&store, PARENT), None);
    let listed = vec![(family(1), Fate::Alone)];
    assert_eq!(store.families_over(None, 100), Ok(listed));
    assert_eq!(children(&store, 1), [20]);
    assert!(one(&store, by_etag(20, 20, &let_go(20))).is_ok());
    assert_eq!(store.families_over(None, 100), Ok(vec![]));
}

/// It has none, or the one it has; a later turn of that one may take it over.
pub fn a_child_does_not_change_its_parent(factory: &impl Factory) {
    let store = with(factory, &[(20, 1)]);
    let mut other = TaskRow {
        etag: Etag(21),
        ..child(20, 2)
    };
    assert!(one(&store, by_etag(20, 20, &other)).is_ok());
    assert_eq!(
        (children(&store, 1), children(&store, 2)),
        (vec![], vec![20])
    );
    let stranger = family(2);
    other.etag = Etag(22);
    other.parent = other.parent.map(|parent| ParentRow {
        family: Family {
            task: TaskNumber(11),
            ..stranger
        },
        ..parent
    });
    let refused = store.commit(&[commit(20, Expect::Etag(Etag(21)), vec![put(&other)])]);
    assert!(matches!(refused, Err(StoreError::Malformed { .. })));
}
