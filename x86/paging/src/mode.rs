//! What the control registers say about paging.

use x86_state::Control;

const CR0_WP: u64 = 1 << 16;
const CR0_PG: u64 = 1 << 31;
const CR4_PSE: u64 = 1 << 4;
const CR4_PAE: u64 = 1 << 5;
const CR4_PGE: u64 = 1 << 7;
const CR4_SMEP: u64 = 1 << 20;
const CR4_SMAP: u64 = 1 << 21;
const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;

/// Most bits of a physical address (SDM vol. 3, 4.1.4).
const PHYSICAL_BITS_MAX: u32 = 52;
/// Fewest that a processor with PAE has.
const PHYSICAL_BITS_MIN: u32 = 36;

/// How linear addresses are translated (SDM vol. 3, 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Not at all.
    None,
    /// Two levels of 1024 entries.
    Bits32,
    /// Four entries, then two levels of 512.
    Pae,
    /// Four levels of 512.
    FourLevel,
}

/// Paging as the control registers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Paging {
    pub(crate) mode: Mode,
    /// Physical address of the first table.
    pub(crate) root: u64,
    pub(crate) physical_bits: u32,
    /// Large pages in 32-bit paging.
    pub(crate) page_size_extensions: bool,
    pub(crate) global_pages: bool,
    pub(crate) no_execute: bool,
    /// Read-only pages are so for the system, too.
    pub(crate) write_protect: bool,
    pub(crate) smep: bool,
    pub(crate) smap: bool,
}

impl Paging {
    /// As `control` has it, on a processor whose physical addresses have so many bits (36 to 52;
    /// what is beyond counts as the next that can be).
    #[must_use]
    pub fn new(control: &Control, physical_bits: u32) -> Self {
        let Control {
            cr0,
            cr3,
            cr4,
            efer,
            ..
        } = *control;
        let physical_bits = physical_bits.clamp(PHYSICAL_BITS_MIN, PHYSICAL_BITS_MAX);
        let mode = match () {
            () if cr0 & CR0_PG == 0 => Mode::None,
            () if cr4 & CR4_PAE == 0 => Mode::Bits32,
            () if efer & EFER_LMA == 0 => Mode::Pae,
            () => Mode::FourLevel,
        };
        let root = match mode {
            Mode::None => 0,
            Mode::Bits32 => cr3 & 0xffff_f000,
            Mode::Pae => cr3 & 0xffff_ffe0,
            Mode::FourLevel => cr3 & ((1 << physical_bits) - 1) & !0xfff,
        };
        Self {
            mode,
            root,
            physical_bits,
            page_size_extensions: cr4 & CR4_PSE != 0,
            global_pages: cr4 & CR4_PGE != 0,
            // 32-bit paging has no place for it (4.3).
            no_execute: efer & EFER_NXE != 0 && matches!(mode, Mode::Pae | Mode::FourLevel),
            write_protect: cr0 & CR0_WP != 0,
            smep: cr4 & CR4_SMEP != 0,
            smap: cr4 & CR4_SMAP != 0,
        }
    }

    /// How linear addresses are translated.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether error codes tell fetches from reads (SDM vol. 3, 4.7).
    pub(crate) const fn tells_fetches(&self) -> bool {
        self.no_execute || self.smep
    }
}
