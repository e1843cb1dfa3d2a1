//! The infrastructure between the benchmark and the model: slow, sometimes overloaded, sometimes down. What it does in
//! one run it does in every run, so that two runs can be compared.

use crate::case::Question;
use crate::ledger::{Entry, Ledger};
use crate::model;
use sha2::{Digest, Sha256};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// One question in so many finds no answer at its first attempt, or all through its first run, or never.
const OVERLOADED_ONE_IN: u64 = 8;
const DOWN_ONE_IN: u64 = 25;
const BROKEN_ONE_IN: u64 = 100;

/// What an answer takes at least and at most.
const LATENCY_MS: std::ops::Range<u64> = 5..20;

/// Why there is no answer. It says nothing about the model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Outage {
    #[error("overloaded; try again in {0:?}")]
    Overloaded(Duration),
    #[error("the model's server is down")]
    Down,
    #[error("the ledger cannot be written: {0}")]
    Ledger(#[from] io::Error),
}

/// How often a question was put before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Try {
    pub(crate) run: u32,
    pub(crate) attempt: u32,
}

#[derive(Clone)]
pub(crate) struct Service {
    ledger: Arc<Ledger>,
}

impl Service {
    pub(crate) fn open(ledger: &Path) -> io::Result<Service> {
        let ledger = Arc::new(Ledger::open(ledger)?);
        Ok(Service { ledger })
    }

    /// The model's answer. A question that was answered under this key before gets the same answer, at no cost: this
    /// is what makes it harmless that a handler is entered again after a crash.
    pub(crate) async fn ask(
        &self,
        key: &str,
        question: &Question,
        this: Try,
    ) -> Result<String, Outage> {
        if let Some(answer) = self.ledger.find(key) {
            return Ok(answer);
        }
        let Question { case, model } = question;
        let spread = hash(&["latency", key]) % (LATENCY_MS.end - LATENCY_MS.start);
        tokio::time::sleep(Duration::from_millis(LATENCY_MS.start + spread)).await;
        outage(&case.prompt, this)?;
        let answer = model::answer(model, &case.prompt);
        self.ledger.append(Entry {
            key: key.to_owned(),
            answer: answer.clone(),
        })?;
        Ok(answer)
    }
}

fn outage(prompt: &str, this: Try) -> Result<(), Outage> {
    let Try { run, attempt } = this;
    if chance(&["broken", prompt], BROKEN_ONE_IN) {
        return Err(Outage::Down);
    }
    if run == 1 && chance(&["down", prompt], DOWN_ONE_IN) {
        return Err(Outage::Down);
    }
    if attempt == 1 && chance(&["overloaded", prompt], OVERLOADED_ONE_IN) {
        return Err(Outage::Overloaded(Duration::from_millis(30)));
    }
    Ok(())
}

/// True for one text in so many, for the same ones each time.
pub(crate) fn chance(texts: &[&str], one_in: u64) -> bool {
    hash(texts).is_multiple_of(one_in)
}

fn hash(texts: &[&str]) -> u64 {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(text);
        digest.update([0]);
    }
    let digest = digest.finalize();
    digest[..8]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
