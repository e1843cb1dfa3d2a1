//! A definition whose tasks may be started here, whoever runs them.

use crate::facts::{Factories, label, label_of};
use crate::flow::Kind;
use crate::options::TaskOptions;
use crate::registry::{Plain, Registered};
use outlive_storage::row::{DefNumber, Facts, IndexRow};
use std::sync::OnceLock;

/// A definition of the file whose handler another program has.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    /// It lives as long as the program, as those of registered definitions do.
    pub(crate) name: &'static str,
    /// By what its tasks are listed, as the file remembers it.
    indexed_by: Vec<Box<str>>,
}

impl Elsewhere {
    pub(crate) fn new(def: DefNumber, name: &str, indexes: &[IndexRow]) -> Elsewhere {
        let of_def = indexes.iter().filter(|row| row.def == def);
        Elsewhere {
            // So many as the file has names, once for each open; the wire tells them like those of the program.
            name: Box::leak(name.into()),
            indexed_by: of_def.map(|row| row.by.clone()).collect(),
        }
    }
}

/// Who runs the tasks of a definition that may be started here.
pub(crate) enum Startable<'a> {
    /// A handler of this program.
    Here(&'a Registered),
    /// Another program.
    Elsewhere(&'a Elsewhere),
}

impl Startable<'_> {
    /// What the definition says of each task; nothing where only the other program knows.
    pub(crate) fn options(&self) -> TaskOptions {
        match self {
            Startable::Here(registered) => registered.options.task,
            Startable::Elsewhere(_) => TaskOptions::new(),
        }
    }

    /// Which slots its handler takes, if it runs here.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Startable::Here(registered) => Some(registered.kind()),
            Startable::Elsewhere(_) => None,
        }
    }

    /// What is stored of its tasks of which nothing else is said, once it is known; `None` where it is made anew for each.
    pub(crate) fn plain(&self) -> Option<&OnceLock<Plain>> {
        match self {
            Startable::Here(registered) if registered.factories.is_empty() => {
                Some(&registered.plain)
            }
            Startable::Here(_) | Startable::Elsewhere(_) => None,
        }
    }

    pub(crate) fn factories(&self) -> Option<&Factories> {
        match self {
            Startable::Here(registered) => Some(&registered.factories),
            Startable::Elsewhere(_) => None,
        }
    }

    /// The labels of a new task, so that who asks the index finds it.
    pub(crate) fn labels(&self, facts: &Facts) -> Vec<Box<str>> {
        match self {
            Startable::Here(registered) => {
                let index = registered.options.index.iter();
                index.filter_map(|by| label(by, facts)).collect()
            }
            Startable::Elsewhere(_) if cfg!(planted = "started_elsewhere_unlabelled") => Vec::new(),
            Startable::Elsewhere(elsewhere) => {
                let kinds = elsewhere.indexed_by.iter();
                kinds.filter_map(|kind| label_of(kind, facts)).collect()
            }
        }
    }
}
