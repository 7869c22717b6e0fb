//! What QEMU's emulation of a processor, in whose guest mode a nested KVM runs, gets wrong: excused there alone.

use iced_x86::Mnemonic;
use machine_debugger::memory;
use machine_memory::GuestMemory;
use x86_state::{CpuState, Segment};

use crate::instruction::Here;

const RSP: usize = 4;
/// In a stack segment's rights: it has 32 bits.
const STACK_32: u16 = 1 << 14;
/// Bytes that a gate pushes at most: six words of 64 bits, or ten of 32 out of virtual-8086 mode.
const FRAME: usize = 48;

/// With these bits set, KVM refuses to load the entries again, which ends 32-bit kernels of Linux with PAE.
pub(crate) const MARKED_POINTERS: &str =
    "the four top entries of PAE paging are marked as accessed, a reserved bit (SDM vol. 3, 4.4.1)";
/// There it is, for that instruction.
pub(crate) const LOST_STEP: &str =
    "SYSRET ends a step by the trap flag in R11 alone, where it has to be put";
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LMA: u64 = 1 << 10;

/// Whether anything of that is excused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deviations {
    is_emulated: bool,
}

/// One step of both machines.
pub(crate) struct Step<'s> {
    pub(crate) mine: &'s CpuState,
    pub(crate) theirs: &'s mut CpuState,
    pub(crate) memories: (&'s GuestMemory, &'s GuestMemory),
}

/// Makes KVM's side what the interpreter's is, if this is what differs; whether it was.
type Excuse = fn(&mut Step<'_>) -> bool;

/// What it is called, and what is excused.
const TABLE: [(&str, Excuse); 8] = [
    (
        "x87 does not say in C1 that it has rounded up (SDM vol. 1, 8.1.3.3)",
        rounding_is_not_told,
    ),
    (
        "far transfers do not mark descriptors as accessed (SDM vol. 3, 3.4.5.1)",
        descriptors_are_not_marked,
    ),
    (
        "the flags that a fault pushes have no RF (SDM vol. 3, 18.3.1.1)",
        resume_flag_is_missing,
    ),
    (
        "an instruction that reads and writes faults as one that reads (SDM vol. 3, 4.7)",
        write_is_called_read,
    ),
    (
        "a page fault for a reserved bit is called one of a page that is not present (SDM vol. 3, 4.7)",
        reserved_is_called_absent,
    ),
    (
        "MMX leaves the upper bits of its registers, which are to be set (SDM vol. 1, 9.5.1)",
        upper_bits_are_left,
    ),
    (
        "a handler of the same level with a stack of its own loses SS (SDM vol. 3, 6.14.5)",
        stack_segment_is_lost,
    ),
    (
        "LLDT of a null selector leaves what was there (SDM vol. 2, LLDT)",
        null_table_is_kept,
    ),
];

impl Deviations {
    /// Of this host.
    pub(crate) fn of_host() -> Self {
        Self {
            is_emulated: is_in_tcg(),
        }
    }

    /// Whether a task's busy state has to be hidden from it: with it, it gives up where the stack of another level
    /// is looked for ("invalid tss type").
    pub(crate) const fn hides_busy_task(self) -> bool {
        self.is_emulated
    }

    /// Whether a trap waits for one more instruction, as it does after `MOV SS`: after `LSS`, too, which SDM vol. 3,
    /// 6.8.3 excludes, and after `STI`, which holds back interrupts alone (SDM vol. 2, STI).
    pub(crate) fn waits(self, here: &Here) -> bool {
        self.is_emulated && here.holds_interrupts_alone()
    }

    /// Whether a step over it has no end of itself: [`LOST_STEP`].
    pub(crate) fn loses_step(self, here: &Here) -> bool {
        self.is_emulated && matches!(here.mnemonic(), Mnemonic::Sysret | Mnemonic::Sysretq)
    }

    /// Takes away the marks of [`MARKED_POINTERS`]; whether there were any.
    pub(crate) fn unmark(
        self,
        (before, after): (&CpuState, &CpuState),
        memory: &GuestMemory,
    ) -> bool {
        const ACCESSED: u8 = 1 << 5;
        if !self.is_emulated {
            return false;
        }
        let mut has_marks = false;
        for control in [&before.control, &after.control] {
            let has_pointers = control.cr0 & CR0_PG != 0
                && control.cr4 & CR4_PAE != 0
                && control.efer & EFER_LMA == 0;
            let root = if has_pointers {
                control.cr3 & 0xffff_ffe0
            } else {
                continue;
            };
            for place in (root..).step_by(8).take(4) {
                let mut byte = [0];
                let is_read = memory.read(place, &mut byte).is_ok();
                let [flags] = byte;
                if is_read && flags & ACCESSED != 0 {
                    has_marks |= memory.write(place, &[flags & !ACCESSED]).is_ok();
                }
            }
        }
        has_marks
    }

    /// Makes equal what is known to differ, and says what that was.
    pub(crate) fn excuse(self, step: &mut Step<'_>) -> Vec<&'static str> {
        if !self.is_emulated {
            return Vec::new();
        }
        let found = TABLE.iter().filter(|(_, excuse)| excuse(step));
        found.map(|(name, _)| *name).collect()
    }
}

/// Whether this processor is emulated by QEMU, by the name in its CPUID.
pub(crate) fn is_in_tcg() -> bool {
    let name = std::arch::x86_64::__cpuid(0x4000_0000);
    [name.ebx, name.ecx, name.edx] == [0x5447_4354, 0x4354_4743, 0x4743_5447]
}

fn descriptors_are_not_marked(step: &mut Step<'_>) -> bool {
    const ACCESSED: u16 = 1;
    let (mine, theirs) = (step.mine.segments, &mut step.theirs.segments);
    let mut found = Vec::new();
    for (mine, theirs) in [(mine.cs, &mut theirs.cs), (mine.ss, &mut theirs.ss)] {
        if mine.rights ^ theirs.rights == ACCESSED && mine.selector == theirs.selector {
            theirs.rights = mine.rights;
            found.push(mine);
        }
    }
    !found.is_empty() && found.iter().all(|segment| copy_descriptor(step, segment))
}

/// The flags that a gate has pushed.
fn resume_flag_is_missing(step: &mut Step<'_>) -> bool {
    /// Of the byte that has it.
    const RESUME: u8 = 1;
    pushed_byte_differs(step, |place, differing| place > 4 && differing == RESUME)
}

/// The error code that a page fault has pushed.
fn write_is_called_read(step: &mut Step<'_>) -> bool {
    const WRITE: u8 = 2;
    pushed_byte_differs(step, |place, differing| place == 0 && differing == WRITE)
}

fn reserved_is_called_absent(step: &mut Step<'_>) -> bool {
    const PRESENT: u8 = 1;
    pushed_byte_differs(step, |place, differing| place == 0 && differing == PRESENT)
}

/// Copies the bytes of what a gate has pushed that differ in this way, by place and bits; whether there were any.
fn pushed_byte_differs(step: &Step<'_>, is_it: fn(usize, u8) -> bool) -> bool {
    let (from, to) = step.memories;
    let address = stack_pointer(step.mine);
    let (mut mine, mut theirs) = ([0; FRAME], [0; FRAME]);
    let count = memory::read(from, step.mine, address, &mut mine);
    memory::read(to, step.mine, address, &mut theirs);
    let pairs = mine.iter().zip(&theirs).take(count).enumerate();
    let different = pairs.filter(|(place, (one, other))| is_it(*place, *one ^ *other));
    let mut all = different
        .map(|(place, (one, _))| memory::write(to, step.mine, address + place as u64, &[*one]));
    all.next().is_some_and(|done| done) && all.all(|done| done)
}

/// Of the status word.
fn rounding_is_not_told(step: &mut Step<'_>) -> bool {
    /// Its upper byte in the standard form of `XSAVE`, and `C1` in it.
    const STATUS: usize = 3;
    const CONDITION_1: u8 = 1 << 1;
    let mine = step.mine.vector.get(STATUS);
    let (Some(mine), Some(theirs)) = (mine, step.theirs.vector.get_mut(STATUS)) else {
        return false;
    };
    let is_it = *mine ^ *theirs == CONDITION_1;
    if is_it {
        *theirs = *mine;
    }
    is_it
}

/// An x87 register has 10 bytes of 16 in the standard form of `XSAVE`, of which MMX uses eight.
fn upper_bits_are_left(step: &mut Step<'_>) -> bool {
    const STACK: usize = 32;
    let mut has_found = false;
    for number in 0..8 {
        let upper = STACK + 16 * number + 8..STACK + 16 * number + 10;
        let mine = step.mine.vector.get(upper.clone());
        let theirs = step.theirs.vector.get_mut(upper);
        if let (Some(mine @ [0xff, 0xff]), Some(theirs)) = (mine, theirs)
            && mine != theirs
        {
            theirs.copy_from_slice(mine);
            has_found = true;
        }
    }
    has_found
}

/// In long mode, where nothing but its selector is ever looked at.
fn stack_segment_is_lost(step: &mut Step<'_>) -> bool {
    let (mine, theirs) = (step.mine.segments.ss, &mut step.theirs.segments.ss);
    let is_long = step.mine.control.efer & EFER_LMA != 0;
    let is_it = is_long && mine.selector != 0 && *theirs == Segment::default();
    if is_it {
        *theirs = mine;
    }
    is_it
}

fn null_table_is_kept(step: &mut Step<'_>) -> bool {
    let (mine, theirs) = (step.mine.segments.ldt, &mut step.theirs.segments.ldt);
    let is_it = mine != *theirs && mine.selector & !3 == 0 && mine.selector == theirs.selector;
    if is_it {
        *theirs = mine;
    }
    is_it
}

/// Linear address of the stack's top.
pub(crate) fn stack_pointer(state: &CpuState) -> u64 {
    let stack = &state.segments.ss;
    let pointer = state.general[RSP];
    match x86_listing::bitness(state) {
        64 => pointer,
        _ if stack.rights & STACK_32 != 0 => stack.base.wrapping_add(pointer) & 0xffff_ffff,
        _ => stack.base + (pointer & 0xffff),
    }
}

/// Gives KVM's machine a descriptor as the interpreter's has it.
fn copy_descriptor(step: &Step<'_>, segment: &Segment) -> bool {
    let state = step.mine;
    let table = match segment.selector & 4 {
        0 => state.gdt.base,
        _ => state.segments.ldt.base,
    };
    let address = table + u64::from(segment.selector & !7);
    let (from, to) = step.memories;
    let mut descriptor = [0; 8];
    memory::read(from, state, address, &mut descriptor) == descriptor.len()
        && memory::write(to, state, address, &descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAT: Segment = Segment {
        selector: 0x18,
        base: 0,
        limit: u32::MAX,
        rights: 0xc093,
    };

    /// What is excused where QEMU emulates the processor, and KVM's state then.
    fn excused(mine: &CpuState, theirs: &CpuState) -> (usize, CpuState) {
        let memory = machine_memory::create(0x2000).unwrap();
        let mut theirs = theirs.clone();
        let found = Deviations { is_emulated: true }.excuse(&mut Step {
            mine,
            theirs: &mut theirs,
            memories: (&memory, &memory),
        });
        (found.len(), theirs)
    }

    #[test]
    fn only_what_is_known_is_excused() {
        let mut mine = CpuState::default();
        mine.control.efer = EFER_LMA;
        mine.segments.ss = FLAT;
        let mut theirs = mine.clone();
        assert_eq!(excused(&mine, &theirs), (0, mine.clone()));
        theirs.segments.ss = Segment::default();
        assert_eq!(excused(&mine, &theirs), (1, mine.clone()));
        theirs.segments.ss.selector = 0x20;
        assert_eq!(excused(&mine, &theirs), (0, theirs.clone()));
        mine.control.efer = 0;
        theirs.segments.ss = Segment::default();
        assert_eq!(excused(&mine, &theirs).0, 0);
    }

    #[test]
    fn nothing_is_excused_elsewhere() {
        let memory = machine_memory::create(0x1000).unwrap();
        let mut mine = CpuState::default();
        mine.control.efer = EFER_LMA;
        mine.segments.ss = FLAT;
        let mut theirs = CpuState::default();
        let found = Deviations { is_emulated: false }.excuse(&mut Step {
            mine: &mine,
            theirs: &mut theirs,
            memories: (&memory, &memory),
        });
        assert!(found.is_empty() && theirs == CpuState::default());
    }
}
