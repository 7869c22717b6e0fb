//! The place on the host where instructions are tried.

use host_processor::Bench;

/// Does something there, if the host has such a place.
pub fn with_bench(work: impl FnOnce(&mut Bench)) {
    match Bench::new() {
        Ok(mut bench) => work(&mut bench),
        Err(error) => println!("SKIPPED: the host gives no place for code: {error}"),
    }
}
