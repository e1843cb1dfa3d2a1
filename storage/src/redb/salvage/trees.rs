//! Finding the trees of a damaged file: by its header, or by the pages that can only be the list of its tables.

use super::pages::{Kind, Leaf, PAGE, PageRef, Pages, Root, Widths, u32_at, u64_at};
use super::shelf::Shelf;
use crate::codec;
use crate::row::TaskNumber;
use std::collections::{HashMap, HashSet};

/// redb's own bound.
const DEPTH_MAX: usize = 128;
/// Where the two commit slots of the header are, and what lies where in one.
const SLOTS: [u64; 2] = [64, 192];
const SLOT_LEN: usize = 128;
const HAS_ROOT: usize = 1;
const ROOT: usize = 8;
const TRANSACTION: usize = 104;
/// More lists of tables than these are not compared.
const CANDIDATES_MAX: usize = 4096;
/// The list of tables: names, and what redb says of each.
const LIST: Widths = Widths {
    key: None,
    value: None,
};

/// How the trees were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// By the header: what is saved is what the last commit left.
    ByHeader,
    /// By their pages, because the header is damaged: the latest ones that were found whole. What the very last commits
    /// changed without a transition may be missing.
    ByPages,
    /// Not at all: every page was looked at by itself, and the newest version of each entry taken.
    NotFound,
}

/// The tables of the file.
pub(super) struct Trees {
    pub(super) found: Found,
    tables: Tables,
}

/// Tables by name; an empty one has no root.
type Tables = HashMap<Box<str>, Option<Root>>;

/// What walking a tree came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Walked {
    /// Pairs met, whole or not.
    pub(super) pairs: u64,
    /// Pages that are not what their parents say.
    pub(super) broken: u64,
    /// Every leaf was met that a parent names, or it is broken itself: whatever else looks like one of this tree is not a
    /// part of it.
    pub(super) branches_whole: bool,
}

impl Trees {
    /// The trees of the last commit.
    pub(super) fn find(pages: &Pages) -> Trees {
        let mut slots: Vec<_> = SLOTS.iter().filter_map(|at| slot(pages, *at)).collect();
        // The later one first; where the header is whole that is also the one it points to.
        slots.sort_by_key(|(transaction, _)| std::cmp::Reverse(*transaction));
        if let Some((_, root)) = slots.first() {
            let tables = tables(pages, *root);
            if tables.contains_key("tasks") {
                let found = Found::ByHeader;
                return Trees { found, tables };
            }
        }
        let others = slots.iter().map(|(_, root)| *root);
        let mut found: Vec<(u64, Tables)> = Vec::new();
        for root in others.chain(lists(pages)) {
            let tables = tables(pages, root);
            if tables.contains_key("tasks") {
                found.push((last_etag(pages, &tables), tables));
            }
        }
        let latest = found.iter().map(|(etag, _)| *etag).max();
        found.retain(|(etag, _)| Some(*etag) == latest);
        // Walked as a whole only where the log does not tell them apart.
        let best = found
            .into_iter()
            .max_by_key(|(_, tables)| wholeness(pages, tables));
        match best {
            Some((_, tables)) => Trees {
                found: Found::ByPages,
                tables,
            },
            None => Trees {
                found: Found::NotFound,
                tables: HashMap::new(),
            },
        }
    }

    pub(super) fn root(&self, table: &str) -> Option<Root> {
        self.tables.get(table).copied().flatten()
    }

    /// Whether the list of tables names it.
    pub(super) fn names(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }
}

/// Transaction and root of a commit slot.
fn slot(pages: &Pages, at: u64) -> Option<(u64, PageRef)> {
    let bytes = pages.read(at, SLOT_LEN);
    if *bytes.get(HAS_ROOT)? != 1 {
        return None;
    }
    let root = PageRef(u64_at(&bytes, ROOT)?);
    pages.offset(root)?;
    Some((u64_at(&bytes, TRANSACTION)?, root))
}

/// Gives every leaf below a page to `leaf`, in the order of the keys.
pub(super) fn walk(pages: &Pages, root: PageRef, leaf: &mut impl FnMut(u64) -> u64) -> Walked {
    let mut walked = Walked::default();
    // A page that is met twice is not what a parent says: no tree shares pages within itself.
    let mut met = HashSet::new();
    let mut waiting = vec![(root, 0)];
    // All leaves of a tree are equally deep.
    let (mut leaves_at, mut broken_at) = (None, Vec::new());
    while let Some((page, depth)) = waiting.pop() {
        let offset = pages.offset(page).filter(|offset| met.insert(*offset));
        let Some(offset) = offset.filter(|_| depth < DEPTH_MAX) else {
            broken_at.push(depth);
            continue;
        };
        match pages.kind(offset) {
            Kind::Leaf => {
                leaves_at = Some(depth);
                walked.pairs += leaf(offset);
            }
            Kind::Branch => {
                let children = pages.children(offset).into_iter().rev();
                waiting.extend(children.map(|child| (child, depth + 1)));
            }
            Kind::Neither => broken_at.push(depth),
        }
    }
    walked.broken = broken_at.len() as u64;
    walked.branches_whole = broken_at.iter().all(|depth| Some(*depth) == leaves_at);
    walked
}

/// The tables that a list of tables names.
fn tables(pages: &Pages, list: PageRef) -> Tables {
    let mut tables = HashMap::new();
    walk(pages, list, &mut |offset| {
        let leaf = pages.leaf(offset, LIST);
        for pair in 0..leaf.pairs() {
            let (Some(key), Some(value)) = (leaf.key(pair), leaf.value(pair)) else {
                continue;
            };
            if let (Ok(name), Some(root)) = (std::str::from_utf8(&key), definition(&value)) {
                tables.insert(name.into(), root);
            }
        }
        leaf.pairs() as u64
    });
    tables
}

/// How many tables are whole, the sum of the etags of all rows, and how many entries there are: pages of an earlier list
/// were written over since, and etags only grow.
fn wholeness(pages: &Pages, tables: &Tables) -> (usize, u128, u64) {
    let (mut whole, mut etags, mut entries) = (0, 0, 0);
    for (name, root) in tables {
        let Some(root) = root else {
            whole += 1;
            continue;
        };
        let walked = walk(pages, root.page, &mut |offset| {
            let leaf = pages.leaf(offset, Shelf::Tasks.widths());
            if **name == *Shelf::Tasks.name() {
                for pair in 0..leaf.pairs() {
                    etags += u128::from(etag(&leaf, pair).unwrap_or(0));
                }
            }
            leaf.pairs() as u64
        });
        whole += usize::from(walked.broken == 0 && walked.pairs == root.entries);
        entries += walked.pairs;
    }
    (whole, etags, entries)
}

fn etag(leaf: &Leaf<'_>, pair: usize) -> Option<u64> {
    let task = TaskNumber(u64_at(&leaf.key(pair)?, 0)?);
    let header = codec::header(task, &leaf.value(pair)?).ok()?;
    Some(header.etag.0)
}

/// What redb says of a table: its kind (3), how many entries it has, and its root, if it has one.
fn definition(value: &[u8]) -> Option<Option<Root>> {
    let is_table = *value.first()? == 3;
    // Behind the root come two widths and two alignments, which are 1.
    let aligned = (u32_at(value, 52)?, u32_at(value, 56)?) == (1, 1);
    let root = Root {
        page: PageRef(u64_at(value, 10)?),
        entries: u64_at(value, 1)?,
    };
    let has_root = *value.get(9)? == 1;
    (is_table && aligned).then_some(has_root.then_some(root))
}

/// Every page that may be the list of tables: a leaf that names `tasks`, or a branch above one.
fn lists(pages: &Pages) -> Vec<PageRef> {
    let mut leaves = HashSet::new();
    let mut lists = Vec::new();
    let page_at = |offset: u64| PageRef((offset / PAGE).saturating_sub(1));
    for offset in (PAGE..pages.len).step_by(PAGE as usize) {
        if pages.kind(offset) == Kind::Leaf && names_tasks(pages, offset) {
            leaves.insert(page_at(offset));
            lists.push(page_at(offset));
        }
    }
    for offset in (PAGE..pages.len).step_by(PAGE as usize) {
        if lists.len() >= CANDIDATES_MAX {
            break;
        }
        if pages.kind(offset) == Kind::Branch {
            let children = pages.children(offset);
            // Pages of higher orders do not hold lists of two dozen tables.
            if children.iter().any(|child| leaves.contains(child)) {
                lists.push(page_at(offset));
            }
        }
    }
    lists
}

fn names_tasks(pages: &Pages, offset: u64) -> bool {
    let leaf = pages.leaf(offset, LIST);
    (0..leaf.pairs().min(64)).any(|pair| leaf.key(pair).as_deref() == Some(b"tasks"))
}

/// The last etag of the log of these tables: later lists have later logs.
fn last_etag(pages: &Pages, tables: &Tables) -> u64 {
    let Some(Some(root)) = tables.get(Shelf::Events.name()) else {
        return 0;
    };
    let mut page = root.page;
    for _ in 0..DEPTH_MAX {
        let Some(offset) = pages.offset(page) else {
            return 0;
        };
        match pages.kind(offset) {
            Kind::Branch => match pages.children(offset).last() {
                Some(last) => page = *last,
                None => return 0,
            },
            Kind::Leaf => {
                let leaf = pages.leaf(offset, Shelf::Events.widths());
                let keys = (0..leaf.pairs()).filter_map(|pair| leaf.key(pair));
                return keys.filter_map(|key| u64_at(&key, 0)).max().unwrap_or(0);
            }
            Kind::Neither => return 0,
        }
    }
    0
}
