//! Inputs from the store to handlers of several types, and their outputs back.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    outlive_tests::fuzz::value::value(data);
});
