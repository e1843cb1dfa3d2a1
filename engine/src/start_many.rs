//! Many starts in one call.

use crate::error::StartError;
use crate::run::Run;
use crate::start::{Prepared, Start};
use crate::writer::Origin;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

/// Starts under way at once in [`Engine::start_many`].
const MANY_UNDER_WAY: usize = 1024;

type UnderWay<O, S> = Pin<Box<dyn Future<Output = Result<Run<O, S>, StartError>> + Send>>;

/// Many starts, a bounded number of them under way.
pub(crate) struct StartMany<O, S> {
    under_way: VecDeque<UnderWay<O, S>>,
    answers: Vec<Result<Run<O, S>, StartError>>,
}

impl<O, S> Default for StartMany<O, S> {
    fn default() -> Self {
        StartMany {
            under_way: VecDeque::new(),
            answers: Vec::new(),
        }
    }
}

impl<O: 'static, S: 'static> StartMany<O, S> {
    pub(crate) async fn push(&mut self, start: Start<O, S>) {
        if self.under_way.len() >= MANY_UNDER_WAY {
            self.settle_one().await;
        }
        let one: UnderWay<O, S> = match start.prepare() {
            Err(error) => Box::pin(std::future::ready(Err(error))),
            Ok(Prepared { wanted, draft, .. }) => {
                let writer = Arc::clone(&wanted.shared.dispatcher.writer);
                let sent = writer.send(Origin::Caller, draft).await;
                Box::pin(async move {
                    let told = match sent {
                        Ok(answer) => answer.await,
                        Err(refused) => Err(refused),
                    };
                    wanted.answered(told)
                })
            }
        };
        self.under_way.push_back(one);
    }

    pub(crate) async fn finish(mut self) -> Vec<Result<Run<O, S>, StartError>> {
        while !self.under_way.is_empty() {
            self.settle_one().await;
        }
        self.answers
    }

    async fn settle_one(&mut self) {
        if let Some(oldest) = self.under_way.pop_front() {
            self.answers.push(oldest.await);
        }
    }
}
