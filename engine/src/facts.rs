//! What is said about a task at its creation: title, description, tags, session, source.

use crate::def::Index;
use crate::indexes::{BY_OWNER, BY_SESSION, tag_of};
use crate::options::TaskOptions;
use crate::startable::Startable;
use outlive_storage::id::{self, ID_MAX, InvalidId, TaskId};
use outlive_storage::row::Facts;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Longest title, in bytes.
pub const TITLE_MAX: usize = 256;
/// Longest description, in bytes.
pub const DESCRIPTION_MAX: usize = 1024;
/// Most tags of a task, `outlive.task` not counted.
pub const TAGS_MAX: usize = 16;
/// Longest key of a tag, in bytes.
pub const TAG_KEY_MAX: usize = 64;
/// Longest value of a tag, in bytes.
pub const TAG_VALUE_MAX: usize = 256;
/// Longest trace context, in bytes; one of today's version takes 55.
const TRACEPARENT_MAX: usize = 256;
/// Tags whose keys begin with this are the engine's.
pub const RESERVED_PREFIX: &str = "outlive.";
/// The tag that every task carries: its definition's name.
pub const TASK_TAG: &str = "outlive.task";

/// Something said about a task cannot be kept. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactsError {
    /// The tag's key begins with `outlive.`, which is the engine's: choose another one.
    #[error("the tag {key:?} is reserved: keys beginning with \"outlive.\" are the engine's")]
    ReservedTag {
        /// The key.
        key: String,
    },
    /// The tag's key is not 1 to 64 characters of `A-Za-z0-9_.-`: choose another one.
    #[error("{key:?} is not the key of a tag: 1 to 64 characters of A-Z a-z 0-9 _ . -")]
    TagKey {
        /// The key.
        key: String,
    },
    /// The text is too long: shorten it.
    #[error("the {what} takes {size} bytes, the limit is {limit}; shorten it")]
    TooLarge {
        /// `title`, `description` or `tag value`.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Too many tags: leave some out.
    #[error("{count} tags are too many, the limit is {limit}; leave some out")]
    TooManyTags {
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The session breaks the rules of ids: give another one.
    #[error("the session is not one: {0}")]
    Session(InvalidId),
    /// The trace context is not in the form of the W3C recommendation: pass on the `traceparent` header as it came, or
    /// leave it out.
    #[error(
        "{given:?} is no traceparent: version, trace id, parent id and flags in lower-case hexadecimal"
    )]
    Traceparent {
        /// What was given.
        given: String,
    },
    /// A factory of the definition failed, so there is nothing to create the task with: mend the factory, or say
    /// the value in the call.
    #[error("the factory of the {what} failed: {error}")]
    Factory {
        /// `title`, `description` or `tags`.
        what: &'static str,
        /// Its error.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// An error of a factory.
pub(crate) type FactoryError = Box<dyn std::error::Error + Send + Sync>;

/// Makes a value from a task's encoded input and its id; runs in the call that starts the task.
pub(crate) type Factory<T> = Arc<dyn Fn(&[u8], &TaskId) -> Result<T, FactoryError> + Send + Sync>;

/// The factories of a definition.
#[derive(Clone, Default)]
pub(crate) struct Factories {
    pub(crate) title: Option<Factory<String>>,
    pub(crate) description: Option<Factory<String>>,
    pub(crate) tags: Option<Factory<Vec<(String, String)>>>,
}

impl Factories {
    /// There are none.
    pub(crate) fn is_empty(&self) -> bool {
        let Factories {
            title,
            description,
            tags,
        } = self;
        title.is_none() && description.is_none() && tags.is_none()
    }
}

/// What one call says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) session: Option<String>,
    pub(crate) traceparent: Option<String>,
}

impl Said {
    /// It says nothing.
    pub(crate) fn is_nothing(&self) -> bool {
        let Said {
            title,
            description,
            tags,
            session,
            traceparent,
        } = self;
        let texts = [title, description, session, traceparent];
        tags.is_empty() && texts.into_iter().all(Option::is_none)
    }

    /// What a call says is right, or its caller is told: also where the task exists already and needs none of it.
    pub(crate) fn check(&self) -> Result<(), FactsError> {
        fits("title", self.title.as_deref(), TITLE_MAX)?;
        fits("description", self.description.as_deref(), DESCRIPTION_MAX)?;
        check_tags(&self.tags.iter().cloned().collect())?;
        if let Some(session) = &self.session {
            checked_session(session.clone())?;
        }
        if let Some(traceparent) = &self.traceparent {
            checked_traceparent(traceparent.clone())?;
        }
        Ok(())
    }
}

/// The version of this library.
static VERSION: LazyLock<Arc<str>> = LazyLock::new(|| env!("CARGO_PKG_VERSION").into());

/// Who creates tasks.
#[derive(Debug, Clone)]
pub(crate) struct Creator {
    pub(crate) owner: Arc<str>,
    pub(crate) session: Option<Box<str>>,
}

/// Puts together what a task is created with: the call over the factories over the definition.
pub(crate) fn facts(
    said: Said,
    options: &TaskOptions,
    of: &Startable<'_>,
    (input, id): (&[u8], &TaskId),
    creator: &Creator,
) -> Result<Facts, FactsError> {
    let none = Factories::default();
    let factories = of.factories().unwrap_or(&none);
    let title = match said.title {
        Some(title) => Some(title),
        None => made("title", &factories.title, input, id)?.or(options.title.map(str::to_owned)),
    };
    let description = match said.description {
        Some(description) => Some(description),
        None => made("description", &factories.description, input, id)?
            .or(options.description.map(str::to_owned)),
    };
    let mut tags = BTreeMap::new();
    let fixed = options.tags.unwrap_or_default().iter();
    tags.extend(fixed.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    if cfg!(planted = "tags_of_call_under_factory") {
        tags.extend(said.tags.clone());
    }
    tags.extend(made("tags", &factories.tags, input, id)?.unwrap_or_default());
    if !cfg!(planted = "tags_of_call_under_factory") {
        tags.extend(said.tags);
    }
    check_tags(&tags)?;
    let session = match said.session {
        Some(session) if !cfg!(planted = "session_of_call_ignored") => {
            Some(checked_session(session)?)
        }
        Some(_) | None => creator.session.clone(),
    };
    let mut facts = Facts {
        title: short("title", title, TITLE_MAX)?,
        description: short("description", description, DESCRIPTION_MAX)?,
        tags: tags
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect(),
        session,
        owner: creator.owner.clone(),
        server_version: Arc::clone(&VERSION),
        traceparent: said.traceparent.map(checked_traceparent).transpose()?,
        labels: Vec::new(),
    };
    facts.labels = of.labels(&facts);
    Ok(facts)
}

fn made<T>(
    what: &'static str,
    factory: &Option<Factory<T>>,
    input: &[u8],
    id: &TaskId,
) -> Result<Option<T>, FactsError> {
    let made = factory.as_ref().map(|factory| factory(input, id));
    if cfg!(planted = "failed_factory_passed_over") {
        return Ok(made.and_then(Result::ok));
    }
    made.transpose()
        .map_err(|error| FactsError::Factory { what, error })
}

fn short(
    what: &'static str,
    text: Option<String>,
    limit: usize,
) -> Result<Option<Box<str>>, FactsError> {
    fits(what, text.as_deref(), limit)?;
    Ok(text.map(String::into_boxed_str))
}

fn fits(what: &'static str, text: Option<&str>, limit: usize) -> Result<(), FactsError> {
    let size = text.map_or(0, str::len);
    if size > limit && !cfg!(planted = "long_text_kept") {
        return Err(FactsError::TooLarge { what, size, limit });
    }
    Ok(())
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), FactsError> {
    if tags.len() > TAGS_MAX && !cfg!(planted = "tags_unbounded") {
        return Err(FactsError::TooManyTags {
            count: tags.len(),
            limit: TAGS_MAX,
        });
    }
    for (key, value) in tags {
        check_tag_key(key)?;
        fits("tag value", Some(value), TAG_VALUE_MAX)?;
    }
    Ok(())
}

fn check_tag_key(key: &str) -> Result<(), FactsError> {
    if key.starts_with(RESERVED_PREFIX) && !cfg!(planted = "reserved_tag_accepted") {
        return Err(FactsError::ReservedTag {
            key: key.to_owned(),
        });
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if key.is_empty() || key.len() > TAG_KEY_MAX || !key.bytes().all(allowed) {
        return Err(FactsError::TagKey {
            key: key.to_owned(),
        });
    }
    Ok(())
}

/// A session in the form it is kept in.
pub(crate) fn checked_session(session: String) -> Result<Box<str>, FactsError> {
    id::check(&session, ID_MAX).map_err(FactsError::Session)?;
    Ok(session.into())
}

/// A W3C trace context: `00`, 32 digits of a trace, 16 of a parent, 2 of flags, neither id all zero. A later version may
/// have more to say after that, and is kept as it came.
fn checked_traceparent(given: String) -> Result<Box<str>, FactsError> {
    const LENGTHS: [usize; 4] = [2, 32, 16, 2];
    const OF_VERSION_0: usize = 55;
    let mut parts = given.splitn(5, '-');
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let four = LENGTHS.map(|length| {
        let part = parts.next().unwrap_or_default();
        (part.len() == length && part.bytes().all(hex)).then_some(part)
    });
    let good = match four {
        [Some(version), Some(trace), Some(parent), Some(_flags)] => {
            let of_version = version != "00" || given.len() == OF_VERSION_0;
            let named = |id: &str| id.bytes().any(|digit| digit != b'0');
            version != "ff" && of_version && named(trace) && named(parent)
        }
        _ => false,
    };
    let good = good || cfg!(planted = "traceparent_unchecked");
    if !good || given.len() > TRACEPARENT_MAX {
        return Err(FactsError::Traceparent { given });
    }
    Ok(given.into())
}

/// The label that a definition's index gives a task.
pub(crate) fn label(by: &Index, facts: &Facts) -> Option<Box<str>> {
    match by {
        Index::Session => facts.session.as_deref().map(session_label),
        Index::Owner => Some(owner_label(&facts.owner)),
        Index::Tag(key) => label_of_tag(key, facts),
    }
}

/// As [`label`], by the kind that the file names.
pub(crate) fn label_of(kind: &str, facts: &Facts) -> Option<Box<str>> {
    match kind {
        BY_SESSION => facts.session.as_deref().map(session_label),
        BY_OWNER => Some(owner_label(&facts.owner)),
        kind => label_of_tag(tag_of(kind)?, facts),
    }
}

fn label_of_tag(key: &str, facts: &Facts) -> Option<Box<str>> {
    let tag = facts.tags.iter().find(|(found, _)| **found == *key);
    tag.map(|(key, value)| tag_label(key, value))
}

/// The label under which a session's tasks are listed.
pub(crate) fn session_label(session: &str) -> Box<str> {
    format!("s:{session}").into()
}

/// The label under which an owner's tasks are listed.
pub(crate) fn owner_label(owner: &str) -> Box<str> {
    format!("o:{owner}").into()
}

/// The label under which tasks with a tag are listed. A key holds no `=`, so labels are told apart.
pub(crate) fn tag_label(key: &str, value: &str) -> Box<str> {
    format!("t:{key}={value}").into()
}
