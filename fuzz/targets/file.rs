//! Whole files, damaged, opened and read.

#![no_main]

use outlive_tests::fuzz::file::{Whole, patches};
use std::path::PathBuf;
use std::sync::OnceLock;

struct Place {
    whole: Whole,
    directory: PathBuf,
}

fn place() -> Place {
    // The fuzzer would end at a panic of redb that the store tells as damage; one that comes through ends it still.
    std::panic::set_hook(Box::new(|_| ()));
    let directory = std::env::temp_dir().join(format!("outlive-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let whole = Whole::new();
    Place { whole, directory }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static PLACE: OnceLock<Place> = OnceLock::new();
    let Place { whole, directory } = PLACE.get_or_init(place);
    whole.damaged(directory, &patches(data));
});
