//! The program's address space.
//!
//! An [`AddressSpace`] is a map of [`Area`]s: ranges with one protection and one kind
//! of backing. An area that can be accessed owns its memory, an extent that is mapped
//! directly; there are no faults for anonymous memory, since the layer below backs a
//! page when it is touched. What is brought in by a fault is the content of large
//! private file mappings ([`fault`](AddressSpace::fault)), and the copy of what is written where a
//! file of the host shows ([`Backing::Shown`]).
//!
//! * `area`: one range.
//! * `change`: unmapping, protecting, moving.
//!
//! Addresses are the program's; lengths are whole pages below this module's functions
//! (system calls round and check before).

mod area;
mod change;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use guest_abi::layout::{APP_END, APP_START, HUGE_PAGE_SIZE, PAGE_SIZE, page_up};
use guest_hal::memory::{Extent, large_pages_are_dear};
use guest_hal::{GuestAddress, LinearAddress, Nanos, Protection, Trap, platform, time};

pub use area::{Area, Backing, FileBacking};

use crate::fs::OpenFile;
use crate::{Errno, Result};

/// A private file mapping up to this size is filled at once: the faults would cost more.
const EAGER_FILL_MAX: u64 = 64 << 10;
/// An anonymous mapping from this size on is backed by large pages where they fit: a
/// first touch then costs a fiftieth.
const LARGE: u64 = 4 << 20;
/// How long a program must have run before it has large pages on a host where they are dear: what ends
/// sooner touches a little of each only.
const YOUTH: Nanos = Nanos(64_000_000);
/// What the first fault in a mapping brings in, and what shared mappings show at a time.
const FILL_CHUNK: u64 = 64 << 10;
/// What becomes the machine's own when the kernel writes to a file's text.
const OWN_CHUNK: u64 = 16 << 10;
/// The most that one fault brings in.
const FILL_CHUNK_MAX: u64 = 512 << 10;

/// Why a fault could not be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// Nothing is mapped there: `SIGSEGV`, `SEGV_MAPERR`.
    Unmapped,
    /// The mapping does not allow it: `SIGSEGV`, `SEGV_ACCERR`.
    Forbidden,
    /// Beyond the end of the mapped file, or it cannot be read: `SIGBUS`.
    Bus,
}

/// Where a new mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Anywhere, if possible at the hint.
    Anywhere(LinearAddress),
    /// Exactly there, replacing what is there.
    Fixed(LinearAddress),
    /// Exactly there, unless something is there.
    FixedFree(LinearAddress),
    /// Below 2 GiB.
    Low,
}

/// What to map.
#[derive(Clone, Debug)]
pub enum Source {
    /// Zeroes.
    Anonymous,
    /// Zeroes, for a stack that grows down.
    Stack,
    /// Guest-physical memory shared with the monitor.
    Device(GuestAddress),
    /// A private copy of a file from an offset on.
    Private(Arc<OpenFile>, u64),
    /// A file's pages themselves.
    Shared(Arc<OpenFile>, u64),
}

/// The address space of a process.
#[derive(Debug)]
pub struct AddressSpace {
    areas: BTreeMap<u64, Area>,
    /// Start and end of the heap that `brk` moves.
    brk: (u64, u64),
    /// Below this the search for room begins.
    top: u64,
    /// Most bytes an anonymous mapping may have: more could never be used.
    limit: u64,
    /// Large areas do without large pages before.
    large_from: Nanos,
    /// Some of them wait for that moment.
    waiting: bool,
}

impl AddressSpace {
    /// An empty one. `top` bounds automatic placement from above; `limit` is the
    /// machine's memory.
    #[must_use]
    pub fn new(top: LinearAddress, limit: u64) -> Self {
        let large_from = if large_pages_are_dear() {
            time::monotonic().saturating_add(YOUTH)
        } else {
            Nanos(0)
        };
        Self {
            areas: BTreeMap::new(),
            brk: (0, 0),
            top: top.0,
            limit,
            large_from,
            waiting: false,
        }
    }

    /// All areas, from the lowest address.
    pub fn areas(&self) -> impl Iterator<Item = (LinearAddress, &Area)> {
        self.areas
            .iter()
            .map(|(&start, area)| (LinearAddress(start), area))
    }

    /// Where the memory at an address is, if some is there.
    #[must_use]
    pub fn physical_address(&self, address: LinearAddress) -> Option<GuestAddress> {
        let (start, area) = self.area_at(address)?;
        let within = address.0 - start.0;
        match &area.backing {
            Backing::Private(extent) => extent.start().checked_add(within),
            Backing::Device(physical) => physical.checked_add(within),
            Backing::Shared(pages) => {
                let offset = area.file.as_ref().map_or(0, |file| file.offset) + within;
                let page = offset & !(PAGE_SIZE - 1);
                let runs = pages.runs(page, PAGE_SIZE).ok()?;
                let (physical, _) = runs.first()?;
                physical.checked_add(offset - page)
            }
            Backing::None
            | Backing::Lazy { .. }
            | Backing::Shown { .. }
            | Backing::BeyondFile { .. } => None,
        }
    }

    /// Bytes that are mapped.
    #[must_use]
    pub fn mapped_bytes(&self) -> u64 {
        self.areas
            .iter()
            .map(|(start, area)| area.end - start)
            .sum()
    }

    /// Start and end of the heap.
    #[must_use]
    pub const fn brk_range(&self) -> (u64, u64) {
        self.brk
    }

    /// Below this the search for room begins.
    #[must_use]
    pub const fn top(&self) -> u64 {
        self.top
    }

    /// Where the heap begins; once, at exec.
    pub const fn set_brk_start(&mut self, start: LinearAddress) {
        self.brk = (start.0, start.0);
    }

    /// Moves the heap's end; returns where it is then, the old one if it cannot move.
    pub fn set_brk(&mut self, end: u64, data_limit: u64) -> u64 {
        let (start, old) = self.brk;
        let (old_page, new_page) = (page_up(old), page_up(end));
        if end < start || end - start > data_limit || end - start > self.limit {
            return old;
        }
        let moved = if new_page > old_page {
            let place = Place::FixedFree(LinearAddress(old_page));
            let protection = Protection::READ.union(Protection::WRITE);
            self.map(place, new_page - old_page, protection, Source::Anonymous)
                .is_ok()
        } else {
            new_page == old_page
                || self
                    .unmap(LinearAddress(new_page), old_page - new_page)
                    .is_ok()
        };
        if moved {
            self.brk.1 = end;
        }
        self.brk.1
    }

    /// Maps `length` bytes (whole pages, not zero).
    ///
    /// # Errors
    /// `ENOMEM` without room or memory, `EEXIST` where something is, `EINVAL`, or the file's.
    pub fn map(
        &mut self,
        place: Place,
        length: u64,
        protection: Protection,
        source: Source,
    ) -> Result<LinearAddress> {
        if self.waiting && !self.is_young() {
            self.waiting = false;
            let large = self
                .areas
                .iter()
                .filter(|(start, area)| area.is_large(**start));
            large.for_each(|(start, area)| area.prefer_large_pages(*start));
        }
        let start = self.find_place(place, length)?;
        if matches!(source, Source::Anonymous)
            && length > self.limit
            && protection != Protection::NONE
        {
            return Err(Errno::ENOMEM);
        }
        if matches!(place, Place::Fixed(_)) {
            self.unmap(LinearAddress(start), length)?;
        }
        match source {
            Source::Anonymous | Source::Stack => {
                let grows = matches!(source, Source::Stack);
                self.map_anonymous(start, length, protection, grows)?;
            }
            Source::Device(physical) => {
                let backing = Backing::Device(physical);
                let area = Area {
                    end: start + length,
                    protection,
                    backing,
                    file: None,
                    grows: false,
                };
                area.install(start)?;
                self.areas.insert(start, area);
            }
            Source::Private(file, offset) => {
                self.map_private(start, length, protection, FileBacking { file, offset })?;
            }
            Source::Shared(file, offset) => {
                self.map_shared(start, length, protection, FileBacking { file, offset })?;
            }
        }
        Ok(LinearAddress(start))
    }

    fn map_anonymous(
        &mut self,
        start: u64,
        length: u64,
        protection: Protection,
        grows: bool,
    ) -> Result<()> {
        let backing = if protection == Protection::NONE {
            Backing::None
        } else {
            Backing::Private(self.extent_for(start, length)?)
        };
        let area = Area {
            end: start + length,
            protection,
            backing,
            file: None,
            grows,
        };
        area.install(start)?;
        if area.is_large(start) {
            if self.is_young() {
                self.waiting = true;
            } else {
                area.prefer_large_pages(start);
            }
        }
        self.areas.insert(start, area);
        Ok(())
    }

    /// Whether large areas are to do without large pages yet.
    fn is_young(&self) -> bool {
        self.large_from > Nanos(0) && time::monotonic() < self.large_from
    }

    fn map_private(
        &mut self,
        start: u64,
        length: u64,
        protection: Protection,
        file: FileBacking,
    ) -> Result<()> {
        if file.file.is_zero_device() {
            return self.map_anonymous(start, length, protection, false);
        }
        let size = file.file.regular()?.size()?;
        let present = page_up(size.saturating_sub(file.offset)).min(length);
        if present > 0 {
            let small = present <= EAGER_FILL_MAX;
            let end = start + present;
            let mut area = Area {
                end,
                protection,
                backing: Backing::Lazy { brought: 0 },
                file: Some(file.clone()),
                grows: false,
            };
            let shown = area.show(start, false, small);
            if !shown && small {
                area.backing = Backing::Private(self.extent_for(start, present)?);
                area.fill()?;
                area.install(start)?;
            }
            self.areas.insert(start, area);
            if shown && small && protection.contains(Protection::WRITE) {
                let copied = self.take_over(start, end);
                copied.map_err(|_| Errno::ENOMEM)?;
            }
        }
        let rest = (start + present, start + length);
        self.insert_beyond_file(rest, false, protection, file.after(present));
        Ok(())
    }

    fn map_shared(
        &mut self,
        start: u64,
        length: u64,
        protection: Protection,
        file: FileBacking,
    ) -> Result<()> {
        let size = file.file.regular()?.size()?;
        let present = page_up(size.saturating_sub(file.offset)).min(length);
        if present > 0 {
            let small = present <= EAGER_FILL_MAX;
            let end = start + present;
            let mut area = Area {
                end,
                protection,
                backing: Backing::None,
                file: Some(file.clone()),
                grows: false,
            };
            if !area.show(start, true, small) {
                area.backing = Backing::Shared(file.file.regular()?.pages()?);
                if small {
                    area.install(start)?;
                }
            }
            self.areas.insert(start, area);
        }
        let rest = (start + present, start + length);
        self.insert_beyond_file(rest, true, protection, file.after(present));
        Ok(())
    }

    /// The file of an area behind its end may have grown since: then it shows what there is now.
    fn grow(
        &mut self,
        start: u64,
        address: u64,
        shared: bool,
    ) -> core::result::Result<(), FaultError> {
        let area = self.areas.get(&start).ok_or(FaultError::Unmapped)?;
        let file = area.file.clone().ok_or(FaultError::Bus)?;
        let regular = file.file.regular().map_err(|_| FaultError::Bus)?;
        let size = regular.size().map_err(|_| FaultError::Bus)?;
        let present = page_up(size.saturating_sub(file.offset));
        if present <= address - start {
            return Err(FaultError::Bus);
        }
        let backing = if shared {
            Backing::Shared(regular.pages().map_err(|_| FaultError::Bus)?)
        } else {
            Backing::Lazy { brought: 0 }
        };
        self.split(start.saturating_add(present));
        let area = self.areas.get_mut(&start).ok_or(FaultError::Unmapped)?;
        area.backing = backing;
        if shared {
            self.show(start, address)
        } else {
            self.bring_in(start, address, 0)
        }
    }

    /// The part of a file mapping that has no file behind it.
    fn insert_beyond_file(
        &mut self,
        (start, end): (u64, u64),
        shared: bool,
        protection: Protection,
        file: FileBacking,
    ) {
        if start < end {
            let backing = Backing::BeyondFile { shared };
            self.areas.insert(
                start,
                Area {
                    end,
                    protection,
                    backing,
                    file: Some(file),
                    grows: false,
                },
            );
        }
    }

    /// Memory for a range, next to its neighbour's where possible, so that the mappings
    /// below merge.
    fn extent_for(&self, start: u64, length: u64) -> Result<Extent> {
        let before = self.areas.range(..start).next_back();
        let before = before.filter(|(_, area)| area.end == start);
        let after = self.areas.get(&(start + length));
        let near = before
            .and_then(|(_, area)| area.physical_end())
            .or_else(|| {
                after?
                    .physical_start()?
                    .0
                    .checked_sub(length)
                    .map(GuestAddress)
            });
        if length < HUGE_PAGE_SIZE {
            return Extent::allocate_full(length, near).ok_or(Errno::ENOMEM);
        }
        let near = near.filter(|near| near.0 % HUGE_PAGE_SIZE == start % HUGE_PAGE_SIZE);
        Extent::allocate(length, HUGE_PAGE_SIZE, near).ok_or(Errno::ENOMEM)
    }

    /// Brings in what is missing at `address`. `error` as the processor gives it.
    ///
    /// # Errors
    /// What the program is to be told.
    pub fn fault(
        &mut self,
        address: LinearAddress,
        error: u64,
    ) -> core::result::Result<(), FaultError> {
        let Some((&start, area)) = self.areas.range(..=address.0).next_back() else {
            return Err(FaultError::Unmapped);
        };
        if address.0 >= area.end {
            return Err(FaultError::Unmapped);
        }
        if !area.protection.contains(needed(error)) {
            return Err(FaultError::Forbidden);
        }
        match area.backing {
            Backing::Lazy { brought } => self.bring_in(start, address.0, brought),
            Backing::Shown { brought, .. } if needed(error) == Protection::WRITE => {
                self.bring_in(start, address.0, brought)
            }
            Backing::Shown { .. } => area.install(start).map_err(|_| FaultError::Bus),
            Backing::Shared(_) => self.show(start, address.0),
            Backing::BeyondFile { shared } => self.grow(start, address.0, shared),
            // What was missing came meanwhile, for another thread.
            Backing::Private(_) | Backing::Device(_) => Ok(()),
            Backing::None => Err(FaultError::Forbidden),
        }
    }

    /// Fills a part of a lazy area at an address: the chunk around it, and where the faults come one
    /// behind the other twice as much each time, up to the most. A program that goes through a
    /// file asks for it a few times only, and one that jumps about in it copies little in vain.
    fn bring_in(
        &mut self,
        start: u64,
        address: u64,
        brought: u64,
    ) -> core::result::Result<(), FaultError> {
        let follows = brought > 0 && address - start < brought;
        let chunk = if follows {
            (2 * brought).min(FILL_CHUNK_MAX)
        } else {
            FILL_CHUNK
        };
        let from = if follows {
            start
        } else {
            start.max(address / FILL_CHUNK * FILL_CHUNK)
        };
        let to = (from + chunk) / FILL_CHUNK * FILL_CHUNK;
        self.split(from);
        self.split(to);
        let end = self.areas.get(&from).ok_or(FaultError::Unmapped)?.end;
        // What comes next would follow this.
        if let Some(next) = self.areas.get_mut(&end)
            && let Backing::Lazy { brought } | Backing::Shown { brought, .. } = &mut next.backing
        {
            *brought = end - from;
        }
        self.take_over(from, end)
    }

    /// Makes the copy of a whole private area of a file.
    fn take_over(&mut self, start: u64, end: u64) -> core::result::Result<(), FaultError> {
        let extent = self.extent_for(start, end - start);
        let extent = extent.map_err(|_| FaultError::Bus)?;
        let area = self.areas.get_mut(&start).ok_or(FaultError::Unmapped)?;
        let copies = matches!(area.backing, Backing::Shown { .. }) && end - start < FILL_CHUNK;
        if copies {
            extent.populate();
            let copied = extent.write_from_user(0, LinearAddress(start), end - start);
            copied.map_err(|_| FaultError::Bus)?;
        }
        let before = core::mem::replace(&mut area.backing, Backing::Private(extent));
        let filled = if copies { Ok(()) } else { area.fill() };
        let done = filled.and_then(|()| area.install(start));
        if done.is_ok() && area.protection.contains(Protection::READ) {
            // All of it is in memory already: one call instead of a fault for each page.
            platform().populate(LinearAddress(start), end - start, false);
        }
        done.map_err(|_| {
            area.backing = before;
            FaultError::Bus
        })
    }

    /// Gives the pages around an address memory of their own, if they show a file of the host: the
    /// kernel is to write there.
    pub fn own(&mut self, address: LinearAddress) {
        let Some((start, area)) = self.area_at(address) else {
            return;
        };
        if let Backing::Shown { shared: false, .. } = area.backing {
            let from = (address.0 / OWN_CHUNK * OWN_CHUNK).max(start.0);
            let end = (address.0 / OWN_CHUNK * OWN_CHUNK + OWN_CHUNK).min(area.end);
            self.split(from);
            self.split(end);
            // If it cannot be had, there is nothing to write to.
            let _ = self.take_over(from, end);
        }
    }

    /// Whether a file of the host shows at an address.
    #[must_use]
    pub fn is_shown(&self, address: LinearAddress) -> bool {
        self.area_at(address)
            .is_some_and(|(_, area)| matches!(area.backing, Backing::Shown { .. }))
    }

    /// Maps the chunk of a shared area around an address.
    fn show(&mut self, start: u64, address: u64) -> core::result::Result<(), FaultError> {
        let chunk = address / FILL_CHUNK * FILL_CHUNK;
        let area = self.areas.get(&start).ok_or(FaultError::Unmapped)?;
        let (from, to) = (start.max(chunk), area.end.min(chunk + FILL_CHUNK));
        area.install_part(start, from, to)
            .map_err(|_| FaultError::Bus)
    }

    /// Makes `at` a border between areas.
    fn split(&mut self, at: u64) {
        let Some((&start, area)) = self.areas.range_mut(..at).next_back() else {
            return;
        };
        if let Some(rest) = area.split_off(start, at) {
            self.areas.insert(at, rest);
        }
    }

    fn find_place(&self, place: Place, length: u64) -> Result<u64> {
        match place {
            Place::Fixed(at) | Place::FixedFree(at) => {
                let end = at.0.checked_add(length).ok_or(Errno::ENOMEM)?;
                if at.0 < APP_START {
                    return Err(Errno::EPERM);
                }
                if end > APP_END {
                    return Err(Errno::ENOMEM);
                }
                if matches!(place, Place::FixedFree(_)) && !self.is_free(at.0, end) {
                    return Err(Errno::EEXIST);
                }
                Ok(at.0)
            }
            Place::Anywhere(hint) => {
                let at = hint.0 & !(PAGE_SIZE - 1);
                let end = at.checked_add(length).ok_or(Errno::ENOMEM)?;
                if at >= APP_START && end <= APP_END && self.is_free(at, end) {
                    return Ok(at);
                }
                let align = if length >= HUGE_PAGE_SIZE {
                    HUGE_PAGE_SIZE
                } else {
                    PAGE_SIZE
                };
                self.find_below(self.top, length, align)
            }
            Place::Low => self.find_below(1 << 31, length, PAGE_SIZE),
        }
    }

    /// Whether nothing is mapped in a range.
    #[must_use]
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        self.areas
            .range(..end)
            .next_back()
            .is_none_or(|(_, area)| area.end <= start)
    }

    /// The highest free range below `top`.
    ///
    /// # Errors
    /// `ENOMEM` when there is none.
    pub fn find_below(&self, top: u64, length: u64, align: u64) -> Result<u64> {
        let mut end = top;
        for (&start, area) in self.areas.range(..top).rev() {
            let gap_start = area.end.max(APP_START);
            if let Some(at) = fit(gap_start, end, length, align) {
                return Ok(at);
            }
            end = end.min(start);
        }
        fit(APP_START, end, length, align).ok_or(Errno::ENOMEM)
    }

    /// The area at an address.
    #[must_use]
    pub fn area_at(&self, address: LinearAddress) -> Option<(LinearAddress, &Area)> {
        let (&start, area) = self.areas.range(..=address.0).next_back()?;
        (address.0 < area.end).then_some((LinearAddress(start), area))
    }
}

/// The highest place for `length` bytes in a gap.
fn fit(start: u64, end: u64, length: u64, align: u64) -> Option<u64> {
    let at = end.checked_sub(length)? / align * align;
    (at >= start).then_some(at)
}

/// What a fault's error code asks for (SDM vol. 3, 4.7).
const fn needed(error: u64) -> Protection {
    if error & Trap::ERROR_FETCH != 0 {
        Protection::EXECUTE
    } else if error & Trap::ERROR_WRITE != 0 {
        Protection::WRITE
    } else {
        Protection::READ
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        for (start, area) in &self.areas {
            // The whole range goes; what cannot be unmapped is covered by what comes next.
            let _ = platform().unmap(LinearAddress(*start), area.end - start);
        }
    }
}
