#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| isolation::body("net_stack")(data));
