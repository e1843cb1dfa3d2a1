//! What is counted and measured, for the `metrics` facade; without the feature of that name nothing is.
//!
//! The names are those of [`telemetry`](crate::telemetry).

#[cfg(not(feature = "metrics"))]
pub(crate) use off::{Running, describe, transition, under_commit};
#[cfg(feature = "metrics")]
pub(crate) use on::{Running, describe, transition, under_commit};

#[cfg(not(feature = "metrics"))]
mod off {
    use crate::env::Clock;
    use outlive_storage::row::{EventKind, TaskRow};

    pub(crate) fn describe() {}

    pub(crate) fn transition(_what: EventKind, _name: &str) {}

    pub(crate) fn under_commit<T>(_clock: &Clock, commit: impl FnOnce() -> T) -> T {
        commit()
    }

    /// Held while a handler runs.
    pub(crate) struct Running;

    impl Running {
        pub(crate) fn begin(_clock: Clock, _row: &TaskRow, _name: &str) -> Running {
            Running
        }

        pub(crate) fn ended(self) {}
    }
}

#[cfg(feature = "metrics")]
mod on {
    use crate::env::Clock;
    use crate::telemetry::{
        COMMIT_SECONDS, ENDED, RECOVERED, RETRIED, RUNNING, STARTED, TURN_SECONDS,
    };
    use metrics::{Gauge, Unit, counter, gauge, histogram};
    use outlive_storage::row::{EventKind, Micros, State, TaskRow};

    /// Tells the recorder what each name means.
    pub(crate) fn describe() {
        use metrics::{describe_counter, describe_gauge, describe_histogram};
        describe_counter!(STARTED, "runs of tasks begun");
        describe_counter!(ENDED, "runs of tasks ended, by outcome");
        describe_counter!(
            RECOVERED,
            "turns entered again because their process was gone"
        );
        describe_counter!(RETRIED, "failed attempts that another one follows");
        describe_gauge!(RUNNING, "handlers that run");
        describe_histogram!(
            TURN_SECONDS,
            Unit::Seconds,
            "from claim to end of an attempt"
        );
        describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "a commit of the store");
    }

    /// Counts a transition that is durable.
    pub(crate) fn transition(what: EventKind, name: &str) {
        let count = |counted| counter!(counted, "name" => name.to_owned()).increment(1);
        let ended = |outcome: &'static str| {
            counter!(ENDED, "name" => name.to_owned(), "outcome" => outcome).increment(1);
        };
        match what {
            EventKind::Started | EventKind::Restarted | EventKind::RetriedAfterEnd => {
                count(STARTED);
            }
            EventKind::Recovered => count(RECOVERED),
            EventKind::BackedOff => count(RETRIED),
            EventKind::Succeeded => ended("succeeded"),
            EventKind::Failed => ended("failed"),
            EventKind::Cancelled => ended("cancelled"),
            EventKind::Terminated => ended("terminated"),
            EventKind::TimedOut => ended("timed_out"),
            // The others begin or end no run.
            _ => {}
        }
    }

    /// Measures a commit.
    pub(crate) fn under_commit<T>(clock: &Clock, commit: impl FnOnce() -> T) -> T {
        let began = clock.own();
        let committed = commit();
        histogram!(COMMIT_SECONDS).record(seconds(began, clock.own()));
        committed
    }

    /// Held while a handler runs, and counted as long; measured from the claim of its attempt, if it comes to an end.
    pub(crate) struct Running {
        clock: Clock,
        began: Micros,
        name: String,
        gauge: Gauge,
    }

    impl Running {
        pub(crate) fn begin(clock: Clock, row: &TaskRow, name: &str) -> Running {
            let began = match &row.state {
                State::InProgress { started_at, .. } => *started_at,
                State::Pending { .. } | State::Suspended { .. } | State::Completed { .. } => {
                    row.updated_at
                }
            };
            let gauge = gauge!(RUNNING, "name" => name.to_owned());
            gauge.increment(1.0);
            Running {
                clock,
                began,
                name: name.to_owned(),
                gauge,
            }
        }

        pub(crate) fn ended(self) {
            let took = seconds(self.began, self.clock.now());
            histogram!(TURN_SECONDS, "name" => self.name.clone()).record(took);
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.gauge.decrement(1.0);
        }
    }

    fn seconds(from: Micros, to: Micros) -> f64 {
        to.0.saturating_sub(from.0) as f64 / 1e6
    }
}
