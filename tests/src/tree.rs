//! A copy of the workspace in which a planted bug is chosen when the program runs, not when it is built.
//!
//! To build the workspace once for each of hundreds of bugs takes hours. In the copy each `cfg!` of a bug is a question to
//! the environment, so one build has them all.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

/// The variable that names the bug which is planted. Tests of the command line take away those that begin with `OUTLIVE_`.
pub const CHOSEN: &str = "PLANTED_OUTLIVE";

/// What is no source: what builds leave, and the history.
const LEFT_OUT: [&str; 2] = ["target", ".git"];

/// Makes the copy at `to` what the workspace at `from` is, but for what is built into the directory `built`, wherever that is.
/// Files that are as they should be are not touched: cargo builds only what has changed.
///
/// # Errors
/// What the file system says.
pub fn copy(from: &Path, to: &Path, built: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let (source, copied) = (entry.path(), to.join(&name));
        let is_built = source == built || source.extension() == Some(OsStr::new("redb"));
        if is_built || LEFT_OUT.iter().any(|left_out| name == **left_out) {
            continue;
        }
        let kind = entry.file_type()?;
        if copied.is_dir() != kind.is_dir() && copied.exists() {
            remove(&copied)?;
        }
        if kind.is_dir() {
            copy(&source, &copied, built)?;
        } else if kind.is_file() {
            put(&copied, &asked(&source, fs::read(&source)?))?;
            fs::set_permissions(&copied, fs::metadata(&source)?.permissions())?;
        }
        names.push(name);
    }
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if !names.contains(&entry.file_name()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::read(path) {
        Ok(there) if there == bytes => Ok(()),
        _ => fs::write(path, bytes),
    }
}

/// The bytes of a file; in a source of Rust, each bug is asked for.
fn asked(path: &Path, bytes: Vec<u8>) -> Vec<u8> {
    if path.extension() != Some(OsStr::new("rs")) {
        return bytes;
    }
    match String::from_utf8(bytes) {
        Ok(text) => questions(&text).into_bytes(),
        Err(error) => error.into_bytes(),
    }
}

/// The source with a question in the place of each `cfg!` of a bug, on the same lines. In a `const fn` nothing can be asked: a
/// bug there is one that has to be built alone.
fn questions(source: &str) -> String {
    let begin = ["cfg!(", "planted = \""].concat();
    let mut asked = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once(&begin) {
        asked.push_str(before);
        rest = after;
        match after.split_once("\")") {
            Some((name, after)) if !is_const(&asked) => {
                asked.push_str(&question(name));
                rest = after;
            }
            Some(_) | None => asked.push_str(&begin),
        }
    }
    asked.push_str(rest);
    asked
}

/// Whether the function that a source ends in is a `const` one.
fn is_const(source: &str) -> bool {
    let begun = source.rfind("fn ");
    begun.is_some_and(|at| source[..at].trim_end().ends_with("const"))
}

/// It asks the environment once in a process, and wherever it stands: some stand where rows are written.
fn question(name: &str) -> String {
    format!(
        "{{ static IT: ::std::sync::LazyLock<bool> = ::std::sync::LazyLock::new(|| \
         ::std::env::var_os(\"{CHOSEN}\").is_some_and(|it| it == \"{name}\")); *IT }}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bug(name: &str) -> String {
        ["cfg!(", "planted = \"", name, "\")"].concat()
    }

    #[test]
    fn each_bug_becomes_a_question_and_lines_stay_where_they_are() {
        let source = format!("if {} {{\n a\n}}\nlet b = !{};\n", bug("a"), bug("b"));
        let asked = questions(&source);
        assert_eq!(
            asked,
            format!(
                "if {} {{\n a\n}}\nlet b = !{};\n",
                question("a"),
                question("b")
            )
        );
        assert_eq!(asked.lines().count(), source.lines().count());
    }

    #[test]
    fn a_bug_in_a_const_function_stays() {
        let constant = format!("pub const fn a() -> bool {{ {} }}\n", bug("a"));
        let source = format!("{constant}fn b() -> bool {{ {} }}\n", bug("b"));
        let asked = format!("{constant}fn b() -> bool {{ {} }}\n", question("b"));
        assert_eq!(questions(&source), asked);
    }

    #[test]
    fn what_is_no_bug_stays() {
        let source = "cfg!(unix) && cfg!(planted_otherwise)";
        assert_eq!(questions(source), source);
    }

    #[test]
    fn what_is_as_it_should_be_is_not_written_again_and_what_is_gone_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        fs::create_dir_all(from.join("src")).expect("it is made");
        fs::create_dir_all(from.join("target")).expect("it is made");
        fs::write(from.join("target/left.rs"), "").expect("it is written");
        fs::write(from.join("src/a.rs"), bug("a")).expect("it is written");
        fs::write(from.join("src/b.txt"), bug("a")).expect("it is written");
        let built = from.join("out");
        fs::create_dir_all(&built).expect("it is made");
        copy(&from, &to, &built).expect("it is copied");
        let read = |name: &str| fs::read_to_string(to.join(name)).expect("it is there");
        assert_eq!(read("src/a.rs"), question("a"));
        assert_eq!(read("src/b.txt"), bug("a"), "no source of Rust");
        assert!(!to.join("target").exists() && !to.join("out").exists());
        let written = |name: &str| {
            let metadata = fs::metadata(to.join(name)).expect("it is there");
            metadata.modified().expect("it has a time")
        };
        let first = written("src/a.rs");
        fs::remove_file(from.join("src/b.txt")).expect("it is removed");
        copy(&from, &to, &built).expect("it is copied again");
        assert_eq!(written("src/a.rs"), first);
        assert!(!to.join("src/b.txt").exists());
    }
}
