//! The open questions of tasks: one of them, and lists, page by page.

use crate::def::TaskDef;
use crate::engine::{Engine, Shared};
use crate::env::micros;
use crate::error::GetError;
use crate::explain::real;
use crate::list::{InvalidCursor, LIST_LIMIT, LIST_MAX, LIST_TIME};
use crate::step_key::StepKey;
use outlive_storage::id::{InvalidId, TaskId};
use outlive_storage::row::{AskRow, DefNumber, Micros, TaskNumber, TaskRow, Times};
use outlive_storage::store::FoundAsk;
use outlive_storage::{Store, StoreError};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::ops::Bound;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

/// Questions read at once: a read transaction is short, and the time is looked at between two.
const CHUNK: usize = 100;

/// A question that waits for an answer. Moments are microseconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OpenAsk {
    /// The task that asks.
    pub id: TaskId,
    /// Its definition's name.
    pub name: String,
    /// Its title.
    pub title: Option<String>,
    /// Its session.
    pub session: Option<String>,
    /// The question's key: with the task's id it names the question for [`Engine::answer`].
    pub key: String,
    /// The question.
    pub question: serde_json::Value,
    /// The JSON schema of the answer, if its handler gave one.
    pub schema: Option<serde_json::Value>,
    /// The answer that counts when nobody has given one by the deadline.
    pub default: Option<serde_json::Value>,
    /// Names what is asked: see [`Ask::digest`](crate::Ask::digest) and [`AnswerAsk::digest`](crate::AnswerAsk::digest).
    pub digest: String,
    /// The type of the answer in the program that asked.
    pub answer_type: String,
    /// When it was asked.
    pub asked_at_us: u64,
    /// From when on no answer is taken; empty without a deadline.
    pub deadline_us: Option<u64>,
    /// The run that asked.
    pub run: u32,
    /// Its turn.
    pub turn: u32,
}

impl OpenAsk {
    fn of((key, ask): (Box<str>, AskRow), row: &TaskRow, name: &str, times: Times) -> OpenAsk {
        // Written by this library, so it is JSON.
        let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or_default();
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        OpenAsk {
            id: row.id.clone(),
            name: name.to_owned(),
            title: text(&row.facts.title),
            session: text(&row.facts.session),
            key: key.into(),
            digest: ask.digest_text(),
            question: json(&ask.question),
            schema: ask.schema.as_deref().map(json),
            default: ask.default.as_deref().map(json),
            answer_type: ask.type_name.into(),
            asked_at_us: ask.asked_at.0,
            deadline_us: real(ask.deadline, times),
            run: ask.run,
            turn: ask.turn,
        }
    }
}

/// Where a list of questions goes on; opaque. It stays good while questions come and go, for the next process as well,
/// and with other conditions. Its text can be handed out, in a link for example, and comes back as it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AskCursor(TaskNumber, Box<str>);

/// What the text of a cursor begins with: another form will begin with another letter.
const CURSOR_FORM: &str = "q";
/// Digits of a task number.
const CURSOR_DIGITS: usize = 16;

impl fmt::Display for AskCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CURSOR_FORM}{:0CURSOR_DIGITS$x}", self.0.0)?;
        self.1.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for AskCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<AskCursor, InvalidCursor> {
        let digits = text.strip_prefix(CURSOR_FORM).ok_or(InvalidCursor)?;
        let plain = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        let even = digits.len().is_multiple_of(2);
        if digits.len() < CURSOR_DIGITS || !even || !digits.bytes().all(plain) {
            return Err(InvalidCursor);
        }
        let (number, key) = digits.split_at(CURSOR_DIGITS);
        let number = u64::from_str_radix(number, 16).map_err(|_| InvalidCursor)?;
        let bytes = (0..key.len() / 2).map(|at| u8::from_str_radix(&key[at * 2..at * 2 + 2], 16));
        let bytes = bytes.collect::<Result<Vec<u8>, _>>();
        let key = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(AskCursor(
            TaskNumber(number),
            key.ok_or(InvalidCursor)?.into(),
        ))
    }
}

/// One page of open questions: those of the oldest task first, and of one task by their keys.
#[derive(Debug)]
#[non_exhaustive]
pub struct AskList {
    /// The questions of the page. There may be none although more follow: see [`AskList::next`].
    pub asks: Vec<OpenAsk>,
    /// Damaged entries passed over on this page.
    pub damaged: Vec<StoreError>,
    /// Give it to [`AskListing::after`] for the next page; `None` at the end.
    pub next: Option<AskCursor>,
}

/// A list of open questions under way: conditions first, then awaited for one page. Nothing changes.
///
/// All conditions must hold. A page looks at no more than [`LIST_MAX`] questions, for no longer than [`LIST_TIME`]. One
/// whose deadline has passed cannot be answered any more, and is not listed.
///
/// ```
/// # use outlive::Engine;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let engine = Engine::in_memory().open().await?;
/// for ask in engine.asks().session("ada").limit(10).await?.asks {
///     println!("{} asks {}: {}", ask.id, ask.key, ask.question);
/// }
/// # Ok(()) }
/// ```
#[must_use = "a list reads nothing until it is awaited"]
#[derive(Clone)]
pub struct AskListing {
    shared: Arc<Shared>,
    name: Option<String>,
    id: Option<Result<TaskId, InvalidId>>,
    session: Option<String>,
    after: Option<AskCursor>,
    limit: usize,
}

impl AskListing {
    /// Of tasks of this definition, which need not be registered. Said twice, the last word counts.
    pub fn of<I, O, S>(mut self, def: TaskDef<I, O, S>) -> Self {
        self.name = Some(def.name().to_owned());
        self
    }

    /// Of this task. Said twice, the last word counts.
    pub fn id(mut self, id: impl AsRef<str>) -> Self {
        self.id = Some(TaskId::new(id));
        self
    }

    /// Of tasks of this session. Said twice, the last word counts.
    pub fn session(mut self, session: impl Into<String>) -> Self {
        self.session = Some(session.into());
        self
    }

    /// Goes on where an earlier page ended; given none, begins with the oldest task.
    pub fn after(mut self, cursor: impl Into<Option<AskCursor>>) -> Self {
        self.after = cursor.into();
        self
    }

    /// How many questions the page has at most, from 1 to [`LIST_MAX`]; [`LIST_LIMIT`] by default.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, LIST_MAX);
        self
    }

    async fn page(self) -> Result<AskList, GetError> {
        let registry = &self.shared.dispatcher.registry;
        // One that was renamed has several numbers; an unknown one has none, and no questions.
        let defs = self.name.as_deref().map(|name| registry.known(name));
        let (id, clock) = (self.id.transpose()?, self.shared.dispatcher.clock.clone());
        let times = clock.times();
        let (session, limit, after) = (self.session, self.limit, self.after);
        let read = move |store: &dyn Store| {
            let only = match id {
                None => None,
                Some(id) => match store.find(&id)? {
                    None => return Ok(Seen::default()),
                    only => only,
                },
            };
            let look = Look {
                store,
                only,
                defs,
                session,
                limit,
                times,
                until: clock.own().plus(micros(LIST_TIME)),
            };
            look.page(after, || clock.own())
        };
        let seen = self.shared.dispatcher.reader.read(read).await?;
        let asks = seen.asks.into_iter();
        Ok(AskList {
            asks: asks
                .map(|(key, ask, row)| OpenAsk::of((key, ask), &row, registry.name(row.def), times))
                .collect(),
            damaged: seen.damaged,
            next: seen.next,
        })
    }
}

impl IntoFuture for AskListing {
    type Output = Result<AskList, GetError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.page())
    }
}

impl fmt::Debug for AskListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskListing")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("session", &self.session)
            .field("after", &self.after)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// What a look found.
#[derive(Default)]
struct Seen {
    asks: Vec<(Box<str>, AskRow, Arc<TaskRow>)>,
    damaged: Vec<StoreError>,
    next: Option<AskCursor>,
}

/// One look into the store.
struct Look<'a> {
    store: &'a dyn Store,
    only: Option<TaskNumber>,
    defs: Option<Vec<DefNumber>>,
    session: Option<String>,
    limit: usize,
    /// What has come by then is not open any more.
    times: Times,
    until: Micros,
}

impl Look<'_> {
    /// The questions beyond `after`, until there are enough, or it took as long as it may.
    fn page(&self, after: Option<AskCursor>, now: impl Fn() -> Micros) -> Result<Seen, StoreError> {
        let mut seen = Seen::default();
        let mut asker: Option<(TaskNumber, Arc<TaskRow>)> = None;
        let (mut at, mut looked_at) = (after, 0);
        loop {
            let chunk = self.chunk(at.as_ref())?;
            let through = chunk.len() < CHUNK;
            let last = chunk.len();
            for (index, FoundAsk { task, key, ask }) in chunk.into_iter().enumerate() {
                if self.only.is_some_and(|only| only != task) {
                    return Ok(seen);
                }
                looked_at += 1;
                at = Some(AskCursor(task, key.clone()));
                match self.wanted(task, ask, &mut asker) {
                    Ok(Some((ask, row))) if is_open(&ask, self.times) => {
                        seen.asks.push((key, ask, row))
                    }
                    Ok(_) => {}
                    Err(error) if error.is_of_one_entry() => seen.damaged.push(error),
                    Err(error) => return Err(error),
                }
                let more = !through || index + 1 < last;
                if seen.asks.len() >= self.limit && more {
                    seen.next = at;
                    return Ok(seen);
                }
            }
            if through {
                return Ok(seen);
            }
            if looked_at >= LIST_MAX || now() >= self.until {
                seen.next = at;
                return Ok(seen);
            }
        }
    }

    fn chunk(&self, at: Option<&AskCursor>) -> Result<Vec<FoundAsk>, StoreError> {
        let first = self.only.map(|only| (only, ""));
        let from = match at {
            Some(AskCursor(task, key)) if first.is_none_or(|first| (*task, &**key) >= first) => {
                Bound::Excluded((*task, &**key))
            }
            Some(_) | None => first.map_or(Bound::Unbounded, Bound::Included),
        };
        self.store.asks(from, CHUNK)
    }

    /// The question with its task, if that is one of those asked for.
    fn wanted(
        &self,
        task: TaskNumber,
        ask: Result<AskRow, StoreError>,
        asker: &mut Option<(TaskNumber, Arc<TaskRow>)>,
    ) -> Result<Option<(AskRow, Arc<TaskRow>)>, StoreError> {
        let row = match asker {
            Some((known, row)) if *known == task => Arc::clone(row),
            Some(_) | None => {
                // It may have gone in between.
                let Some(row) = self.store.get(task)? else {
                    return Ok(None);
                };
                let row = Arc::new(row);
                *asker = Some((task, Arc::clone(&row)));
                row
            }
        };
        let session = self.session.as_deref();
        let defs = self.defs.as_ref();
        let other_def = defs.is_some_and(|defs| !defs.contains(&row.def));
        let other_session =
            session.is_some_and(|session| row.facts.session.as_deref() != Some(session));
        let other_session = other_session && !cfg!(planted = "asks_ignore_session");
        if (other_def && !cfg!(planted = "asks_ignore_definition")) || other_session {
            return Ok(None);
        }
        Ok(Some((ask?, row)))
    }
}

fn is_open(ask: &AskRow, times: Times) -> bool {
    !times.reached(ask.deadline) || cfg!(planted = "overdue_question_listed")
}

impl Engine {
    /// Lists the open questions of all tasks, those of the oldest task first. Awaited as it is, the first
    /// [`LIST_LIMIT`] of them.
    ///
    /// # Errors
    /// Awaited, [`GetError`]: what to do is in each variant. A damaged question is in [`AskList::damaged`].
    pub fn asks(&self) -> AskListing {
        AskListing {
            shared: Arc::clone(self.shared()),
            name: None,
            id: None,
            session: None,
            after: None,
            limit: LIST_LIMIT,
        }
    }

    /// The question of this key that the task has open; `None` when there is no such one, or its deadline has passed.
    ///
    /// # Errors
    /// [`GetError`]; a damaged question is an error, never `None`.
    pub async fn ask(
        &self,
        id: impl AsRef<str>,
        key: impl Into<StepKey>,
    ) -> Result<Option<OpenAsk>, GetError> {
        let (id, key) = (TaskId::new(id)?, key.into());
        let dispatcher = &self.shared().dispatcher;
        let (named, times) = (key.clone(), dispatcher.clock.times());
        let read = move |store: &dyn Store| {
            let Some(task) = store.find(&id)? else {
                return Ok(None);
            };
            let ask = store.ask(task, named.as_str())?;
            Ok(ask.zip(store.get(task)?))
        };
        let found = dispatcher.reader.read(read).await?;
        let open = found.filter(|(ask, _)| is_open(ask, times));
        Ok(open.map(|(ask, row)| {
            let name = dispatcher.registry.name(row.def);
            OpenAsk::of((key.as_str().into(), ask), &row, name, times)
        }))
    }
}

impl Shared {
    /// The text of an open question.
    pub(crate) async fn question(
        &self,
        task: TaskNumber,
        key: Box<str>,
    ) -> Result<Option<String>, GetError> {
        let read = move |store: &dyn Store| store.ask(task, &key);
        let ask = self.dispatcher.reader.read(read).await?;
        Ok(ask.map(|ask| {
            let text = serde_json::from_slice::<String>(&ask.question);
            text.unwrap_or_else(|_| String::from_utf8_lossy(&ask.question).into_owned())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_cursor_comes_back_as_it_was() {
        for key in ["", "delete", "ä\"/ "] {
            let cursor = AskCursor(TaskNumber(0xabc), key.into());
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in [
            "",
            "q",
            "a0000000000000abc",
            "q0000000000000abcf",
            "q0000000000000abcff",
        ] {
            assert_eq!(text.parse::<AskCursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
