//! Sleeps of handlers under a wall clock that jumps.

use super::{DAY, HOUR, SECOND, TEN_YEARS, World, assert_after, close, crash};
use outlive::{Builder, Ctx, Engine, HandlerError, TaskDef};
use outlive_tests::gate::Notes;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

const NAP: TaskDef<Nap, ()> = TaskDef::new("nap");

/// How long, or until when: microseconds since 1970.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
enum Nap {
    For(Duration),
    Until(u64),
}

/// When sleepers woke.
#[derive(Clone, Default)]
struct Awake(Notes<(Instant, SystemTime)>);

impl Awake {
    fn builder(&self, world: &World) -> Builder {
        let (awake, wall) = (self.0.clone(), world.wall.clone());
        world.builder().task(NAP, move |ctx: Ctx, nap| {
            let (awake, wall) = (awake.clone(), wall.clone());
            async move {
                match nap {
                    Nap::For(length) => ctx.sleep("nap", length).await?,
                    Nap::Until(us) => {
                        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(us);
                        ctx.sleep_until("nap", at).await?;
                    }
                }
                awake.add((Instant::now(), wall.now()));
                Ok::<_, HandlerError>(())
            }
        })
    }

    async fn open(&self, world: &World) -> Engine {
        self.builder(world).open().await.expect("it opens")
    }
}

fn until(at: SystemTime) -> Nap {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Nap::Until(u64::try_from(since.as_micros()).unwrap())
}

/// Both those that stay in memory and those that leave it.
const LENGTHS: [Duration; 2] = [Duration::from_secs(20), HOUR];

#[tokio::test(start_paused = true)]
async fn a_sleep_is_moved_by_no_jump() {
    for length in LENGTHS {
        for ahead in [true, false] {
            let (world, awake) = (World::new(), Awake::default());
            let engine = awake.open(&world).await;
            let began = Instant::now();
            engine.start(NAP, "a", &Nap::For(length)).await.unwrap();
            tokio::time::sleep(length / 2).await;
            match ahead {
                true => world.wall.jump_ahead(TEN_YEARS),
                false => world.wall.jump_back(TEN_YEARS),
            }
            tokio::time::sleep(length * 2).await;
            let woke = awake.0.take();
            assert_eq!(woke.len(), 1);
            assert_after(woke[0].0, began, length);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sleep_until_a_moment_follows_the_wall_clock_through_jumps_and_suspends() {
    for left in LENGTHS {
        let (world, awake) = (World::new(), Awake::default());
        let engine = awake.open(&world).await;
        let moment = world.wall.now() + DAY + left;
        engine.start(NAP, "a", &until(moment)).await.unwrap();
        tokio::time::sleep(SECOND).await;
        // The night of a laptop.
        world.wall.jump_ahead(DAY);
        tokio::time::sleep(left / 2).await;
        assert_eq!(awake.0.len(), 0, "never early");
        world.wall.jump_back(HOUR);
        tokio::time::sleep(left).await;
        assert_eq!(awake.0.len(), 0, "never early");
        world.wall.jump_ahead(TEN_YEARS);
        let jumped = Instant::now();
        tokio::time::sleep(SECOND * 2).await;
        let woke = awake.0.take();
        assert_eq!(woke.len(), 1);
        assert!(woke[0].1 >= moment);
        assert_after(woke[0].0, jumped, Duration::ZERO);
    }
}

/// What was slept before the jump is not slept again, and the jump is not slept either.
#[tokio::test(start_paused = true)]
async fn a_sleep_that_began_after_a_jump_is_as_long_through_a_crash() {
    for length in LENGTHS {
        for ahead in [true, false] {
            let (world, awake) = (World::new(), Awake::default());
            let engine = awake.open(&world).await;
            match ahead {
                true => world.wall.jump_ahead(TEN_YEARS),
                false => world.wall.jump_back(TEN_YEARS),
            }
            tokio::time::sleep(SECOND).await;
            let began = Instant::now();
            engine.start(NAP, "a", &Nap::For(length)).await.unwrap();
            tokio::time::sleep(length / 2).await;
            crash(engine).await;
            let _engine = awake.open(&world).await;
            tokio::time::sleep(length * 2).await;
            let woke = awake.0.take();
            assert_eq!(woke.len(), 1);
            assert_after(woke[0].0, began, length);
        }
    }
}

/// It had woken, its process died before it was through, and the clock was set back meanwhile.
#[tokio::test(start_paused = true)]
async fn a_sleep_that_is_over_is_not_slept_again_under_a_clock_that_was_set_back() {
    let world = World::new();
    let naps = Notes::default();
    let builder = |naps: Notes<Instant>| {
        world.builder().task(NAP, move |ctx: Ctx, _| {
            let naps = naps.clone();
            async move {
                ctx.sleep("nap", HOUR).await?;
                naps.add(Instant::now());
                if ctx.crashes() == 0 && naps.len() == 1 {
                    std::future::pending::<()>().await;
                }
                Ok::<_, HandlerError>(())
            }
        })
    };
    let engine = builder(naps.clone()).open().await.unwrap();
    engine.start(NAP, "a", &Nap::For(HOUR)).await.unwrap();
    tokio::time::sleep(HOUR + SECOND).await;
    assert_eq!(naps.len(), 1, "it woke");
    close(engine).await;
    world.wall.jump_back(DAY);
    let engine = builder(naps.clone()).open().await.unwrap();
    let opened = Instant::now();
    let run = engine.attach(NAP, "a").await.unwrap();
    run.result().await.unwrap();
    assert_after(naps.take()[1], opened, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn sleepers_wake_in_the_order_of_their_times() {
    const SLEEPERS: u64 = 2_000;
    let (world, awake) = (World::new(), Notes::default());
    let noted = awake.clone();
    let builder = world
        .builder()
        .max_running(1)
        .task(NAP, move |ctx: Ctx, nap| {
            let noted = noted.clone();
            async move {
                let Nap::For(length) = nap else { return Ok(()) };
                ctx.sleep("nap", length).await?;
                noted.add(length);
                Ok::<_, HandlerError>(())
            }
        });
    let engine = builder.open().await.unwrap();
    for sleeper in 0..SLEEPERS {
        // An order of its own, and no two alike.
        let rank = sleeper * 7_919 % SLEEPERS;
        let length = HOUR + SECOND * u32::try_from(rank).unwrap();
        let id = sleeper.to_string();
        engine.start(NAP, &id, &Nap::For(length)).await.unwrap();
    }
    tokio::time::sleep(HOUR * 2).await;
    let woke = awake.take();
    assert_eq!(woke.len(), usize::try_from(SLEEPERS).unwrap());
    assert!(woke.is_sorted(), "the one that is over first wakes first");
}
