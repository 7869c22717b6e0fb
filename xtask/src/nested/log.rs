//! Reads from the machine's serial console how the program ended.
//!
//! The program is root in there and can write to the console: what it forges misleads only its
//! own caller. No content may make this fail, and nothing of it reaches a terminal raw.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// As `init.sh` prints it, on a line of its own.
const MARKER: &[u8] = b"nested-kvm status: ";
const PANIC: &[u8] = b"Kernel panic - ";
const LINES: usize = 20;
/// Of the log; earlier parts are not read.
const LONGEST: u64 = 64 << 10;

/// The end of the log, which may be missing.
pub(crate) fn read(path: &Path) -> Vec<u8> {
    let mut log = Vec::new();
    // A machine that never started has left no log, or half of one.
    let _ = read_end(path, &mut log);
    log
}

fn read_end(path: &Path, log: &mut Vec<u8>) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LONGEST)))?;
    file.take(LONGEST).read_to_end(log)?;
    Ok(())
}

/// The program's status, from the last complete line that reports one.
pub(crate) fn status(log: &[u8]) -> Option<u8> {
    let complete = log.iter().rposition(|byte| *byte == b'\n')?;
    let mut lines = log.get(..complete)?.rsplit(|byte| *byte == b'\n');
    lines.find_map(reported)
}

fn reported(line: &[u8]) -> Option<u8> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let digits = line.strip_prefix(MARKER)?;
    let is_number = (1..=3).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    number.parse().ok()
}

/// The kernel's line that says why it has given up.
pub(crate) fn panic(log: &[u8]) -> Option<String> {
    let mut lines = log.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.windows(PANIC.len()).any(|window| window == PANIC))?;
    Some(plain(&String::from_utf8_lossy(line)))
}

/// The last lines that are not empty, without control characters.
pub(crate) fn last_lines(log: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(log);
    let lines = text.lines().rev().map(plain);
    let mut last: Vec<String> = lines.filter(|line| !line.is_empty()).take(LINES).collect();
    last.reverse();
    last
}

fn plain(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_complete_report_counts() {
        for (log, expected) in [
            (
                &b"[    1.2] text\r\n\r\nnested-kvm status: 7\r\n[    3.4] reboot\r\n"[..],
                Some(7),
            ),
            (b"nested-kvm status: 0\n", Some(0)),
            (b"nested-kvm status: 255\r\n", Some(255)),
            (b"nested-kvm status: 1\nnested-kvm status: 2\n", Some(2)),
            (b"nested-kvm status: 1\nnested-kvm status: 2", Some(1)),
        ] {
            assert_eq!(status(log), expected, "{}", log.escape_ascii());
        }
    }

    #[test]
    fn what_is_cut_or_forged_badly_is_no_report() {
        for log in [
            &b""[..],
            b"\n",
            b"nested-kvm status: 1",
            b"nested-kvm status: 1\r",
            b"nested-kvm status: \n",
            b"nested-kvm status: 256\n",
            b"nested-kvm status: 0001\n",
            b"nested-kvm status: -1\n",
            b"nested-kvm status: +1\n",
            b"nested-kvm status: 1 \n",
            b"nested-kvm status: 1\r\r\n",
            b"nested-kvm status: \xff\n",
            b"x nested-kvm status: 1\n",
            b"nested-kvm status: 99999999999999999999\n",
        ] {
            assert_eq!(status(log), None, "{}", log.escape_ascii());
        }
    }

    #[test]
    fn every_cut_of_a_log_is_read() {
        let log = b"Kernel panic - not syncing\r\n\nnested-kvm status: 3\r\nend \xc3\xa4\x1b[2J\n";
        for length in 0..=log.len() {
            let cut = &log[..length];
            assert!(matches!(status(cut), None | Some(3)));
            assert!(last_lines(cut).iter().all(|line| !line.contains('\x1b')));
        }
    }

    #[test]
    fn a_panic_is_known_by_its_line() {
        let log = b"one\n[    1.2] Kernel panic - not syncing: no init\x07\r\ntwo\n";
        let line = "[    1.2] Kernel panic - not syncing: no init";
        assert_eq!(panic(log).as_deref(), Some(line));
        assert_eq!(panic(b"Kernel panic -"), None);
        assert_eq!(panic(b""), None);
    }

    #[test]
    fn the_last_lines_are_few_and_harmless() {
        let log: String = (0..30).map(|n| format!("line {n}\r\n\r\n")).collect();
        let lines = last_lines(log.as_bytes());
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines.first().map(String::as_str), Some("line 10"));
        assert_eq!(last_lines(b"\x1b]0;title\x07a\tb\n"), ["]0;titleab"]);
        assert_eq!(last_lines(b""), [""; 0]);
    }

    #[test]
    fn a_log_that_is_not_there_is_empty() {
        assert!(read(Path::new("/nonexistent/log")).is_empty());
    }
}
