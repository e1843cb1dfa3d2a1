//! The lives of the file: newest first, bounded, each once.

use super::Factory;
use super::rows::life;
use crate::row::{GuardPhase, LifeRow, Micros};
use crate::store::Store;

/// In the order they were put, whatever the clock said; also after a reopen.
pub fn lives_come_newest_first(factory: &impl Factory) {
    let store = factory.fresh();
    assert_eq!(store.lives(), Ok(vec![]));
    let (first, second, third) = (life(7, 100), life(3, 90), life(5, 110));
    for life in [&first, &second, &third] {
        store.put_life(life).expect("the life is put");
    }
    let store = factory.reopen(store);
    assert_eq!(store.lives(), Ok(vec![third, second, first]));
}

/// A life is one row from its open to its stop.
pub fn a_life_is_overwritten_by_its_own_instance(factory: &impl Factory) {
    let store = factory.fresh();
    let (first, second) = (life(7, 100), life(3, 200));
    store.put_life(&first).expect("the life is put");
    store.put_life(&second).expect("the life is put");
    let stopped = LifeRow {
        phase: GuardPhase::Calm,
        stopped_at: Some(Micros(300)),
        ..first
    };
    store.put_life(&stopped).expect("the life is put");
    assert_eq!(store.lives(), Ok(vec![second, stopped]));
}

/// The newest are kept.
pub fn lives_are_bounded(factory: &impl Factory) {
    let store = factory.fresh();
    let count = LifeRow::KEPT_MAX as u64 + 3;
    for at in 0..count {
        let life = life(u128::from(1000 - at), at);
        store.put_life(&life).expect("the life is put");
    }
    let kept = (3..count).rev().map(|at| life(u128::from(1000 - at), at));
    assert_eq!(store.lives(), Ok(kept.collect()));
}
