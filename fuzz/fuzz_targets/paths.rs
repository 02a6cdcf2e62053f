#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| stagedoor_fuzz::paths(data));
