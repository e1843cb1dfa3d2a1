//! Questions of a handler to a person or another program: what is asked, and why there is no answer.

use crate::ctx::Ctx;
use crate::env::{micros, moment};
use crate::one_step::OneStep;
use crate::step::{StepError, StepOptions};
use crate::step_key::StepKey;
use crate::value::{self, ValueError};
use outlive_storage::row::{AskRow, Deadline, Times};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::time::Duration;

/// Largest question, and largest schema or default of one, in bytes of JSON: 64 KiB.
pub const ASK_MAX: u64 = 64 * 1024;
/// Most open questions of one task: 100.
pub const ASKS_MAX: usize = AskRow::OPEN_MAX;

type Encoded = Result<Vec<u8>, ValueError>;

/// From when on no answer is taken.
#[derive(Debug, Clone, Copy)]
enum Until {
    After(Duration),
    At(Deadline),
}

/// A question for [`Ctx::ask`]: what is asked, what an answer looks like, and what it is about.
///
/// ```
/// use outlive::Ask;
/// use std::time::Duration;
/// let files = ["a.log", "b.log"];
/// let ask = Ask::new(format!("delete {} files?", files.len()))
///     .options([true, false])
///     .action(&files)
///     .deadline(Duration::from_secs(3 * 24 * 60 * 60))
///     .default_answer(&false);
/// assert_eq!(ask.digest().len(), 32);
/// ```
#[derive(Debug)]
#[must_use = "nothing is asked before it is given to Ctx::ask"]
pub struct Ask {
    question: Encoded,
    schema: Option<Encoded>,
    action: Option<Encoded>,
    default: Option<Encoded>,
    deadline: Option<Until>,
}

impl Ask {
    /// The question: a text, or anything with a JSON form that whoever shows it understands. At most [`ASK_MAX`].
    pub fn new(question: impl Serialize) -> Ask {
        Ask {
            question: encode("question", &question),
            schema: None,
            action: None,
            default: None,
            deadline: None,
        }
    }

    /// The JSON schema of the answer, for whoever answers: a form can be made of it. It is kept and listed as it is;
    /// what the engine holds an answer to is that the handler can read it. At most [`ASK_MAX`].
    pub fn schema(mut self, schema: serde_json::Value) -> Ask {
        self.schema = Some(encode("schema", &schema));
        self
    }

    /// The answers there are, as a schema that says so. It takes the place of [`Ask::schema`], as that does of this.
    pub fn options<T: Serialize>(mut self, options: impl IntoIterator<Item = T>) -> Ask {
        let options: Vec<T> = options.into_iter().collect();
        let schema = std::collections::BTreeMap::from([("enum", options)]);
        self.schema = Some(encode("schema", &schema));
        self
    }

    /// What the answer is about, when the question alone does not say all of it: the very files, the whole mail. It is
    /// not kept; it goes into the digest, so that an answer is never taken for one about another action. At most
    /// [`VALUE_MAX`](crate::VALUE_MAX).
    pub fn action<T: Serialize + ?Sized>(mut self, action: &T) -> Ask {
        self.action = Some(encode_within("action", action, value::VALUE_MAX));
        self
    }

    /// How long an answer is taken, from the first time it is asked; a later entry of the handler does not move it. No step
    /// of the clock moves it while the process lives; after a restart the moment on disk counts. Without a deadline it
    /// waits for ever.
    pub fn deadline(mut self, deadline: Duration) -> Ask {
        self.deadline = Some(Until::After(deadline));
        self
    }

    /// As [`Ask::deadline`], until this moment of the wall clock as it is read. The later of two calls counts.
    #[allow(clippy::disallowed_types)] // The caller's own word for a moment; it becomes microseconds at once.
    pub fn deadline_at(mut self, at: std::time::SystemTime) -> Ask {
        self.deadline = Some(Until::At(Deadline::wall(moment(at))));
        self
    }

    /// The answer that counts when nobody has given one by the deadline; without a deadline it never does. At most
    /// [`ASK_MAX`], and readable as the answer's type: else [`AskError::Default`].
    pub fn default_answer<T: Serialize + ?Sized>(mut self, answer: &T) -> Ask {
        self.default = Some(encode("default answer", answer));
        self
    }

    /// Names what is asked: 32 hexadecimal digits of a SHA-256 over the question, its schema and its action. It is listed
    /// with the question, and an answer that names another one is refused. The entries of a map are taken in the order of
    /// their keys.
    pub fn digest(&self) -> String {
        self.hash()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn hash(&self) -> [u8; 16] {
        let mut hasher = Sha256::new();
        let parts = [
            Some(&self.question),
            self.schema.as_ref(),
            self.action.as_ref(),
        ];
        for part in parts {
            // Where one part ends and the next begins is a part of what is hashed.
            match part {
                Some(Ok(bytes)) => {
                    hasher.update([1]);
                    hasher.update((bytes.len() as u64).to_le_bytes());
                    hasher.update(bytes);
                }
                // What cannot be encoded is not asked.
                Some(Err(_)) | None => hasher.update([0]),
            }
            if cfg!(planted = "digest_of_question_alone") {
                break;
            }
        }
        let hash = hasher.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&hash[..16]);
        half
    }

    /// What is put down, if all of it can be, and the default is an answer.
    fn row<A: DeserializeOwned>(self, times: Times) -> Result<AskRow, AskError> {
        let digest = self.hash();
        let default = self.default.transpose()?;
        let unread = |error| AskError::Default {
            expected: std::any::type_name::<A>(),
            error,
        };
        if let Some(default) = &default {
            value::decode::<A>(default).map_err(unread)?;
        }
        self.action.transpose()?;
        Ok(AskRow {
            question: self.question?,
            schema: self.schema.transpose()?,
            default,
            digest,
            type_name: std::any::type_name::<A>().into(),
            asked_at: times.now(),
            deadline: match self.deadline {
                None => Deadline::NEVER,
                Some(Until::At(at)) => at.real(),
                Some(Until::After(duration)) => times.after(micros(duration)),
            },
            run: 0,
            turn: 0,
        })
    }
}

fn encode<T: Serialize + ?Sized>(what: &'static str, value: &T) -> Encoded {
    encode_within(what, value, ASK_MAX)
}

/// One form for each value: the digest of a map must not change with the process.
fn encode_within<T: Serialize + ?Sized>(what: &'static str, value: &T, limit: u64) -> Encoded {
    let bytes = match serde_json::to_value(value) {
        Ok(mut sorted) => {
            sorted.sort_all_objects();
            sorted.to_string().into_bytes()
        }
        // A number beyond 64 bits has a JSON form all the same.
        Err(_) => value::encode(what, value)?,
    };
    let size = bytes.len() as u64;
    if size > limit && !cfg!(planted = "question_unbounded") {
        return Err(ValueError::TooLarge { what, size, limit });
    }
    Ok(bytes)
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody answered in time, and the question has no default. That is recorded: the same call gives it again.
    /// Decide without an answer, or give a default.
    #[error("nobody answered in time")]
    Expired,
    /// The question cannot be kept, and was not asked: the error inside says what to change.
    #[error(transparent)]
    Ask(#[from] ValueError),
    /// The default is not an answer, and the question was not asked: correct it.
    #[error("the default answer is not a {expected}: {error}")]
    Default {
        /// The type of the answer.
        expected: &'static str,
        /// Why it is not one.
        error: serde_json::Error,
    },
    /// The turn has as many steps as it may ([`STEPS_MAX`](crate::STEPS_MAX)), of which a question is one, or the task as
    /// many open questions ([`ASKS_MAX`]): ask fewer, or wait for answers first.
    #[error("at most {max} steps of a turn, or open questions of a task; ask fewer")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The turn is over, or its claim is no longer the task's. End the work.
    #[error("the turn is over; end the work")]
    TurnOver,
}

impl From<StepError<Infallible>> for AskError {
    fn from(error: StepError<Infallible>) -> AskError {
        match error {
            StepError::TooMany { max } => AskError::TooMany { max },
            StepError::Result(error) => AskError::Ask(error),
            // Only a blocking step says the last one.
            StepError::TurnOver | StepError::TimedOut { .. } | StepError::InsideRuntime => {
                AskError::TurnOver
            }
            StepError::Failed { error, .. } => match error {},
        }
    }
}

impl<S> Ctx<S> {
    /// Asks a person, or another program, and waits for the answer: for days, and through crashes.
    ///
    /// The question is listed ([`Engine::asks`](crate::Engine::asks)) from the commit on in which the task waits for it,
    /// and is answered once ([`Engine::answer`](crate::Engine::answer)). The answer is recorded like a step, in the commit
    /// that takes the question from the list: entered again, after a crash or an error, the same call gives it at once.
    /// When nobody has answered by the deadline, the default counts from then on, and is recorded; an answer that comes
    /// later is refused, also while the task has not been entered again. A question that is open when its turn ends,
    /// however it ends, is withdrawn; after a retry the same call asks anew.
    ///
    /// While it waits the turn leaves memory, as in [`Ctx::sleep`]: once the steps under way are recorded the handler is
    /// dropped, its slot is free, and the task is suspended with [`WaitReason::Answer`](crate::WaitReason::Answer). With
    /// the answer it is entered again from the top, as [`Entry::Resumed`](crate::Entry::Resumed), and comes through here.
    /// A deadline nearer than [`Builder::park_after`](crate::Builder::park_after) is waited for in memory, and so is every
    /// answer in a blocking handler. Several questions may be open beside each other (`join!`): the first answer enters
    /// the handler, the others stay open. Beside a sleep (`select!`) the first that is over counts; beside a step the
    /// question is listed at once. An input that interrupts ([`Delivery::Interrupt`](crate::Delivery::Interrupt)) enters
    /// the handler with the signal set; the question stays open, and the same call goes on waiting.
    ///
    /// What is asked is named by its digest ([`Ask::digest`]). Where the handler comes with another question under the
    /// key, one that another version of the program or another plan leads to, it is asked anew: an answer to the former
    /// one does not count. So whatever a question is made of should come from the input or from a recorded step.
    ///
    /// An answer that is not an `A` puts the task aside as undecodable, and names the key and both types. The key is that
    /// of a step: see [`Ctx::step`], also for what using one twice leads to.
    ///
    /// ```
    /// use outlive::{Ask, Ctx, HandlerError};
    /// async fn tidy(ctx: Ctx, files: Vec<String>) -> Result<usize, HandlerError> {
    ///     let ask = Ask::new(format!("delete {} files?", files.len())).action(&files);
    ///     if !ctx.ask::<bool>("may delete", ask).await? {
    ///         return Ok(0);
    ///     }
    ///     Ok(ctx.step("delete", async || Ok::<_, std::io::Error>(files.len())).await?)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`AskError`]: what to do is in each variant.
    pub async fn ask<A: DeserializeOwned + Send>(
        &self,
        key: impl Into<StepKey>,
        ask: Ask,
    ) -> Result<A, AskError> {
        let key = key.into();
        let ask = ask.row::<A>(self.core.host.clock.times())?;
        let step = OneStep::begin::<Infallible>(self, key, StepOptions::new()).await?;
        step.ask(ask).await
    }
}
