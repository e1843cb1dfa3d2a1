//! Many callers in a closed loop: each sends its next call when the last was answered.

use crate::Failed;
use crate::numbers::percentile;
use std::future::Future;
use std::time::{Duration, Instant};

/// How many call, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Callers, each with one call under way.
    pub callers: usize,
    /// Answers before it are not counted.
    pub warm_up: Duration,
    /// The span in which answers are counted.
    pub measured: Duration,
}

/// What the callers saw.
#[derive(Debug)]
pub struct Seen {
    /// Answers a second.
    pub per_second: f64,
    latencies_ms: Vec<f64>,
}

impl Seen {
    /// The time from a call to its answer that `share` of the calls did not exceed, in milliseconds.
    #[must_use]
    pub fn latency_ms(&self, share: f64) -> f64 {
        percentile(self.latencies_ms.iter().copied(), share)
    }
}

impl Load {
    /// Calls until the time is over. `call` is given the caller's number, from 0.
    ///
    /// # Errors
    /// The first failed call's.
    pub async fn run<F, Fut>(self, call: F) -> Result<Seen, Failed>
    where
        F: Fn(usize) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<(), Failed>> + Send,
    {
        let begin = Instant::now() + self.warm_up;
        let end = begin + self.measured;
        let callers: Vec<_> = (0..self.callers)
            .map(|number| {
                let call = call.clone();
                tokio::spawn(async move {
                    let mut latencies_ms = Vec::new();
                    loop {
                        let sent = Instant::now();
                        if sent >= end {
                            return Ok::<_, Failed>(latencies_ms);
                        }
                        call(number).await?;
                        let answered = Instant::now();
                        if (begin..end).contains(&answered) {
                            latencies_ms.push((answered - sent).as_secs_f64() * 1e3);
                        }
                    }
                })
            })
            .collect();
        let mut latencies_ms = Vec::new();
        for caller in callers {
            latencies_ms.extend(caller.await??);
        }
        Ok(Seen {
            per_second: latencies_ms.len() as f64 / self.measured.as_secs_f64(),
            latencies_ms,
        })
    }
}
