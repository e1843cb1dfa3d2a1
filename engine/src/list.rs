//! Lists of tasks: pages of a bounded cost, newest first, by index where there is one.

use crate::def::TaskDef;
use crate::engine::{Engine, Shared};
use crate::env::{self, micros};
use crate::error::GetError;
use crate::facts::{TASK_TAG, owner_label, session_label, tag_label};
use crate::indexes::{BY_OWNER, BY_SESSION, by_tag};
use crate::machine::Status;
use crate::parked::Parked;
use crate::snapshot::Snapshot;
use lanes::Lanes;
use outlive_storage::row::{DefNumber, Micros, TaskNumber, TaskRow};
use outlive_storage::{Scan, Store, StoreError};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::ops::{Bound, RangeBounds};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Tasks on a page unless the call says otherwise.
pub const LIST_LIMIT: usize = 100;
/// Most tasks on a page, and most tasks looked at for one.
pub const LIST_MAX: usize = 500;
/// The longest time in which tasks are looked at for one page.
pub const LIST_TIME: Duration = Duration::from_millis(100);
/// Rows read at once: a read transaction is short, and the time is looked at between two.
const CHUNK: usize = 100;

/// Where a list goes on; opaque. It is a place among the tasks of the file, so it stays good while tasks are added and
/// removed, for the next process as well, and with other conditions.
///
/// ```
/// # use outlive::{Cursor, Engine};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let engine = Engine::in_memory().open().await?;
/// let next: Option<Cursor> = engine.list_all().limit(10).await?.next;
/// // Its text can be handed out, in a link for example, and comes back as it was.
/// let text = next.map(|cursor| cursor.to_string());
/// let again = text.map(|text| text.parse::<Cursor>()).transpose()?;
/// assert_eq!(again, next);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor(pub(crate) TaskNumber);

/// The text is not that of a [`Cursor`]: give the text of [`List::next`] unchanged, or begin without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of a list; give the text of one unchanged, or begin without one")]
pub struct InvalidCursor;

/// What the text of a cursor begins with: another form will begin with another letter.
const CURSOR_FORM: &str = "a";
/// Digits of a task number.
const CURSOR_DIGITS: usize = 16;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CURSOR_FORM}{:0CURSOR_DIGITS$x}", self.0.0)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Cursor, InvalidCursor> {
        let digits = text.strip_prefix(CURSOR_FORM).ok_or(InvalidCursor)?;
        let plain = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        if digits.len() != CURSOR_DIGITS || !digits.bytes().all(plain) {
            return Err(InvalidCursor);
        }
        let number = u64::from_str_radix(digits, 16).map_err(|_| InvalidCursor)?;
        Ok(Cursor(TaskNumber(number)))
    }
}

/// One page of a list, newest first.
#[derive(Debug)]
#[non_exhaustive]
pub struct List {
    /// The tasks of the page, without outputs and metadata. There may be none although more follow: see
    /// [`List::next`].
    pub tasks: Vec<Snapshot>,
    /// Damaged rows passed over on this page: which, and what was found. Nobody knows whether they fulfil the
    /// conditions.
    pub damaged: Vec<StoreError>,
    /// Give it to [`Listing::after`] for the next page; `None` at the end.
    pub next: Option<Cursor>,
}

/// A list under way: conditions first, then awaited for one page. Nothing changes.
///
/// All conditions must hold. A page looks at no more than [`LIST_MAX`] tasks, for no longer than [`LIST_TIME`]: where
/// few of many fulfil the conditions, a page may have fewer tasks than asked for, or none, and still a
/// [`List::next`]. An [`index`](TaskDef::index) of the definition spares a list the tasks that another session, owner
/// or tag has; those that were started before the definition had it are found as well, by looking at each.
///
/// ```
/// # use outlive::{Ctx, Engine, HandlerError, Status, TaskDef};
/// # const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let engine = Engine::in_memory().task(ECHO, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) }).open().await?;
/// for (id, customer) in [("a", "17"), ("b", "18"), ("c", "17")] {
///     engine.start(ECHO, id, &1).tag("customer", customer).await?.await?;
/// }
/// let of_17 = engine.list(ECHO).status(Status::Completed).tag("customer", "17").await?;
/// let ids: Vec<_> = of_17.tasks.iter().map(|task| task.id.as_str()).collect();
/// assert_eq!(ids, ["c", "a"]);
/// # Ok(()) }
/// ```
#[must_use = "a list reads nothing until it is awaited"]
#[derive(Clone)]
pub struct Listing {
    shared: Arc<Shared>,
    /// The names asked for: by the definition, and as tags.
    names: Vec<String>,
    pub(crate) wanted: Wanted,
    after: Option<Cursor>,
    limit: usize,
}

impl Listing {
    fn new(engine: &Engine, names: Vec<String>) -> Listing {
        Listing {
            shared: Arc::clone(engine.shared()),
            names,
            wanted: Wanted::default(),
            after: None,
            limit: LIST_LIMIT,
        }
    }

    /// Tasks that stand so. Said twice, the last word counts.
    pub fn status(mut self, status: Status) -> Self {
        self.wanted.status = Some(status);
        self
    }

    /// Tasks of this session. Said twice, the last word counts.
    pub fn session(mut self, session: impl Into<String>) -> Self {
        self.wanted.session = Some(session.into());
        self
    }

    /// Tasks whose creator had this owner name. Said twice, the last word counts.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.wanted.owner = Some(owner.into());
        self
    }

    /// Tasks with this tag; said several times, with each of them. The tag `outlive.task`, which every task has, is
    /// the name of its definition.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let (key, value) = (key.into(), value.into());
        if key == TASK_TAG {
            self.names.push(value);
        } else {
            self.wanted.tags.push((key, value));
        }
        self
    }

    /// Tasks that were started in this range of the wall clock, to the microsecond. Said twice, the last word counts.
    ///
    /// ```
    /// # use outlive::Engine;
    /// use std::time::{Duration, SystemTime};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let engine = Engine::in_memory().open().await?;
    /// let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    /// let of_this_hour = engine.list_all().created(hour_ago..).await?;
    /// # Ok(()) }
    /// ```
    #[allow(clippy::disallowed_types)] // The caller's own word for a moment; it becomes microseconds at once.
    pub fn created(mut self, range: impl RangeBounds<std::time::SystemTime>) -> Self {
        let (from, to) = (range.start_bound(), range.end_bound());
        self.wanted.created = (from.cloned().map(env::moment), to.cloned().map(env::moment));
        self
    }

    /// Goes on where an earlier page ended; given none, begins with the newest task.
    pub fn after(mut self, cursor: impl Into<Option<Cursor>>) -> Self {
        self.after = cursor.into();
        self
    }

    /// How many tasks the page has at most, from 1 to [`LIST_MAX`]; [`LIST_LIMIT`] by default.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, LIST_MAX);
        self
    }

    /// Goes from page to page, as many as it takes, until `max` tasks were found or there are no more: [`List::next`]
    /// is then where to go on, or nothing. Each page is as of its own moment.
    ///
    /// # Errors
    /// As for a single page: [`GetError`] when the store cannot be read.
    pub async fn collect(mut self, max: usize) -> Result<List, GetError> {
        let mut all = List {
            tasks: Vec::new(),
            damaged: Vec::new(),
            next: self.after,
        };
        while all.tasks.len() < max {
            self.limit = (max - all.tasks.len()).min(LIST_MAX);
            let page = self.page().await?;
            all.tasks.extend(page.tasks);
            all.damaged.extend(page.damaged);
            all.next = page.next;
            self.after = page.next;
            if page.next.is_none() {
                break;
            }
        }
        Ok(all)
    }

    async fn page(&self) -> Result<List, GetError> {
        let dispatcher = &self.shared.dispatcher;
        let clock = dispatcher.clock.clone();
        let (wanted, limit, paths) = (self.wanted.clone(), self.limit, self.paths());
        let after = self.after.map(|Cursor(task)| task);
        let read = move |store: &dyn Store| {
            let look = Look {
                store,
                paths: &paths,
                wanted: &wanted,
                limit,
            };
            look.page(after, || clock.own())
        };
        let page = dispatcher.reader.read(read).await?;
        let rows = page.rows.into_iter();
        Ok(List {
            tasks: rows
                .map(|row| Snapshot::of(row, &dispatcher.registry))
                .collect(),
            damaged: page.damaged,
            next: page.next.map(Cursor),
        })
    }

    /// How the tasks are come by: a path for each number of the definition; none when no task can fulfil the conditions.
    fn paths(&self) -> Vec<Path> {
        let Some(name) = self.names.first() else {
            return vec![Path::Plain(Scan::All)];
        };
        if self.names.iter().any(|other| other != name) {
            return Vec::new();
        }
        let numbers = self.shared.dispatcher.registry.known(name).into_iter();
        numbers.map(|def| self.path(def)).collect()
    }

    /// By index where there is one.
    fn path(&self, def: DefNumber) -> Path {
        let labelled = |by: &str, label: Box<str>| {
            let from = self.shared.indexes.from(def, by)?;
            Some(Path::Labelled { def, label, from })
        };
        let wanted = &self.wanted;
        let session = wanted.session.as_deref();
        let mut tags = wanted.tags.iter();
        let owner = wanted.owner.as_deref();
        // An owner is last, for most files know one alone.
        let path = session
            .and_then(|session| labelled(BY_SESSION, session_label(session)))
            .or_else(|| tags.find_map(|(key, value)| labelled(&by_tag(key), tag_label(key, value))))
            .or_else(|| owner.and_then(|owner| labelled(BY_OWNER, owner_label(owner))));
        path.unwrap_or(Path::Plain(Scan::Definition(def)))
    }
}

impl IntoFuture for Listing {
    type Output = Result<List, GetError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.page().await })
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing")
            .field("names", &self.names)
            .field("wanted", &self.wanted)
            .field("after", &self.after)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Lists the tasks of one definition, newest first. Awaited as it is, the first [`LIST_LIMIT`] of them; a
    /// definition need not be registered to be listed.
    ///
    /// # Errors
    /// Awaited, [`GetError`]: what to do is in each variant. A damaged row is in [`List::damaged`] instead.
    pub fn list<I, O, S>(&self, def: TaskDef<I, O, S>) -> Listing {
        Listing::new(self, vec![def.name().to_owned()])
    }

    /// Lists all tasks, newest first, also those whose definition nobody registered here.
    ///
    /// # Errors
    /// As [`Engine::list`].
    pub fn list_all(&self) -> Listing {
        Listing::new(self, Vec::new())
    }
}

/// What a listed task fulfils, its name aside.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    status: Option<Status>,
    session: Option<String>,
    owner: Option<String>,
    tags: Vec<(String, String)>,
    /// What they wait for.
    pub(crate) parked: Option<Parked>,
    created: (Bound<Micros>, Bound<Micros>),
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted {
            status: None,
            session: None,
            owner: None,
            tags: Vec::new(),
            parked: None,
            created: (Bound::Unbounded, Bound::Unbounded),
        }
    }
}

impl Wanted {
    fn has(&self, row: &TaskRow) -> bool {
        let facts = &row.facts;
        let tagged = |(key, value): &(String, String)| {
            let mut tags = facts.tags.iter();
            tags.any(|(found, is)| **found == **key && **is == **value)
        };
        let tagged = self.tags.iter().all(tagged) || cfg!(planted = "list_ignores_tag");
        let session = self.session.as_deref();
        let owner = self.owner.as_deref();
        tagged
            && self.status.is_none_or(|status| Status::of(row) == status)
            && session.is_none_or(|session| facts.session.as_deref() == Some(session))
            && owner.is_none_or(|owner| *facts.owner == *owner)
            && self.parked.is_none_or(|parked| parked.has(row))
            && self.created.contains(&row.created_at)
    }
}

/// The way to the tasks of a list.
#[derive(Debug, Clone)]
enum Path {
    /// One scan finds them.
    Plain(Scan),
    /// A label finds those from this number on; older ones may lack it, and are looked at one by one.
    Labelled {
        def: DefNumber,
        label: Box<str>,
        from: TaskNumber,
    },
}

/// One stretch of the way.
struct Stretch {
    scan: Scan,
    /// What lies below belongs to the next stretch.
    floor: Option<TaskNumber>,
}

impl Path {
    /// The stretch that goes on below `at`.
    fn stretch(&self, at: Option<TaskNumber>) -> Stretch {
        match self {
            Path::Plain(scan) => Stretch {
                scan: scan.clone(),
                floor: None,
            },
            Path::Labelled { def, label, from } if at.is_none_or(|at| at > *from) => Stretch {
                scan: Scan::Label(*def, label.clone()),
                floor: Some(*from).filter(|_| !cfg!(planted = "index_hides_older_tasks")),
            },
            Path::Labelled { def, .. } => Stretch {
                scan: Scan::Definition(*def),
                floor: None,
            },
        }
    }
}

/// One look into the store.
struct Look<'a> {
    store: &'a dyn Store,
    paths: &'a [Path],
    wanted: &'a Wanted,
    limit: usize,
}

/// What a look found.
#[derive(Default)]
struct Seen {
    rows: Vec<TaskRow>,
    damaged: Vec<StoreError>,
    next: Option<TaskNumber>,
}

impl Look<'_> {
    /// The tasks below `after`, until there are enough, or it took as long as it may.
    fn page(
        &self,
        after: Option<TaskNumber>,
        now: impl Fn() -> Micros,
    ) -> Result<Seen, StoreError> {
        let until = now().plus(micros(LIST_TIME));
        let mut lanes = Lanes::new(self.store, self.paths, after);
        let mut seen = Seen::default();
        lanes.fill()?;
        while let Some(found) = lanes.newest() {
            let at = Some(found.task);
            match found.row {
                Ok(row) if self.wanted.has(&row) => seen.rows.push(row),
                Ok(_) => {}
                Err(error) => seen.damaged.push(error),
            }
            if seen.rows.len() >= self.limit && !lanes.are_through() {
                seen.next = at.map(beyond);
                return Ok(seen);
            }
            if !lanes.is_one_drained() {
                continue;
            }
            let enough = lanes.read >= LIST_MAX && !cfg!(planted = "list_page_unbounded");
            if enough || now() >= until {
                seen.next = at;
                return Ok(seen);
            }
            lanes.fill()?;
        }
        Ok(seen)
    }
}

/// Where the next page begins after a full one.
fn beyond(last: TaskNumber) -> TaskNumber {
    if cfg!(planted = "list_cursor_repeats") {
        return TaskNumber(last.0 + 1);
    }
    last
}

mod lanes;
#[cfg(test)]
mod tests;
