//! A deadline: a moment, and the line of time on which it comes.

use super::Micros;
use serde::{Deserialize, Serialize};

/// A line of time: what counts until a deadline.
///
/// The wall clock steps, and stops counting for nobody; the monotonic clock does neither, but ends with its process.
/// So a moment that somebody named is on the wall clock, and a duration is on a line that goes on with the monotonic
/// clock, [`Line::Own`] or one that began at a jump; these differ in how far they are from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Line {
    /// The engine's own time: the wall clock as read at the open, and the monotonic clock from there on.
    Own,
    /// The wall clock as it is read at each look.
    Wall,
    /// No clock: it has come whenever somebody looks, also after the wall clock was set back. The moment only says who
    /// comes first.
    AtOnce,
    /// The engine's own time after the wall clock had jumped: moved so that both agreed again. In a later life it is
    /// [`Line::Own`], for that life began by reading the wall clock.
    Jump {
        /// The first etag that the life had to give, so that no two lives share a line; at least 1.
        life: u64,
        /// How far it is ahead of the life's own time.
        ahead_us: i64,
    },
}

impl Line {
    /// The line as numbers, for keys and headers.
    pub(crate) fn parts(self) -> (u64, i64) {
        match self {
            Line::Own => (0, 0),
            Line::Wall => (0, 1),
            Line::AtOnce => (0, 2),
            Line::Jump { life, ahead_us } => (life, ahead_us),
        }
    }

    /// The line of these numbers, `None` when no line has them.
    pub(crate) fn of_parts(life: u64, ahead_us: i64) -> Option<Line> {
        match (life, ahead_us) {
            (0, 0) => Some(Line::Own),
            (0, 1) => Some(Line::Wall),
            (0, 2) => Some(Line::AtOnce),
            (0, _) => None,
            (1.., _) => Some(Line::Jump { life, ahead_us }),
        }
    }
}

/// A moment on a line of time. Its number agreed with the wall clock when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Deadline {
    /// What counts until it.
    pub line: Line,
    /// The moment.
    pub at: Micros,
}

impl Deadline {
    /// [`Micros::NEVER`]: no line comes to it.
    pub const NEVER: Deadline = Deadline::own(Micros::NEVER);
    /// [`Micros::AT_OPEN`]: no line comes to it.
    pub const AT_OPEN: Deadline = Deadline::own(Micros::AT_OPEN);
    /// [`Micros::ISOLATED`]: no line comes to it.
    pub const ISOLATED: Deadline = Deadline::own(Micros::ISOLATED);

    /// A moment of the engine's own time.
    pub const fn own(at: Micros) -> Deadline {
        let line = Line::Own;
        Deadline { line, at }
    }

    /// A moment of the wall clock as it is read.
    pub const fn wall(at: Micros) -> Deadline {
        let line = Line::Wall;
        Deadline { line, at }
    }

    /// Has come, among others of its kind with this moment as its place.
    pub const fn at_once(at: Micros) -> Deadline {
        let line = Line::AtOnce;
        Deadline { line, at }
    }

    /// The same, but a real moment however far away: those after the last real one stand for waits that no time ends.
    #[must_use]
    pub fn real(self) -> Deadline {
        Deadline {
            at: self.at.min(Micros::LAST),
            ..self
        }
    }
}

/// What the lines of time show at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The engine's own time.
    pub own: Micros,
    /// The wall clock as read.
    pub wall: Micros,
    /// Names the lines that began in this life, as in [`Line::Jump`]; zero while none can begin.
    pub life: u64,
    /// How far the line on which durations begin is ahead of the engine's own time; zero while it is that itself.
    pub ahead_us: i64,
}

impl Times {
    /// Where no clock ever jumped, every line shows the same.
    pub const fn still(at: Micros) -> Times {
        Times {
            own: at,
            wall: at,
            life: 0,
            ahead_us: 0,
        }
    }

    /// The line on which durations begin: it counts by the monotonic clock, and agrees with the wall clock as read.
    pub fn present(&self) -> Line {
        let Times { life, ahead_us, .. } = *self;
        if ahead_us == 0 || cfg!(planted = "durations_begin_on_own_time") {
            return Line::Own;
        }
        Line::Jump { life, ahead_us }
    }

    /// What the present line shows: what is written down as the time of something.
    pub fn now(&self) -> Micros {
        self.on(self.present())
    }

    /// What a line shows. It never comes to what stands for "not by time".
    pub fn on(&self, line: Line) -> Micros {
        let at = match line {
            Line::Own => self.own,
            Line::Wall if cfg!(planted = "wall_not_read_again") => self.own,
            Line::Wall => self.wall,
            Line::AtOnce if cfg!(planted = "at_once_by_the_clock") => self.own,
            Line::AtOnce => Micros::LAST,
            Line::Jump { life, ahead_us }
                if life == self.life && !cfg!(planted = "jump_moves_durations") =>
            {
                Micros(self.own.0.saturating_add_signed(ahead_us))
            }
            Line::Jump { ahead_us, .. } if cfg!(planted = "earlier_life_counts_on") => {
                Micros(self.own.0.saturating_add_signed(ahead_us))
            }
            Line::Jump { .. } => self.own,
        };
        at.min(last())
    }

    /// Whether the deadline has come.
    pub fn reached(&self, deadline: Deadline) -> bool {
        self.on(deadline.line) >= deadline.at
    }

    /// How long until the deadline comes, if no clock jumps in between; zero when it has come.
    pub fn left_us(&self, deadline: Deadline) -> u64 {
        let now = self.on(deadline.line);
        deadline.at.0.saturating_sub(now.0)
    }

    /// When the engine's own time comes to the deadline, or came, if no clock jumps in between.
    pub fn in_own_time(&self, deadline: Deadline) -> Micros {
        let now = self.on(deadline.line);
        let ahead_us = deadline.at.0.saturating_sub(now.0);
        let behind_us = now.0.saturating_sub(deadline.at.0);
        Micros(self.own.plus(ahead_us).0.saturating_sub(behind_us))
    }

    /// So long from now, by the monotonic clock; after a restart, when the wall clock comes to where it would be then.
    pub fn after(&self, us: u64) -> Deadline {
        Deadline {
            line: self.present(),
            at: self.now().plus(us),
        }
    }
}

/// The last moment to which a line comes.
pub(crate) fn last() -> Micros {
    if cfg!(planted = "isolated_is_due") {
        return Micros::ISOLATED;
    }
    Micros::LAST
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_YEARS: i64 = 10 * 365 * 86_400_000_000;
    const NOON: Micros = Micros(1_700_000_000_000_000);

    fn jumped(ahead_us: i64) -> Times {
        Times {
            wall: Micros(NOON.0.saturating_add_signed(ahead_us)),
            life: 7,
            ahead_us,
            ..Times::still(NOON)
        }
    }

    #[test]
    fn a_jump_moves_no_duration_that_had_begun() {
        let hour = Times::still(NOON).after(3_600);
        for ahead_us in [TEN_YEARS, -TEN_YEARS, 1] {
            assert_eq!(jumped(ahead_us).left_us(hour), 3_600);
        }
    }

    #[test]
    fn a_duration_that_begins_after_a_jump_agrees_with_the_wall_clock() {
        for ahead_us in [TEN_YEARS, -TEN_YEARS] {
            let times = jumped(ahead_us);
            let hour = times.after(3_600);
            assert_eq!(hour.at, times.wall.plus(3_600));
            assert_eq!(times.left_us(hour), 3_600);
            let again = Times {
                ahead_us: 0,
                ..times
            };
            assert_eq!(again.left_us(hour), 3_600, "the next jump does not move it");
        }
    }

    #[test]
    fn a_line_of_an_earlier_life_counts_from_the_wall_clock_of_the_open() {
        let hour = jumped(TEN_YEARS).after(3_600);
        let reopened = Times {
            life: 8,
            ..Times::still(hour.at)
        };
        assert!(reopened.reached(hour));
    }

    #[test]
    fn what_is_due_at_once_is_due_after_the_clock_was_set_back() {
        let due = Deadline::at_once(NOON);
        assert!(Times::still(Micros(1)).reached(due));
    }

    #[test]
    fn no_line_comes_to_what_is_not_by_time() {
        let late = Times {
            ahead_us: i64::MAX,
            life: 1,
            ..Times::still(Micros::NEVER)
        };
        for deadline in [Deadline::NEVER, Deadline::AT_OPEN, Deadline::ISOLATED] {
            assert!(!late.reached(deadline));
        }
        assert!(late.reached(Deadline::wall(Micros::NEVER).real()));
        assert!(late.reached(late.after(u64::MAX)));
    }

    #[test]
    fn every_line_comes_back_from_its_numbers() {
        let (life, ahead_us) = (9, -5);
        let jump = Line::Jump { life, ahead_us };
        for line in [Line::Own, Line::Wall, Line::AtOnce, jump] {
            let (life, ahead_us) = line.parts();
            assert_eq!(Line::of_parts(life, ahead_us), Some(line));
        }
        assert_eq!(Line::of_parts(0, 3), None);
    }
}
