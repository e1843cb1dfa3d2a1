//! The registered handlers, by name and by the number a name has in the file.

use crate::def::DefOptions;
use crate::facts::Factories;
use crate::flow::Kind;
use crate::handler::{Erased, HandlerError};
use crate::machine::DefLimits;
use crate::stream::sink::SinkFactory;
use outlive_storage::row::DefNumber;
use std::collections::HashMap;

pub(crate) struct Registered {
    pub(crate) name: &'static str,
    pub(crate) options: DefOptions,
    pub(crate) handler: Erased,
    pub(crate) factories: Factories,
    /// Whether an error is worth another attempt.
    pub(crate) retry_if: Option<RetryIf>,
    /// Makes the sinks of its tasks.
    pub(crate) sink: Option<SinkFactory>,
}

pub(crate) type RetryIf = Box<dyn Fn(&HandlerError) -> bool + Send + Sync>;

impl Registered {
    pub(crate) fn kind(&self) -> Kind {
        match self.handler {
            Erased::Async(_) => Kind::Async,
            Erased::Blocking(_) => Kind::Blocking,
        }
    }
}

/// Fixed once the engine is open.
pub(crate) struct Registry {
    by_number: HashMap<DefNumber, Registered>,
    numbers: HashMap<&'static str, DefNumber>,
    /// Names in the file, also those nobody registered here.
    names: HashMap<DefNumber, Box<str>>,
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
        Registry {
            numbers: by_name,
            by_number: numbers.into_iter().zip(registered).collect(),
            names: all.into_iter().collect(),
        }
    }

    pub(crate) fn get(&self, def: DefNumber) -> Option<&Registered> {
        self.by_number.get(&def)
    }

    pub(crate) fn number(&self, name: &str) -> Option<DefNumber> {
        self.numbers.get(name).copied()
    }

    /// The number of a name that is in the file, also when nobody registered it here.
    pub(crate) fn known(&self, name: &str) -> Option<DefNumber> {
        let mut names = self.names.iter();
        names.find_map(|(number, known)| (**known == *name).then_some(*number))
    }

    pub(crate) fn name(&self, def: DefNumber) -> &str {
        self.names.get(&def).map_or("?", |name| name)
    }

    pub(crate) fn limits(&self, def: DefNumber) -> DefLimits {
        DefLimits {
            steerable_max: self.get(def).and_then(|r| r.options.steerable_max),
        }
    }

    /// The definitions that limit how many of their tasks run at once.
    pub(crate) fn concurrency(&self) -> impl Iterator<Item = (DefNumber, usize)> {
        let limits = self.by_number.iter();
        limits.filter_map(|(number, r)| Some((*number, r.options.concurrency?)))
    }

    /// The registered definitions, ascending, so that rounds are the same each time.
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
