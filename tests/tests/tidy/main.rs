//! The rules of the house that a program can check: each is a function over one file, each is shown to refuse a sample.

mod source;

use std::collections::BTreeSet;
use std::fs;

use source::Source;

const FILE_LINES_MAX: usize = 800;
const LIBRARY_FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Says what is wrong with a file, one sentence per finding.
type Rule = fn(&Source) -> Vec<String>;

/// Requires that the rule refuses the sample, so that it is not one that cannot fail, and that the repository keeps it.
#[track_caller]
fn holds(rule: Rule, sample_path: &str, sample: &str) {
    assert!(
        !rule(&Source::new(sample_path, sample)).is_empty(),
        "the rule accepts what it should refuse"
    );
    let sources = source::all();
    assert!(
        sources
            .iter()
            .any(|file| file.path == "tests/tests/tidy/main.rs"),
        "the repository was not found"
    );
    let findings: Vec<_> = sources
        .iter()
        .flat_map(|file| {
            rule(file)
                .into_iter()
                .map(|what| format!("{}: {what}", file.path))
        })
        .collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn no_file_has_more_than_800_lines() {
    let rule = |file: &Source| {
        let count = file.text.lines().count();
        refuse_if(
            count > FILE_LINES_MAX,
            format!("{count} lines; split it, a file is one noun"),
        )
    };
    holds(rule, "tests/src/long.rs", &"\n".repeat(FILE_LINES_MAX + 1));
}

#[test]
fn a_library_file_past_500_lines_says_why_in_its_module_doc() {
    let rule = |file: &Source| {
        let count = file.text.lines().count();
        let explained = file.module_doc().contains("lines");
        let long = file.is_shipped() && count > LIBRARY_FILE_LINES_MAX;
        refuse_if(
            long && !explained,
            format!("{count} lines; say in the `//!` why it has so many lines"),
        )
    };
    holds(
        rule,
        "engine/src/long.rs",
        &"//! Long.\n".repeat(LIBRARY_FILE_LINES_MAX + 1),
    );
}

#[test]
fn every_file_opens_with_its_module_doc() {
    let rule = |file: &Source| {
        refuse_if(
            !file.text.starts_with("//! "),
            "open with `//!` and one sentence of what it is".to_owned(),
        )
    };
    holds(rule, "storage/src/x.rs", "use std::fmt;\n");
}

#[test]
fn nothing_is_left_undone() {
    let rule = |file: &Source| refuse_code(file, &["todo!(", "unimplemented!(", "#[ignore"]);
    holds(rule, "examples/x.rs", "fn later() {\n    todo!()\n}\n");
    holds(
        rule,
        "tests/tests/x.rs",
        "#[ignore = \"slow\"]\nfn later() {}\n",
    );
}

#[test]
fn only_the_codec_knows_bincode() {
    let rule = |file: &Source| {
        let is_codec = |path: &str| path == "codec.rs" || path.starts_with("codec/");
        match file.path.strip_prefix("storage/src/") {
            Some(path) if is_codec(path) => Vec::new(),
            Some(_) | None => refuse_code(file, &["bincode::"]),
        }
    };
    holds(rule, "storage/src/row.rs", "use bincode::config;\n");
}

#[test]
fn every_lock_is_parking_lots() {
    let rule = |file: &Source| {
        let names = if file.is_shipped() {
            names_of_std_sync(&file.code)
        } else {
            Vec::new()
        };
        let locks = names
            .iter()
            .filter(|name| ["Mutex", "RwLock", "Condvar"].contains(&name.as_str()));
        locks
            .map(|name| format!("std::sync::{name}; use parking_lot's"))
            .collect()
    };
    holds(
        rule,
        "engine/src/x.rs",
        "use std::sync::{\n    Arc,\n    Mutex,\n};\n",
    );
    holds(
        rule,
        "engine/src/x.rs",
        "fn f(lock: &std::sync::RwLock<u8>) {}\n",
    );
    holds(
        rule,
        "engine/src/x.rs",
        "use std::{fmt, sync::{Arc, Condvar}};\n",
    );
}

#[test]
fn only_env_asks_the_system_for_the_time() {
    let rule = |file: &Source| match file.path.as_str() {
        "engine/src/env.rs" => Vec::new(),
        _ if file.is_library() => refuse_code(file, &["Instant::now", "SystemTime::now"]),
        _ => Vec::new(),
    };
    holds(
        rule,
        "engine/src/x.rs",
        "fn f() {\n    let now = Instant::now();\n}\n",
    );
}

#[test]
fn no_select_of_a_library_decides_by_chance() {
    let rule = |file: &Source| {
        let selects = file.code.split("tokio::select! {").skip(1);
        let by_chance = selects.filter(|branches| !branches.trim_start().starts_with("biased;"));
        let count = by_chance.count();
        refuse_if(
            file.is_shipped() && count > 0,
            format!("{count} of its selects are not biased; the order of branches is chance"),
        )
    };
    holds(
        rule,
        "engine/src/x.rs",
        "fn f() {\n    tokio::select! {\n        () = one => {}\n    }\n}\n",
    );
}

#[test]
fn only_the_shell_blocks_on_a_future() {
    let rule = |file: &Source| {
        if !file.is_library() || file.path == "engine/src/env.rs" {
            return Vec::new();
        }
        refuse_code(file, &[".block_on("])
    };
    holds(
        rule,
        "engine/src/x.rs",
        "fn f() {\n    runtime.block_on(async {});\n}\n",
    );
}

#[test]
fn nothing_decides_by_the_text_of_an_error() {
    let rule = |file: &Source| {
        let dense: String = file.code.split_whitespace().collect();
        let needles = [
            "to_string().contains(",
            "to_string().starts_with(",
            "to_string().ends_with(",
        ];
        let found = needles
            .into_iter()
            .filter(|needle| file.is_shipped() && dense.contains(needle));
        found
            .map(|needle| format!("`{needle}`; match the variant"))
            .collect()
    };
    holds(
        rule,
        "engine/src/x.rs",
        "fn f() {\n    let full = e\n        .to_string()\n        .contains(\"full\");\n}\n",
    );
}

#[test]
fn no_library_function_has_more_than_70_lines() {
    let rule = |file: &Source| {
        let lengths = if file.is_shipped() {
            function_lengths(&file.code)
        } else {
            Vec::new()
        };
        let long = lengths
            .into_iter()
            .filter(|(_, length)| *length > FUNCTION_LINES_MAX);
        long.map(|(line, length)| format!("line {line}: a function of {length} lines"))
            .collect()
    };
    let body = "    if true {}\n".repeat(FUNCTION_LINES_MAX);
    holds(
        rule,
        "storage/src/x.rs",
        &format!("trait T {{\n    fn short(&self) -> [u8; 2];\n}}\nfn long() {{\n{body}}}\n"),
    );
}

#[test]
fn every_planted_bug_is_listed_and_every_listed_one_is_planted() {
    let sources = source::all();
    let planted: BTreeSet<_> = sources.iter().flat_map(planted_names).collect();
    let listed: BTreeSet<_> = listed_names().into_iter().collect();
    let unlisted: Vec<_> = planted.difference(&listed).collect();
    let missing: Vec<_> = listed.difference(&planted).collect();
    assert!(
        unlisted.is_empty(),
        "planted in the source, but in no tests/planted/*.txt: {unlisted:?}"
    );
    assert!(
        missing.is_empty(),
        "listed in tests/planted, but not planted in the source: {missing:?}"
    );
}

#[test]
fn a_planted_bug_is_found_wherever_it_is_written() {
    let text = "//! X, with planted = \"c\".\nfn f() -> bool {\n    cfg!(planted = \"a\") || cfg!(not(planted = \"b\"))\n}\n";
    assert_eq!(
        planted_names(&Source::new("engine/src/x.rs", text)),
        ["a", "b"]
    );
}

fn refuse_if(refused: bool, finding: String) -> Vec<String> {
    if refused { vec![finding] } else { Vec::new() }
}

/// A finding for every line whose code contains one of the needles.
fn refuse_code(file: &Source, needles: &[&str]) -> Vec<String> {
    let lines = file.code.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let needle = needles.iter().find(|needle| line.contains(**needle))?;
            Some(format!("line {}: `{needle}`", index + 1))
        })
        .collect()
}

/// Every name taken from `std::sync`, alone or out of a group.
fn names_of_std_sync(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, found) in code.match_indices("sync::") {
        let before = &code[..at];
        let other_crate = before.ends_with("::") && !before.ends_with("std::");
        if other_crate || before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + found.len()..];
        let end = if rest.starts_with('{') {
            rest.find('}')
        } else {
            rest.find(|c: char| !c.is_alphanumeric())
        };
        let words = rest[..end.unwrap_or(rest.len())].split(|c: char| !c.is_alphanumeric());
        names.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
    }
    names
}

/// The first line and the number of lines of every function with a body.
fn function_lengths(code: &str) -> Vec<(usize, usize)> {
    let starts = code.match_indices("fn ").filter(|(at, _)| {
        let is_word = !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        is_word && code[at + 3..].starts_with(|c: char| c.is_alphabetic() || c == '_')
    });
    starts
        .filter_map(|(at, _)| {
            let length = function_text(&code[at..])?.lines().count();
            Some((code[..at].lines().count().max(1), length))
        })
        .collect()
}

/// The text of the function that begins here, up to its closing brace; none if it has no body.
fn function_text(code: &str) -> Option<&str> {
    let (mut braces, mut brackets) = (0, 0);
    for (at, c) in code.char_indices() {
        match c {
            '{' => braces += 1,
            '}' if braces == 1 => return Some(&code[..=at]),
            '}' => braces -= 1,
            '[' | '(' => brackets += 1,
            ']' | ')' => brackets -= 1,
            // A semicolon outside of every bracket ends a declaration without a body.
            ';' if braces == 0 && brackets == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The names of the bugs planted in a library file.
fn planted_names(file: &Source) -> Vec<String> {
    let lines = file
        .text
        .lines()
        .filter(|line| file.is_shipped() && !line.trim_start().starts_with("//"));
    lines
        .flat_map(|line| line.split("planted = \"").skip(1))
        .filter_map(quoted)
        .collect()
}

fn quoted(rest: &str) -> Option<String> {
    rest.split_once('"').map(|(name, _)| name.to_owned())
}

/// The names listed in `tests/planted/*.txt`.
fn listed_names() -> Vec<String> {
    let Ok(entries) = fs::read_dir(source::root().join("tests/planted")) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("a readable directory").path());
    let lists = paths.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    lists
        .flat_map(|path| names_in(&fs::read_to_string(path).expect("a readable list")))
        .collect()
}

fn names_in(list: &str) -> Vec<String> {
    let lines = list
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split('\t').next().unwrap_or(line).to_owned())
        .collect()
}
