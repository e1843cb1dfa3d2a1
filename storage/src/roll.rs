//! What is said of several tasks, side by side in the order in which they came.
//!
//! In a hash table each of these would lie where its key falls: to add thousands touches memory all over the table, and all of it
//! once more whenever the table grows. Here the table has only their places.

use crate::row::TaskNumber;
use foldhash::{HashMap, HashMapExt};
use std::collections::hash_map::Entry;

/// What is said of each of several tasks.
#[derive(Debug)]
pub(crate) struct Roll<T> {
    places: HashMap<TaskNumber, u32>,
    said: Vec<(TaskNumber, T)>,
}

impl<T> Default for Roll<T> {
    fn default() -> Roll<T> {
        Roll::with_room(0)
    }
}

#[cfg_attr(
    not(feature = "redb"),
    expect(dead_code, reason = "a store in memory puts each row as it comes")
)]
impl<T> Roll<T> {
    /// An empty one with room for so many tasks.
    pub(crate) fn with_room(tasks: usize) -> Roll<T> {
        Roll {
            places: HashMap::with_capacity(tasks),
            said: Vec::with_capacity(tasks),
        }
    }

    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, tasks: usize) {
        self.places.reserve(tasks);
        self.said.reserve(tasks);
    }

    /// Of how many tasks something may be said before it takes more memory.
    pub(crate) fn room(&self) -> usize {
        self.said.capacity()
    }

    /// Of how many tasks something is said.
    pub(crate) fn len(&self) -> usize {
        self.said.len()
    }

    /// What is said of a task.
    pub(crate) fn get(&self, task: TaskNumber) -> Option<&T> {
        let place = *self.places.get(&task)?;
        Some(&self.said[place as usize].1)
    }

    /// What is said of a task, to be changed.
    pub(crate) fn get_mut(&mut self, task: TaskNumber) -> Option<&mut T> {
        let place = *self.places.get(&task)?;
        Some(&mut self.said[place as usize].1)
    }

    /// What was said of a task before, to be changed; where nothing was, `first` is.
    pub(crate) fn put(&mut self, task: TaskNumber, first: T, again: impl FnOnce(&mut T, T)) {
        match self.places.entry(task) {
            Entry::Vacant(none) => {
                none.insert(self.said.len() as u32);
                self.said.push((task, first));
            }
            Entry::Occupied(place) => again(&mut self.said[*place.get() as usize].1, first),
        }
    }

    /// All of it, in its order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(TaskNumber, T)> {
        self.said.iter()
    }

    /// Takes all of it, in its order; the room is kept.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (TaskNumber, T)> {
        self.places.clear();
        self.said.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_again_stays_in_its_place() {
        let mut roll = Roll::default();
        for (task, said) in [(3, 30), (1, 10), (3, 31), (2, 20)] {
            roll.put(TaskNumber(task), said, |there, said| *there = said);
        }
        assert_eq!(roll.len(), 3);
        assert_eq!(roll.get(TaskNumber(3)), Some(&31));
        assert_eq!(roll.get(TaskNumber(4)), None);
        *roll.get_mut(TaskNumber(1)).unwrap() += 1;
        let all = [(3, 31), (1, 11), (2, 20)].map(|(task, said)| (TaskNumber(task), said));
        assert_eq!(roll.iter().copied().collect::<Vec<_>>(), all);
        assert_eq!(roll.drain().collect::<Vec<_>>(), all);
        assert_eq!((roll.len(), roll.get(TaskNumber(3))), (0, None));
        roll.put(TaskNumber(2), 1, |_, _| panic!("nothing was said of it"));
        assert_eq!(roll.get(TaskNumber(2)), Some(&1));
    }
}
