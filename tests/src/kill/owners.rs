//! Who has the file: a log that all processes append to, and what it must say of two that want it.

use super::log::write_whole;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// What a process says of itself and the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It was refused the file.
    Refused {
        /// The process that has it, as it was told.
        by: Option<u32>,
        /// How long the refusal took, in microseconds.
        us: u64,
    },
    /// It has opened the file.
    Owns,
    /// One of its handlers was entered.
    Acts,
}

/// The end of the log that a process writes to.
#[derive(Debug)]
pub struct Owners {
    file: File,
    life: u64,
}

impl Owners {
    /// Opens the log for the process with this life.
    ///
    /// # Errors
    /// The system's answer.
    pub fn append(path: &Path, life: u64) -> io::Result<Owners> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Owners { file, life })
    }

    /// One line.
    ///
    /// # Panics
    /// When it is not written whole.
    pub fn say(&self, said: Said) {
        let life = self.life;
        let text = match said {
            Said::Refused { by, us } => format!("{life} refused {} {us}\n", by.unwrap_or(0)),
            Said::Owns => format!("{life} owns\n"),
            Said::Acts => format!("{life} acts\n"),
        };
        write_whole(&self.file, &text);
    }
}

/// Reads the log, and knows which processes are dead. Lives count on; each waits for the one before it.
#[derive(Debug, Default)]
pub struct Watch {
    /// The process of each life of the present file.
    processes: HashMap<u64, u32>,
    /// The life that has the file, as the log says.
    owner: Option<u64>,
    /// All lives below this one are dead.
    dead_below: u64,
    /// How long each refusal took, in microseconds.
    pub refusals_us: Vec<u64>,
    /// How often the file went to a process that had been refused it.
    pub taken_over: u64,
    /// The last life that was refused.
    waited: Option<u64>,
}

impl Watch {
    /// Another file, and the log of its owners.
    pub fn begins_anew(&mut self) {
        self.processes.clear();
        (self.owner, self.waited) = (None, None);
    }

    /// A life begins: all before the one that it waits for are dead.
    pub fn born(&mut self, life: u64, process: u32) {
        self.processes.insert(life, process);
    }

    /// The process of this life is dead, and so are those before it. What the log says until here must have been
    /// [read](Watch::read) just before.
    pub fn dead(&mut self, life: u64) {
        self.dead_below = life + 1;
    }

    /// Takes what the log says further; what is wrong with it.
    pub fn read(&mut self, text: &str) -> Vec<String> {
        text.lines().filter_map(|line| self.take(line)).collect()
    }

    fn take(&mut self, line: &str) -> Option<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().ok();
        match words[..] {
            [life, "owns" | "acts"] => self.acts(number(life)?),
            [life, "refused", by, us] => self.refused(number(life)?, number(by)?, number(us)?),
            _ => Some(format!("the log of the owners says {line:?}")),
        }
    }

    /// Handlers may be entered before their process says that it has the file.
    fn acts(&mut self, life: u64) -> Option<String> {
        if self.owner == Some(life) {
            return None;
        }
        if let Some(owner) = self.owner.filter(|owner| *owner > life) {
            return Some(format!("life {life} acts, and life {owner} has the file"));
        }
        if life > self.dead_below {
            return Some(format!("life {life} has the file, and one before it lives"));
        }
        self.taken_over += u64::from(self.waited == Some(life));
        self.owner = Some(life);
        None
    }

    fn refused(&mut self, life: u64, by: u64, us: u64) -> Option<String> {
        self.refusals_us.push(us);
        self.waited = Some(life);
        let before = life.checked_sub(1);
        let process = before.and_then(|before| self.processes.get(&before));
        let is_right = process.is_some_and(|process| u64::from(*process) == by);
        (!is_right).then(|| format!("life {life} was refused by {by} and not {process:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Watch;

    fn watch() -> Watch {
        let mut watch = Watch::default();
        watch.born(0, 700);
        watch.born(1, 701);
        watch
    }

    #[test]
    fn two_that_want_the_file_one_after_the_other_are_as_they_should_be() {
        let mut watch = watch();
        let before = "0 acts\n0 owns\n1 refused 700 90\n0 acts\n";
        assert!(watch.read(before).is_empty());
        watch.dead(0);
        // Refused a last time by the one that dies.
        let after = "0 acts\n1 refused 700 80\n1 acts\n1 owns\n";
        assert!(watch.read(after).is_empty());
        assert_eq!((watch.refusals_us.len(), watch.taken_over), (2, 1));
    }

    #[test]
    fn two_that_have_the_file_at_once_are_told() {
        assert_eq!(watch().read("0 owns\n1 owns\n").len(), 1);
        let mut later = watch();
        assert!(later.read("0 owns\n").is_empty());
        later.dead(0);
        assert_eq!(later.read("1 owns\n0 acts\n").len(), 1);
    }

    #[test]
    fn a_refusal_that_names_another_process_is_told() {
        assert_eq!(watch().read("1 refused 0 90\n").len(), 1);
        assert_eq!(watch().read("1 refused 701 90\n").len(), 1);
    }
}
