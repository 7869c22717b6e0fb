//! Translations that were found, by page: where the machine's memory is that a linear address leads to.
//!
//! A page has an entry for each of three ways to be somebody ([`Class`]) and each of three things to do, with the
//! linear page and the epoch as its tag. All translations are forgotten by beginning another epoch, and found again by
//! going back to one ([`Contexts`](crate::contexts::Contexts)). A tag that is
//! compared with that of an access's last byte does not match where the access goes on in another page.
//! Reads and writes have entries of their own, so that a copy from one page to another does not depend on how far
//! they are apart.

use machine_memory::{Frame, GuestMemory};
use x86_paging::{Kind, Privilege};

const PAGE: u64 = 0xfff;
const PAGE_SHIFT: u32 = 12;
/// Entries of each class for each kind of access.
const ENTRIES: usize = 1 << ENTRY_BITS;
const ENTRY_BITS: u32 = 10;
/// Three classes, and one that nobody uses, so that an index needs no check.
const CLASSES: usize = 4 * ENTRIES;
/// Three kinds, likewise.
const ALL: usize = 4 * CLASSES;

const KINDS: [Kind; 3] = [Kind::Read, Kind::Write, Kind::Fetch];

/// A page. Tag zero matches nothing, as there is no epoch zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'m> {
    pub(crate) tag: u64,
    pub(crate) frame: Frame<'m>,
}

/// In whose name: what the rights of a page depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class(usize);

impl Class {
    pub(crate) const fn of(privilege: Privilege) -> Self {
        Self(match privilege {
            Privilege::User => 0,
            // To the tables of a processor SMAP applies, whatever `AC` says.
            Privilege::Implicit
            | Privilege::Supervisor {
                alignment_check: false,
            } => ENTRIES,
            Privilege::Supervisor {
                alignment_check: true,
            } => 2 * ENTRIES,
        })
    }

    /// Where a page's entry is.
    #[inline(always)]
    const fn place(self, kind: Kind, linear: u64) -> usize {
        let page = (linear >> PAGE_SHIFT) as usize & (ENTRIES - 1);
        (first(kind) | self.0 | page) & (ALL - 1)
    }
}

/// Where the entries for a kind of access begin.
#[inline(always)]
const fn first(kind: Kind) -> usize {
    match kind {
        Kind::Read => 0,
        Kind::Write => CLASSES,
        Kind::Fetch => 2 * CLASSES,
    }
}

/// The translations of a virtual CPU.
pub(crate) struct Tlb<'m> {
    entries: Box<[Entry<'m>; ALL]>,
    /// The physical pages of the entries.
    physical: Box<[u64; ALL]>,
    /// Of what runs now.
    class: Class,
    epoch: u64,
    newest: u64,
}

impl<'m> Tlb<'m> {
    /// Without any. `None`: there is no memory at all.
    pub(crate) fn new(memory: &'m GuestMemory) -> Option<Self> {
        let empty = Entry {
            tag: 0,
            frame: memory.frame(0)?,
        };
        let entries = vec![empty; ALL].into_boxed_slice();
        let physical = vec![0; ALL].into_boxed_slice();
        Some(Self {
            entries: entries.try_into().ok()?,
            physical: physical.try_into().ok()?,
            class: Class::of(Privilege::User),
            epoch: 1,
            newest: 1,
        })
    }

    /// Whoever runs from now on.
    pub(crate) const fn set_class(&mut self, class: Class) {
        self.class = class;
    }

    /// The tag of a page, for an access to bytes from `linear` on.
    #[inline(always)]
    const fn tag(&self, linear: u64, bytes: u64) -> u64 {
        linear.wrapping_add(bytes - 1) & !PAGE | self.epoch
    }

    /// The page that so many bytes lie in, if it is known and what runs now may access it so.
    #[inline(always)]
    pub(crate) fn page(&self, kind: Kind, linear: u64, bytes: u64) -> Option<Frame<'m>> {
        let entry = &self.entries[self.class.place(kind, linear)];
        (entry.tag == self.tag(linear, bytes)).then_some(entry.frame)
    }

    /// The page and its physical address that an access leads to, if it is known and may be accessed so.
    pub(crate) fn find(&self, class: Class, kind: Kind, linear: u64) -> Option<(Frame<'m>, u64)> {
        let place = class.place(kind, linear);
        let entry = &self.entries[place];
        (entry.tag == self.tag(linear, 1)).then_some((entry.frame, self.physical[place]))
    }

    /// Keeps a page for this kind of access.
    pub(crate) fn keep(
        &mut self,
        class: Class,
        kind: Kind,
        linear: u64,
        frame: Frame<'m>,
        physical: u64,
    ) {
        let tag = self.tag(linear, 1);
        for kind in KINDS {
            // The tables have changed, and with them what was found before.
            let place = class.place(kind, linear);
            if self.entries[place].tag == tag && self.physical[place] != physical {
                self.entries[place].tag = 0;
            }
        }
        let place = class.place(kind, linear);
        self.entries[place] = Entry { tag, frame };
        self.physical[place] = physical;
    }

    /// The epoch, in which all is found that is kept now.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Goes back to an epoch that has been, and what was kept in it.
    pub(crate) const fn resume(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Begins another epoch, in which nothing is known; whether all others are over with it.
    pub(crate) fn begin(&mut self) -> bool {
        self.newest += 1;
        let is_over = self.newest > PAGE;
        if is_over {
            self.newest = 1;
            for entry in self.entries.iter_mut() {
                entry.tag = 0;
            }
        }
        self.epoch = self.newest;
        is_over
    }

    /// Forgets a page.
    pub(crate) fn forget_page(&mut self, linear: u64) {
        for class in (0..3).map(|number| Class(number * ENTRIES)) {
            for kind in KINDS {
                self.entries[class.place(kind, linear)].tag = 0;
            }
        }
    }

    /// Forgets that a page of the machine's memory may be written.
    pub(crate) fn forget_writes(&mut self, physical: u64) {
        let writes = first(Kind::Write)..first(Kind::Write) + CLASSES;
        let pages = &self.physical[writes.clone()];
        for (entry, page) in self.entries[writes].iter_mut().zip(pages) {
            if *page == physical {
                entry.tag = 0;
            }
        }
    }
}
