//! A start whose caller waits for the output and for nothing before: it is woken once, by the answer.
//!
//! Its place among the waiters is taken by the writer, before the handler can end. So the word that the input is durable
//! wakes nobody; it is there to be read when the answer comes, or when it is known that none will pass.

use crate::hub::{Hub, Told};
use crate::reply::Reply;
use crate::request::Draft;
use crate::writer::{self, Origin, Refused, Sent, Writer};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A start on its way to its answer; given up when dropped.
pub(crate) struct Errand {
    hub: Arc<Hub>,
    sent: Sent,
    told: oneshot::Receiver<Told>,
}

impl Errand {
    /// Sends a start once there is room.
    ///
    /// # Errors
    /// The writer takes no more.
    pub(crate) async fn send(
        hub: &Arc<Hub>,
        writer: &Writer,
        draft: Draft,
    ) -> Result<Errand, Refused> {
        let room = writer.room(Origin::Caller, draft.size()).await;
        let (waiter, told) = oneshot::channel();
        let sent = writer.send_for(room, draft, |sender| Reply::Waiter { sender, waiter })?;
        Ok(Errand {
            hub: Arc::clone(hub),
            sent,
            told,
        })
    }

    /// What the start came to, and the answer, if it passed here. Where none did, the store is to be asked.
    pub(crate) async fn end(mut self) -> (writer::Told, Option<Told>) {
        let answer = (&mut self.told).await.ok();
        ((&mut self.sent).await, answer)
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        // First, so that the writer gives no place to who has gone: what it has said by then, it said before it gave one.
        self.told.close();
        if let Some(Ok(settled)) = self.sent.said() {
            self.hub.leave(settled.task);
        }
    }
}
