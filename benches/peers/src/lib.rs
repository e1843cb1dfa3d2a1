//! One peer under one load, in a process of its own: what its callers saw, and what it cost.
//!
//! A program that measures a peer is given, in this order: the peer's name, how many call, the milliseconds of warm-up
//! and of measurement, and a directory of its own. It tells what it saw as lines `name=value`.

mod sqlite;
mod waiting;

pub use sqlite::Pragmas;
pub use waiting::Waiting;

use outlive_benches::callers::{Load, Seen};
use outlive_benches::{Failed, process};
use rustix::time::{ClockId, clock_gettime};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long callers wait for late answers after a measurement, before a peer counts as one that has stalled.
const LATE: Duration = Duration::from_secs(15);

/// An engine that runs a task which does nothing.
pub trait Peer: Clone + Send + 'static {
    /// Opens it on a new file with what suits many tasks for many tasks that must be durable.
    fn open(case: &Case) -> impl Future<Output = Result<Self, Failed>> + Send;

    /// Starts a task and answers when its completion is durable, as far as its settings make it.
    fn one(&self, caller: usize) -> impl Future<Output = Result<(), Failed>> + Send;

    /// The settings in force, read back from the engine where it tells them.
    fn settings(&self) -> impl Future<Output = Result<String, Failed>> + Send;
}

/// What a process measures.
#[derive(Debug, Clone)]
pub struct Case {
    /// Which peer.
    pub peer: String,
    /// How many call, and for how long.
    pub load: Load,
    /// An empty directory on the disk that is measured.
    pub directory: PathBuf,
}

impl Case {
    /// The case that the arguments of this process name, if there are any.
    ///
    /// # Errors
    /// Arguments that name none.
    pub fn from_arguments() -> Result<Option<Self>, Failed> {
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        if arguments.is_empty() {
            return Ok(None);
        }
        let [peer, callers, warm_up, measured, directory] = arguments.as_slice() else {
            return Err("give no argument at all: PEER CALLERS WARM_UP_MS MEASURED_MS DIRECTORY is for the program itself".into());
        };
        Ok(Some(Self {
            peer: peer.clone(),
            load: Load {
                callers: callers.parse()?,
                warm_up: Duration::from_millis(warm_up.parse()?),
                measured: Duration::from_millis(measured.parse()?),
            },
            directory: directory.into(),
        }))
    }

    /// The arguments that name this case.
    #[must_use]
    pub fn arguments(&self) -> [String; 5] {
        [
            self.peer.clone(),
            self.load.callers.to_string(),
            self.load.warm_up.as_millis().to_string(),
            self.load.measured.as_millis().to_string(),
            self.directory.display().to_string(),
        ]
    }
}

/// What one process saw; nothing where a peer does not tell.
///
/// A peer that answers less than once for each caller while it is measured, or that stalls, has the rate of its whole run
/// up to its last answer, and no times.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// Tasks a second, from start to durable completion.
    pub per_second: f64,
    /// The time of a task that half of them did not exceed, in milliseconds.
    pub p50_ms: Option<f64>,
    /// The time of a task that 99 of 100 did not exceed, in milliseconds.
    pub p99_ms: Option<f64>,
    /// Processor time of the whole process for each task, in microseconds.
    pub cpu_us: f64,
    /// The most resident memory, in MiB.
    pub peak_mib: f64,
    /// The settings in force.
    pub settings: String,
    /// It left callers without an answer until they were given up.
    pub stalled: bool,
}

impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "per_second={}", self.per_second)?;
        for (name, value) in [("p50_ms", self.p50_ms), ("p99_ms", self.p99_ms)] {
            if let Some(value) = value {
                writeln!(out, "{name}={value}")?;
            }
        }
        writeln!(out, "cpu_us={}", self.cpu_us)?;
        writeln!(out, "peak_mib={}", self.peak_mib)?;
        writeln!(out, "settings={}", self.settings)?;
        writeln!(out, "stalled={}", self.stalled)
    }
}

impl FromStr for Told {
    type Err = Failed;

    /// Of what a process printed; lines that peers print of their own accord are passed over.
    fn from_str(printed: &str) -> Result<Self, Failed> {
        let value = |name: &str| {
            let lines = printed.lines();
            let mut named = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            named.next()
        };
        let number = |name: &str| value(name).map(str::parse).transpose();
        let missing = |name: &str| Failed::from(format!("it does not tell {name}"));
        Ok(Self {
            per_second: number("per_second")?.ok_or_else(|| missing("its rate"))?,
            p50_ms: number("p50_ms")?,
            p99_ms: number("p99_ms")?,
            cpu_us: number("cpu_us")?.ok_or_else(|| missing("its processor time"))?,
            peak_mib: number("peak_mib")?.ok_or_else(|| missing("its memory"))?,
            settings: value("settings").unwrap_or_default().to_owned(),
            stalled: value("stalled") == Some("true"),
        })
    }
}

/// Puts the load of `case` on a peer.
///
/// # Errors
/// The peer's, or it answers nobody.
pub async fn measure<P: Peer>(case: &Case) -> Result<Told, Failed> {
    measure_within::<P>(case, LATE).await
}

/// As [`measure`]; after `late` beyond the load, calls that have no answer are given up.
async fn measure_within<P: Peer>(case: &Case, late: Duration) -> Result<Told, Failed> {
    let peer = P::open(case).await?;
    let settings = peer.settings().await?;
    let answers = Arc::new(Answers::of(case.load.callers));
    let counted = Arc::clone(&answers);
    let (began, spent) = (Instant::now(), cpu());
    let run = case.load.run(move |caller| {
        let (peer, counted) = (peer.clone(), Arc::clone(&counted));
        async move {
            peer.one(caller).await?;
            counted.one_more(caller, began);
            Ok(())
        }
    });
    let end = case.load.warm_up + case.load.measured + late;
    let seen = tokio::time::timeout(end, run).await.ok().transpose()?;
    let spent = cpu() - spent;
    let answered = answers.completed();
    if answered == 0 {
        return Err(format!("not one answer within {end:?}").into());
    }
    let whole = answered as f64 / answers.until().as_secs_f64();
    // Of fewer answers than callers the window holds the luckiest alone: their times would flatter it.
    let enough = |seen: &Seen| {
        seen.per_second * case.load.measured.as_secs_f64() >= case.load.callers as f64
    };
    let stalled = seen.is_none();
    let seen = seen.filter(enough);
    Ok(Told {
        per_second: seen.as_ref().map_or(whole, |seen| seen.per_second),
        p50_ms: seen.as_ref().map(|seen| seen.latency_ms(0.5)),
        p99_ms: seen.as_ref().map(|seen| seen.latency_ms(0.99)),
        cpu_us: spent.as_secs_f64() * 1e6 / answered as f64,
        peak_mib: process::now()?.peak_mib,
        settings,
        stalled,
    })
}

/// The answers of a whole run, warm-up and late ones with them, of each caller by itself: callers that count in one place wait
/// for each other there.
#[derive(Debug)]
struct Answers(Vec<OfCaller>);

/// Alone on its lines of the cache.
#[derive(Debug, Default)]
#[repr(align(128))]
struct OfCaller {
    completed: AtomicU64,
    last_micros: AtomicU64,
}

impl Answers {
    fn of(callers: usize) -> Self {
        Self((0..callers).map(|_| OfCaller::default()).collect())
    }

    fn one_more(&self, caller: usize, began: Instant) {
        let micros = began.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
        let of_caller = &self.0[caller];
        of_caller.last_micros.fetch_max(micros, Ordering::AcqRel);
        of_caller.completed.fetch_add(1, Ordering::AcqRel);
    }

    fn completed(&self) -> u64 {
        let each = self.0.iter();
        each.map(|caller| caller.completed.load(Ordering::Acquire))
            .sum()
    }

    /// From the first call to the last answer.
    fn until(&self) -> Duration {
        let each = self.0.iter();
        let last = each.map(|caller| caller.last_micros.load(Ordering::Acquire));
        Duration::from_micros(last.max().unwrap_or_default().max(1))
    }
}

/// Processor time of this process and of its threads, in user and system mode.
#[must_use]
pub fn cpu() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        spent.tv_sec.try_into().unwrap_or_default(),
        spent.tv_nsec.try_into().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    /// A peer that answers its first call at once, and each other after the milliseconds that its name says, or never.
    #[derive(Debug, Clone)]
    struct Slow {
        others: Option<Duration>,
        calls: Arc<AtomicU64>,
    }

    impl Peer for Slow {
        async fn open(case: &Case) -> Result<Self, Failed> {
            Ok(Self {
                others: case.peer.parse().ok().map(Duration::from_millis),
                calls: Arc::default(),
            })
        }

        async fn one(&self, _caller: usize) -> Result<(), Failed> {
            if self.calls.fetch_add(1, Ordering::Relaxed) == 0 {
                return Ok(());
            }
            match self.others {
                Some(others) => tokio::time::sleep(others).await,
                None => pending().await,
            }
            Ok(())
        }

        async fn settings(&self) -> Result<String, Failed> {
            Ok(String::new())
        }
    }

    async fn told(
        peer: &str,
        callers: usize,
        measured: Duration,
        late: Duration,
    ) -> Result<Told, Failed> {
        let case = Case {
            peer: peer.to_owned(),
            load: Load {
                callers,
                warm_up: Duration::ZERO,
                measured,
            },
            directory: PathBuf::new(),
        };
        measure_within::<Slow>(&case, late).await
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_peer_that_answers_every_caller_has_times() {
        let told = told("1", 1, SECOND / 2, 20 * SECOND).await;
        let told = told.expect("it answers");
        assert!(told.p50_ms.is_some() && !told.stalled);
    }

    #[tokio::test]
    async fn fewer_answers_than_callers_are_a_rate_of_the_whole_run_without_times() {
        let told = told("100", 2, SECOND / 20, 20 * SECOND).await;
        let told = told.expect("it answers");
        assert_eq!(
            (told.p50_ms, told.p99_ms, told.stalled),
            (None, None, false)
        );
        // In what is measured, each answer would be 20 a second.
        let answers = told.per_second / 20.0;
        assert!(answers.fract() > 0.0, "{}", told.per_second);
    }

    #[tokio::test]
    async fn a_peer_that_stalls_ends_and_has_the_rate_up_to_its_last_answer() {
        let told = told("never", 2, SECOND / 20, SECOND).await;
        let told = told.expect("it answers one");
        assert_eq!((told.p50_ms, told.stalled), (None, true));
        // Until it was given up, its one answer would be fewer than 1 a second.
        assert!(told.per_second > 1.0, "{}", told.per_second);
    }

    #[test]
    fn what_a_process_tells_is_read_back_among_lines_of_others() {
        let told = Told {
            per_second: 12.5,
            p50_ms: Some(0.25),
            p99_ms: None,
            cpu_us: 3.0,
            peak_mib: 4.5,
            settings: "WAL, synchronous=FULL".to_owned(),
            stalled: true,
        };
        let printed = format!("a log line\n{told}another\n");
        assert_eq!(printed.parse::<Told>().expect("it is complete"), told);
    }
}
