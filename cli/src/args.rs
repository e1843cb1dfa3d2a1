//! The grammar of the command line: what every verb takes, and the verbs, in groups.

use crate::verbs;
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

/// The verbs by what they are for. Clap knows no groups of verbs, so the list of the help is made of these.
const GROUPS: [(&str, &[&str]); 5] = [
    (
        "Look at tasks",
        &["ls", "show", "explain", "result", "watch", "top", "stats"],
    ),
    (
        "Start and steer them",
        &["start", "steer", "resume", "asks", "answer"],
    ),
    (
        "Stop them, try them again, remove them",
        &["cancel", "terminate", "retry", "rm"],
    ),
    ("The file of the tasks", &["store", "doctor"]),
    (
        "The program itself",
        &["demo", "serve", "config", "completions", "version"],
    ),
];

/// Run, watch, repair and show durable tasks.
#[derive(Debug, Parser)]
#[command(
    name = "outlive",
    version,
    max_term_width = 100,
    subcommand_required = true
)]
pub(crate) struct Args {
    /// The file of the tasks, where no engine has it open (OUTLIVE_STORE; default: tasks.redb)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "url",
        help_heading = "Where and how"
    )]
    store: Option<String>,
    /// The server of the tasks: http://host:port or unix:/path (OUTLIVE_URL)
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Where and how"
    )]
    url: Option<String>,
    /// A file with the token of the server; or the token in OUTLIVE_TOKEN
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Where and how"
    )]
    pub(crate) token_file: Option<String>,
    /// A file with settings: lines of `name = value` (OUTLIVE_CONFIG)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Where and how"
    )]
    pub(crate) config: Option<String>,
    /// table, json (what the API answers, byte for byte) or jsonl (a line for each) (OUTLIVE_OUTPUT)
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORM",
        help_heading = "Where and how"
    )]
    output: Option<String>,
    /// auto, always or never (OUTLIVE_COLOR, NO_COLOR, CLICOLOR_FORCE)
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        help_heading = "Where and how"
    )]
    color: Option<String>,
    /// Says what the engine does, on standard error; -vv and -vvv say more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Where and how")]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Args {
    /// What was called; says what is wrong with it, or the help, and ends the process where that is all.
    pub(crate) fn read() -> Args {
        let matches = command().get_matches();
        // What the grammar let through is what the grammar made.
        Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// The settings that were given as flags.
    pub(crate) fn flags(&self) -> Vec<(&'static str, String)> {
        let flags = [
            ("store", self.store.clone()),
            ("url", self.url.clone()),
            ("output", self.output.clone()),
            ("color", self.color.clone()),
            ("config", self.config.clone()),
        ];
        let given = flags
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        given.collect()
    }
}

/// What is to be done. Each verb has a file of its own below `verbs/`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start a task, or give an input to one that is there
    Start(verbs::start::Start),
    /// Give a task a further input
    Steer(verbs::start::Steer),
    /// List tasks, newest first
    Ls(verbs::ls::Ls),
    /// Show all that is known of a task
    Show(verbs::show::Show),
    /// Say why a task stands where it stands
    Explain(verbs::show::Explain),
    /// Print what a task returned, once it has
    Result(verbs::result::ResultOf),
    /// Follow what a task emits, or what happens to all
    Watch(verbs::watch::Watch),
    /// Show how the engine and its store are, and count tasks
    Stats(verbs::about::Stats),
    /// Tell tasks to end
    Cancel(verbs::orders::Cancel),
    /// Stop tasks at once
    Terminate(verbs::orders::Terminate),
    /// Try tasks again that failed, were stopped, or are quarantined
    Retry(verbs::orders::Retry),
    /// Enter a task once more that waits for an input
    Resume(verbs::orders::Resume),
    /// Remove tasks and all that belongs to them
    Rm(verbs::orders::Rm),
    /// List what tasks ask people
    Asks(verbs::asks::Asks),
    /// Answer a question, once
    Answer(verbs::asks::Answer),
    /// Serve a file over HTTP, without running its tasks
    Serve(verbs::serve::Serve),
    /// Show the settings, and where each comes from
    Config(verbs::about::Config),
    /// Show the versions of the program and of the server
    Version(verbs::about::Version),
    /// Look over, copy, save or move the file of the tasks as a whole
    Store(crate::store::Store),
    /// See in seconds what it is about: twelve stages, a kill, and the rest
    Demo(crate::demo::Demo),
    /// Watch the tasks live, in the terminal
    Top(crate::top::Top),
    /// Check what the tasks need of this machine
    Doctor(crate::doctor::Doctor),
    /// Let the shell complete verbs, flags and ids
    Completions(crate::completions::Completions),
}

/// The whole grammar, with the verbs of the help in their groups.
pub(crate) fn command() -> Command {
    let command = Args::command();
    let mut verbs = String::new();
    for (heading, names) in GROUPS {
        verbs.push_str(&format!("\n{heading}:\n"));
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            verbs.push_str(&format!("  {name:<12} {about}\n"));
        }
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{verbs}\nWhere and how:\n{{options}}{{after-help}}"
    );
    command.help_template(template).after_help(AFTER)
}

/// What every reader of the help is to know.
const AFTER: &str = "\
On a file (--store) each call opens it with an engine that has no handlers, and closes it again: it runs no task. What ran in \
a process that died is put back, its death counted, and waits for the program that has its handler; time-outs, deadlines and \
retention are carried out as by any engine. A file that a program has open is reached through that program, by --url.

`outlive VERB --help` has an example for each verb.
Ends with: 0 done, 2 wrong call, 3 not found, 4 conflict, 5 task failed, 6 cancelled, 7 suspended, 8 store locked or damaged, 9 unreachable, 124 time-out, 1 anything else.";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_grammar_is_one_and_the_help_lists_every_verb_once() {
        command().debug_assert();
        let command = command();
        let all: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        let listed: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        assert_eq!(all.len(), listed.len());
        assert_eq!(BTreeSet::from_iter(all), BTreeSet::from_iter(listed));
    }
}
