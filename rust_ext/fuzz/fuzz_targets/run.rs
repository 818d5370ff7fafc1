//! Any bytes through a whole run, with a key: the same result for any number of threads and any size of record batch.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| dpipe_fuzz::run_twice(input));
