//! Entries of the file under their keys, as they are and with checksums made right.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    outlive_tests::fuzz::entry::entry(data);
});
