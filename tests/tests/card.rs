//! What the project's user gave stands where ARCHITECTURE.md says: every package, every top-level entry, every table.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the repository")
        .to_owned()
}

fn read(path: &str) -> String {
    let whole = root().join(path);
    fs::read_to_string(&whole).unwrap_or_else(|error| panic!("{}: {error}", whole.display()))
}

/// One row of the table: what was given, the file it is in, the file of its test and the test.
struct Row {
    given: String,
    file: String,
    test_file: String,
    test: String,
}

fn rows() -> Vec<Row> {
    let document = read("ARCHITECTURE.md");
    let section = document
        .split("## What was required, and where it is")
        .nth(1)
        .expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let lines = section.lines().filter(|line| line.starts_with("| "));
    lines
        .filter(|line| !line.starts_with("| Given"))
        .map(row)
        .collect()
}

#[track_caller]
fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [given, file, held_by] = cells[..] else {
        panic!("three cells: {line}");
    };
    let mut held_by = held_by.split('`').filter(|part| !part.trim().is_empty());
    let (Some(test_file), Some(test)) = (held_by.next(), held_by.next()) else {
        panic!("a file and a test: {line}");
    };
    Row {
        given: given.to_owned(),
        file: file.trim_matches('`').to_owned(),
        test_file: test_file.to_owned(),
        test: test.to_owned(),
    }
}

/// The names given as one kind, for example all of `package`.
fn given(kind: &str) -> Vec<(String, String)> {
    let rows = rows().into_iter();
    rows.filter_map(|row| {
        let name = row.given.strip_prefix(kind)?.trim().trim_matches('`');
        Some((name.to_owned(), row.file.clone()))
    })
    .collect()
}

#[test]
fn every_place_and_every_test_exists() {
    let rows = rows();
    assert!(rows.len() >= 24, "the table has {} rows", rows.len());
    for Row {
        given,
        file,
        test_file,
        test,
    } in rows
    {
        assert!(root().join(&file).exists(), "{given}: no {file}");
        let text = read(&test_file);
        assert!(
            text.contains(&format!("fn {test}(")),
            "{given}: no test {test} in {test_file}"
        );
    }
}

#[test]
fn every_package_of_the_card_is_used_where_it_says() {
    let packages = given("package");
    let names: Vec<&str> = packages.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "redb",
            "tokio",
            "bincode",
            "serde",
            "crossbeam-channel",
            "parking_lot",
            "tracing",
            "thiserror",
            "criterion"
        ]
    );
    let manifest = read("Cargo.toml");
    for (name, file) in packages {
        assert!(manifest.contains(&format!("\n{name} = ")), "{name}");
        let path = format!("{}::", name.replace('-', "_"));
        assert!(read(&file).contains(&path), "{file} does not use {path}");
    }
}

#[test]
fn the_top_level_is_as_given() {
    for (name, _) in given("top level") {
        assert!(root().join(&name).exists(), "{name}");
    }
    assert_eq!(given("top level").len(), 7);
}

#[test]
fn every_given_table_has_its_name() {
    let tables = given("table");
    assert_eq!(tables.len(), 4);
    for (name, file) in tables {
        let defined = format!("Table::new(\"{name}\")");
        assert!(read(&file).contains(&defined), "{name}");
    }
}

/// Older versions of redb lose acknowledged data, and bincode 3 is an empty crate: each is held where it was tried.
#[test]
fn the_store_is_built_on_versions_that_were_tried() {
    let lock = read("Cargo.lock");
    let version = |name: &str| -> Vec<u32> {
        let entry = format!("name = \"{name}\"\nversion = \"");
        let (_, after) = lock.split_once(&entry).expect("it is locked");
        assert!(!after.contains(&entry), "{name} is there once");
        let (version, _) = after.split_once('"').expect("a version");
        let parts = version
            .split('.')
            .map(|part| part.parse().expect("a number"));
        parts.collect()
    };
    assert!(version("redb") >= vec![4, 6, 0], "{:?}", version("redb"));
    assert_eq!(version("bincode"), [2, 0, 1]);
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("bincode = { version = \"=2.0.1\""));
}
