//! A process that must go on printing.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use privileged::END;

/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(50);

/// Waits until the process ends, prints the end, or nothing for `patience`; what it printed.
pub(super) fn watch(mut child: Child, serial: &Path, patience: Duration) -> Result<String> {
    let mut length = 0;
    let mut changed = Instant::now();
    loop {
        let ended = child.try_wait()?.is_some();
        let printed = String::from_utf8_lossy(&fs::read(serial)?).into_owned();
        if printed.len() != length {
            (length, changed) = (printed.len(), Instant::now());
        }
        let is_over = printed.lines().any(|line| line == END);
        if ended || is_over || changed.elapsed() > patience {
            // It may have ended by itself in between.
            let _ = child.kill();
            child.wait()?;
            return Ok(printed);
        }
        sleep(INTERVAL);
    }
}
