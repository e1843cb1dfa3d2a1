//! The README says what is true: its program is the example that is run, and its commands name what exists.

use std::path::Path;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first block of code in that language.
fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let opening = format!("```{language}\n");
    let start = text.find(&opening).expect("the block is there") + opening.len();
    let length = text[start..].find("```").expect("the block ends");
    &text[start..start + length]
}

#[test]
fn the_readme_shows_hello_in_full_in_at_most_25_lines() {
    let hello = read("examples/hello.rs");
    assert_eq!(block(&read("README.md"), "rust,no_run"), hello);
    assert!(hello.lines().count() <= 25);
}

#[test]
fn every_example_the_readme_runs_exists() {
    let readme = read("README.md");
    let words: Vec<&str> = readme.split_whitespace().collect();
    let named: Vec<&str> = words
        .windows(2)
        .filter(|pair| pair[0] == "--example")
        .map(|pair| pair[1].trim_matches('`'))
        .collect();
    assert!(named.contains(&"survive") && named.contains(&"hello"));
    let declared = read("examples/Cargo.toml");
    for name in named {
        let declaration = format!("name = \"{name}\"");
        assert!(declared.contains(&declaration), "no example {name}");
    }
}

#[test]
fn every_file_that_architecture_names_exists() {
    let text = read("ARCHITECTURE.md");
    let in_quotes = text.split('`').skip(1).step_by(2);
    let paths = in_quotes.filter(|quoted| {
        ["storage/", "engine/", "tests/"]
            .iter()
            .any(|top| quoted.starts_with(top))
    });
    let mut checked = 0;
    for path in paths {
        let whole = path.split(['*', '{']).next().unwrap_or(path);
        assert!(root().join(whole).exists(), "{path} is named and not there");
        checked += 1;
    }
    assert!(checked >= 20, "only {checked} paths were checked");
}
