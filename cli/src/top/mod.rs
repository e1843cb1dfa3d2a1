//! `top`: the tasks live, in the terminal, from a server or a file.

mod board;
mod draw;
mod fetch;
mod keys;

use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use board::{Board, Done};
use clap::Args;
use fetch::Seen;
use keys::Keys;
use ratatui::DefaultTerminal;
use std::future::Future;
use std::io::{self, IsTerminal};
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// What an answer that takes longer says is out of date.
const ANSWER_TIME: Duration = Duration::from_secs(10);

const AFTER: &str = "\
Keys: arrows or j k move, enter explains a task, / filters, esc clears, q ends.
Example: outlive --url http://127.0.0.1:7420 top";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Top {
    /// Seconds between two looks
    #[arg(short = 'n', long, default_value_t = 1.0, value_parser = seconds)]
    interval: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        Ok(_) | Err(_) => Err("give seconds from 0.1 to 3600".to_owned()),
    }
}

impl Top {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(CliError::usage(
                "this is a view for a terminal, and there is none",
                "`outlive ls` and `outlive stats` print the same",
            ));
        }
        // Before the screen is taken: what cannot be reached is told as everywhere else.
        let first = fetch::look(app).await?;
        let failed = |error| CliError::System {
            what: "the terminal cannot be used".to_owned(),
            error,
        };
        let mut stop = Stop::listen().map_err(failed)?;
        // Takes the screen, and gives it back on a panic.
        let mut terminal = ratatui::try_init().map_err(failed)?;
        let shown = self.show(app, first, (&mut terminal, &mut stop)).await;
        ratatui::restore();
        shown.map_err(failed)?;
        Ok(Exit::Done)
    }

    async fn show(
        &self,
        app: &App,
        first: Seen,
        (terminal, stop): (&mut DefaultTerminal, &mut Stop),
    ) -> io::Result<()> {
        let mut board = Board::new(app.place().clone(), first);
        let mut keys = Keys::listen()?;
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(self.interval));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looking: Option<Ahead<'_, Result<Seen, CliError>>> = None;
        let mut explaining: Option<Ahead<'_, Result<String, CliError>>> = None;
        loop {
            terminal.draw(|frame| draw::draw(frame, &mut board))?;
            tokio::select! {
                biased;
                () = stop.come() => return Ok(()),
                key = keys.next() => match key {
                    None => return Ok(()),
                    Some(key) => match board.press(key) {
                        Done::Nothing => {}
                        Done::Quit => return Ok(()),
                        Done::Explain(id) => explaining = Some(Box::pin(async move {
                            fetch::explain(app, &id).await
                        })),
                    },
                },
                seen = ahead(&mut looking) => {
                    looking = None;
                    board.see(seen, Instant::now());
                }
                said = ahead(&mut explaining) => {
                    explaining = None;
                    board.explained(said);
                }
                _ = ticks.tick(), if looking.is_none() => {
                    looking = Some(Box::pin(in_time(fetch::look(app))));
                }
            }
        }
    }
}

type Ahead<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is under way; for ever where nothing is.
async fn ahead<T>(of: &mut Option<Ahead<'_, T>>) -> T {
    match of {
        Some(of) => of.await,
        None => std::future::pending().await,
    }
}

async fn in_time(look: impl Future<Output = Result<Seen, CliError>>) -> Result<Seen, CliError> {
    let late = || CliError::TimedOut {
        what: "no answer yet".to_owned(),
        hint: "see what keeps the server".to_owned(),
        next: "top".to_owned(),
    };
    let seen = tokio::time::timeout(ANSWER_TIME, look).await;
    seen.map_err(|_| late())?
}

/// The wish of somebody else that this ends: the terminal is to be given back then as well.
struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hang_up: tokio::signal::unix::Signal,
}

impl Stop {
    #[cfg(unix)]
    fn listen() -> io::Result<Stop> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Stop {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    #[cfg(not(unix))]
    fn listen() -> io::Result<Stop> {
        Ok(Stop {})
    }

    #[cfg(unix)]
    async fn come(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn come(&mut self) {
        // Without a signal to wait for there is Ctrl-C, which comes as a key.
        std::future::pending().await
    }
}
