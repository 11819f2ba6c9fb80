//! The fuzzer's way to the target of this name in `bodies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| switchback_fuzz::run("grpc", data));
