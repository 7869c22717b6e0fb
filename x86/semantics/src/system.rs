//! What a processor reaches beyond its registers and memory, and what it can do at all.

use x86_state::Control;

use crate::Size;

/// What of the registers a processor has; the rest is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Bits of `CR4` that can be set.
    pub cr4: u64,
    /// Bits of `EFER` that can be set.
    pub efer: u64,
    /// Bits of `XCR0` that can be set.
    pub xcr0: u64,
    /// Bits of a physical address.
    pub physical_bits: u32,
}

/// Which translations of linear addresses no longer hold (SDM vol. 3, 4.10.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forget {
    /// That of the page with this linear address, global or not.
    Page(u64),
    /// Those of a process context, but for global ones; without process contexts it is number zero.
    Context(u16),
    /// None: another root, with what was found in its context before.
    Nothing,
    /// All.
    All,
}

/// What is around a processor: ports, time, and what it says of itself.
pub trait System {
    /// What of the registers there is.
    fn features(&self) -> Features;

    /// `in`. The size is at most 32 bits, as below.
    fn port_read(&mut self, port: u16, size: Size) -> u64;

    /// `out`.
    fn port_write(&mut self, port: u16, size: Size, value: u64);

    /// `cpuid`: `eax`, `ebx`, `ecx` and `edx` for a leaf and an index, as far as they do not follow from
    /// the control registers.
    fn identify(&mut self, leaf: u32, index: u32) -> [u32; 4];

    /// The time stamp counter.
    fn time_stamp(&mut self) -> u64;

    /// A random number; `None` when there is none now.
    fn random(&mut self) -> Option<u64>;

    /// Eight bytes of memory by physical address, aligned; ones where there is none.
    fn physical(&mut self, address: u64) -> u64;

    /// Translations that must not be used any more; paging is as `control` has it from now on.
    fn forget(&mut self, which: Forget, control: &Control);

    /// A model-specific register that is not one of [`Cpu`](crate::Cpu)'s; `None`: there is none.
    fn model_specific(&mut self, number: u32) -> Option<u64>;

    /// Writes such a register; whether it can have the value.
    fn set_model_specific(&mut self, number: u32, value: u64) -> bool;

    /// The task priority, as `CR8` has it.
    fn task_priority(&mut self) -> u8;

    /// Sets it; 4 bits.
    fn set_task_priority(&mut self, priority: u8);
}
