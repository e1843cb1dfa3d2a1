//! Words on their way to those who wait for them: what an event came to, and the answers to inputs.
//!
//! For the thread of the writer to wake each is dear: most often a worker that sleeps, which finds one thing to do, and sleeps
//! again before the next word is said. So a worker says the words of a batch, and wakes whom it then runs itself. But nobody's
//! answer depends on a worker: a runtime may be gone, or driven by nobody, or all its workers held up. What none of them has
//! said the writer says, and it says everything while one that was asked has not come.

use crate::env::Spawner;
use crate::{hub, writer};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

/// One of them. Who has gone needs none: what it says is in the store.
pub(crate) enum Word {
    /// What an event came to, for its sender.
    Came(oneshot::Sender<writer::Told>, writer::Told),
    /// The answer to an input.
    Answer(oneshot::Sender<hub::Told>, hub::Told),
}

impl Word {
    /// Whether nobody waits for it any more.
    pub(crate) fn is_for_nobody(&self) -> bool {
        match self {
            Word::Came(sender, _) => sender.is_closed(),
            Word::Answer(waiter, _) => waiter.is_closed(),
        }
    }

    /// Wakes who waits for it.
    pub(crate) fn say(self) {
        match self {
            Word::Came(sender, told) => drop(sender.send(told)),
            Word::Answer(waiter, told) => drop(waiter.send(told)),
        }
    }
}

/// Words for several, in their order. They are said when this is dropped, whatever else fails.
#[derive(Default)]
pub(crate) struct Words(VecDeque<Word>);

impl Words {
    /// Most words that one worker says: the others are said by another one meanwhile.
    const MAX: usize = 64;

    /// One more; true when somebody is to say them.
    pub(crate) fn add(&mut self, word: Word) -> bool {
        if self.0.len() == 1 {
            // Who is not alone seldom stays a pair.
            self.0.reserve_exact(Words::MAX - 1);
        }
        self.0.push_back(word);
        self.0.len() >= Words::MAX
    }

    fn say(&mut self) {
        while let Some(word) = self.0.pop_front() {
            word.say();
        }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if !cfg!(planted = "words_die_unsaid") {
            self.say();
        }
    }
}

/// Words that a worker is to say. Whoever comes first says them.
#[derive(Clone)]
struct Given(Arc<Mutex<Words>>);

impl Given {
    /// Says what nobody has said. False: there was nothing.
    fn say(&self) -> bool {
        // Not under the lock: whoever is woken may be run at once.
        let mut words = std::mem::take(&mut *self.0.lock());
        let are_some = !words.0.is_empty();
        words.say();
        are_some
    }

    /// Whether the worker has not come, and may.
    fn is_out(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// What workers are to say.
#[derive(Default)]
pub(crate) struct Handed {
    /// Of the last batch.
    given: Vec<Given>,
    /// What the writer has said because no worker had come, and none has come since.
    late: Vec<Given>,
}

impl Handed {
    /// Has a worker say these words, if there are several and workers come.
    pub(crate) fn give(&mut self, words: Words, spawner: &Spawner) {
        let is_alone = words.0.len() < 2 && self.given.is_empty();
        let none_late = cfg!(planted = "late_workers_asked_again");
        self.late.retain(|given| given.is_out() && !none_late);
        if !self.late.is_empty() || is_alone && !cfg!(planted = "lone_word_waits_for_a_worker") {
            return drop(words);
        }
        let given = Given(Arc::new(Mutex::new(words)));
        let by_worker = given.clone();
        spawner.spawn(async move {
            by_worker.say();
        });
        if given.is_out() {
            self.given.push(given);
        } else {
            // The runtime is gone, unless a worker was quick.
            given.say();
        }
    }

    /// Whether workers may still have something to say.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.given.is_empty()
    }

    /// Says what workers were to say and have not said.
    pub(crate) fn say_left(&mut self) {
        if cfg!(planted = "words_wait_for_a_worker") {
            return self.given.clear();
        }
        let late = |given: &Given| given.say() && given.is_out();
        self.late.extend(self.given.drain(..).filter(late));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Answer;
    use crate::writer::Settled;
    use outlive_storage::row::TaskNumber;

    type Waiting = Vec<oneshot::Receiver<writer::Told>>;

    fn word() -> (Word, oneshot::Receiver<writer::Told>) {
        let (sender, receiver) = oneshot::channel();
        let done = Settled {
            task: TaskNumber(1),
            answer: Answer::Done,
            expecting: None,
        };
        (Word::Came(sender, Ok(done)), receiver)
    }

    fn words(count: usize) -> (Words, Waiting) {
        let mut words = Words::default();
        let receivers = (0..count).map(|_| {
            let (word, receiver) = word();
            words.add(word);
            receiver
        });
        let receivers = receivers.collect();
        (words, receivers)
    }

    /// So many that are handed over, and who waits for them.
    fn given(handed: &mut Handed, count: usize, spawner: &Spawner) -> Waiting {
        let (words, waiting) = words(count);
        handed.give(words, spawner);
        waiting
    }

    fn are_told(waiting: &mut [oneshot::Receiver<writer::Told>]) -> bool {
        let mut told = waiting.iter_mut().map(|receiver| receiver.try_recv());
        told.all(|told| matches!(told, Ok(Ok(_))))
    }

    #[test]
    fn a_full_list_is_to_be_said() {
        let mut words = Words::default();
        let full = (0..Words::MAX).map(|_| words.add(word().0));
        assert_eq!(full.filter(|is_full| *is_full).count(), 1);
    }

    #[tokio::test]
    async fn a_worker_says_several_and_one_alone_is_said_at_once() {
        let spawner = Spawner::current().expect("a runtime");
        let mut handed = Handed::default();
        assert!(are_told(&mut given(&mut handed, 1, &spawner)));
        let mut several = given(&mut handed, 3, &spawner);
        let mut behind = given(&mut handed, 1, &spawner);
        assert!(several[0].try_recv().is_err(), "no worker runs yet");
        assert!(behind[0].try_recv().is_err(), "it does not overtake them");
        tokio::task::yield_now().await;
        assert!(are_told(&mut several) && are_told(&mut behind));
    }

    /// For each batch a task would be left in a runtime that nobody drives, and each would be said late.
    #[tokio::test]
    async fn while_a_worker_has_not_come_none_is_asked_again() {
        let spawner = Spawner::current().expect("a runtime");
        let mut handed = Handed::default();
        let mut first = given(&mut handed, 3, &spawner);
        assert!(first[0].try_recv().is_err());
        handed.say_left();
        assert!(are_told(&mut first[1..]) && !handed.is_waiting());
        assert!(are_told(&mut given(&mut handed, 3, &spawner)), "at once");
        tokio::task::yield_now().await;
        let mut again = given(&mut handed, 3, &spawner);
        assert!(again[0].try_recv().is_err(), "workers come again");
        tokio::task::yield_now().await;
        assert!(are_told(&mut again));
    }

    #[test]
    fn a_runtime_that_is_gone_says_nothing_and_the_writer_does() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().expect("a runtime");
        let spawner = Spawner::on(runtime.handle().clone());
        let mut handed = Handed::default();
        let mut before = given(&mut handed, 3, &spawner);
        drop(runtime);
        handed.say_left();
        assert!(are_told(&mut before));
        assert!(are_told(&mut given(&mut handed, 3, &spawner)), "at once");
    }

    #[tokio::test]
    async fn words_that_are_dropped_are_said() {
        let spawner = Spawner::current().expect("a runtime");
        let mut handed = Handed::default();
        let (added, mut waiting) = words(2);
        let mut given = given(&mut handed, 3, &spawner);
        drop(added);
        assert!(are_told(&mut waiting));
        drop(handed);
        tokio::task::yield_now().await;
        assert!(are_told(&mut given));
    }
}
