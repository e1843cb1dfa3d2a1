//! A start whose caller waits for the output and for nothing before: it is woken once, by the answer.
//!
//! Its place among the waiters is taken by the writer, before the handler can end. So the word that the input is durable
//! wakes nobody; it is there to be read when the answer comes, or when it is known that none will pass.

use crate::error::RunError;
use crate::hub::{Hub, Told};
use crate::reply::Reply;
use crate::request::Draft;
use crate::run::Run;
use crate::start::Wanted;
use crate::writer::{self, Origin, Refused, Room, Sent, Writer};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A start on its way to its output.
pub(crate) struct Going<O, S> {
    wanted: Wanted,
    sent: Sending,
    output: PhantomData<fn() -> (O, S)>,
}

enum Sending {
    /// It was sent, or refused.
    Sent(Result<Errand, Refused>),
    /// There is no room for it yet.
    Waits(Box<Draft>),
}

impl<O: DeserializeOwned + 'static, S: 'static> Going<O, S> {
    /// Sends a start, if there is room for it at once. What is not kept over a wait is not moved into its future either.
    pub(crate) fn new(wanted: Wanted, draft: Draft) -> Going<O, S> {
        let writer = &wanted.shared.dispatcher.writer;
        let sent = match writer.room_now(Origin::Caller, draft.size()) {
            Some(room) => Sending::Sent(Errand::send_for(&wanted, (room, draft))),
            None => Sending::Waits(Box::new(draft)),
        };
        Going {
            wanted,
            sent,
            output: PhantomData,
        }
    }

    /// Waits for the output of the task that was started, or that the start was attached to.
    ///
    /// # Errors
    /// [`RunError`]: the input was not accepted, or there is no output.
    pub(crate) async fn end(self) -> Result<O, RunError> {
        let Going { wanted, sent, .. } = self;
        let sent = match sent {
            Sending::Sent(sent) => sent,
            Sending::Waits(draft) => {
                let writer = &wanted.shared.dispatcher.writer;
                let room = writer.room(Origin::Caller, draft.size()).await;
                Errand::send_for(&wanted, (room, *draft))
            }
        };
        let (told, answer) = match sent {
            Ok(errand) => errand.end().await,
            Err(refused) => (Err(refused), None),
        };
        let run: Run<O, S> = wanted.answered(told)?;
        Ok(run.result_told(answer).await?)
    }
}

/// A start on its way to its answer; given up when dropped.
pub(crate) struct Errand {
    hub: Arc<Hub>,
    sent: Sent,
    told: oneshot::Receiver<Told>,
}

impl Errand {
    fn send_for(wanted: &Wanted, request: (Room, Draft)) -> Result<Errand, Refused> {
        let dispatcher = &wanted.shared.dispatcher;
        Errand::send_in(&dispatcher.hub, &dispatcher.writer, request)
    }

    /// Sends a start for which there is room.
    ///
    /// # Errors
    /// The writer takes no more.
    fn send_in(
        hub: &Arc<Hub>,
        writer: &Writer,
        (room, draft): (Room, Draft),
    ) -> Result<Errand, Refused> {
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
        if let Some(Ok(settled)) = self.sent.said()
            && !cfg!(planted = "who_gives_up_keeps_a_place")
        {
            self.hub.leave(settled.task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Place;
    use crate::machine::{Accepted, Answer, Event, Named};
    use crate::request::Request;
    use crate::word::Word;
    use crate::writer::{Message, Receiver, Settled, Target};
    use outlive_storage::id::InputId;
    use outlive_storage::row::TaskNumber;

    const TASK: TaskNumber = TaskNumber(1);

    fn named() -> Named {
        Named {
            input_id: InputId::new("a").expect("an id"),
            run: 1,
        }
    }

    /// An errand that has come to the writer.
    async fn sent(hub: &Arc<Hub>) -> (Errand, Request) {
        let (writer, receiver) = Writer::new(Place::Inline);
        let draft = Draft::bare(Target::Number(TASK), Event::ChildEnded);
        let room = writer.room(Origin::Caller, draft.size()).await;
        let errand = Errand::send_in(hub, &writer, (room, draft));
        let Receiver::Inline(mut receiver) = receiver else {
            unreachable!("the place is inline")
        };
        let Ok(Message::Event(request)) = receiver.try_recv() else {
            panic!("the event was sent")
        };
        (
            errand.unwrap_or_else(|_| panic!("the writer is there")),
            request,
        )
    }

    /// The writer's word that the input is accepted.
    fn accepted() -> writer::Told {
        Ok(Settled {
            task: TASK,
            answer: Answer::Accepted {
                how: Accepted::Started,
                named: named(),
            },
            expecting: None,
        })
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_place_that_the_writer_gave() {
        let hub = Arc::new(Hub::new());
        hub.running(TASK, &named());
        let (errand, request) = sent(&hub).await;
        request.reply.settle(accepted(), &hub, Word::say);
        assert!(hub.is_awaited(TASK, &named()), "its place is taken");
        drop(errand);
        assert!(!hub.is_awaited(TASK, &named()));
    }

    #[tokio::test]
    async fn whose_turn_does_not_run_learns_that_no_answer_will_pass() {
        let hub = Arc::new(Hub::new());
        let (errand, request) = sent(&hub).await;
        request.reply.settle(accepted(), &hub, Word::say);
        let (told, answer) = errand.end().await;
        assert!(matches!(told, Ok(settled) if settled.task == TASK));
        assert!(answer.is_none());
    }

    #[tokio::test]
    async fn who_is_refused_is_told_so() {
        let hub = Arc::new(Hub::new());
        let (errand, request) = sent(&hub).await;
        request
            .reply
            .tell(Err(Refused::Stopped(writer::Stop::Shutdown)));
        let (told, answer) = errand.end().await;
        assert!(matches!(told, Err(Refused::Stopped(_))) && answer.is_none());
    }
}
