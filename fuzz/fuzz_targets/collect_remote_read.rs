#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    collect::fuzzing::remote_read(bytes);
});
