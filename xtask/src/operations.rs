//! The check of the interpreter's operations: each ends by jumping to the next.
//!
//! An operation is a function that calls the next one's last of all, and a program's every instruction goes on in
//! that way: as a call, instead of a jump, it would take some stack each time. The compiler makes a jump of it unless the
//! function still has something on the stack, which no source shows. So the built program is looked at: behind
//! every call through a register or memory a jump through one, or to another function, can be reached.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;

/// The functions of the modules with operations, as symbols begin, and as their modules are called.
const SYMBOL: &str = "<_ZN14engine_emulate3ops";
const MODULES: [&str; 10] = [
    "10arithmetic",
    "5flow",
    "5fused",
    "5moves",
    "7scalars",
    "6shifts",
    "4slow",
    "7strings",
    "7various",
    "7vectors",
];
/// There are many more: fewer were looked at in the wrong place.
const FEWEST: usize = 1000;

/// Checks the given program, or the one that was built last for release.
pub(crate) fn check(file: Option<&Path>) -> Result<()> {
    let built = workspace::target_folder()?.join("release/husk");
    let file = file.unwrap_or(&built);
    let output = Command::new("objdump")
        .args(["-d", "--no-show-raw-insn"])
        .arg(file)
        .output()
        .context("objdump does not start: install the Debian package binutils")?;
    ensure!(
        output.status.success(),
        "{} cannot be disassembled: build it by `cargo build --release`",
        file.display()
    );
    let listing = String::from_utf8_lossy(&output.stdout);
    let functions: Vec<Function> = functions(&listing).collect();
    ensure!(
        functions.len() >= FEWEST,
        "{} has {} operations: it is not built for release",
        file.display(),
        functions.len()
    );
    let calling: Vec<&str> = functions
        .iter()
        .filter(|function| function.calls_last())
        .map(|function| function.name)
        .collect();
    calling
        .iter()
        .for_each(|name| println!("{name} calls what it should jump to"));
    if !calling.is_empty() {
        bail!(
            "{} operations take stack from those behind them",
            calling.len()
        );
    }
    println!(
        "{}: {} operations, all end in jumps",
        file.display(),
        functions.len()
    );
    Ok(())
}

/// A function's instructions by their addresses.
struct Function<'a> {
    name: &'a str,
    code: BTreeMap<u64, &'a str>,
}

/// The operations in a listing.
fn functions(listing: &str) -> impl Iterator<Item = Function<'_>> {
    listing.split("\n\n").filter_map(|part| {
        let (head, code) = part.trim_start().split_once('\n')?;
        let name = head.split_once(' ')?.1.trim_end_matches(':');
        let rest = name.strip_prefix(SYMBOL)?;
        if !MODULES.iter().any(|module| rest.starts_with(module)) {
            return None;
        }
        let code = code.lines().filter_map(instruction).collect();
        Some(Function { name, code })
    })
}

fn instruction(line: &str) -> Option<(u64, &str)> {
    let (address, text) = line.split_once(':')?;
    let address = u64::from_str_radix(address.trim(), 16).ok()?;
    Some((address, text.trim()))
}

/// Through a register or memory, but for what is imported.
fn is_indirect(text: &str) -> bool {
    text.contains('*') && !text.contains("(%rip)")
}

impl Function<'_> {
    /// Whether there is a call through a register behind which nothing is jumped to.
    fn calls_last(&self) -> bool {
        let calls = self
            .code
            .iter()
            .filter(|(_, text)| text.starts_with("call") && is_indirect(text));
        calls
            .map(|(address, _)| *address)
            .any(|address| !self.goes_on_behind(address))
    }

    /// Whether a jump out of the function can be reached from behind an instruction.
    fn goes_on_behind(&self, address: u64) -> bool {
        let mut seen = std::collections::BTreeSet::new();
        let mut open: Vec<u64> = self.behind(address).into_iter().collect();
        while let Some(at) = open.pop() {
            let Some(text) = self.code.get(&at).filter(|_| seen.insert(at)) else {
                continue;
            };
            let target = target(text);
            let is_jump = text.starts_with("jmp");
            if is_jump
                && (is_indirect(text) || target.is_some_and(|to| !self.code.contains_key(&to)))
            {
                return true;
            }
            if text.starts_with('j') {
                open.extend(target);
            }
            if !is_jump && !text.starts_with("ret") {
                open.extend(self.behind(at));
            }
        }
        false
    }

    /// The address of the next instruction.
    fn behind(&self, address: u64) -> Option<u64> {
        self.code.range(address + 1..).next().map(|(next, _)| *next)
    }
}

/// Where a direct jump leads.
fn target(text: &str) -> Option<u64> {
    let (_, operand) = text.split_once(char::is_whitespace)?;
    u64::from_str_radix(operand.split_whitespace().next()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls_last(code: &str) -> bool {
        let listing = format!("\n\n0000000000001000 {SYMBOL}5moves4load17habcE>:\n{code}\n\n");
        let all: Vec<Function<'_>> = functions(&listing).collect();
        assert_eq!(all.len(), 1);
        all[0].calls_last()
    }

    #[test]
    fn a_jump_at_the_end_is_right_and_a_call_is_not() {
        assert!(!calls_last(
            "  1000:\tmov    (%rsi),%rax\n  1003:\tjmp    *%rax\n  1005:\tret"
        ));
        assert!(calls_last(
            "  1000:\tpush   %rbx\n  1001:\tcall   *0x28(%rbx)\n  1004:\tpop    %rbx\n  1005:\tret"
        ));
        assert!(!calls_last(
            "  1000:\tcall   *0x5(%rip)        # 2000 <x>\n  1005:\tud2"
        ));
    }

    #[test]
    fn a_call_may_be_followed_by_the_jump() {
        let stub = "  1000:\tcall   *%r11\n  1003:\ttest   %rdx,%rdx\n  1006:\tje     100a <x+0xa>\n  1008:\tjmp    *%rax\n  100a:\tret";
        assert!(!calls_last(stub));
        let elsewhere = "  1000:\tcall   *%r11\n  1003:\tjmp    2000 <y>";
        assert!(!calls_last(elsewhere));
        let to_return = "  1000:\tcall   *%r11\n  1003:\tjmp    1008 <x+0x8>\n  1008:\tret";
        assert!(calls_last(to_return));
    }

    #[test]
    fn only_operations_are_looked_at() {
        let other = "\n\n0000000000001000 <_ZN14engine_emulate3ops5chain17hE>:\n  1000:\tcall   *%rax\n  1002:\tret\n\n";
        assert_eq!(functions(other).count(), 0);
    }
}
