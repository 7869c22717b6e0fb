//! Breakpoints of the debug registers (SDM vol. 3, 17.2).

use x86_semantics::Cpu;

/// `CR4.DE`: breakpoints can be on ports.
const EXTENSIONS: u64 = 1 << 3;
/// In `DR7`: the enables of all four.
const ENABLES: u64 = 0xff;

/// What a breakpoint waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Execution,
    Write,
    Port,
    Read,
}

#[derive(Clone, Copy, Debug)]
struct Breakpoint {
    start: u64,
    length: u64,
    /// As `DR7` has it: instructions, writes, ports, reads and writes.
    kind: u64,
}

/// The breakpoints that are on, and those that were met since that was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Breakpoints {
    all: [Option<Breakpoint>; 4],
    met: u64,
}

impl Breakpoints {
    /// Whether any is on.
    pub(crate) const fn are_on(cpu: &Cpu) -> bool {
        cpu.debug[5] & ENABLES != 0
    }

    /// Those of the registers.
    pub(crate) fn of(cpu: &Cpu) -> Self {
        let control = cpu.debug[5];
        let has_ports = cpu.control.cr4 & EXTENSIONS != 0;
        let one = |number: usize| {
            let fields = control >> (16 + 4 * number);
            let is_on = control >> (2 * number) & 3 != 0;
            let kind = fields & 3;
            let length = match fields >> 2 & 3 {
                0 => 1,
                1 => 2,
                2 => 8,
                _ => 4,
            };
            let start = cpu.debug[number] & !(length - 1);
            let is_known = kind != 2 || has_ports;
            (is_on && is_known).then_some(Breakpoint {
                start,
                length,
                kind,
            })
        };
        Self {
            all: [0, 1, 2, 3].map(one),
            met: 0,
        }
    }

    /// Notes those that bytes from `start` on meet.
    pub(crate) fn meet(&mut self, start: u64, length: u64, cause: Cause) {
        for (number, breakpoint) in self.all.iter().enumerate() {
            let Some(breakpoint) = breakpoint else {
                continue;
            };
            let is_kind = matches!(
                (breakpoint.kind, cause),
                (0, Cause::Execution) | (1 | 3, Cause::Write) | (3, Cause::Read) | (2, Cause::Port)
            );
            let overlaps = breakpoint.start.wrapping_sub(start) < length
                || start.wrapping_sub(breakpoint.start) < breakpoint.length;
            if is_kind && overlaps {
                self.met |= 1 << number;
            }
        }
    }

    /// Those that were met, as `DR6` has them.
    pub(crate) fn take(&mut self) -> u64 {
        std::mem::take(&mut self.met)
    }
}
