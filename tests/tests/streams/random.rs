//! Readers that come, go and come again at random, under failures and restarts at random: all see one sequence.
//!
//! `OUTLIVE_SEED` runs one seed.

use crate::{Seen, TASK, good, memory, on};
use outlive::{Ctx, Engine, HandlerError, RetryPolicy, StreamError, TaskStream};
use std::time::Duration;

const SEEDS: u64 = 50;
const READERS: usize = 20;
/// Items of one whole attempt.
const ITEMS: u32 = 60;

/// Chance that repeats: xorshift64.
#[derive(Debug, Clone)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    async fn pause(&mut self, millis: u64) {
        match self.below(3) {
            0 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(Duration::from_millis(self.below(millis))).await,
        }
    }
}

/// A reader over all its comings and goings.
#[derive(Debug, Default)]
struct Reader {
    position: u64,
    seen: Vec<Seen>,
    is_through: bool,
}

impl Reader {
    /// Reads for a while, or until the engine stops, or until the end.
    async fn read(&mut self, stream: &mut TaskStream<u32>, chance: &mut Chance) {
        for _ in 0..chance.below(80) {
            if chance.below(10) == 0 {
                chance.pause(12).await;
            }
            let patience = Duration::from_millis(1 + chance.below(15));
            let Ok(next) = tokio::time::timeout(patience, stream.next()).await else {
                continue;
            };
            if let Some(Err(StreamError::ShuttingDown)) = next {
                return;
            }
            let event = good(next);
            self.position = stream.position();
            self.seen.push(event.into());
            if let Some(Seen::End(_)) = self.seen.last() {
                assert!(stream.next().await.is_none());
                self.is_through = true;
                return;
            }
        }
    }
}

/// Emits the numbers in order, in whatever way and at whatever pace; fails at times.
async fn emits(ctx: Ctx<u32>, seed: u32) -> Result<u32, HandlerError> {
    let mut chance =
        Chance(u64::from(seed) * 31 + u64::from(ctx.attempt() * 7 + ctx.crashes() + 1));
    let fails_at = (ctx.attempt() < 3).then(|| chance.below(u64::from(ITEMS) * 2));
    for n in 1..=ITEMS {
        if fails_at == Some(u64::from(n)) {
            return Err("a bad day".into());
        }
        match chance.below(6) {
            0 => ctx.emit_durable(n).await?,
            _ => ctx.emit(n).await?,
        };
        if chance.below(4) == 0 {
            chance.pause(9).await;
        }
    }
    Ok(seed)
}

/// One life of the engine, in which readers come and go. True when the task has ended.
async fn one_life(engine: &Engine, readers: &mut [Reader], chance: &Chance, last: bool) -> bool {
    let mut chance = chance.clone();
    let mut reading = tokio::task::JoinSet::new();
    for (at, reader) in readers.iter_mut().enumerate() {
        let mut reader = std::mem::take(reader);
        let (engine, mut chance) = (
            engine.clone(),
            Chance(chance.below(1 << 40) + at as u64 + 1),
        );
        reading.spawn(async move {
            while !reader.is_through {
                chance.pause(30).await;
                let Ok(mut stream) = engine.stream(TASK, "a", reader.position).await else {
                    break;
                };
                reader.read(&mut stream, &mut chance).await;
                if !last && chance.below(4) == 0 {
                    break;
                }
            }
            (at, reader)
        });
    }
    if !last {
        tokio::time::sleep(Duration::from_millis(5 + chance.below(120))).await;
        engine
            .shutdown(Duration::from_millis(chance.below(2)))
            .await;
    }
    while let Some(read) = reading.join_next().await {
        let (at, reader) = read.expect("a reader");
        readers[at] = reader;
    }
    readers.iter().all(|reader| reader.is_through)
}

async fn one_seed(seed: u64) {
    let mut chance = Chance(seed * 7919 + 1);
    let store = memory();
    let def = TASK.retry(RetryPolicy::fixed().initial(Duration::from_millis(3)));
    let open = async || on(&store).task(def, emits).open().await.expect("it opens");
    let mut readers: Vec<Reader> = (0..READERS).map(|_| Reader::default()).collect();
    let engine = open().await;
    engine
        .start(TASK, "a", &(seed as u32))
        .await
        .expect("it starts");
    let mut engine = Some(engine);
    for _ in 0..1 + chance.below(5) {
        let life = match engine.take() {
            Some(engine) => engine,
            None => open().await,
        };
        one_life(&life, &mut readers, &chance, false).await;
        chance.below(9);
    }
    let engine = open().await;
    assert!(
        one_life(&engine, &mut readers, &chance, true).await,
        "seed {seed}"
    );
    let mut whole = Vec::new();
    let mut stream = engine.stream(TASK, "a", 0).await.expect("it is there");
    while let Some(event) = stream.next().await {
        whole.push(Seen::from(event.expect("an event")));
    }
    check(&whole, seed);
    for reader in readers {
        assert_eq!(reader.seen, whole, "seed {seed}");
    }
}

/// Numbered without a gap; and what is not abandoned is what the last attempt emitted, whole and in order.
fn check(whole: &[Seen], seed: u64) {
    let mut kept = Vec::new();
    for (at, seen) in whole.iter().enumerate() {
        let number = at as u64 + 1;
        match seen {
            Seen::Item(sequence, item) => {
                assert_eq!(*sequence, number, "seed {seed}");
                kept.push(*item);
            }
            Seen::Reset(sequence) => {
                assert_eq!(*sequence, number, "seed {seed}");
                kept.clear();
            }
            Seen::Gap(_) => panic!("seed {seed}: a gap at {number}"),
            Seen::End(sequence) => assert_eq!(*sequence + 1, number, "seed {seed}"),
        }
    }
    assert_eq!(kept, (1..=ITEMS).collect::<Vec<_>>(), "seed {seed}");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_readers_at_random_see_one_sequence() {
    if let Some(seed) = std::env::var("OUTLIVE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return one_seed(seed).await;
    }
    for seed in 1..=SEEDS {
        println!("OUTLIVE_SEED={seed}");
        one_seed(seed).await;
    }
}
