//! What the engine tells of itself: events and spans under stable names, and what it counts.

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use outlive::{Ctx, Engine, FactsError, HandlerError, StartError, TaskDef, telemetry};
use outlive_storage::row::{GuardPhase, LifeRow, Micros};
use outlive_storage::{MemStore, Store};
use outlive_tests::play::{Act, PLAY, Play, fail_until, held, say};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

const NO_GRACE: Duration = Duration::ZERO;
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

type Fields = BTreeMap<String, String>;

/// One event, and the attempt in whose span it was told.
#[derive(Debug, Clone)]
struct Told {
    target: String,
    fields: Fields,
    attempt: Option<Fields>,
}

impl Told {
    fn says(&self, message: &str) -> bool {
        self.fields
            .get("message")
            .is_some_and(|said| said == message)
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// Writes fields down as text.
struct Written<'a>(&'a mut Fields);

impl Visit for Written<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

/// Collects what the whole program tells, of whatever thread: tests look for their own tasks in it.
#[derive(Debug, Clone, Default)]
struct Collected(Arc<Mutex<Vec<Told>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collected {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if span.name() == telemetry::ATTEMPT && *span.metadata().target() == *telemetry::TASK {
            let mut fields = Fields::new();
            attributes.record(&mut Written(&mut fields));
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Written(&mut fields));
        let span = context.event_span(event);
        let attempt = span.and_then(|span| span.extensions().get::<Fields>().cloned());
        self.0.lock().push(Told {
            target: event.metadata().target().to_owned(),
            fields,
            attempt,
        });
    }
}

/// What was told so far, of which `wanted` is true.
fn told(wanted: impl Fn(&Told) -> bool) -> Vec<Told> {
    let all = collected().0.lock();
    all.iter().filter(|told| wanted(told)).cloned().collect()
}

/// Begins to collect; each test does so before it opens an engine.
fn collected() -> &'static Collected {
    static COLLECTED: OnceLock<Collected> = OnceLock::new();
    COLLECTED.get_or_init(|| {
        let collected = Collected::default();
        let subscriber = Registry::default().with(collected.clone());
        tracing::subscriber::set_global_default(subscriber).expect("the only one");
        collected
    })
}

async fn in_memory(play: &Play) -> Engine {
    collected();
    let builder = Engine::in_memory().task(PLAY, play.handler());
    builder.open().await.expect("it opens")
}

fn names(fields: &Fields) -> BTreeSet<&str> {
    fields.keys().map(String::as_str).collect()
}

#[tokio::test(start_paused = true)]
async fn each_transition_is_told_under_stable_names() {
    let engine = in_memory(&Play::default()).await;
    let run = engine
        .start(PLAY, "transitions", &fail_until(1, say("x")))
        .await;
    run.unwrap().result().await.unwrap();
    let of_task = |told: &Told| told.target == telemetry::TASK && told.field("id") == "transitions";
    let told = told(of_task);
    let what: Vec<&str> = told.iter().map(|told| told.field("what")).collect();
    let claimed = what.iter().filter(|what| **what == "Claimed").count();
    let others: Vec<_> = what.into_iter().filter(|what| *what != "Claimed").collect();
    assert_eq!(others, ["Started", "BackedOff", "Succeeded"]);
    assert!(
        claimed >= 1,
        "the second attempt, and the first unless it was claimed with the start"
    );
    let stable = [
        "message",
        "id",
        "name",
        "task",
        "what",
        "status",
        "detail",
        "run",
        "turn",
        "attempt",
        "crashes",
        "generation",
        "etag",
    ];
    for one in &told {
        assert_eq!(names(&one.fields), BTreeSet::from(stable));
        assert!(one.says("task") && one.field("name") == PLAY.name());
    }
    let last = told.last().unwrap();
    assert_eq!(
        (last.field("status"), last.field("attempt")),
        ("completed", "2")
    );
    let etags = told
        .iter()
        .map(|told| told.field("etag").parse::<u64>().unwrap());
    assert!(etags.is_sorted(), "in the order of their commits");
}

/// Says something that a subscriber can find, and which claim it ran under.
fn mark(ctx: &Ctx) {
    let generation = ctx.generation();
    tracing::info!(target: "test::mark", task = %ctx.id(), generation, "here");
}

fn marks(id: &str) -> Vec<Told> {
    told(|told| told.target == "test::mark" && told.field("task") == id)
}

const MARKED: TaskDef<u32, u32> = TaskDef::new("marked");

/// Fails so often, and leaves a mark each time.
async fn marked(ctx: Ctx, failures: u32) -> Result<u32, HandlerError> {
    // Also after it has waited.
    tokio::time::sleep(Duration::from_millis(1)).await;
    mark(&ctx);
    if ctx.attempt() <= failures {
        return Err("once more".into());
    }
    Ok(failures)
}

#[tokio::test(start_paused = true)]
async fn a_handler_runs_in_the_span_of_its_attempt() {
    collected();
    let engine = Engine::in_memory()
        .task(MARKED, marked)
        .open()
        .await
        .unwrap();
    let start = engine.start(MARKED, "spans", &1).traceparent(TRACE);
    start.await.unwrap().result().await.unwrap();
    let marks = marks("spans");
    let spans: Vec<_> = marks
        .iter()
        .map(|mark| mark.attempt.clone().expect("a span"))
        .collect();
    assert_eq!(spans.len(), 2);
    let stable = [
        "id",
        "name",
        "run",
        "turn",
        "attempt",
        "entry",
        "generation",
        "traceparent",
    ];
    for (mark, span) in marks.iter().zip(&spans) {
        assert_eq!(names(span), BTreeSet::from(stable));
        assert_eq!((&*span["id"], &*span["name"]), ("spans", "marked"));
        assert_eq!((&*span["run"], &*span["turn"]), ("1", "1"));
        assert_eq!(span["generation"], mark.field("generation"));
        assert_eq!(span["traceparent"], TRACE);
    }
    assert_eq!((&*spans[0]["attempt"], &*spans[0]["entry"]), ("1", "fresh"));
    assert_eq!(
        (&*spans[1]["attempt"], &*spans[1]["entry"]),
        ("2", "retried")
    );
}

#[tokio::test(start_paused = true)]
async fn a_recovered_attempt_says_so_and_one_without_a_trace_has_none() {
    collected();
    let (store, play) = (Arc::new(MemStore::new()), Play::default());
    let held_up = play.clone();
    let handler = move |ctx: Ctx, (): ()| {
        let gate = held_up.gate.clone();
        async move {
            mark(&ctx);
            gate.pass().await;
            Ok::<_, HandlerError>(())
        }
    };
    const HELD: TaskDef<(), ()> = TaskDef::new("held");
    let open = async || {
        let builder = Engine::on_store(Arc::clone(&store) as Arc<dyn Store>).inline();
        builder.task(HELD, handler.clone()).open().await.unwrap()
    };
    let engine = open().await;
    engine.start(HELD, "recovered", &()).await.unwrap();
    play.gate.came(1).await;
    engine.shutdown(NO_GRACE).await;
    drop(engine);
    let _engine = open().await;
    play.gate.came(1).await;
    let spans: Vec<_> = marks("recovered")
        .into_iter()
        .map(|mark| mark.attempt.expect("a span"))
        .collect();
    let entries: Vec<_> = spans.iter().map(|span| span["entry"].as_str()).collect();
    assert_eq!(entries, ["fresh", "recovered"]);
    assert!(spans.iter().all(|span| !span.contains_key("traceparent")));
    let generation = |span: &Fields| span["generation"].parse::<u64>().unwrap();
    assert!(generation(&spans[0]) < generation(&spans[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_handler_runs_in_its_span_on_its_own_thread() {
    const BLOCKS: TaskDef<(), ()> = TaskDef::new("blocks");
    collected();
    let block = |ctx: Ctx, (): ()| {
        mark(&ctx);
        Ok::<_, HandlerError>(())
    };
    let engine = Engine::on_store(Arc::new(MemStore::new())).blocking(BLOCKS, block);
    engine
        .open()
        .await
        .unwrap()
        .run(BLOCKS, "blocking", &())
        .await
        .unwrap();
    let marks = marks("blocking");
    let span = marks[0].attempt.as_ref().expect("a span");
    assert_eq!(
        (marks.len(), &*span["id"], &*span["name"]),
        (1, "blocking", "blocks")
    );
    assert_eq!(span["generation"], marks[0].field("generation"));
}

/// The opens of the engine with this owner name.
fn opens(owner: &str) -> Vec<Told> {
    told(|told| {
        told.target == telemetry::ENGINE && told.says("engine.open") && told.field("owner") == owner
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_tells_what_it_opened() {
    collected();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    for _ in 0..2 {
        let engine = Engine::builder(&path).owner("opener").open().await.unwrap();
        engine.shutdown(NO_GRACE).await;
    }
    let opens = opens("opener");
    let stable = [
        "message",
        "version",
        "file",
        "format",
        "size_bytes",
        "instance",
        "owner",
        "created",
        "clean",
        "repaired",
        "took_us",
    ];
    for open in &opens {
        assert_eq!(names(&open.fields), BTreeSet::from(stable));
        assert_eq!(open.field("file"), path.display().to_string());
        assert_eq!((open.field("format"), open.field("clean")), ("1", "true"));
        assert!(open.field("size_bytes").parse::<u64>().unwrap() > 0);
        assert!(open.field("took_us").parse::<u64>().unwrap() > 0);
        assert_eq!(open.field("instance").len(), 32);
    }
    let created: Vec<_> = opens.iter().map(|open| open.field("created")).collect();
    assert_eq!(created, ["true", "false"]);
    assert_ne!(opens[0].field("instance"), opens[1].field("instance"));
}

#[tokio::test(start_paused = true)]
async fn an_open_after_a_death_says_so_and_the_scan_what_it_found() {
    collected();
    let store = Arc::new(MemStore::new());
    let died = LifeRow {
        instance: 7,
        opened_at: Micros(1),
        phase: GuardPhase::Calm,
        stopped_at: None,
    };
    store.put_life(&died).unwrap();
    let engine = Engine::on_store(store)
        .inline()
        .owner("heir")
        .open()
        .await
        .unwrap();
    engine.recovery().await;
    let opens = opens("heir");
    assert_eq!(
        (opens.len(), opens[0].field("clean"), opens[0].field("file")),
        (1, "false", "")
    );
    let scans = told(|told| told.target == telemetry::RECOVERY && told.says("recovery.scan"));
    let stable = [
        "message",
        "found",
        "dispatched",
        "waiting_handler",
        "isolated",
        "cancelled",
        "quarantined",
        "took_us",
    ];
    assert!(
        scans
            .iter()
            .any(|scan| names(&scan.fields) == BTreeSet::from(stable)),
        "{scans:?}"
    );
}

#[tokio::test]
async fn a_trace_context_of_another_form_is_refused_and_nothing_is_written() {
    let engine = in_memory(&Play::default()).await;
    let long = format!(
        "01-{}-{}-01-{}",
        "a".repeat(32),
        "b".repeat(16),
        "c".repeat(300)
    );
    let upper = TRACE.to_uppercase();
    let bad = [
        "",
        "trace",
        &TRACE[1..],
        &TRACE[..54],
        &upper,
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        &long,
    ];
    for bad in bad {
        let refused = engine.start(PLAY, "a", &say("x")).traceparent(bad).await;
        let Err(StartError::Facts(FactsError::Traceparent { given })) = refused else {
            panic!("{bad:?}: {refused:?}")
        };
        assert_eq!(given, bad);
    }
    assert!(engine.get("a").await.unwrap().is_none());
    // A later version may say more, and is kept as it came.
    let later = format!("cc{}-what-comes-then", &TRACE[2..]);
    for (id, good) in [("a", TRACE), ("b", &later)] {
        engine
            .start(PLAY, id, &say("x"))
            .traceparent(good)
            .await
            .unwrap();
        let kept = engine.get(id).await.unwrap().unwrap().traceparent;
        assert_eq!(kept.as_deref(), Some(good));
    }
}

/// A metric by its name and its labels, as text.
type Metric = String;

/// What was counted and measured.
#[derive(Debug, Default)]
struct Meters(Mutex<BTreeMap<Metric, Vec<f64>>>);

/// One meter, which keeps the value of a counter or a gauge, and each value of a histogram.
struct Meter(Arc<Meters>, Metric);

impl Meter {
    fn change(&self, change: impl FnOnce(&mut f64)) {
        let mut all = self.0.0.lock();
        let values = all.entry(self.1.clone()).or_insert_with(|| vec![0.0]);
        change(&mut values[0]);
    }
}

impl CounterFn for Meter {
    fn increment(&self, by: u64) {
        self.change(|value| *value += by as f64);
    }

    fn absolute(&self, to: u64) {
        self.change(|value| *value = to as f64);
    }
}

impl GaugeFn for Meter {
    fn increment(&self, by: f64) {
        self.change(|value| *value += by);
    }

    fn decrement(&self, by: f64) {
        self.change(|value| *value -= by);
    }

    fn set(&self, to: f64) {
        self.change(|value| *value = to);
    }
}

impl HistogramFn for Meter {
    fn record(&self, value: f64) {
        self.0
            .0
            .lock()
            .entry(self.1.clone())
            .or_default()
            .push(value);
    }
}

#[derive(Debug, Default)]
struct Recording(Arc<Meters>);

impl Recording {
    fn meter(&self, key: &Key) -> Arc<Meter> {
        let mut labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        labels.sort();
        let metric = format!("{} {}", key.name(), labels.join(","));
        Arc::new(Meter(Arc::clone(&self.0), metric.trim_end().to_owned()))
    }

    /// The values of a metric; none when nothing was ever told of it.
    fn values(&self, name: &str, labels: &str) -> Vec<f64> {
        let metric = format!("{name} {labels}");
        self.0
            .0
            .lock()
            .get(metric.trim_end())
            .cloned()
            .unwrap_or_default()
    }
}

impl Recorder for Recording {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.meter(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.meter(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.meter(key))
    }
}

#[tokio::test(start_paused = true)]
async fn runs_retries_recoveries_and_times_are_counted() {
    let recording = Recording::default();
    // On this thread alone, on which the engine lives as well.
    let _recorder = metrics::set_default_local_recorder(&recording);
    let (store, play) = (Arc::new(MemStore::new()), Play::default());
    let open = async || {
        let builder = Engine::on_store(Arc::clone(&store) as Arc<dyn Store>).inline();
        builder.task(PLAY, play.handler()).open().await.unwrap()
    };
    let engine = open().await;
    engine
        .run(PLAY, "well", &fail_until(2, say("x")))
        .await
        .unwrap();
    let never = Act::Never("no".to_owned());
    engine.run(PLAY, "badly", &never).await.unwrap_err();
    engine
        .start(PLAY, "cancelled", &say("x"))
        .start_in(Duration::from_secs(9))
        .await
        .unwrap();
    engine.cancel("cancelled", "enough").await.unwrap();
    engine.start(PLAY, "runs", &held(say("x"))).await.unwrap();
    play.gate.came(1).await;
    assert_eq!(recording.values(telemetry::RUNNING, "name=play"), [1.0]);
    tokio::time::advance(Duration::from_secs(3)).await;
    engine.shutdown(NO_GRACE).await;
    assert_eq!(recording.values(telemetry::RUNNING, "name=play"), [0.0]);
    drop(engine);
    let engine = open().await;
    play.gate.let_through(1);
    engine
        .attach(PLAY, "runs")
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    engine
        .retry(PLAY, "badly")
        .await
        .unwrap()
        .result()
        .await
        .unwrap_err();

    let count = |name: &str, labels: &str| recording.values(name, labels);
    assert_eq!(count(telemetry::STARTED, "name=play"), [5.0]);
    assert_eq!(count(telemetry::RETRIED, "name=play"), [2.0]);
    assert_eq!(count(telemetry::RECOVERED, "name=play"), [1.0]);
    for (outcome, ended) in [("succeeded", 2.0), ("failed", 2.0), ("cancelled", 1.0)] {
        let labels = format!("name=play,outcome={outcome}");
        assert_eq!(count(telemetry::ENDED, &labels), [ended], "{outcome}");
    }
    assert!(count(telemetry::ENDED, "name=play,outcome=terminated").is_empty());
    let turns = count(telemetry::TURN_SECONDS, "name=play");
    assert_eq!(
        turns.len(),
        6,
        "three attempts, two failures, and the one that was recovered"
    );
    assert!(
        turns.iter().any(|seconds| *seconds > 2.9),
        "from its first claim: {turns:?}"
    );
    let commits = count(telemetry::COMMIT_SECONDS, "");
    assert!(commits.len() >= 10, "{commits:?}");
}
