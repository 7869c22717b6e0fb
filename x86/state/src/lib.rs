//! The state of an x86-64 virtual CPU as a plain value.
//!
//! What any engine can show between two instructions, and what it can be given: enough to go
//! on elsewhere, and to compare two engines register by register. Names and bits are those
//! of the manuals (SDM vol. 3, chapters 2 to 6).
#![forbid(unsafe_code)]

/// A virtual CPU between two instructions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuState {
    /// `rax rcx rdx rbx rsp rbp rsi rdi r8..r15`, in the order of their encoding.
    pub general: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// Segment registers with their hidden parts.
    pub segments: Segments,
    /// Global descriptor table.
    pub gdt: Table,
    /// Interrupt descriptor table.
    pub idt: Table,
    /// Control registers.
    pub control: Control,
    /// `dr0..dr3`, `dr6`, `dr7`.
    pub debug: [u64; 6],
    /// Model-specific registers, by ascending number; those an engine does not have are
    /// missing. The bases of `fs` and `gs` and `EFER` are elsewhere.
    pub model_specific: Vec<(u32, u64)>,
    /// Floating-point and vector state in the standard form of `XSAVE`; empty: as after reset.
    pub vector: Vec<u8>,
    /// What is on its way to the processor.
    pub events: Events,
}

/// The segment registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct Segments {
    pub cs: Segment,
    pub ds: Segment,
    pub es: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub ss: Segment,
    pub tr: Segment,
    pub ldt: Segment,
}

/// A segment register with what the processor remembers of its descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Linear address of its first byte.
    pub base: u64,
    /// Last offset, in bytes.
    pub limit: u32,
    /// Access rights as in bits 40 to 55 of the descriptor, shifted down; bits 8 to 11 are
    /// zero (SDM vol. 3, 3.4.5). Zero where the register is not usable.
    pub rights: u16,
}

/// A descriptor table register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Linear address.
    pub base: u64,
    /// Last offset, in bytes.
    pub limit: u16,
}

/// Control registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Modes of protection, paging and the numeric unit.
    pub cr0: u64,
    /// Linear address of the last page fault.
    pub cr2: u64,
    /// Root of the page tables.
    pub cr3: u64,
    /// Extensions.
    pub cr4: u64,
    /// Task priority.
    pub cr8: u64,
    /// `EFER`.
    pub efer: u64,
    /// `XCR0`.
    pub xcr0: u64,
}

impl Control {
    /// The process context: zero where `CR4.PCIDE` is clear (SDM vol. 3, 4.10.1).
    #[must_use]
    pub const fn context(&self) -> u16 {
        const PROCESS_CONTEXTS: u64 = 1 << 17;
        if self.cr4 & PROCESS_CONTEXTS == 0 {
            0
        } else {
            self.cr3 as u16 & 0xfff
        }
    }
}

/// What is on its way to the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// An exception that has been raised but not delivered.
    pub exception: Option<Exception>,
    /// An external interrupt whose delivery has begun.
    pub interrupt: Option<u8>,
    /// A non-maskable interrupt waits.
    pub nmi_pending: bool,
    /// Non-maskable interrupts are held back until `iret`.
    pub nmi_masked: bool,
    /// The last instruction was `sti`, `mov ss` or `pop ss`: interrupts wait one more.
    pub interrupt_shadow: bool,
    /// It waits for an interrupt (`hlt`).
    pub halted: bool,
    /// It waits for another to start it, as all but the first do after reset (SDM vol. 3, 9.4).
    pub awaits_startup: bool,
}

/// An exception on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exception {
    /// Vector.
    pub vector: u8,
    /// Error code, where the vector has one.
    pub error: Option<u32>,
}
