#![no_main]

libfuzzer_sys::fuzz_target!(
    init: {
        // As the standard library does before `main`, which a fuzzer has none of: writing to a
        // pipe that nobody reads is an error and not the end.
        // SAFETY: no other thread has begun.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    },
    |data: &[u8]| isolation::body("fuse_console")(data)
);
