//! A test kit for tasks of your own: kills the engine at each commit in turn, and looks whether it made a difference.
//!
//! It is there with the feature `testing`, which belongs under `[dev-dependencies]`, because it turns on `test-util` of
//! tokio:
//!
//! ```toml
//! [dev-dependencies]
//! outlive = { path = "../outlive/engine", features = ["testing"] }
//! ```
//!
//! A [`CrashTest`] runs a scenario in this process, in memory and on virtual time, so that a back-off of hours costs
//! nothing. It counts the commits of an undisturbed run. Then it runs the scenario anew for each of them, twice: with the
//! engine killed just before the commit is applied, and just after it was, before anybody is answered. Another engine opens
//! what the store then holds, the script is run again, as a caller would be, and the run goes to its end. There the checks
//! must hold, and the script's result must be that of the undisturbed run.
//!
//! Here a handler pays outside of a step, and is found out; in a step that takes an idempotency key it pays once:
//!
//! ```
//! use outlive::testing::{CrashTest, Effects, Problem, Side};
//! use outlive::{Ctx, HandlerError, StepOptions, TaskDef};
//! const PAY: TaskDef<u64, String> = TaskDef::new("pay");
//!
//! async fn careless(_: Ctx, cents: u64, bank: Effects) -> Result<String, HandlerError> {
//!     bank.record("payment");
//!     Ok(format!("paid {cents}"))
//! }
//!
//! async fn careful(ctx: Ctx, cents: u64, bank: Effects) -> Result<String, HandlerError> {
//!     let pay = ctx.step_with("pay", StepOptions::new(), |s| {
//!         bank.record_once(s.effect_id(), "payment");
//!         async move { Ok::<_, std::io::Error>(format!("paid {cents}")) }
//!     });
//!     Ok(pay.await?)
//! }
//!
//! /// Whatever the handler, the invoice is paid once.
//! fn paid_once<F>(handler: fn(Ctx, u64, Effects) -> F) -> CrashTest<'static, Effects, String>
//! where
//!     F: Future<Output = Result<String, HandlerError>> + Send + 'static,
//! {
//!     CrashTest::new(Effects::new)
//!         .engine(move |builder, bank| {
//!             let bank = bank.clone();
//!             builder.task(PAY, move |ctx, cents| handler(ctx, cents, bank.clone()))
//!         })
//!         .script(async |engine, _| {
//!             let run = engine.start(PAY, "invoice-7", &100).input_id("once").await?;
//!             Ok(run.result().await?)
//!         })
//!         .check(|bank, _| assert_eq!(bank.count("payment"), 1))
//! }
//!
//! let failure = paid_once(careless).try_run().unwrap_err();
//! assert!(matches!(failure.problem, Problem::Check(_)));
//! println!("{failure}"); // what was wrong, where the engine died, and how to run this case alone
//! # assert_eq!((failure.crashes[0].commit, failure.crashes[0].side), (3, Side::Before));
//!
//! let report = paid_once(careful).double_crashes(10).run();
//! assert_eq!(report.cases, 2 * report.commits.len());
//! ```
//!
//! # What a crash is here
//!
//! Nothing more of the killed engine reaches the store, and nobody is answered by it: not the script, not a handler. Their
//! futures are dropped where they await, and so is whatever they spawned on tokio. Whatever was acknowledged before is in
//! the store; of the commit at which the engine dies either all is there or nothing. The clock goes on where it was.
//!
//! # What it does not show
//!
//! - It kills between what a handler does, not within: of two effects without a commit in between, both happen or none. An
//!   effect whose order against a commit matters stands on one side of it in each case.
//! - Drops: a killed process runs no destructor, a dropped future does. [`Effects`] ignores what they do; a world of your own
//!   sees it.
//! - Blocking handlers and other threads run on when the engine dies, with time to end of 1 s, and may act on the world
//!   after its death, as no killed process could.
//! - What is kept outside of the world and of the engine (a `static`, a variable that the closure of
//!   [`CrashTest::engine`] captures) survives a crash here and would not in truth. Make it in that closure.
//! - The disk: the store is in memory here. Torn writes, full disks and lost syncs are not tried.
//!
//! # The same run every time
//!
//! Time here is virtual, begins at the present time in each run, and goes on only while everybody waits; a seed chooses
//! where there is a choice. For a run to be the same every time the script names the ids of its tasks and inputs, and
//! handlers keep `SystemTime::now()`, threads and real connections out of what decides their commits. Where a case is not
//! reached because a run made fewer commits than before, that is a [`Problem`], not silence.

mod case;
mod crash_test;
mod effects;
mod failure;
mod life;
mod problem;
mod report;
mod store;
mod words;

#[doc(hidden)]
pub use crate::failpoint::{Armed, Failpoint, arm};
pub use crate::wall_clock::WallClock;
pub use case::{Crash, Side};
pub use crash_test::{CrashTest, NoScript, ScriptError, Verdict};
pub use effects::Effects;
pub use failure::Failure;
pub use problem::Problem;
pub use report::Report;
