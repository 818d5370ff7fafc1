//! Any bytes, read as csv.

#![no_main]

use dpipe_kernel::read::Format;

libfuzzer_sys::fuzz_target!(|input: &[u8]| dpipe_fuzz::read(Format::Csv, input));
