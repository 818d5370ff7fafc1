//! Any bytes, read as json.

#![no_main]

use dpipe_kernel::read::Format;

libfuzzer_sys::fuzz_target!(|input: &[u8]| dpipe_fuzz::read(Format::Json, input));
