//! Which system calls of a cell the host has served, read from strace's log.
//!
//! A filtered call is logged like any other but followed by SIGSYS; what is not was
//! served. Only the cell's own lines count, from the moment its filter was in place.

use std::collections::BTreeSet;

use guest_abi::layout;

/// The calls that Linux 6.11 (uretprobe) and 6.18 (uprobe) let past every seccomp filter;
/// without a tracer's trampoline in the process they answer ENXIO or SIGILL. By name or, to a
/// strace that is older, by number.
const NEVER_FILTERED: [&str; 4] = ["uretprobe", "uprobe", "syscall_0x14f", "syscall_0x150"];

/// What a log says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Names of the calls that were served.
    pub(crate) served: BTreeSet<String>,
    /// Whether the last of them was: it may have been about to get its SIGSYS.
    pub(crate) doubtful: bool,
    /// How many were filtered.
    pub(crate) filtered: usize,
    /// Whether there was a cell at all.
    pub(crate) closed: bool,
}

impl Seen {
    /// Served calls beyond the documented ones.
    pub(crate) fn excess(&self) -> Vec<&str> {
        let names = self.served.iter().map(String::as_str);
        let documented = guest_abi::cell::ALLOWED_SYSTEM_CALLS.map(|(name, _)| name);
        names
            .filter(|name| !documented.contains(name) && !NEVER_FILTERED.contains(name))
            .collect()
    }
}

/// Reads a log written by `strace -f -n -e raw=all`.
pub(crate) fn read(log: &str) -> Seen {
    let mut seen = Seen::default();
    let mut cell = None;
    let mut pending: Option<&str> = None;
    let mut gave_itself_back = false;
    let mut of_another = "";
    for line in log.lines() {
        let Some((id, rest)) = line.split_once(' ') else {
            continue;
        };
        let (number, rest) = numbered(rest.trim_start());
        if cell.is_none() && is_closing(rest) {
            cell = Some(id);
            seen.closed = true;
            continue;
        }
        if cell != Some(id) {
            of_another = rest;
            continue;
        }
        if rest.starts_with("<...") {
            gave_itself_back = pending.is_some_and(|name| gives_itself_back(name, number, rest));
            continue;
        }
        if rest.starts_with("--- SIGSYS") {
            seen.filtered += 1;
            pending = None;
        } else if let Some(name) = call_in(rest) {
            seen.served.extend(pending.replace(name).map(str::to_owned));
            gave_itself_back = gives_itself_back(name, number, rest) || is_echo(rest, of_another);
        }
    }
    // One that was killed there may have been about to get its SIGSYS.
    let unknown = pending.filter(|_| !gave_itself_back);
    seen.doubtful = unknown.is_some();
    seen.served.extend(unknown.map(str::to_owned));
    seen
}

/// Whether a cell closes its sandbox there: a filter from the stub's memory, where the monitor's own
/// is elsewhere.
fn is_closing(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("seccomp(0x1, 0x1, 0x") else {
        return false;
    };
    let digits = rest.split(|c: char| !c.is_ascii_hexdigit()).next();
    let address = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let stub = layout::STUB_BASE..layout::STUB_BASE + layout::STUB_SPAN;
    address.is_some_and(|address| stub.contains(&address))
}

/// The number of a call, where a line says it, and what it says besides.
fn numbered(line: &str) -> (Option<u64>, &str) {
    let parts = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "));
    let numbered = parts.and_then(|(number, rest)| Some((number.trim().parse().ok()?, rest)));
    numbered.map_or((None, line), |(number, rest)| (Some(number), rest))
}

/// Whether a call's number came back as its result: so it does where the filter traps, while a host that serves the call
/// answers something else; of `read`, whose number is a usual answer, that is not known. A call that the host does not have
/// is served by nobody and returns at once, if at all.
fn gives_itself_back(name: &str, number: Option<u64>, line: &str) -> bool {
    let unnamed = name.strip_prefix("syscall_");
    let result = line.rsplit_once(" = ").map(|(_, result)| result.trim());
    let (result, unnamed) = (result.and_then(hexadecimal), unnamed.and_then(hexadecimal));
    let number = number.or(unnamed).filter(|number| *number != 0);
    let never_returned = line.ends_with("<unfinished ...>");
    number.is_some() && number == result || unnamed.is_some() && never_returned
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Whether strace repeats what another process did last: so it does where it cannot ask any more, because this one was
/// killed at that moment.
fn is_echo(line: &str, of_another: &str) -> bool {
    line.ends_with("<unfinished ...>") && line == of_another
}

/// The name of the call that a line is about.
fn call_in(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('(')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str =
        "6  seccomp(0x1, 0x1, 0x5581aa001000) = 0\n7  seccomp(0x1, 0x1, 0x700000001000) = 0\n";

    fn check(lines: &str, served: &[&str], excess: &[&str]) {
        let seen = read(&format!("7  close_range(0, 2, 0) = 0\n{START}{lines}"));
        assert!(seen.served.iter().eq(served));
        assert_eq!(seen.excess(), excess);
    }

    #[test]
    fn a_call_followed_by_sigsys_was_filtered() {
        check("7  getpid() = 0x27\n7  --- SIGSYS {} ---\n", &[], &[]);
    }

    #[test]
    fn a_call_followed_by_another_was_served() {
        check(
            "7  getpid() = 0x27\n7  futex(0x1, 0x1) = 0\n",
            &["futex", "getpid"],
            &["getpid"],
        );
    }

    #[test]
    fn other_processes_and_signals_do_not_count() {
        check(
            "7  futex(0x1 <unfinished ...>\n8  getpid() = 8\n7  <... futex resumed>) = 0\n\
             7  --- SIGUSR1 {} ---\n7  exit_group(0) = ?\n",
            &["exit_group", "futex"],
            &[],
        );
    }

    #[test]
    fn the_last_call_counts_and_so_do_unknown_ones() {
        check(
            "7  syscall_0x1ff(0) = 0\n",
            &["syscall_0x1ff"],
            &["syscall_0x1ff"],
        );
        check("7  syscall_0x150(0) = -6\n", &["syscall_0x150"], &[]);
        check("7  syscall_0x1ff(0) = 0x1ff\n", &[], &[]);
        let cut = "7  syscall_0x1ff(0 <unfinished ...>\n";
        check(cut, &[], &[]);
        let resumed = |result: &str| format!("{cut}7  <... syscall_0x1ff resumed>) = {result}\n");
        check(&resumed("0x1ff"), &[], &[]);
        check(&resumed("0"), &["syscall_0x1ff"], &["syscall_0x1ff"]);
    }

    #[test]
    fn the_last_call_was_filtered_if_its_number_came_back() {
        check("7  [  56] clone(0, 0) = 0x38\n", &[], &[]);
        check("7  [  56] clone(0, 0) = 0x39\n", &["clone"], &["clone"]);
        let cut = "7  [  56] clone(0 <unfinished ...>\n";
        check(cut, &["clone"], &["clone"]);
        let resumed = "7  [  56] <... clone resumed>) = 0x38\n";
        check(&format!("{cut}{resumed}"), &[], &[]);
        check("7  [   0] read(0, 0, 0) = 0\n", &["read"], &["read"]);
        // One that is followed by another and not by SIGSYS was served, whatever came back.
        let next = "7  [ 202] futex(0x1, 0x1) = 0\n";
        let both = format!("7  [  56] clone(0, 0) = 0x38\n{next}");
        check(&both, &["clone", "futex"], &["clone"]);
    }

    #[test]
    fn only_the_last_call_is_doubtful() {
        let call = "7  [   0] read(0, 0, 0) = 0\n";
        assert!(read(&format!("{START}{call}")).doubtful);
        let filtered = format!("{START}{call}7  [   0] --- SIGSYS {{}} ---\n");
        assert!(!read(&filtered).doubtful);
        assert!(
            read(&format!("{START}{call}{call}"))
                .served
                .contains("read")
        );
        let returned = "7  [  56] clone(0, 0) = 0x38\n";
        assert!(!read(&format!("{START}{returned}")).doubtful);
    }

    #[test]
    fn what_strace_repeats_of_another_process_does_not_count() {
        let call = "pidfd_send_signal(0x13, 0x9 <unfinished ...>";
        let both = format!("8  {call}\n7  {call}\n");
        let killed = "7  +++ killed by SIGKILL +++\n";
        check(&format!("{both}{killed}"), &[], &[]);
        let name = &["pidfd_send_signal"];
        check(&format!("7  {call}\n{killed}"), name, name);
        let resumed = "7  <... pidfd_send_signal resumed>) = 0\n";
        check(&format!("{both}{resumed}"), name, name);
    }

    #[test]
    fn a_log_without_a_cell_says_so() {
        assert_eq!(read("7  getpid() = 7\n"), Seen::default());
    }
}
