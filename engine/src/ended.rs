//! How a turn ended, in the machine's words: whatever a handler returns or throws becomes one of its ends.

use crate::call::text_of;
use crate::env::micros;
use crate::handler::{CallError, CallResult, ErrorKind, HandlerError, Replied};
use crate::input_error::TakeError;
use crate::machine::TurnEnd;
use crate::registry::Registered;
use crate::value;
use outlive_storage::row::{Failure, FailureKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Longest kept reason of a suspension, in bytes.
const REASON_MAX: usize = 1024;

/// What became of a call, and the large output to keep. A panic comes as its text.
pub(crate) fn turn_end(
    called: Result<CallResult, String>,
    registered: &Registered,
) -> (TurnEnd, Option<Vec<u8>>) {
    let end = match called {
        Ok(Ok(Replied { output, suspend })) => {
            let (output, value) = value::split(output);
            let end = match suspend {
                None => TurnEnd::Succeeded(output),
                Some(reason) => TurnEnd::Suspended {
                    output,
                    reason: cut(reason, REASON_MAX),
                },
            };
            return (end, value);
        }
        Ok(Err(CallError::Undecodable { what, expected })) => undecodable(what, expected, false),
        Ok(Err(CallError::Failed(error))) => failed(error, registered),
        Ok(Err(CallError::Output(message))) => {
            let terminal = !cfg!(planted = "unkept_output_retried");
            ended_badly(FailureKind::Output, message, terminal)
        }
        Err(panic) => ended_badly(
            FailureKind::Panic,
            panic,
            cfg!(planted = "panic_not_retried"),
        ),
    };
    (end, None)
}

/// What the turn needs cannot be read; whether its handler was entered.
pub(crate) fn undecodable(what: &str, expected: String, entered: bool) -> TurnEnd {
    TurnEnd::Undecodable {
        what: what.into(),
        expected: cut(expected, Failure::MESSAGE_MAX),
        entered,
    }
}

fn ended_badly(kind: FailureKind, message: String, terminal: bool) -> TurnEnd {
    let failure = Failure {
        kind,
        message: cut(message, Failure::MESSAGE_MAX),
        chain: Vec::new(),
        attempts: 0,
    };
    TurnEnd::Failed {
        failure,
        terminal,
        retry_after_us: None,
    }
}

/// The failure as it is kept. Text, sources and drop of an error, and a predicate on it, are the user's code: a panic
/// in them is a panic.
fn failed(error: HandlerError, registered: &Registered) -> TurnEnd {
    let described = catch_unwind(AssertUnwindSafe(move || match error.kind() {
        ErrorKind::Cancelled => TurnEnd::Cancelled,
        ErrorKind::Terminal => describe(&error, true),
        ErrorKind::Retryable if unreadable(&error).is_some() => {
            let expected = unreadable(&error).unwrap_or_default();
            undecodable("taken input", expected, true)
        }
        ErrorKind::Retryable => {
            let retry_if = registered.retry_if.as_ref();
            let refused = retry_if.is_some_and(|retry_if| !retry_if(&error));
            describe(&error, refused && !cfg!(planted = "predicate_ignored"))
        }
    }));
    described.unwrap_or_else(|panic| {
        let terminal = cfg!(planted = "predicate_panic_is_terminal");
        ended_badly(FailureKind::Panic, text_of(panic), terminal)
    })
}

/// What an error says of an input that the turn took and cannot read: that parks the task, and never fails it.
fn unreadable(error: &HandlerError) -> Option<String> {
    let error = error.error().downcast_ref::<TakeError>()?;
    match error {
        TakeError::Undecodable { expected, .. } if !cfg!(planted = "unreadable_take_fails") => {
            Some(expected.to_string())
        }
        TakeError::Undecodable { .. }
        | TakeError::TurnOver
        | TakeError::KeyUsed { .. }
        | TakeError::InvalidKey { .. }
        | TakeError::TooMany { .. }
        | TakeError::ShuttingDown
        | TakeError::Store(_) => None,
    }
}

fn describe(error: &HandlerError, terminal: bool) -> TurnEnd {
    let mut chain = Vec::new();
    let mut source = error.error().source();
    while let Some(cause) = source.filter(|_| chain.len() < Failure::CHAIN_MAX) {
        chain.push(cut(cause.to_string(), Failure::MESSAGE_MAX));
        source = cause.source();
    }
    let failure = Failure {
        kind: FailureKind::Error,
        message: cut(error.to_string(), Failure::MESSAGE_MAX),
        chain,
        attempts: 0,
    };
    let own_delay = error
        .delay()
        .filter(|_| !cfg!(planted = "own_delay_ignored"));
    TurnEnd::Failed {
        failure,
        terminal,
        retry_after_us: own_delay.map(micros),
    }
}

/// Cuts a text to what a row keeps, at a character's edge.
pub(crate) fn cut(mut text: String, max: usize) -> Box<str> {
    let fits = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=max.min(text.len())).rev().find(fits).unwrap_or(0);
    text.truncate(end);
    text.into()
}
