//! How far a long verb has come, on standard error, where that is a terminal; nowhere else.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use outlive::store::{OnRepair, Watch};
use std::io::{self, IsTerminal, Read};
use std::sync::Arc;
use std::time::Duration;

/// How often a bar without a length moves.
const TICK: Duration = Duration::from_millis(120);
/// In how many parts a repair tells how far it is.
const REPAIR_PARTS: u64 = 1000;

/// A bar, or nothing.
#[derive(Clone)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar for something that is measured in bytes.
    pub(crate) fn of_bytes(what: &'static str) -> Bar {
        Bar::with(
            what,
            "{msg:>10} {wide_bar} {bytes}/{total_bytes} {elapsed}",
            0,
        )
    }

    /// A bar for something of which nobody knows how long it takes.
    pub(crate) fn of_nothing(what: &'static str) -> Bar {
        let bar = Bar::with(what, "{msg:>10} {spinner} {elapsed}", 0);
        bar.0.enable_steady_tick(TICK);
        bar
    }

    fn with(what: &'static str, template: &str, len: u64) -> Bar {
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(len), target);
        // A template that cannot be read leaves the bar as it is by default.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Bar(bar)
    }

    /// For the calls of the library that say what they have read.
    pub(crate) fn watch(&self) -> Watch {
        let bar = self.0.clone();
        Watch::new(move |progress| {
            bar.set_length(progress.of);
            bar.set_position(progress.done.min(progress.of));
        })
    }

    /// For an open that repairs.
    pub(crate) fn on_repair(&self) -> OnRepair {
        let bar = self.0.clone();
        Arc::new(move |share: f64| {
            bar.set_length(REPAIR_PARTS);
            bar.set_position((share.clamp(0.0, 1.0) * REPAIR_PARTS as f64) as u64);
        })
    }

    /// A reader that tells what is read of so many bytes.
    pub(crate) fn reading<R: Read>(&self, from: R, len: u64) -> impl Read + use<R> {
        self.0.set_length(len);
        self.0.wrap_read(from)
    }

    /// It has come to its end.
    pub(crate) fn done(&self) {
        self.0.finish_and_clear();
    }
}
