//! Tasks that wait for a person: nobody and no moment else lets them go on.

use crate::engine::Engine;
use crate::list::Listing;
use outlive_storage::row::{State, TaskRow, WaitReason};

/// Which of them a list is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parked {
    Any,
    UnknownOutcome,
}

impl Parked {
    /// Whether a task is one of these.
    pub(crate) fn has(self, row: &TaskRow) -> bool {
        let State::Suspended { wait, .. } = &row.state else {
            return false;
        };
        let unknown = matches!(wait, WaitReason::UnknownOutcome { .. });
        match self {
            Parked::UnknownOutcome => unknown,
            Parked::Any => {
                let other = matches!(
                    wait,
                    WaitReason::Quarantined { .. }
                        | WaitReason::Undecodable { .. }
                        | WaitReason::DuplicateStep { .. }
                );
                unknown || other || cfg!(planted = "every_suspension_is_parked")
            }
        }
    }
}

impl Listing {
    /// Parked tasks, which somebody has to look at: quarantined, undecodable, with a step under a key used twice, or with a step whose
    /// outcome nobody knows. [`Snapshot::wait`](crate::Snapshot::wait) says which it is and
    /// [`Snapshot::since_us`](crate::Snapshot::since_us) since when; [`Engine::explain`] says what to do.
    pub fn parked(mut self) -> Self {
        self.wanted.parked = Some(Parked::Any);
        self
    }

    /// Tasks with a step that may run only once, was begun, and whose outcome nobody knows:
    /// [`WaitReason::UnknownOutcome`](crate::WaitReason::UnknownOutcome) in [`Snapshot::wait`](crate::Snapshot::wait)
    /// has its key. [`Engine::resolve`] says what became of it.
    pub fn unknown_outcomes(mut self) -> Self {
        self.wanted.parked = Some(Parked::UnknownOutcome);
        self
    }
}

impl Engine {
    /// Every task that waits for a person, newest first, page by page as any list: [`Engine::list_all`] with
    /// [`Listing::parked`].
    ///
    /// ```
    /// # use outlive::Engine;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let engine = Engine::in_memory().open().await?;
    /// let parked = engine.parked().collect(1_000).await?;
    /// for task in parked.tasks {
    ///     println!("{} ({}): {:?} since {}", task.id, task.name, task.wait, task.since_us);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Engine::list`].
    pub fn parked(&self) -> Listing {
        self.list_all().parked()
    }

    /// Every task with a step whose outcome nobody knows, newest first, page by page as any list: [`Engine::list_all`]
    /// with [`Listing::unknown_outcomes`].
    ///
    /// ```
    /// # use outlive::{Engine, Resolution, WaitReason};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let engine = Engine::in_memory().open().await?;
    /// for task in engine.unknown_outcomes().await?.tasks {
    ///     if let Some(WaitReason::UnknownOutcome { step }) = &task.wait {
    ///         // Somebody asked the bank.
    ///         engine.resolve(&task.id, &**step, Resolution::not_done()).await?;
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Engine::list`].
    pub fn unknown_outcomes(&self) -> Listing {
        self.list_all().unknown_outcomes()
    }
}
