//! The coverage table in `docs/linux-abi.md` is what the code says.
//!
//! Run with `HUSK_BLESS=1` to write it anew.

use std::fmt::Write;
use std::path::PathBuf;

use guest_linux::{names, table};

const HEAD: &str = "# System calls

Generated from `guest/linux/src/table.rs` by `HUSK_BLESS=1 cargo test -p guest-linux --test coverage`;
a test fails when it is out of date. Every call of Linux on x86-64 is listed. A call that is not served
answers `ENOSYS`; the first one a program misses is named when it fails.

What is refused although the call is served: unknown flags answer `EINVAL` as on Linux; `O_DIRECT` answers
`EINVAL`; setting the clocks, mounting, tracing and changing the host answer `EPERM`; `ARCH_SET_GS` answers
`EPERM`, since `gs` is the kernel's; stopping signals are ignored. `clone` and `clone3` make threads; `fork` and processes answer `ENOSYS` so far.

Sockets are of `AF_UNIX`, `AF_INET`, `AF_INET6` and `AF_NETLINK` (`NETLINK_ROUTE`, questions only); others answer
`EAFNOSUPPORT`. `futex` serves all commands. `TCP_FASTOPEN`, `TCP_DEFER_ACCEPT`, `SO_MARK` and `SO_BUSY_POLL` are taken and
change nothing.

";

/// Served outside of the table, since they replace the program's registers.
const SPECIAL: [(u64, &str); 6] = [
    (15, "`rt_sigreturn()`"),
    (56, "`clone(flags, stack, parent_tid, child_tid, tls)`"),
    (131, "`sigaltstack(ss, old_ss)`"),
    (435, "`clone3(args, size)`"),
    (59, "`execve(pathname, argv, envp)`"),
    (322, "`execveat(dirfd, pathname, argv, envp, flags)`"),
];

fn served(number: u64) -> Option<String> {
    let special = SPECIAL.iter().find(|(special, _)| *special == number);
    let listed = table::CALLS.iter().find(|call| call.number == number);
    special
        .map(|(_, text)| (*text).to_owned())
        .or_else(|| listed.map(|call| format!("`{}({})`", call.name, call.arguments.join(", "))))
}

fn generate() -> String {
    let numbers: Vec<u64> = (0..512)
        .filter(|&number| names::name(number).is_some())
        .collect();
    let count = numbers
        .iter()
        .filter(|&&number| served(number).is_some())
        .count();
    let mut text = String::from(HEAD);
    writeln!(
        text,
        "Served: {count} of {}.\n\n| number | call | served |\n|---|---|---|",
        numbers.len()
    )
    .unwrap();
    for number in numbers {
        let name = names::name(number).unwrap();
        match served(number) {
            Some(call) => writeln!(text, "| {number} | {call} | yes |").unwrap(),
            None => writeln!(text, "| {number} | `{name}` | no |").unwrap(),
        }
    }
    text
}

#[test]
fn the_coverage_table_is_true() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/linux-abi.md");
    let text = generate();
    if std::env::var_os("HUSK_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/linux-abi.md is out of date: run this test with HUSK_BLESS=1"
    );
}

#[test]
fn names_and_numbers_agree() {
    for call in table::CALLS {
        assert_eq!(
            names::name(call.number),
            Some(call.name),
            "number {}",
            call.number
        );
    }
    assert!(table::CALLS.is_sorted_by_key(|call| call.number));
}
