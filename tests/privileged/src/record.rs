//! A case as the test kernel reads it: a structure of fixed size, and what it points to.

/// Where the fields of a record are.
pub(crate) mod field {
    /// The next record's address; 0 in the last.
    pub(crate) const NEXT: u32 = 0;
    /// The address of the name, which ends with a zero byte.
    pub(crate) const NAME: u32 = 4;
    /// Which way in: one of `entry`.
    pub(crate) const ENTRY: u32 = 8;
    /// 1 when registers are shown with 64 bits.
    pub(crate) const WIDE: u32 = 12;
    /// Control registers.
    pub(crate) const CR0: u32 = 16;
    /// The page tables' root.
    pub(crate) const CR3: u32 = 20;
    /// Control register 4.
    pub(crate) const CR4: u32 = 24;
    /// The extended feature enable register.
    pub(crate) const EFER: u32 = 28;
    /// The task register's selector.
    pub(crate) const TR: u32 = 32;
    /// The selector of the LDT.
    pub(crate) const LDTR: u32 = 34;
    /// The segment registers in the order of their numbers: ES, CS, SS, DS, FS, GS.
    pub(crate) const SEGMENTS: u32 = 36;
    /// The instruction pointer, of 64 bits.
    pub(crate) const RIP: u32 = 48;
    /// The flags, of 64 bits.
    pub(crate) const RFLAGS: u32 = 56;
    /// The sixteen general registers in the order of their numbers, of 64 bits.
    pub(crate) const GENERAL: u32 = 64;
    /// DR0 to DR3, and DR7.
    pub(crate) const DEBUG: u32 = 192;
    /// The list of what is written to memory: address, length, and bytes up to a multiple of 4.
    pub(crate) const PATCHES: u32 = 212;
    /// How many there are.
    pub(crate) const PATCH_COUNT: u32 = 216;
    /// The list of what is shown of memory: address and count of words of 32 bits.
    pub(crate) const PROBES: u32 = 220;
    /// How many there are.
    pub(crate) const PROBE_COUNT: u32 = 224;
    /// The list of model-specific registers to be set: number, and 64 bits.
    pub(crate) const MSRS: u32 = 228;
    /// How many there are.
    pub(crate) const MSR_COUNT: u32 = 232;
    /// The list of numbers of model-specific registers that are shown.
    pub(crate) const MSR_PROBES: u32 = 236;
    /// How many there are.
    pub(crate) const MSR_PROBE_COUNT: u32 = 240;
    /// The size of a record.
    pub(crate) const SIZE: u32 = 244;
}

/// How a case's mode is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Entry {
    /// Real mode.
    Real = 0,
    /// Protected mode, virtual-8086 mode included.
    Protected = 1,
    /// Long mode.
    Long = 2,
}
