//! Children on their way: a start as the writer takes it, under ids that every attempt of the turn makes anew.

use crate::child::{Child, ChildError};
use crate::child_start::ChildStartError;
use crate::ctx::CtxCore;
use crate::error::StartError;
use crate::facts::{Creator, Said, facts};
use crate::machine::{Answer, Event, NewInput, NewParent, OnConflict, Rejected};
use crate::options::TaskOptions;
use crate::request::Draft;
use crate::startable::Startable;
use crate::step_key::StepKey;
use crate::turn::Dispatcher;
use crate::value;
use crate::writer::{Origin, Refused, Sent, Target, Told};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{DefNumber, Delivery, ParentRow};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// What a turn knows of its children.
#[derive(Default)]
pub(crate) struct ChildDoor {
    /// Set once the turn's row says that it has children.
    marked: OnceCell<()>,
}

/// What a child is started with.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) def: &'static str,
    pub(crate) id: Option<String>,
    pub(crate) options: TaskOptions,
    pub(crate) said: Said,
    pub(crate) detached: bool,
}

/// The name of a child that was given none, and the id of its input: the same in every attempt of the turn and after
/// every crash, and another one for every other key, turn and task.
pub(crate) fn derived(core: &CtxCore, key: &StepKey, child: Option<&StepKey>) -> String {
    let row = &core.row;
    let mut hasher = Sha256::new();
    hasher.update(row.id.as_str().as_bytes());
    hasher.update(core.task.0.to_le_bytes());
    hasher.update(row.created_at.0.to_le_bytes());
    hasher.update(row.steps_of.to_le_bytes());
    // A byte that no text contains parts the texts.
    for text in [Some(key), child].into_iter().flatten() {
        hasher.update([0xff]);
        hasher.update(text.as_str().as_bytes());
    }
    if cfg!(planted = "child_id_of_attempt") {
        hasher.update(core.generation.0.to_le_bytes());
    }
    let hash = hasher.finalize();
    hash.iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// A start that was sent.
pub(crate) struct Begun {
    sent: Sent,
    id: TaskId,
    input_id: InputId,
    detached: bool,
}

pub(crate) async fn begin(
    core: &Arc<CtxCore>,
    named: String,
    input: Vec<u8>,
    wish: Wish,
) -> Result<Begun, ChildStartError> {
    let Some(dispatcher) = core.host.dispatcher.upgrade() else {
        return over(core).await;
    };
    let id = TaskId::new(wish.id.clone().unwrap_or_else(|| named.clone()));
    let id = id.map_err(StartError::from)?;
    let input_id = InputId::new(named).map_err(StartError::from)?;
    let detached = wish.detached;
    let draft = draft(core, &dispatcher, (&id, &input_id), input, wish)?;
    if mark(core).await.is_err() {
        return over(core).await;
    }
    match dispatcher.writer.send(Origin::Engine, draft).await {
        Ok(sent) => Ok(Begun {
            sent,
            id,
            input_id,
            detached,
        }),
        Err(_) => over(core).await,
    }
}

/// The start as the writer takes it.
fn draft(
    core: &CtxCore,
    dispatcher: &Dispatcher,
    (id, input_id): (&TaskId, &InputId),
    bytes: Vec<u8>,
    wish: Wish,
) -> Result<Draft, StartError> {
    let number = dispatcher.registry.number(wish.def);
    let registered = number.and_then(|def| Some((def, dispatcher.registry.get(def)?)));
    let Some((def, registered)) = registered else {
        return Err(StartError::NoHandler { name: wish.def });
    };
    let options = registered.options.task.and(wish.options);
    let options_row = dispatcher.options.shared(options.row()?);
    wish.said.check()?;
    let creator = Creator {
        owner: core.row.facts.owner.clone(),
        session: core.row.facts.session.clone(),
    };
    let facts = facts(
        wish.said,
        &options,
        &Startable::Here(registered),
        (&bytes, id),
        &creator,
    )?;
    let slot = dispatcher.slots.take_for_start(registered.kind(), def);
    let digest = dispatcher.digests.of(&bytes);
    let (payload, value) = value::split(bytes);
    let parent = ParentRow {
        family: core.row.family(core.task),
        id: core.row.id.clone(),
        detached: wish.detached,
    };
    let input = NewInput {
        id: id.clone(),
        def,
        input_id: input_id.clone(),
        input_id_given: true,
        digest,
        payload,
        delivery: Delivery::Interrupt,
        priority: options.rank(),
        options: options_row,
        facts: Some(dispatcher.facts.shared(facts)),
        start_at: None,
        on_conflict: OnConflict::Refuse,
        after: None,
        if_etag: None,
        claimant: slot.is_some().then(|| dispatcher.claimant.clone()),
        parent: Some(Box::new(NewParent {
            row: parent,
            generation: core.generation,
        })),
    };
    Ok(Draft {
        value,
        slot,
        ..Draft::bare(Target::Id(id.clone()), Event::Input(input))
    })
}

/// The turn's row says that it has children before it has one.
async fn mark(core: &CtxCore) -> Result<(), Refused> {
    if core.row.has_children {
        return Ok(());
    }
    let generation = core.generation;
    let mark = || async {
        let event = Event::BecomeParent { generation };
        let draft = Draft::bare(Target::Number(core.task), event);
        core.host.writer.ask(Origin::Engine, draft).await.map(drop)
    };
    core.children.marked.get_or_try_init(mark).await.map(drop)
}

impl Begun {
    pub(crate) async fn answered<O>(
        self,
        core: &Arc<CtxCore>,
    ) -> Result<Child<O>, ChildStartError> {
        let Begun {
            sent,
            id,
            input_id,
            detached,
        } = self;
        let told: Told = sent.await;
        match told {
            Ok(done) => match done.answer {
                Answer::Accepted { .. } => Ok(Child::new(done.task, &id, &input_id, detached)),
                // The machine answers an input with an acceptance; anything else would be a bug told as a closed store.
                Answer::Done | Answer::Recovered(_) | Answer::Taken(_) => {
                    Err(StartError::ShuttingDown.into())
                }
            },
            // The turn has ended, or nothing more is recorded in this process.
            Err(
                Refused::Rejected(Rejected::LeaseLost) | Refused::Unknown(_) | Refused::Stopped(_),
            ) => over(core).await,
            Err(refused) => {
                let dispatcher = core.host.dispatcher.upgrade();
                let name = |def: DefNumber| {
                    let name = dispatcher
                        .as_ref()
                        .map(|dispatcher| dispatcher.registry.name(def));
                    name.unwrap_or("?").to_owned()
                };
                Err(StartError::from_refused(refused, id, input_id, name).into())
            }
        }
    }
}

/// As [`mark`], for a turn that takes children over.
pub(crate) async fn mark_or_over(core: &CtxCore) -> Result<(), ChildError> {
    if mark(core).await.is_err() {
        core.steps.ended().await;
        return Err(ChildError::TurnOver);
    }
    Ok(())
}

/// Waits for the end of the turn: the handler is dropped there, unless this is a context it left behind.
async fn over<T>(core: &CtxCore) -> Result<T, ChildStartError> {
    core.steps.ended().await;
    Err(ChildStartError::TurnOver)
}
