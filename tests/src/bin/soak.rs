//! Runs everything at random for a long time in one process and requires that nothing is lost, doubled, or grows:
//! `soak [MINUTES]` (60).
//!
//! The engine is stopped and opened again every few seconds, in each way there is. `OUTLIVE_SEED` repeats the order of
//! what is done, as far as the scheduling lets it.

use outlive::{Engine, OpenError};
use outlive_tests::chance::Chance;
use outlive_tests::soak::content::{self, FILE_MAX};
use outlive_tests::soak::jobs::Jobs;
use outlive_tests::soak::samples::{Line, Sample, line};
use outlive_tests::soak::work::{self, World};
use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const MINUTES_DEFAULT: f64 = 60.0;
const CALLERS: usize = 24;
/// The longest life of an engine.
const LIFE_MAX_MS: u64 = 6000;
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// Samples of the second half from which on a growth is judged, those of a run of forty minutes: the log of transitions
/// grows to its million first, and what is in the file with it.
const JUDGED_FROM: usize = 600;
/// What may be grown by in the second half, as a part of the mean, or of what was in the file before.
const GROWTH_MAX: f64 = 0.1;
/// The file is free by then, whatever the handlers do.
const FREE_WITHIN: Duration = Duration::from_secs(10);

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> Result<ExitCode, Failed> {
    let minutes: f64 = match env::args().nth(1) {
        Some(minutes) => minutes.parse()?,
        None => MINUTES_DEFAULT,
    };
    let seed = match env::var("OUTLIVE_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64,
    };
    println!("seed {seed}");
    let runtime = workers()?;
    let directory = tempfile::tempdir()?;
    let soak = Soak {
        path: directory.path().join("tasks.redb"),
        jobs: Arc::default(),
        world: Arc::default(),
    };
    runtime.block_on(soak.run(Duration::from_secs_f64(minutes * 60.0), Chance(seed)))
}

fn workers() -> std::io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_time().build()
}

struct Soak {
    path: PathBuf,
    jobs: Arc<Jobs>,
    world: Arc<World>,
}

/// How a life ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// In order, with so many milliseconds of grace.
    Shutdown(u64),
    /// The engine is dropped in the middle of everything.
    Dropped,
    /// The runtime of its handlers goes first.
    WithoutRuntime,
}

impl Soak {
    async fn run(&self, length: Duration, mut chance: Chance) -> Result<ExitCode, Failed> {
        let began = Instant::now();
        let samples = tokio::spawn(sampled(self.path.clone(), began, length));
        let mut lives = 0;
        let mut early = None;
        while began.elapsed() < length {
            let end = match chance.below(3) {
                0 => End::Dropped,
                1 => End::WithoutRuntime,
                _ => End::Shutdown(chance.below(300)),
            };
            let life = Duration::from_millis(chance.below(LIFE_MAX_MS));
            self.life(life.min(length.saturating_sub(began.elapsed())), end)
                .await?;
            lives += 1;
            // Before the second half, for a copy takes memory and holds pages of the file.
            if early.is_none() && began.elapsed() * 5 >= length * 2 {
                early = Some(self.content().await?);
            }
        }
        self.jobs.closing.store(true, Ordering::Relaxed);
        self.last_life().await?;
        let content = [early.unwrap_or_default(), self.content().await?];
        Ok(self.report((lives, began.elapsed()), &samples.await?, content))
    }

    async fn life(&self, length: Duration, end: End) -> Result<(), Failed> {
        let handlers = workers()?;
        let engine = self.open(&handlers).await?;
        let mut callers = self.callers(&engine);
        callers.spawn(Arc::clone(&self.jobs).look(engine.clone()));
        tokio::time::sleep(length).await;
        match end {
            End::Shutdown(grace) => {
                engine.shutdown(Duration::from_millis(grace)).await;
            }
            End::WithoutRuntime => {
                handlers.shutdown_background();
                engine.shutdown(Duration::ZERO).await;
                return joined(callers).await;
            }
            End::Dropped => {
                // Each has a handle of its own.
                callers.shutdown().await;
                drop(engine);
            }
        }
        joined(callers).await?;
        handlers.shutdown_background();
        Ok(())
    }

    /// Nothing new is begun, and everything ends.
    async fn last_life(&self) -> Result<(), Failed> {
        let handlers = workers()?;
        let engine = self.open(&handlers).await?;
        let callers = self.callers(&engine);
        joined(callers).await?;
        engine.shutdown(Duration::from_secs(1)).await;
        handlers.shutdown_background();
        Ok(())
    }

    /// How many MiB are in the file.
    async fn content(&self) -> Result<f64, Failed> {
        let handlers = workers()?;
        let engine = self.open(&handlers).await?;
        let directory = self.path.parent().ok_or("a file is in a directory")?;
        let content = content::content(&engine, directory).await?;
        engine.shutdown(Duration::ZERO).await;
        handlers.shutdown_background();
        Ok(content)
    }

    fn callers(&self, engine: &Engine) -> JoinSet<()> {
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (jobs, world) = (Arc::clone(&self.jobs), Arc::clone(&self.world));
            let engine = engine.clone();
            callers.spawn(async move { jobs.call(&engine, &world).await });
        }
        callers
    }

    /// Opens the file, which the last handlers of the engine before may still hold for a moment.
    async fn open(&self, handlers: &Runtime) -> Result<Engine, Failed> {
        let began = Instant::now();
        loop {
            let builder = work::builder(&self.path, &self.world, handlers.handle().clone());
            match builder.open().await {
                Err(OpenError::AlreadyRunning { pid, .. })
                    if pid == Some(std::process::id()) && began.elapsed() < FREE_WITHIN =>
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                opened => return Ok(opened?),
            }
        }
    }

    fn report(
        &self,
        (lives, length): (u64, Duration),
        samples: &[Sample],
        [early, at_end]: [f64; 2],
    ) -> ExitCode {
        let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let (jobs, world) = (&self.jobs, &self.world);
        let lines = [
            ("resident MiB", line(samples, |sample| sample.resident)),
            ("descriptors", line(samples, |sample| sample.descriptors)),
        ];
        let told = lines.map(|(what, line)| match line {
            Some(Line { mean, per_hour }) => format!("{what} {mean:.1} {per_hour:+.2}/h"),
            None => format!("{what} not measured"),
        });
        let largest = samples.iter().map(|sample| sample.file).fold(0.0, f64::max);
        let (lost, doubled, wrong) = (of(&jobs.lost), of(&world.doubled), of(&jobs.wrong));
        println!(
            "{} streams read whole, {} given up for coming back too late, {} samples, {} left waiting, {} remembered",
            of(&jobs.streams),
            of(&jobs.late),
            samples.len(),
            jobs.waiting(),
            world.remembers()
        );
        println!(
            "{:.1} min, {lives} lives, {} handlers entered, {} tasks ended and checked, {lost} lost, {doubled} doubled, {wrong} wrong; mean and slope of the second half: {}; {early:.1} MiB in the file after two fifths of it, {at_end:.1} at the end, {largest:.1} its largest size",
            length.as_secs_f64() / 60.0,
            of(&world.entered),
            of(&jobs.done),
            told.join(", ")
        );
        let half = length.as_secs_f64() / 2.0;
        let judged = samples.len() / 2 >= JUDGED_FROM;
        let grows = |line: &Line| line.per_hour / 3600.0 * half > line.mean * GROWTH_MAX;
        let growing = judged
            && (lines
                .iter()
                .any(|(_, line)| line.as_ref().is_some_and(grows))
                || at_end > early * (1.0 + GROWTH_MAX)
                || largest > at_end * FILE_MAX);
        if growing {
            println!("something grows");
        }
        if growing || lost + doubled + wrong > 0 || of(&jobs.done) == 0 {
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

async fn joined(mut callers: JoinSet<()>) -> Result<(), Failed> {
    while let Some(ended) = callers.join_next().await {
        ended?;
    }
    Ok(())
}

/// Looks every few seconds.
async fn sampled(path: PathBuf, began: Instant, length: Duration) -> Vec<Sample> {
    let mut samples = Vec::new();
    while began.elapsed() < length {
        tokio::time::sleep(SAMPLE_EVERY).await;
        match sample(&path, began) {
            Ok(sample) => samples.push(sample),
            Err(error) => println!("nothing measured: {error}"),
        }
    }
    samples
}

fn sample(path: &Path, began: Instant) -> std::io::Result<Sample> {
    let sample = Sample::take(began.elapsed().as_secs_f64(), path)?;
    if env::var_os("OUTLIVE_SAMPLES").is_some() {
        println!("{sample:?}");
    }
    Ok(sample)
}
