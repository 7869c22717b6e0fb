//! The walk through the tables.

use bitflags::bitflags;

use crate::access::{Access, FaultCode, Kind, PageFault, Privilege};
use crate::entry::{
    ACCESSED, DIRTY, GLOBAL, Level, NO_EXECUTE, PRESENT, USER, WRITABLE, is_pointer, levels,
};
use crate::mode::{Mode, Paging};

/// Most levels.
const LEVELS_MAX: usize = 4;

/// Bytes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntrySize {
    /// Of 32-bit paging.
    Four,
    /// Of all others.
    Eight,
}

/// The memory in which page tables lie, by physical address. Entries are aligned to their size.
pub trait Tables {
    /// An entry, in one piece; all ones where nobody answers.
    fn load(&self, address: u64, size: EntrySize) -> u64;
}

/// Page tables that a processor marks.
pub trait MarkedTables: Tables {
    /// Replaces an entry in one step, if it is still `before`; whether it was. Where nobody
    /// answers, it was.
    fn replace(&self, address: u64, size: EntrySize, before: u64, after: u64) -> bool;
}

bitflags! {
    /// What all entries on the way to a page allow.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Rights: u8 {
        /// Writes.
        const WRITE = 1;
        /// The program's accesses.
        const USER = 1 << 1;
        /// Fetches.
        const EXECUTE = 1 << 2;
    }
}

/// Where a linear address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// Physical address of the byte.
    pub physical: u64,
    /// The page's size as a power of two: 12, 21, 22 or 30; 12 without paging, where all
    /// pages are alike.
    pub page_shift: u32,
    /// What the entries allow, to whomever.
    pub rights: Rights,
    /// The page is marked as written: a further write changes no entry.
    pub is_dirty: bool,
    /// It stays when CR3 is loaded.
    pub is_global: bool,
}

/// An entry that was used, and where it is.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    address: u64,
    entry: u64,
    is_marked: bool,
}

/// The entries from the first table to the page.
struct Path {
    used: [Used; LEVELS_MAX],
    count: usize,
    mapping: Mapping,
}

/// Why there is no path.
enum Missing {
    NotPresent,
    Reserved,
}

impl Paging {
    /// The translation of an access to `linear`, whose bits above 32 count in four-level paging
    /// only. Marks the entries as accessed, and for a write the page as dirty.
    ///
    /// # Errors
    /// [`PageFault`] as the processor raises it. Nothing is marked then, unless an entry was taken
    /// away between the walk and its marks.
    pub fn translate(
        &self,
        tables: &impl MarkedTables,
        linear: u64,
        access: Access,
    ) -> Result<Mapping, PageFault> {
        loop {
            let path = self
                .path(tables, linear)
                .map_err(|missing| self.fault(linear, access, &missing))?;
            let mut mapping = path.mapping;
            if self.mode != Mode::None && !self.allows(mapping.rights, access) {
                let code = self.code(access) | FaultCode::PRESENT;
                return Err(self.fault_with(linear, code));
            }
            let writes = access.kind == Kind::Write;
            // An entry that changed meanwhile may lead elsewhere.
            if self.mark(tables, &path, writes) {
                mapping.is_dirty |= writes;
                return Ok(mapping);
            }
        }
    }

    /// Where `linear` leads, whoever may go there; `None`: nowhere. Leaves everything as it is.
    #[must_use]
    pub fn look(&self, tables: &impl Tables, linear: u64) -> Option<Mapping> {
        self.path(tables, linear).ok().map(|path| path.mapping)
    }

    /// Whether an access is within the rights of a page, in the registers' present state; for
    /// those who remember a [`Mapping`].
    #[must_use]
    pub fn allows(&self, rights: Rights, access: Access) -> bool {
        if access.is_user() {
            let needed = match access.kind {
                Kind::Read => Rights::USER,
                Kind::Write => Rights::USER | Rights::WRITE,
                Kind::Fetch => Rights::USER | Rights::EXECUTE,
            };
            return rights.contains(needed);
        }
        let of_program = rights.contains(Rights::USER);
        if access.kind == Kind::Fetch {
            return rights.contains(Rights::EXECUTE) && !(self.smep && of_program);
        }
        let is_excused = matches!(
            access.privilege,
            Privilege::Supervisor {
                alignment_check: true
            }
        );
        let is_barred = self.smap && of_program && !is_excused;
        let may_write = rights.contains(Rights::WRITE) || !self.write_protect;
        !is_barred && (access.kind != Kind::Write || may_write)
    }

    fn path(&self, tables: &impl Tables, linear: u64) -> Result<Path, Missing> {
        let linear = self.counted(linear);
        let mut path = Path {
            used: [Used::default(); LEVELS_MAX],
            count: 0,
            mapping: Mapping {
                physical: linear,
                page_shift: 12,
                rights: Rights::all(),
                is_dirty: true,
                is_global: false,
            },
        };
        let mut table = self.root;
        for (level, used) in levels(self.mode).iter().zip(0..) {
            let address = table + self.index(*level, linear) * self.entry_bytes();
            let entry = tables.load(address, self.entry_size());
            if entry & PRESENT == 0 {
                return Err(Missing::NotPresent);
            }
            let is_page = self.is_page(*level, entry);
            if entry & self.reserved(*level, is_page) != 0 {
                return Err(Missing::Reserved);
            }
            let is_marked = !is_pointer(self.mode, *level);
            if is_marked {
                path.mapping.rights &= self.rights(entry);
            }
            if let Some(slot) = path.used.get_mut::<usize>(used) {
                *slot = Used {
                    address,
                    entry,
                    is_marked,
                };
            }
            path.count = used + 1;
            let leads_to = self.address(*level, is_page, entry);
            if is_page {
                let offset = linear & ((1 << level.shift) - 1);
                path.mapping.physical = leads_to | offset;
                path.mapping.page_shift = level.shift;
                path.mapping.is_dirty = entry & DIRTY != 0;
                path.mapping.is_global = self.global_pages && entry & GLOBAL != 0;
                break;
            }
            table = leads_to;
        }
        Ok(path)
    }

    const fn index(&self, level: Level, linear: u64) -> u64 {
        linear >> level.shift & ((1 << level.index_bits) - 1)
    }

    const fn entry_size(&self) -> EntrySize {
        match self.mode {
            Mode::Bits32 => EntrySize::Four,
            _ => EntrySize::Eight,
        }
    }

    const fn entry_bytes(&self) -> u64 {
        match self.entry_size() {
            EntrySize::Four => 4,
            EntrySize::Eight => 8,
        }
    }

    fn rights(&self, entry: u64) -> Rights {
        let mut rights = Rights::empty();
        rights.set(Rights::WRITE, entry & WRITABLE != 0);
        rights.set(Rights::USER, entry & USER != 0);
        let is_data = self.no_execute && entry & NO_EXECUTE != 0;
        rights.set(Rights::EXECUTE, !is_data);
        rights
    }

    /// Sets the accessed bits, and the dirty one; whether all entries were still the same.
    fn mark(&self, tables: &impl MarkedTables, path: &Path, writes: bool) -> bool {
        let used = path.used.iter().take(path.count).enumerate();
        for (number, used) in used.filter(|(_, used)| used.is_marked) {
            let is_page = number + 1 == path.count;
            let dirty = if is_page && writes { DIRTY } else { 0 };
            let after = used.entry | ACCESSED | dirty;
            let stays = after == used.entry
                || tables.replace(used.address, self.entry_size(), used.entry, after);
            if !stays {
                return false;
            }
        }
        true
    }

    /// What an error code says of the access itself.
    fn code(&self, access: Access) -> FaultCode {
        let mut code = FaultCode::empty();
        code.set(FaultCode::WRITE, access.kind == Kind::Write);
        code.set(FaultCode::USER, access.is_user());
        let is_fetch = access.kind == Kind::Fetch && self.tells_fetches();
        code.set(FaultCode::FETCH, is_fetch);
        code
    }

    fn fault(&self, linear: u64, access: Access, missing: &Missing) -> PageFault {
        let why = match missing {
            Missing::NotPresent => FaultCode::empty(),
            Missing::Reserved => FaultCode::PRESENT | FaultCode::RESERVED,
        };
        self.fault_with(linear, self.code(access) | why)
    }

    fn fault_with(&self, linear: u64, code: FaultCode) -> PageFault {
        let address = self.counted(linear);
        PageFault { address, code }
    }

    /// The bits of a linear address that count.
    fn counted(&self, linear: u64) -> u64 {
        match self.mode {
            Mode::FourLevel => linear,
            _ => linear & 0xffff_ffff,
        }
    }
}
