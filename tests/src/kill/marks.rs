//! The oracle of what handlers leave behind beside their outputs: steps, items, children, answers.

use super::log::Line;
use super::long::{NO_ANSWER, of_attempt, of_steps};
use crate::shown::{Seen, shown};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// Acknowledged, and not there.
    Lost(String),
    /// Done again although it was over.
    Doubled(String),
    /// Not what it should be.
    Other(String),
}

/// Remembers what was recorded, made durable, started and answered.
#[derive(Debug, Default)]
pub struct Marks {
    /// The results of recorded steps.
    steps: HashMap<(String, u64), u64>,
    /// Items that were durable: task, number, item.
    items: HashMap<String, Vec<(u64, u64)>>,
    /// Children whose start was recorded.
    children: HashSet<String>,
    /// Children whose end their parent was given.
    ended: HashSet<String>,
    /// Answers that were acknowledged, or heard.
    answers: HashMap<String, u64>,
    /// Steps recorded.
    pub recorded: u64,
    /// Items that were durable before their process was killed.
    pub durable: u64,
    /// Streams read whole.
    pub streams: u64,
    /// Answers that were acknowledged.
    pub answered: u64,
}

impl Marks {
    /// Forgets everything but the counts.
    #[must_use]
    pub fn begins_anew(self) -> Marks {
        Marks {
            recorded: self.recorded,
            durable: self.durable,
            streams: self.streams,
            answered: self.answered,
            ..Marks::default()
        }
    }

    /// Takes a line that is about such; what is wrong with it.
    pub fn take(&mut self, line: &Line) -> Option<Wrong> {
        match line {
            Line::Ran { id, step } => {
                let again = self.steps.contains_key(&(id.clone(), *step));
                again.then(|| Wrong::Doubled(format!("step {step} of {id} was recorded and ran")))
            }
            Line::Recorded { id, step, value } => self.recorded(id, *step, *value),
            Line::Emitted { id, sequence, item } => {
                self.durable += 1;
                let items = self.items.entry(id.clone()).or_default();
                items.push((*sequence, *item));
                None
            }
            Line::Child { id } => {
                self.children.insert(id.clone());
                None
            }
            Line::ChildEnded { id } => {
                self.ended.insert(id.clone());
                None
            }
            Line::Entered { key, .. } => {
                let again = self.ended.contains(&key.id);
                again.then(|| Wrong::Doubled(format!("{} had ended, and was entered", key.id)))
            }
            Line::Answered { id, value } => {
                self.answered += 1;
                self.answer(id, *value)
            }
            Line::Heard { id, value } => self.answer(id, *value),
            Line::Began(_)
            | Line::Told(_)
            | Line::Acknowledged(_)
            | Line::Refused(_)
            | Line::Unknown(_)
            | Line::Left { .. }
            | Line::Returned { .. } => None,
        }
    }

    fn recorded(&mut self, id: &str, step: u64, value: u64) -> Option<Wrong> {
        let before = self.steps.insert((id.to_owned(), step), value);
        let Some(before) = before else {
            self.recorded += 1;
            return None;
        };
        let differs = format!("step {step} of {id} was {before} and is {value}");
        (before != value).then_some(Wrong::Doubled(differs))
    }

    /// Whoever answers and whoever hears are told one thing.
    fn answer(&mut self, id: &str, value: u64) -> Option<Wrong> {
        let before = *self.answers.entry(id.to_owned()).or_insert(value);
        let by_default = if value == NO_ANSWER || before == NO_ANSWER {
            " (one of them by default)"
        } else {
            ""
        };
        let differs = format!("{id} was answered {before} and {value}{by_default}");
        (before != value).then_some(Wrong::Lost(differs))
    }

    /// Children whose start was recorded: they must be in the file.
    pub fn children(&self) -> impl Iterator<Item = &String> {
        self.children.iter()
    }

    /// Takes the streams of all ended pipelines, as `Z id word..` lines; what is wrong with them.
    pub fn streams(&mut self, lines: &[String]) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let mut read = BTreeSet::new();
        for line in lines {
            let mut words = line.split(' ');
            if words.next() != Some("Z") {
                continue;
            }
            let id = words.next().unwrap_or_default();
            let seen: Option<Vec<Seen>> = words.map(Seen::parse).collect();
            read.insert(id.to_owned());
            match seen {
                Some(seen) => wrong.extend(self.stream(id, &seen)),
                None => wrong.push(Wrong::Other(format!("the stream of {id} cannot be read"))),
            }
        }
        self.streams += read.len() as u64;
        let unread = self.items.keys().filter(|id| !read.contains(*id));
        wrong.extend(unread.map(|id| Wrong::Lost(format!("{id} emitted, and has no stream"))));
        wrong
    }

    fn stream(&self, id: &str, seen: &[Seen]) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        match shown(seen) {
            Ok(shown) if shown.kept == of_steps() && shown.open == of_attempt() => {}
            Ok(shown) => wrong.push(Wrong::Doubled(format!("{id} shows {shown:?}"))),
            Err(why) => wrong.push(Wrong::Lost(format!("the stream of {id}: {why}"))),
        }
        let at: HashMap<u64, u64> = seen
            .iter()
            .filter_map(|seen| match seen {
                Seen::Item { sequence, item, .. } => Some((*sequence, *item)),
                Seen::Reset { .. } | Seen::Kept { .. } | Seen::Gap | Seen::End { .. } => None,
            })
            .collect();
        for (sequence, item) in self.items.get(id).into_iter().flatten() {
            if at.get(sequence) != Some(item) {
                let found = at.get(sequence);
                wrong.push(Wrong::Lost(format!(
                    "item {item} of {id} was durable at {sequence}, where {found:?} is"
                )));
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::{Marks, Wrong};
    use crate::kill::log::Line;

    fn taken(lines: &str) -> (Marks, Vec<Wrong>) {
        let mut marks = Marks::default();
        let lines = lines.lines().map(|line| Line::parse(line).expect("a line"));
        let wrong = lines.filter_map(|line| marks.take(&line)).collect();
        (marks, wrong)
    }

    #[test]
    fn a_recorded_step_that_runs_again_is_told() {
        assert!(taken("S p 0\nS p 0\nK p 0 7\nK p 0 7\nS p 1").1.is_empty());
        assert_eq!(taken("K p 0 7\nS p 0").1.len(), 1);
        assert_eq!(taken("K p 0 7\nK p 0 8").1.len(), 1);
    }

    #[test]
    fn a_durable_item_that_is_not_there_is_told() {
        let whole = "i/1/a/0 i/2/a/1 k/3/a i/4/-/1000 i/5/a/10 i/6/a/11 k/7/a i/8/-/1001 \
                     i/9/a/20 i/10/a/21 k/11/a i/12/-/1002 e/12";
        let (mut marks, _) = taken("I p 4 1000\nI p 12 1002");
        assert_eq!(marks.streams(&[format!("Z p {whole}")]), []);
        let (mut marks, _) = taken("I p 4 1001");
        assert_eq!(marks.streams(&[format!("Z p {whole}")]).len(), 1);
        let (mut marks, _) = taken("I p 4 1000");
        assert_eq!(marks.streams(&[]).len(), 1);
    }

    #[test]
    fn an_ended_child_that_is_entered_and_an_answer_that_is_not_heard_are_told() {
        assert_eq!(taken("C c\nE c 0 1 fresh\nY c\nE c 0 2 fresh").1.len(), 1);
        assert!(taken("W q 5\nV q 5\nV q 5").1.is_empty());
        assert_eq!(taken("W q 5\nV q 0").1.len(), 1);
    }
}
