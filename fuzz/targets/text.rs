//! Ids, cursors and keys of steps.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    outlive_tests::fuzz::text::text(data);
});
