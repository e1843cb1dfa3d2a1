//! What is done about a turn beside its handler: what it waits for is put down, and it leaves memory.

use crate::ctx::CtxCore;
use crate::ended::undecodable;
use crate::failpoint::{self, Failpoint};
use crate::machine::TurnEnd;
use crate::turn_steps::Next;
use crate::writer::Refused;

/// Resolves with how the turn is put aside: its handler is dropped then.
pub(crate) async fn set_aside(core: &CtxCore) -> TurnEnd {
    loop {
        let put_down = match core.steps.next().await {
            Next::Aside(end) => {
                failpoint::reach(Failpoint::SettingAside);
                return end;
            }
            Next::PutDown(put_down) => put_down,
        };
        for wait in put_down {
            // In a box, for it is seldom needed and larger than all the rest of a turn.
            match Box::pin(core.put_wait_down(wait)).await {
                Ok(()) => {}
                // The task's row is damaged: the end of its turn is refused as well, and frees whoever waits.
                Err(Refused::Unreadable(error)) => {
                    return undecodable("steps", error.to_string(), true);
                }
                // A lost claim, and the end of the engine, end the turn.
                Err(Refused::Rejected(_) | Refused::Unknown(_) | Refused::Stopped(_)) => {
                    return std::future::pending().await;
                }
            }
        }
    }
}
