//! Unmapping, protecting, moving, and giving memory back.

use alloc::vec::Vec;

use guest_abi::layout::{APP_END, APP_START};
use guest_hal::{LinearAddress, Protection, platform};

use super::{AddressSpace, Area, Backing, Place};
use crate::{Errno, Result};

impl AddressSpace {
    /// Removes whatever is mapped in a range.
    ///
    /// # Errors
    /// `ENOMEM` when the layer below cannot split a mapping; `EINVAL` outside of the
    /// program's part.
    pub fn unmap(&mut self, start: LinearAddress, length: u64) -> Result<()> {
        let end = self.check_range(start, length)?;
        let removed = self.take(start.0, end);
        if removed.is_empty() {
            return Ok(());
        }
        for (at, area) in &removed {
            area.write_back(0, area.end - at)?;
        }
        platform().unmap(start, length).map_err(|_| Errno::ENOMEM)
    }

    fn check_range(&self, start: LinearAddress, length: u64) -> Result<u64> {
        let end = start.0.checked_add(length).ok_or(Errno::EINVAL)?;
        if start.0 < APP_START && end > APP_START || end > APP_END {
            return Err(Errno::EINVAL);
        }
        Ok(end)
    }

    /// Takes the areas of a range out of the map; they stay mapped below.
    fn take(&mut self, start: u64, end: u64) -> Vec<(u64, Area)> {
        self.split(start);
        self.split(end);
        let keys: Vec<u64> = self.areas.range(start..end).map(|(&key, _)| key).collect();
        keys.into_iter()
            .filter_map(|key| Some((key, self.areas.remove(&key)?)))
            .collect()
    }

    /// Changes what the program may do in a range.
    ///
    /// # Errors
    /// `ENOMEM` when part of it is not mapped (what comes before it has been changed),
    /// `EACCES` when a shared mapping's file was not opened for writing.
    pub fn protect(
        &mut self,
        start: LinearAddress,
        length: u64,
        protection: Protection,
    ) -> Result<()> {
        let end = start
            .0
            .checked_add(length)
            .filter(|end| *end <= APP_END)
            .ok_or(Errno::ENOMEM)?;
        self.split(start.0);
        self.split(end);
        let mut at = start.0;
        while at < end {
            let next = self.areas.get(&at).ok_or(Errno::ENOMEM)?.end;
            self.protect_area(at, protection)?;
            at = next;
        }
        Ok(())
    }

    fn protect_area(&mut self, start: u64, protection: Protection) -> Result<()> {
        let area = self.areas.get(&start).ok_or(Errno::ENOMEM)?;
        let length = area.end - start;
        if area.is_shared()
            && let Some(file) = &area.file
            && protection.contains(Protection::WRITE)
            && !file.file.is_writable()
        {
            return Err(Errno::EACCES);
        }
        let reserve = matches!(area.backing, Backing::None) && protection != Protection::NONE;
        let extent = if reserve {
            Some(self.extent_for(start, length)?)
        } else {
            None
        };
        let area = self.areas.get_mut(&start).ok_or(Errno::ENOMEM)?;
        area.protection = protection;
        if let Some(extent) = extent {
            area.backing = Backing::Private(extent);
            return area.install(start);
        }
        if matches!(area.backing, Backing::Shared(_)) && length > super::EAGER_FILL_MAX {
            // Only parts of it may be mapped: faults bring them back with the new rights.
            return platform()
                .unmap(LinearAddress(start), length)
                .map_err(|_| Errno::ENOMEM);
        }
        if let Backing::Shown { file, .. } = &area.backing {
            if file
                .protect(LinearAddress(start), length, protection)
                .is_ok()
            {
                return Ok(());
            }
            // As from a file system without execution, which is the host's affair.
            area.backing = match &area.backing {
                Backing::Shown { shared: false, .. } => Backing::Lazy { brought: 0 },
                _ => return Err(Errno::EACCES),
            };
            return platform()
                .unmap(LinearAddress(start), length)
                .map_err(|_| Errno::ENOMEM);
        }
        if matches!(
            area.backing,
            Backing::Private(_) | Backing::Shared(_) | Backing::Device(_)
        ) {
            let changed = platform().protect(LinearAddress(start), length, protection);
            return changed.map_err(|_| Errno::ENOMEM);
        }
        Ok(())
    }

    /// Drops the content of a range: anonymous memory reads as zero, file mappings as the
    /// file. What is not mapped is passed over; whether there was such a part is returned.
    ///
    /// # Errors
    /// The layer below's.
    pub fn drop_content(&mut self, start: LinearAddress, length: u64) -> Result<bool> {
        let end = start.0.checked_add(length).ok_or(Errno::EINVAL)?;
        self.split(start.0);
        self.split(end);
        let mut covered = start.0;
        let mut complete = true;
        for (&at, area) in self.areas.range_mut(start.0..end) {
            complete &= at == covered;
            covered = area.end;
            let length = area.end - at;
            let is_file = area.file.is_some();
            match &area.backing {
                Backing::Private(extent) if !is_file => extent.clear(0, extent.len()),
                Backing::Private(_) => {
                    platform()
                        .unmap(LinearAddress(at), length)
                        .map_err(|_| Errno::ENOMEM)?;
                    area.backing = Backing::Lazy { brought: 0 };
                }
                _ => {}
            }
        }
        Ok(complete && covered >= end)
    }

    /// Whether a range is mapped without a hole.
    #[must_use]
    pub fn is_mapped(&self, start: LinearAddress, length: u64) -> bool {
        let end = start.0.saturating_add(length);
        let mut at = start.0;
        while at < end {
            match self.area_at(LinearAddress(at)) {
                Some((_, area)) => at = area.end,
                None => return false,
            }
        }
        true
    }

    /// Writes back what shared mappings changed in a range.
    ///
    /// # Errors
    /// `ENOMEM` when part of it is not mapped; the file's.
    pub fn write_back(&self, start: LinearAddress, length: u64) -> Result<()> {
        let end = start.0.saturating_add(length);
        let mut at = start.0;
        while at < end {
            let (first, area) = self.area_at(LinearAddress(at)).ok_or(Errno::ENOMEM)?;
            let stop = area.end.min(end);
            area.write_back(at - first.0, stop - at)?;
            at = stop;
        }
        Ok(())
    }

    /// Writes back what all shared mappings changed; at the end of the program.
    pub fn write_back_all(&self) {
        for (&start, area) in &self.areas {
            // There is nobody left to tell.
            let _ = area.write_back(0, area.end - start);
        }
    }

    /// Changes the length of a mapping, moving it if `may_move`, to `target` if given.
    ///
    /// # Errors
    /// `EFAULT` for a range that is not one mapping, `ENOMEM` without room.
    pub fn remap(
        &mut self,
        start: LinearAddress,
        old_length: u64,
        new_length: u64,
        may_move: bool,
        target: Option<LinearAddress>,
    ) -> Result<LinearAddress> {
        if !self.is_mapped(start, old_length) {
            return Err(Errno::EFAULT);
        }
        let kept = old_length.min(new_length);
        if let Some(target) = target {
            self.unmap(target, new_length)?;
            return self.move_to(start, old_length, kept, target, new_length);
        }
        if new_length <= old_length {
            if new_length < old_length {
                self.unmap(LinearAddress(start.0 + new_length), old_length - new_length)?;
            }
            return Ok(start);
        }
        let grown_end = start.0.checked_add(new_length).ok_or(Errno::ENOMEM)?;
        if grown_end <= APP_END && self.is_free(start.0 + old_length, grown_end) {
            self.extend(start.0 + old_length, new_length - old_length)?;
            return Ok(start);
        }
        if !may_move {
            return Err(Errno::ENOMEM);
        }
        let place = self.find_place(Place::Anywhere(LinearAddress(0)), new_length)?;
        self.move_to(start, old_length, kept, LinearAddress(place), new_length)
    }

    fn move_to(
        &mut self,
        start: LinearAddress,
        old_length: u64,
        kept: u64,
        target: LinearAddress,
        new_length: u64,
    ) -> Result<LinearAddress> {
        let moved = self.take(start.0, start.0 + kept);
        for (at, mut area) in moved {
            let place = at - start.0 + target.0;
            area.end = area.end - start.0 + target.0;
            area.install(place)?;
            self.areas.insert(place, area);
        }
        platform().unmap(start, kept).map_err(|_| Errno::ENOMEM)?;
        if old_length > kept {
            self.unmap(LinearAddress(start.0 + kept), old_length - kept)?;
        }
        if new_length > kept {
            self.extend(target.0 + kept, new_length - kept)?;
        }
        Ok(target)
    }

    /// Adds room behind the area that ends at `at`, like it.
    fn extend(&mut self, at: u64, length: u64) -> Result<()> {
        let (_, area) = self.area_at(LinearAddress(at - 1)).ok_or(Errno::EFAULT)?;
        let (protection, before) = (area.protection, area.file.clone());
        let shared = area.is_shared();
        let first = self
            .area_at(LinearAddress(at - 1))
            .map_or(at, |(first, _)| first.0);
        match before.map(|file| file.after(at - first)) {
            Some(file) if shared => self.map_shared(at, length, protection, file),
            Some(file) => self.map_private(at, length, protection, file),
            None => self.map_anonymous(at, length, protection, false),
        }
    }
}
