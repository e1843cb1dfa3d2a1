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

/// What stands above the options of each group, which every verb has behind its own.
const PLACE: &str = "Where the tasks are";
const SAYING: &str = "What is shown, and how";

/// Run, watch, repair and show durable tasks.
#[derive(Debug, Parser)]
#[command(
    name = "outlive",
    version,
    max_term_width = 100,
    subcommand_required = true
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    saying: Saying,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Where the tasks are.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = PLACE)]
pub(crate) struct Place {
    /// The file of the tasks, where no engine has it open (OUTLIVE_STORE; default: tasks.redb)
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "url")]
    store: Option<String>,
    /// The server of the tasks: http://host:port or unix:/path (OUTLIVE_URL)
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// A file with the token of the server; or the token in OUTLIVE_TOKEN
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<String>,
    /// A file with settings: lines of `name = value` (OUTLIVE_CONFIG)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<String>,
}

/// How it is said.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = SAYING)]
struct Saying {
    /// table, json (what the API answers, byte for byte) or jsonl (a line for each) (OUTLIVE_OUTPUT)
    #[arg(short, long, global = true, value_name = "FORM")]
    output: Option<String>,
    /// auto, always or never (OUTLIVE_COLOR, NO_COLOR, CLICOLOR_FORCE)
    #[arg(long, global = true, value_name = "WHEN")]
    color: Option<String>,
    /// Says what the engine does, on standard error; -vv and -vvv say more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

impl Args {
    /// What was called; says what is wrong with it, or the help, and ends the process where that is all.
    pub(crate) fn read() -> Args {
        let matches = command().get_matches();
        // What the grammar let through is what the grammar made.
        Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// How much is to be said of what the engine does.
    pub(crate) fn verbose(&self) -> u8 {
        self.saying.verbose
    }

    /// The settings that were given as flags.
    pub(crate) fn flags(&self) -> Vec<(&'static str, String)> {
        let flags = [
            ("store", self.place.store.clone()),
            ("url", self.place.url.clone()),
            ("output", self.saying.output.clone()),
            ("color", self.saying.color.clone()),
            ("config", self.place.config.clone()),
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
    let options = options();
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{verbs}\n{options}{{after-help}}"
    );
    command.help_template(template).after_help(AFTER)
}

/// The options below their headings. Clap writes those with all verbs above them, or without headings: so of a grammar
/// that shows no verbs.
fn options() -> String {
    let hidden = Args::command().mut_subcommands(|verb| verb.hide(true));
    let options = hidden.help_template("{all-args}").render_help();
    options.ansi().to_string().trim_end().to_owned()
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

    /// A heading holds for all that is declared behind it, also in another struct: `-y` was once below the conditions.
    #[test]
    fn an_option_stands_below_the_heading_of_its_group() {
        let mut command = command();
        command.build();
        for verb in command.get_subcommands() {
            for arg in verb.get_arguments() {
                let expected: &[Option<&str>] = match arg.get_id().as_str() {
                    "store" | "url" | "token_file" | "config" => &[Some(PLACE)],
                    "output" | "color" | "verbose" => &[Some(SAYING)],
                    "yes" | "reason" | "force" | "from_start" | "wait" | "wait_timeout" => &[None],
                    "all" => &[Some("Instead of ids")],
                    "status" | "parked" => &[Some("Instead of ids"), Some("Conditions")],
                    "title" | "priority" => &[Some("About the task")],
                    _ => continue,
                };
                let found = arg.get_help_heading();
                let told = (verb.get_name(), arg.get_id());
                assert!(expected.contains(&found), "{told:?} is below {found:?}");
            }
        }
        let help = command.render_help().to_string();
        for heading in [PLACE, SAYING] {
            let lines = help.lines().filter(|line| *line == format!("{heading}:"));
            assert_eq!(lines.count(), 1, "{help}");
        }
        assert!(!help.contains("Commands:"), "{help}");
    }
}
