//! Metadata: a small JSON map that a running turn keeps up to date and everybody else can read.

use crate::value::{self, Json, VALUE_DEPTH_MAX};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Most bytes of JSON that all namespaces of a task may take together: 1 MiB.
pub const METADATA_MAX: u64 = 1024 * 1024;
/// Longest key and longest name of a namespace, in bytes.
pub const METADATA_KEY_MAX: usize = 256;
/// Deepest nesting of arrays and objects in a value: all metadata of a task is one JSON text, two levels above it.
pub const METADATA_DEPTH_MAX: usize = VALUE_DEPTH_MAX - 2;

/// The namespace of [`Ctx::metadata`](crate::Ctx::metadata).
const DEFAULT: &str = "default";

/// Why metadata was not changed or could not be read. What was there before is still there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The value under the key is of another type. Read it as what it is, or remove it first.
    #[error("metadata {key:?} is {found}; read it as what it is, or remove it first")]
    MetadataType {
        /// The key.
        key: String,
        /// The JSON type found: `null`, `a boolean`, `a number`, `a string`, `an array`, `an object`.
        found: &'static str,
    },
    /// All metadata of the task together would be too large. Keep large data in a file.
    #[error("metadata would take {size} bytes, the limit is {limit}; keep large data in a file")]
    TooLarge {
        /// Bytes of JSON it would take.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Keys and namespaces that begin with `_` are the engine's; they are also neither empty nor longer than
    /// [`METADATA_KEY_MAX`]. Choose another one.
    #[error("{name:?} is not a name for metadata: 1 to 256 bytes, not beginning with '_'")]
    Name {
        /// The name.
        name: String,
    },
    /// The value under the key would nest deeper than what can be read again: make it flatter.
    #[error("metadata {key:?} would nest deeper than {limit}; make it flatter")]
    TooDeep {
        /// The key.
        key: String,
        /// The limit: [`METADATA_DEPTH_MAX`].
        limit: usize,
    },
    /// The value has no JSON form: change the type.
    #[error("the value of metadata {key:?} has no JSON form")]
    NotJson {
        /// The key.
        key: String,
    },
    /// The number would leave the range of `i64`. Reset it first.
    #[error("metadata {key:?} would leave the range of i64; reset it first")]
    Overflow {
        /// The key.
        key: String,
    },
}

type Namespaces = BTreeMap<String, Map<String, Value>>;

#[derive(Debug, Default)]
struct Content {
    namespaces: Namespaces,
    /// Bytes of JSON at most: each entry counted with its quotes, colon and comma.
    size: u64,
    /// Counts changes.
    version: u64,
    /// The last change that is durable.
    kept: u64,
}

/// The metadata of one turn.
#[derive(Debug, Default)]
pub(crate) struct MetadataCell {
    content: Mutex<Content>,
    changed: Notify,
    /// Held from the look at the content until it is on its way to the writer.
    order: Mutex<()>,
}

/// What is to be written.
pub(crate) struct Changed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) version: u64,
}

impl MetadataCell {
    pub(crate) fn decode(bytes: &[u8]) -> Result<MetadataCell, serde_json::Error> {
        let namespaces = decode(bytes)?;
        let size = namespaces
            .iter()
            .flat_map(|(name, entries)| entries.iter().map(move |entry| size_of(name, entry)))
            .sum();
        let content = Content {
            namespaces,
            size,
            ..Content::default()
        };
        Ok(MetadataCell {
            content: Mutex::new(content),
            ..MetadataCell::default()
        })
    }

    /// Sends what changed since it was last durable: an older state never follows a newer one. Nobody waits in `send`,
    /// which has its room already: a future that is not polled any more would keep all others from their turn.
    pub(crate) fn in_order<T>(&self, send: impl FnOnce(Option<Changed>) -> T) -> T {
        let _order = (!cfg!(planted = "flushes_overtake")).then(|| self.order.lock());
        send(self.changed())
    }

    /// What the content takes as JSON, at most, in bytes.
    pub(crate) fn size(&self) -> usize {
        usize::try_from(self.content.lock().size).unwrap_or(usize::MAX)
    }

    /// What changed since it was last durable.
    fn changed(&self) -> Option<Changed> {
        let content = self.content.lock();
        if content.kept == content.version {
            return None;
        }
        let bytes = serde_json::to_vec(&content.namespaces);
        // INVARIANT: every value was made by serde_json and every key is text, so the map has a JSON form.
        let bytes = bytes.expect("JSON values have a JSON form");
        Some(Changed {
            bytes,
            version: content.version,
        })
    }

    /// A change is durable.
    pub(crate) fn kept(&self, version: u64) {
        let mut content = self.content.lock();
        content.kept = content.kept.max(version);
    }

    /// Resolves when there is a change that is not durable.
    pub(crate) async fn change(&self) {
        loop {
            let changed = self.changed.notified();
            {
                let content = self.content.lock();
                if content.kept != content.version {
                    return;
                }
            }
            changed.await;
        }
    }
}

/// What is on disk under one task.
pub(crate) fn decode(bytes: &[u8]) -> Result<Namespaces, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// The value under a key, unless it is refused whatever else there is: neither memory nor stack is spent on it.
fn value_of(key: &str, value: &impl Serialize) -> Result<Value, MetadataError> {
    let not_json = |_| MetadataError::NotJson {
        key: key.to_owned(),
    };
    match value::json(value, METADATA_MAX).map_err(not_json)? {
        Json::Fits(_) => serde_json::to_value(value).map_err(not_json),
        Json::TooLarge { size } => Err(MetadataError::TooLarge {
            size,
            limit: METADATA_MAX,
        }),
        Json::TooDeep => Err(too_deep(key)),
    }
}

fn too_deep(key: &str) -> MetadataError {
    MetadataError::TooDeep {
        key: key.to_owned(),
        limit: METADATA_DEPTH_MAX,
    }
}

/// How many arrays and objects are in each other. What is in memory is nowhere deeper than a value may be.
fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(entries) => entries.values().map(depth).max(),
    };
    1 + deepest.unwrap_or(0)
}

/// An upper bound of what an entry adds to the JSON of all.
fn size_of(namespace: &str, (key, value): (&String, &Value)) -> u64 {
    let value = serde_json::to_vec(value).map_or(0, |bytes| bytes.len());
    // Escapes may lengthen a key to six times its bytes; the namespace is counted with each entry.
    (escaped(namespace) + escaped(key) + value + 8) as u64
}

fn escaped(text: &str) -> usize {
    serde_json::to_vec(text).map_or(0, |bytes| bytes.len())
}

/// A task's metadata within one namespace, as its running turn sees it.
///
/// It reads like a map and is cheap to change: changes are kept in memory and ride in the task's next commit, at the
/// latest after one second. [`Ctx::flush_metadata`](crate::Ctx::flush_metadata) makes them durable now. The final
/// state is in the same commit as the turn's end. All namespaces of a task together take at most [`METADATA_MAX`].
///
/// ```
/// use outlive::{Ctx, HandlerError};
/// async fn import(ctx: Ctx, files: Vec<String>) -> Result<i64, HandlerError> {
///     let progress = ctx.metadata();
///     progress.set("total", files.len())?;
///     for file in &files {
///         progress.append("seen", file)?;
///         progress.increment("done", 1)?;
///     }
///     Ok(progress.get("done")?.unwrap_or(0))
/// }
/// ```
#[derive(Clone)]
pub struct Metadata {
    core: Arc<crate::ctx::CtxCore>,
    namespace: String,
}

impl Metadata {
    pub(crate) fn new(core: Arc<crate::ctx::CtxCore>) -> Metadata {
        Metadata {
            core,
            namespace: DEFAULT.to_owned(),
        }
    }

    /// Another namespace of the same task: the same keys in it are other entries.
    ///
    /// # Errors
    /// [`MetadataError::Name`]: choose another name.
    pub fn namespace(&self, name: &str) -> Result<Metadata, MetadataError> {
        check_name(name)?;
        Ok(Metadata {
            core: Arc::clone(&self.core),
            namespace: name.to_owned(),
        })
    }

    /// The value under a key, `None` when there is none.
    ///
    /// # Errors
    /// [`MetadataError::MetadataType`]: it is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, MetadataError> {
        let Some(value) = self.read(|entries| entries.get(key).cloned()) else {
            return Ok(None);
        };
        let found = type_of(&value);
        let wrong = |_| MetadataError::MetadataType {
            key: key.to_owned(),
            found,
        };
        serde_json::from_value(value).map(Some).map_err(wrong)
    }

    /// Puts a value under a key.
    ///
    /// # Errors
    /// [`MetadataError::Name`], [`MetadataError::TooLarge`], [`MetadataError::TooDeep`], [`MetadataError::NotJson`]: nothing
    /// changed.
    pub fn set(&self, key: &str, value: impl Serialize) -> Result<(), MetadataError> {
        let value = value_of(key, &value)?;
        self.change(key, |_| Ok((value, ())))
    }

    /// Adds to the number under a key, or to nothing; answers the sum.
    ///
    /// # Errors
    /// [`MetadataError::MetadataType`] when it is not a whole number, [`MetadataError::Overflow`], and as for
    /// [`Metadata::set`]: nothing changed.
    pub fn increment(&self, key: &str, by: i64) -> Result<i64, MetadataError> {
        self.change(key, |old| {
            let number = match old {
                None => 0,
                Some(old) => old.as_i64().ok_or_else(|| wrong_type(key, old))?,
            };
            let sum = number
                .checked_add(by)
                .ok_or_else(|| MetadataError::Overflow {
                    key: key.to_owned(),
                })?;
            Ok((Value::from(sum), sum))
        })
    }

    /// Appends to the array under a key, or to none; answers its length.
    ///
    /// # Errors
    /// [`MetadataError::MetadataType`] when it is not an array, and as for [`Metadata::set`]: nothing changed.
    pub fn append(&self, key: &str, item: impl Serialize) -> Result<usize, MetadataError> {
        let item = value_of(key, &item)?;
        self.change(key, |old| {
            let mut items = match old {
                None => Vec::new(),
                Some(Value::Array(items)) => items.clone(),
                Some(other) => return Err(wrong_type(key, other)),
            };
            items.push(item);
            let len = items.len();
            Ok((Value::Array(items), len))
        })
    }

    /// Removes the value under a key; false when there was none.
    pub fn remove(&self, key: &str) -> bool {
        let mut content = self.core.metadata.content.lock();
        let Some(entries) = content.namespaces.get_mut(&self.namespace) else {
            return false;
        };
        let Some(old) = entries.remove(key) else {
            return false;
        };
        if entries.is_empty() {
            content.namespaces.remove(&self.namespace);
        }
        let freed = size_of(&self.namespace, (&key.to_owned(), &old));
        content.size = content.size.saturating_sub(freed);
        self.touched(content);
        true
    }

    /// Removes every entry of this namespace.
    pub fn clear(&self) {
        for key in self.keys() {
            self.remove(&key);
        }
    }

    /// Whether there is a value under the key.
    pub fn contains(&self, key: &str) -> bool {
        self.read(|entries| entries.contains_key(key).then_some(()))
            .is_some()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.read(|entries| Some(entries.len())).unwrap_or(0)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys, ascending.
    pub fn keys(&self) -> Vec<String> {
        self.to_map().into_iter().map(|(key, _)| key).collect()
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> Vec<Value> {
        self.to_map().into_iter().map(|(_, value)| value).collect()
    }

    /// The entries as they are now, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (String, Value)> + use<> {
        self.to_map().into_iter()
    }

    /// A copy of this namespace.
    pub fn to_map(&self) -> Map<String, Value> {
        self.read(|entries| Some(entries.clone()))
            .unwrap_or_default()
    }

    fn read<T>(&self, read: impl FnOnce(&Map<String, Value>) -> Option<T>) -> Option<T> {
        let content = self.core.metadata.content.lock();
        content.namespaces.get(&self.namespace).and_then(read)
    }

    /// Puts what `next` makes of the old value, if the whole stays within the limit.
    fn change<T>(
        &self,
        key: &str,
        next: impl FnOnce(Option<&Value>) -> Result<(Value, T), MetadataError>,
    ) -> Result<T, MetadataError> {
        check_name(key)?;
        let owned = key.to_owned();
        let mut content = self.core.metadata.content.lock();
        let old = content
            .namespaces
            .get(&self.namespace)
            .and_then(|entries| entries.get(key));
        let (value, answer) = next(old)?;
        if depth(&value) > METADATA_DEPTH_MAX && !cfg!(planted = "deep_metadata_taken") {
            return Err(too_deep(key));
        }
        let freed = old.map_or(0, |old| size_of(&self.namespace, (&owned, old)));
        let size = content.size - freed + size_of(&self.namespace, (&owned, &value));
        if size > METADATA_MAX && !cfg!(planted = "metadata_unbounded") {
            return Err(MetadataError::TooLarge {
                size,
                limit: METADATA_MAX,
            });
        }
        content.size = size;
        let entries = content.namespaces.entry(self.namespace.clone());
        entries.or_default().insert(owned, value);
        self.touched(content);
        Ok(answer)
    }

    fn touched(&self, mut content: parking_lot::MutexGuard<'_, Content>) {
        content.version += 1;
        drop(content);
        self.core.metadata.changed.notify_one();
    }
}

impl std::fmt::Debug for Metadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metadata")
            .field("namespace", &self.namespace)
            .field("entries", &self.to_map())
            .finish()
    }
}

fn check_name(name: &str) -> Result<(), MetadataError> {
    let reserved = name.starts_with('_') && !cfg!(planted = "reserved_metadata_accepted");
    if name.is_empty() || name.len() > METADATA_KEY_MAX || reserved {
        return Err(MetadataError::Name {
            name: name.to_owned(),
        });
    }
    Ok(())
}

fn wrong_type(key: &str, found: &Value) -> MetadataError {
    MetadataError::MetadataType {
        key: key.to_owned(),
        found: type_of(found),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flush that had looked at the content, and then waited for room, overwrote what a later one had been told was
    /// durable.
    #[test]
    fn an_older_state_never_follows_a_newer_one() {
        let cell = MetadataCell::default();
        let others_wait = cell.in_order(|_| cell.order.try_lock().is_none());
        assert!(
            others_wait,
            "another one looks while the first is on its way"
        );
    }
}
