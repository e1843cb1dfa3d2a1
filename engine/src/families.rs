//! Tells the children of turns that are over, page by page: also of those that were over before a crash.

use crate::env;
use crate::failpoint::{self, Failpoint};
use crate::machine::{Event, ParentOver};
use crate::patient::PAUSE_MAX;
use crate::reader::{ReadError, Reader};
use crate::request::Draft;
use crate::turn::Dispatcher;
use crate::writer::{Origin, Refused, Target, Writer};
use outlive_storage::StoreError;
use outlive_storage::row::{Family, Fate, TaskNumber};
use std::sync::Arc;
use tokio::sync::Notify;

/// Children told at once, and turns that are over read at once.
const PAGE: usize = 256;

/// Who tells them.
pub(crate) struct Families {
    reader: Arc<Reader>,
    writer: Arc<Writer>,
    instance: u128,
    over: Arc<Notify>,
}

impl Families {
    pub(crate) fn new(dispatcher: &Dispatcher) -> Families {
        Families {
            reader: Arc::clone(&dispatcher.reader),
            writer: Arc::clone(&dispatcher.writer),
            instance: dispatcher.claimant.instance,
            over: Arc::clone(&dispatcher.families),
        }
    }

    /// Tells children until the engine stops. What the last process left undone comes first.
    pub(crate) async fn run(self) {
        if cfg!(planted = "children_not_told_after_crash") {
            self.over.notified().await;
        }
        loop {
            match self.tell_all().await {
                Ok(()) => {}
                // The loop ends with the engine, and this with the loop.
                Err(ReadError::Stopped) => std::future::pending().await,
                Err(ReadError::Store(StoreError::Full)) => {
                    env::sleep(PAUSE_MAX).await;
                    continue;
                }
                Err(ReadError::Store(error)) => {
                    tracing::error!(target: "outlive::store", %error, "children are not told that their parent's turn is over");
                }
            }
            self.over.notified().await;
        }
    }

    /// The children of every turn that is over. A family that cannot be told as a whole, for a row of it is damaged, holds
    /// up no other one.
    async fn tell_all(&self) -> Result<(), ReadError> {
        let mut after = None;
        loop {
            let page = move |store: &dyn outlive_storage::Store| store.families_over(after, PAGE);
            let page = self.reader.read(page).await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(*last);
            for (family, fate) in &page {
                self.tell(*family, fate).await?;
            }
        }
    }

    /// No child is added to a turn that is over, so each is met once.
    async fn tell(&self, family: Family, fate: &Fate) -> Result<(), ReadError> {
        let reason = match fate {
            Fate::Alone => None,
            Fate::Cancelled { reason } => Some(reason),
        };
        let mut after: Option<TaskNumber> = None;
        loop {
            let page =
                move |store: &dyn outlive_storage::Store| store.children(family, after, PAGE);
            let page = self.reader.read(page).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(*last);
            let mut answers = Vec::with_capacity(page.len());
            for child in &page {
                let event = Event::LetGo(ParentOver {
                    family,
                    reason: reason.cloned(),
                    instance: self.instance,
                });
                let draft = Draft::bare(Target::Number(*child), event);
                let sent = self.writer.send(Origin::Engine, draft).await;
                answers.push((*child, sent.map_err(|_| ReadError::Stopped)?));
            }
            if cfg!(planted = "one_page_of_children_told") {
                return Ok(());
            }
            failpoint::reach(Failpoint::ChildrenSent);
            for (child, answer) in answers {
                match answer.await {
                    Err(Refused::Stopped(_) | Refused::Unknown(_)) => {
                        return Err(ReadError::Stopped);
                    }
                    Err(Refused::Unreadable(error)) => {
                        tracing::error!(target: "outlive::store", task = child.0, %error, "a child is not told that its parent's turn is over");
                    }
                    // It was removed in between.
                    Err(Refused::Rejected(_)) | Ok(_) => {}
                }
            }
        }
    }
}
