//! The registered handlers, by name and by the number a name has in the file.

use crate::def::DefOptions;
use crate::error::OpenError;
use crate::facts::Factories;
use crate::flow::Kind;
use crate::handler::{Erased, HandlerError};
use crate::machine::DefLimits;
use crate::startable::{Elsewhere, Startable};
use crate::stream::sink::SinkFactory;
use crate::value_type::ValueType;
use foldhash::{HashMap, HashMapExt};
use outlive_storage::row::{DefNumber, Facts, IndexRow, OptionsRow};
use std::sync::{Arc, OnceLock};

/// Cheap to clone, so that a builder can be checked and then opened.
#[derive(Clone)]
pub(crate) struct Registered {
    pub(crate) name: &'static str,
    pub(crate) options: DefOptions,
    pub(crate) handler: Erased,
    /// Whether bytes are an input of it.
    pub(crate) input: ValueType,
    /// What was said of the results of its steps, by the name in their keys.
    pub(crate) steps: Vec<(Box<str>, ValueType)>,
    pub(crate) factories: Factories,
    /// Whether an error is worth another attempt.
    pub(crate) retry_if: Option<RetryIf>,
    /// Makes the sinks of its tasks.
    pub(crate) sink: Option<SinkFactory>,
    /// Set by the engine that it is open in.
    pub(crate) plain: OnceLock<Plain>,
}

/// What is stored of a task of which the call that starts it says nothing: of one definition the same of each.
#[derive(Clone)]
pub(crate) struct Plain {
    pub(crate) options: Arc<OptionsRow>,
    pub(crate) facts: Arc<Facts>,
}

pub(crate) type RetryIf = Arc<dyn Fn(&HandlerError) -> bool + Send + Sync>;

impl Registered {
    pub(crate) fn kind(&self) -> Kind {
        match self.handler {
            Erased::Async(_) => Kind::Async,
            Erased::Blocking(_) => Kind::Blocking,
        }
    }

    /// What was said of the step of this key, whose name may have a value; the longest name counts.
    pub(crate) fn step_type(&self, key: &str) -> Option<ValueType> {
        let is_of = |name: &str| {
            let rest = key.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('('))
        };
        let declared = self.steps.iter().filter(|(name, _)| is_of(name));
        let longest = declared.max_by_key(|(name, _)| name.len());
        longest.map(|(_, declared)| *declared)
    }
}

/// Fixed once the engine is open.
pub(crate) struct Registry {
    by_number: HashMap<DefNumber, Registered>,
    numbers: HashMap<&'static str, DefNumber>,
    /// Names in the file, also those nobody registered here. A former name's number has the present name.
    names: HashMap<DefNumber, Box<str>>,
    /// The present numbers of numbers whose names are former ones. Both stay in the file as they are: tasks keep the
    /// number they were started under, and new ones are started under the present one.
    present: HashMap<DefNumber, DefNumber>,
    /// Definitions whose tasks may be started here for another program to run.
    elsewhere: HashMap<DefNumber, Elsewhere>,
}

impl Registry {
    /// `numbers` are the file's numbers for `registered`, in the same order.
    pub(crate) fn new(
        registered: Vec<Registered>,
        numbers: Vec<DefNumber>,
        all: Vec<(DefNumber, Box<str>)>,
    ) -> Registry {
        let by_name = registered
            .iter()
            .map(|r| r.name)
            .zip(numbers.iter().copied())
            .collect();
        let mut names: HashMap<_, _> = all.into_iter().collect();
        let present = former_numbers(&registered, &numbers, &names);
        for (former, now) in &present {
            let name = names.get(now).cloned();
            let name = name.filter(|_| !cfg!(planted = "renamed_keeps_old_name"));
            names.extend(name.map(|name| (*former, name)));
        }
        Registry {
            numbers: by_name,
            by_number: numbers.into_iter().zip(registered).collect(),
            names,
            present,
            elsewhere: HashMap::new(),
        }
    }

    /// Lets tasks of every definition of the file be started, also of those that nobody registered here.
    pub(crate) fn starting_for_others(mut self, indexes: &[IndexRow]) -> Registry {
        let all = self.names.iter();
        let others = all.filter(|(def, _)| self.get(**def).is_none());
        let others = others.map(|(def, name)| (*def, Elsewhere::new(*def, name, indexes)));
        self.elsewhere = others.collect();
        self
    }

    /// The definition of this name, if its tasks may be started here.
    pub(crate) fn startable(&self, name: &str) -> Option<(DefNumber, Startable<'_>)> {
        if let Some(def) = self.number(name) {
            return Some((def, Startable::Here(self.get(def)?)));
        }
        let mut others = self.elsewhere.iter();
        let (def, elsewhere) = others.find(|(_, elsewhere)| elsewhere.name == name)?;
        Some((*def, Startable::Elsewhere(elsewhere)))
    }

    /// The names of the definitions whose tasks may be started here for another program to run.
    pub(crate) fn elsewhere(&self) -> impl Iterator<Item = &'static str> {
        self.elsewhere.values().map(|elsewhere| elsewhere.name)
    }

    /// As [`Registry::new`] for a file that is only looked at: names that are not in it have numbers that are not.
    pub(crate) fn unopened(
        registered: Vec<Registered>,
        mut all: Vec<(DefNumber, Box<str>)>,
    ) -> Registry {
        let mut numbers = Vec::with_capacity(registered.len());
        for name in registered.iter().map(|registered| registered.name) {
            let known = all.iter().find(|(_, known)| **known == *name);
            let number = known.map(|(number, _)| *number).unwrap_or_else(|| {
                // The file may have the highest number there is, and whatever it has is only looked at.
                let is_free = |number: &DefNumber| all.iter().all(|(known, _)| known != number);
                let free = (0..=u32::MAX).map(DefNumber).find(is_free);
                // INVARIANT: nothing holds as many names as there are numbers.
                let number = free.unwrap_or(DefNumber(u32::MAX));
                all.push((number, name.into()));
                number
            });
            numbers.push(number);
        }
        Registry::new(registered, numbers, all)
    }

    pub(crate) fn get(&self, def: DefNumber) -> Option<&Registered> {
        self.by_number.get(&self.present(def))
    }

    /// The number under which tasks of the definition are started now.
    pub(crate) fn present(&self, def: DefNumber) -> DefNumber {
        self.present.get(&def).copied().unwrap_or(def)
    }

    /// Whether no task is started under this number any more: its name is a former one of a registered definition.
    pub(crate) fn is_former(&self, def: DefNumber) -> bool {
        self.present.contains_key(&def)
    }

    /// All numbers under which a registered definition has tasks, ascending; `def` is its present one.
    pub(crate) fn numbers(&self, def: DefNumber) -> Vec<DefNumber> {
        let formers = self.present.iter();
        let mut numbers: Vec<_> = formers
            .filter_map(|(former, now)| (*now == def).then_some(*former))
            .chain([def])
            .collect();
        numbers.sort();
        numbers
    }

    pub(crate) fn number(&self, name: &str) -> Option<DefNumber> {
        self.numbers.get(name).copied()
    }

    /// The numbers of the tasks of this name, ascending, also when nobody registered it here; none of a name that is a
    /// former one.
    pub(crate) fn known(&self, name: &str) -> Vec<DefNumber> {
        let names = self.names.iter();
        let known = names.filter(|(_, known)| ***known == *name);
        let mut numbers: Vec<_> = known.map(|(number, _)| *number).collect();
        numbers.sort();
        numbers
    }

    pub(crate) fn name(&self, def: DefNumber) -> &str {
        self.names.get(&def).map_or("?", |name| name)
    }

    pub(crate) fn limits(&self, def: DefNumber) -> DefLimits {
        DefLimits {
            steerable_max: self.get(def).and_then(|r| r.options.steerable_max),
            present: self.present.get(&def).copied(),
        }
    }

    /// The definitions that limit how many of their tasks run at once.
    pub(crate) fn concurrency(&self) -> impl Iterator<Item = (DefNumber, usize)> {
        let limits = self.by_number.iter();
        limits.filter_map(|(number, r)| Some((*number, r.options.concurrency?)))
    }

    /// The registered definitions by their present numbers, ascending, so that rounds are the same each time.
    pub(crate) fn defs(&self) -> Vec<(DefNumber, Kind)> {
        let mut defs: Vec<_> = self
            .by_number
            .iter()
            .map(|(number, r)| (*number, r.kind()))
            .collect();
        defs.sort_by_key(|(number, _)| *number);
        defs
    }
}

/// The numbers of former names, as far as they are in the file, with the present ones.
fn former_numbers(
    registered: &[Registered],
    numbers: &[DefNumber],
    names: &HashMap<DefNumber, Box<str>>,
) -> HashMap<DefNumber, DefNumber> {
    let mut present = HashMap::new();
    if cfg!(planted = "former_names_ignored") {
        return present;
    }
    for (registered, now) in registered.iter().zip(numbers) {
        for former in registered.options.former.iter() {
            let mut known = names.iter();
            let number = known.find(|(_, name)| ***name == *former);
            present.extend(number.map(|(number, _)| (*number, *now)));
        }
    }
    present
}

/// Whose the tasks of a name are must be clear.
///
/// # Errors
/// [`OpenError::FormerName`].
pub(crate) fn check_former_names(handlers: &[Registered]) -> Result<(), OpenError> {
    let names = handlers.iter().map(|registered| registered.name);
    let mut owners: HashMap<_, _> = names.map(|name| (name, name)).collect();
    for registered in handlers {
        let of = registered.name;
        for name in registered.options.former.iter() {
            let before = owners.insert(name, of);
            let also = before.filter(|_| !cfg!(planted = "former_name_claimed_twice"));
            if let Some(also) = also {
                return Err(OpenError::FormerName { name, of, also });
            }
        }
    }
    Ok(())
}
