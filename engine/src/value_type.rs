//! The types of values as data: whether bytes are one of them, told without running anything.

use crate::builder::Builder;
use crate::call::text_of;
use crate::def::TaskDef;
use crate::value;
use serde::de::DeserializeOwned;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The type of a value that is in the file as JSON: the result of a step, for [`Builder::step_type`].
///
/// ```
/// use outlive::ValueType;
/// const PAGES: ValueType = ValueType::of::<Vec<String>>();
/// ```
#[derive(Clone, Copy)]
pub struct ValueType {
    name: fn() -> &'static str,
    decodes: fn(&[u8]) -> Result<(), String>,
}

impl ValueType {
    /// The type `T`.
    pub const fn of<T: DeserializeOwned>() -> ValueType {
        ValueType {
            name: std::any::type_name::<T>,
            decodes: |bytes| match value::decode::<T>(bytes) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// What was expected, and why the bytes are none. How they are read is the user's code, and may panic.
    pub(crate) fn check(self, bytes: &[u8]) -> Result<(), String> {
        let decoded = catch_unwind(AssertUnwindSafe(|| (self.decodes)(bytes)));
        let decoded = decoded.unwrap_or_else(|panic| Err(text_of(panic)));
        decoded.map_err(|why| format!("{}: {why}", (self.name)()))
    }
}

impl fmt::Debug for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ValueType").field(&(self.name)()).finish()
    }
}

impl Builder {
    /// Says as what the results of a definition's steps are read, so that [`Builder::check`] and
    /// [`Engine::check`](crate::Engine::check) can tell whether those in the file still are. `name` is the step's key, or
    /// the name in it: `"fetch"` for every step `("fetch", url)`. It changes nothing of how steps run. A definition that is
    /// not registered is told at [`Builder::open`].
    ///
    /// ```
    /// # use outlive::{Ctx, Engine, HandlerError, TaskDef, ValueType};
    /// # const REPORT: TaskDef<Vec<String>, usize> = TaskDef::new("report");
    /// # async fn report(_: Ctx, urls: Vec<String>) -> Result<usize, HandlerError> { Ok(urls.len()) }
    /// let builder = Engine::in_memory()
    ///     .task(REPORT, report)
    ///     .step_type(REPORT, "fetch", ValueType::of::<String>());
    /// ```
    pub fn step_type<I, O, S>(
        self,
        def: TaskDef<I, O, S>,
        name: impl Into<String>,
        result: ValueType,
    ) -> Builder {
        let name = name.into().into();
        self.of(def.name(), |registered| {
            registered.steps.push((name, result));
        })
    }
}
