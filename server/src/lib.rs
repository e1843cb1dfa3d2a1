//! HTTP and server-sent events for outlive: watch and drive durable tasks from outside.
//!
//! [`router`] makes an [`axum::Router`] of an engine, to be mounted in anyone's application; [`serve`] opens sockets for it
//! and owns the engine's life. Whatever a caller is told is durable: the server has no state of its own.
//!
//! ```
//! use outlive::{Ctx, Engine, HandlerError, TaskDef};
//! const ECHO: TaskDef<String, String> = TaskDef::new("echo").remote(); // may be started from outside
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::in_memory()
//!     .task(ECHO, |_: Ctx, text| async move { Ok::<_, HandlerError>(text) })
//!     .open()
//!     .await?;
//! let application: axum::Router = axum::Router::new().nest("/outlive", outlive_server::router(engine));
//! # Ok(()) }
//! ```
//!
//! # What is safe by default
//!
//! Only definitions that are [`remote`](outlive::TaskDef::remote) take inputs from outside. A request must name a host that
//! is expected ([`Options::host`]), must not come from a foreign page, and must be JSON; sizes, depths, times and numbers
//! are bounded ([`Limits`]). There are no CORS headers. [`serve`] listens on the loopback addresses or on a socket in a
//! directory of its owner's alone; on any other address it requires a token.

mod api;
mod auth;
mod body;
mod caller;
mod conditions;
mod counters;
mod fault;
mod gate;
mod headers;
mod idempotency;
mod limits;
mod names;
mod options;
mod params;
mod prefer;
mod problem;
mod raw;
mod requests;
mod router;
mod serve;
mod settings;
mod sse;
mod state;
mod times;
mod token;
mod view;

pub use limits::Limits;
pub use options::Options;
pub use router::{openapi, router, router_with};
pub use serve::{ServeError, Server, serve};
pub use settings::{InvalidListen, Listen, Origin, Setting, Settings, SettingsError};
pub use token::{Access, InvalidToken, Token, TokenFileError};
