//! Any text as a plan; one that compiles also reads something.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| dpipe_fuzz::plan(text));
