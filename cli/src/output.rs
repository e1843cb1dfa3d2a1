//! What is written, and where: data to standard output, everything else to standard error, and nothing of a task's own to
//! a terminal as it is.

use crate::error::CliError;
use crate::exit::Exit;
use crate::safe;
use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::json;
use std::io::{self, IsTerminal, Write};

/// A terminal that is narrower, or does not know, gets lines as long as they are.
const WIDTH_MIN: u16 = 40;

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people.
    Table,
    /// The answer of the API, byte for byte.
    Json,
    /// One line for each thing.
    Jsonl,
}

/// When there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set; elsewhere for `CLICOLOR_FORCE`.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Colour {
    fn choice(self) -> ColorChoice {
        match self {
            Colour::Auto => ColorChoice::Auto,
            Colour::Always => ColorChoice::Always,
            Colour::Never => ColorChoice::Never,
        }
    }

    fn is_on(self, stream: &impl anstream::stream::RawStream) -> bool {
        let choice = match self {
            Colour::Auto => anstream::AutoStream::choice(stream),
            Colour::Always | Colour::Never => self.choice(),
        };
        !matches!(choice, ColorChoice::Never)
    }
}

/// How a piece of text is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
    Busy,
    Waiting,
    Faint,
    Strong,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Tone::Plain => Style::new(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Bad => AnsiColor::Red.on_default(),
            Tone::Busy => AnsiColor::Blue.on_default(),
            Tone::Waiting => AnsiColor::Yellow.on_default(),
            Tone::Faint => Style::new().dimmed(),
            Tone::Strong => Style::new().bold(),
        }
    }

    fn colour(self) -> Option<Color> {
        match self {
            Tone::Plain | Tone::Strong => None,
            Tone::Good => Some(Color::Green),
            Tone::Bad => Some(Color::Red),
            Tone::Busy => Some(Color::Blue),
            Tone::Waiting => Some(Color::Yellow),
            Tone::Faint => Some(Color::DarkGrey),
        }
    }
}

/// Where the answers go, and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) form: Form,
    colour: bool,
    colour_of_errors: bool,
    is_terminal: bool,
}

impl Output {
    pub(crate) fn new(form: Form, colour: Colour) -> Output {
        Output {
            form,
            colour: colour.is_on(&io::stdout()),
            colour_of_errors: colour.is_on(&io::stderr()),
            is_terminal: io::stdout().is_terminal(),
        }
    }

    /// Whether people read it.
    pub(crate) fn is_for_people(&self) -> bool {
        self.form == Form::Table
    }

    /// A body of the API: byte for byte; on a terminal with what could drive it escaped.
    pub(crate) fn json(&self, body: &[u8]) -> Result<(), CliError> {
        if !self.is_terminal && !cfg!(planted = "cli_json_with_a_line_break") {
            return written(body);
        }
        let text = String::from_utf8_lossy(body);
        written(format!("{}\n", safe::json(&text)).as_bytes())
    }

    /// One thing on a line of its own; line breaks between the tokens of a value are taken out.
    pub(crate) fn json_line(&self, value: &str) -> Result<(), CliError> {
        let one_line = value.replace(['\n', '\r'], " ");
        let safe = match self.is_terminal {
            true => safe::json(&one_line).into_owned(),
            false => one_line,
        };
        written(format!("{safe}\n").as_bytes())
    }

    /// Text for people, of one line or several.
    pub(crate) fn text(&self, tone: Tone, text: &str) -> Result<(), CliError> {
        let safe = safe::lines(text);
        written(format!("{}\n", painted(self.colour, tone, &safe)).as_bytes())
    }

    /// A table for people.
    pub(crate) fn table(&self, rows: Rows) -> Result<(), CliError> {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        // What is not shown to anybody is searched and cut: one line for each row.
        let fits = self.is_terminal && table.width().is_some_and(|width| width >= WIDTH_MIN);
        table.set_content_arrangement(match fits {
            true => ContentArrangement::Dynamic,
            false => ContentArrangement::Disabled,
        });
        match self.colour {
            true => table.enforce_styling(),
            false => table.force_no_tty(),
        };
        let cell = |(tone, text): &(Tone, String)| {
            let cell = Cell::new(text);
            match (self.colour, tone) {
                (false, _) => cell,
                (true, Tone::Strong) => cell.add_attribute(Attribute::Bold),
                (true, tone) => tone.colour().map_or(cell.clone(), |colour| cell.fg(colour)),
            }
        };
        if !rows.head.is_empty() {
            let head = rows
                .head
                .iter()
                .map(|name| cell(&(Tone::Strong, (*name).to_owned())));
            table.set_header(head.collect::<Vec<_>>());
        }
        for row in &rows.rows {
            table.add_row(row.iter().map(cell).collect::<Vec<_>>());
        }
        if let Some(first) = table.column_mut(0) {
            first.set_padding((0, 1));
            // It is copied: never in two pieces.
            first.set_constraint(ColumnConstraint::ContentWidth);
        }
        written(format!("{}\n", table.trim_fmt()).as_bytes())
    }

    /// What is not data, for people; said in every form.
    pub(crate) fn note(&self, text: &str) {
        let safe = safe::lines(text);
        // Nobody is left to be told that it cannot be told.
        let _ = writeln!(
            io::stderr(),
            "{}",
            painted(self.colour_of_errors, Tone::Faint, &safe)
        );
    }

    /// What went wrong, what to think of, and the next command: for people, or as one line of JSON.
    pub(crate) fn error(&self, error: &CliError, at: &str) -> Exit {
        let exit = error.exit();
        if error.is_silent() {
            return exit;
        }
        let (hint, next) = (error.hint(), error.next(at));
        let text = if self.is_for_people() {
            let paint = |tone, text: &str| painted(self.colour_of_errors, tone, text);
            let mut text = paint(Tone::Bad, "error: ") + &safe::lines(&error.to_string());
            for (word, said) in [("hint", hint), ("next", next)] {
                if let Some(said) = said {
                    let word = paint(Tone::Faint, &format!("{word}:  "));
                    text.push_str(&format!("\n{word}{}", safe::lines(&said)));
                }
            }
            text
        } else {
            let what = error.to_string();
            let code = match error {
                CliError::Refused(problem) => Some(&problem.code),
                _ => None,
            };
            let told = json!({
                "error": what, "hint": hint, "next": next, "exit": exit.code(), "code": code,
            });
            safe::json(&told.to_string()).into_owned()
        };
        let _ = writeln!(io::stderr(), "{text}");
        exit
    }
}

/// Rows of a table. Whatever is put in is made safe first.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    head: Vec<&'static str>,
    rows: Vec<Vec<(Tone, String)>>,
}

impl Rows {
    /// A table with names over its columns; with none, for pairs of a name and a value.
    pub(crate) fn new(head: &[&'static str]) -> Rows {
        Rows {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// One row.
    pub(crate) fn push<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = (Tone, T)>) {
        let safe = |(tone, text): (Tone, T)| (tone, safe::line(text.as_ref()).into_owned());
        self.rows.push(cells.into_iter().map(safe).collect());
    }

    /// A name and its value.
    pub(crate) fn pair(&mut self, name: &str, (tone, value): (Tone, &str)) {
        self.push([(Tone::Faint, name), (tone, value)]);
    }
}

fn painted(colour: bool, tone: Tone, text: &str) -> String {
    let style = tone.style();
    match colour && style != Style::new() {
        true => format!("{style}{text}{style:#}"),
        false => text.to_owned(),
    }
}

fn written(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(CliError::Output)
}
