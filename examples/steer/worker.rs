//! The process that holds the engine: it hands every line of its input to the agent, and is killed when it pleases others.

use crate::agent::{AGENT, Agent, ID, Order};
use crate::{Failure, Word};
use outlive::{Delivery, Engine, OpenError};
use std::io::BufRead;
use std::path::Path;
use std::time::Duration;

/// Opens the store.
pub(crate) async fn open(store: &Path, directory: &Path) -> Result<Engine, OpenError> {
    let agent = Agent {
        directory: directory.to_owned(),
    };
    Engine::builder(store).handler(AGENT, agent).open().await
}

/// What a line of the user means, and how it comes to the agent.
pub(crate) fn understood(line: &str) -> Option<(Order, Delivery)> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    Some(match (verb, rest) {
        ("read", "") => (Order::Read, Delivery::AfterTurn),
        // A word for the work that runs: it is heard at the next boundary, and interrupts nothing.
        ("focus", word) if !word.is_empty() => {
            (Order::Focus(word.to_owned()), Delivery::AtBoundary)
        }
        ("skip", ending) if !ending.is_empty() => {
            (Order::Skip(ending.to_owned()), Delivery::AtBoundary)
        }
        // A question that has time, and one that has none.
        ("longest", "") => (Order::Longest, Delivery::AfterTurn),
        ("how", "far") => (Order::HowFar, Delivery::Interrupt),
        ("bye", "") => (Order::Bye, Delivery::AfterTurn),
        _ => return None,
    })
}

/// Works until its input ends.
#[tokio::main]
pub(crate) async fn work(store: &Path, directory: &Path) -> Result<(), Failure> {
    let engine = open(store, directory).await?;
    let (sender, mut words) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let lines = std::io::stdin().lock().lines();
        let mut words = lines.map_while(|line| Word::parse(&line.ok()?));
        words.try_for_each(|word| sender.send(word))
    });
    while let Some(Word { id, text }) = words.recv().await {
        let Some((order, delivery)) = understood(&text) else {
            return Err(format!("{text:?} means nothing").into());
        };
        // Given twice, under one id, it is one input: after a kill everything without an answer is given again.
        let given = engine.start(AGENT, ID, &order).input_id(id.as_str());
        let run = given.delivery(delivery).await?;
        println!("accepted {id}");
        tokio::spawn(async move {
            match run.outcome().await {
                Ok(outcome) => println!("answer {id} {} {}", outcome.turn(), outcome.output()),
                Err(error) => println!("failed {id} {error}"),
            }
        });
    }
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
