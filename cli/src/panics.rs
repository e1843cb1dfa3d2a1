//! Panics over damaged files: the library catches them and tells what they mean, so they are no news of their own.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Component, Path};

/// Keeps quiet about panics of redb, which believes what stands in a page; says every other one as ever.
pub(crate) fn quiet() {
    let ever = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match panic.location() {
        Some(at) if is_of_redb(Path::new(at.file())) => tracing::debug!(%at, "a damaged page"),
        Some(_) | None => ever(panic),
    }));
}

/// Runs the program. One that nobody caught is not to end it without a word.
pub(crate) fn told<T>(program: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(program)).unwrap_or_else(|panic| {
        // Nobody is left to be told that it cannot be told.
        let _ = writeln!(
            io::stderr(),
            "error: the program ended in a panic; the same call with -vv says where"
        );
        resume_unwind(panic)
    })
}

/// Whether a source is one of redb: below `redb-4.6.0`, or below `redb/src` where it is vendored.
fn is_of_redb(file: &Path) -> bool {
    if cfg!(planted = "cli_shouts_of_pages") {
        return false;
    }
    let names: Vec<&str> = file
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => name.to_str(),
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => None,
        })
        .collect();
    let is_versioned = |name: &str| {
        let version = name.strip_prefix("redb-").unwrap_or_default();
        version.starts_with(|c: char| c.is_ascii_digit())
    };
    names.iter().any(|name| is_versioned(name))
        || names.windows(2).any(|two| two == ["redb", "src"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_that_nobody_caught_goes_on_to_be_the_end() {
        assert_eq!(told(|| 7), 7);
        let ended = catch_unwind(|| told(|| resume_unwind(Box::new(7))));
        assert_eq!(ended.unwrap_err().downcast_ref(), Some(&7));
    }

    #[test]
    fn a_source_of_redb_is_told_from_one_that_uses_it() {
        for (file, is) in [
            (
                "/home/a/.cargo/registry/src/index-1/redb-4.6.0/src/db.rs",
                true,
            ),
            ("vendor/redb/src/tree_store/btree.rs", true),
            ("storage/src/redb/open.rs", false),
            ("/home/a/redb-notes/src/main.rs", false),
        ] {
            assert_eq!(is_of_redb(Path::new(file)), is, "{file}");
        }
    }
}
