//! How many cases there are.

/// How often each is tried: `usual` times, unless `HUSK_CASES` says otherwise.
pub(crate) fn cases(usual: u64) -> u64 {
    let wanted = std::env::var("HUSK_CASES").ok();
    wanted.map_or(usual, |count| {
        count.parse().expect("HUSK_CASES is a number")
    })
}
