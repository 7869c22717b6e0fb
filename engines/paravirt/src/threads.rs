//! Which threads of a cell are its virtual CPUs.
//!
//! The stub makes them one after the other before it closes its sandbox, and starts nothing else,
//! so their order tells which is which. Signals to one of them need its number as the host
//! sees it.

use std::fs;
use std::time::{Duration, Instant};

use engine_contract::EngineError;

/// How long the stub may take to make them.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look.
const LOOK: Duration = Duration::from_micros(100);

/// The threads of process `pid` beside its first, in the order in which they were made, as soon
/// as there are `count` in all.
pub(crate) fn others(pid: i32, count: u32) -> Result<Vec<i32>, EngineError> {
    let fail = |error| EngineError::new("the cell's threads cannot be found", error);
    let start = Instant::now();
    loop {
        let mut threads = listed(pid).map_err(fail)?;
        if threads.len() >= count as usize {
            threads.sort_unstable();
            let others = threads.into_iter().map(|(_, thread)| thread);
            return Ok(others.filter(|thread| *thread != pid).collect());
        }
        if start.elapsed() > PATIENCE {
            let reason = format!("{} of {count} were made", threads.len());
            return Err(EngineError::new(
                "the cell's threads cannot be made",
                reason,
            ));
        }
        std::thread::sleep(LOOK);
    }
}

/// Each thread's number in its own namespace, where they count from the first, and in ours.
fn listed(pid: i32) -> std::io::Result<Vec<(i32, i32)>> {
    let folder = format!("/proc/{pid}/task");
    let mut threads = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // One that has ended since is none.
        if let Ok(status) = fs::read_to_string(entry.path().join("status")) {
            threads.extend(numbers(&status));
        }
    }
    Ok(threads)
}

/// From a thread's `status`: the innermost and the outermost of the numbers in `NSpid`.
fn numbers(status: &str) -> Option<(i32, i32)> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    let mut numbers = line.split_whitespace().map(str::parse);
    let ours = numbers.next()?.ok()?;
    let own = numbers.next_back().map_or(Some(ours), Result::ok)?;
    Some((own, ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_a_number_in_each_namespace() {
        assert_eq!(
            numbers("Name:\tx\nNSpid:\t4711\t2\nVmRSS: 3"),
            Some((2, 4711))
        );
        assert_eq!(numbers("NSpid:\t12\n"), Some((12, 12)));
        assert_eq!(numbers("NSpid:\tx\n"), None);
        assert_eq!(numbers(""), None);
    }

    #[test]
    fn the_threads_of_this_process_are_found() {
        let own = std::process::id() as i32;
        let found = listed(own).unwrap();
        assert!(found.iter().any(|(_, thread)| *thread == own));
    }
}
