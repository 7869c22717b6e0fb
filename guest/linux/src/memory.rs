//! Memory: `mmap` and its kin.

use alloc::sync::Arc;

use guest_abi::layout::{APP_END, PAGE_SIZE, page_up};
use guest_hal::{LinearAddress, Protection};
use guest_kernel::fs::OpenFile;
use guest_kernel::mm::{Place, Source};
use guest_kernel::process::{current, limit};
use guest_kernel::{Errno, Result, uaccess};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::Flags;

/// Whether an address is that of a page.
const fn is_aligned(address: u64) -> bool {
    address.is_multiple_of(PAGE_SIZE)
}

/// A length in whole pages.
fn pages(length: u64) -> Result<u64> {
    let rounded = page_up(length);
    if rounded < length || rounded > APP_END {
        Err(Errno::ENOMEM)
    } else {
        Ok(rounded)
    }
}

/// `mmap`.
pub fn mmap(
    addr: LinearAddress,
    length: u64,
    prot: Flags,
    flags: Flags,
    fd: i32,
    offset: u64,
) -> Return {
    if length == 0 || !is_aligned(offset) {
        return Err(Errno::EINVAL);
    }
    let length = pages(length)?;
    offset.checked_add(length).ok_or(Errno::EOVERFLOW)?;
    let place = place(addr, flags.0)?;
    let protection = Protection::from_bits(u64::from(prot.0));
    let source = source(flags.0, fd, offset, protection)?;
    let process = current();
    let address_limit = process
        .limits
        .lock()
        .get(limit::AS)
        .map_or(u64::MAX, |(soft, _)| *soft);
    let mut memory = process.memory.lock();
    if address_limit != u64::MAX && memory.mapped_bytes().saturating_add(length) > address_limit {
        return Err(Errno::ENOMEM);
    }
    let mapped = memory.map(place, length, protection, source)?;
    if matches!(place, Place::Fixed(_)) {
        crate::patch::forget(mapped, length);
    }
    if flags.0 & raw::MAP_POPULATE != 0 && protection.contains(Protection::READ) {
        let write = protection.contains(Protection::WRITE);
        guest_hal::platform().populate(mapped, length, write);
    }
    Ok(mapped.0)
}

fn place(addr: LinearAddress, flags: u32) -> Result<Place> {
    if flags & raw::MAP_FIXED_NOREPLACE != 0 {
        return if is_aligned(addr.0) {
            Ok(Place::FixedFree(addr))
        } else {
            Err(Errno::EINVAL)
        };
    }
    if flags & raw::MAP_FIXED != 0 {
        return if is_aligned(addr.0) {
            Ok(Place::Fixed(addr))
        } else {
            Err(Errno::EINVAL)
        };
    }
    Ok(if flags & raw::MAP_32BIT != 0 {
        Place::Low
    } else {
        Place::Anywhere(addr)
    })
}

fn source(flags: u32, fd: i32, offset: u64, protection: Protection) -> Result<Source> {
    let shared = match flags & raw::MAP_TYPE {
        raw::MAP_PRIVATE => false,
        raw::MAP_SHARED | raw::MAP_SHARED_VALIDATE => true,
        _ => return Err(Errno::EINVAL),
    };
    if flags & raw::MAP_ANONYMOUS != 0 {
        // One process: what it shares with others it shares with nobody.
        let stack = flags & raw::MAP_GROWSDOWN != 0;
        return Ok(if stack {
            Source::Stack
        } else {
            Source::Anonymous
        });
    }
    let file: Arc<OpenFile> = current().files.lock().get(fd)?;
    if !file.is_readable() {
        return Err(Errno::EACCES);
    }
    if shared && protection.contains(Protection::WRITE) && !file.is_writable() {
        return Err(Errno::EACCES);
    }
    if !file.is_zero_device() {
        file.regular().map_err(|_| Errno::ENODEV)?;
    } else if shared {
        return Ok(Source::Anonymous);
    }
    Ok(if shared {
        Source::Shared(file, offset)
    } else {
        Source::Private(file, offset)
    })
}

/// `munmap`.
pub fn munmap(addr: LinearAddress, length: u64) -> Return {
    if !is_aligned(addr.0) || length == 0 {
        return Err(Errno::EINVAL);
    }
    let length = pages(length).map_err(|_| Errno::EINVAL)?;
    current().memory.lock().unmap(addr, length)?;
    crate::patch::forget(addr, length);
    Ok(0)
}

/// `mprotect`.
pub fn mprotect(addr: LinearAddress, length: u64, prot: Flags) -> Return {
    let growth = raw::PROT_GROWSDOWN | raw::PROT_GROWSUP;
    if !is_aligned(addr.0) || prot.0 & !(7 | raw::PROT_SEM | growth) != 0 {
        return Err(Errno::EINVAL);
    }
    if prot.0 & growth != 0 {
        let memory = current().memory.lock();
        let down = memory.area_at(addr).is_some_and(|(_, area)| area.grows);
        if prot.0 & growth != raw::PROT_GROWSDOWN || !down {
            return Err(Errno::EINVAL);
        }
    }
    let length = pages(length)?;
    if length > 0 {
        let protection = Protection::from_bits(u64::from(prot.0));
        current().memory.lock().protect(addr, length, protection)?;
    }
    Ok(0)
}

/// `brk`.
pub fn brk(addr: LinearAddress) -> Return {
    let process = current();
    let data_limit = process
        .limits
        .lock()
        .get(limit::DATA)
        .map_or(u64::MAX, |(soft, _)| *soft);
    Ok(process.memory.lock().set_brk(addr.0, data_limit))
}

/// `mremap`.
pub fn mremap(
    old_address: LinearAddress,
    old_size: u64,
    new_size: u64,
    flags: Flags,
    new_address: LinearAddress,
) -> Return {
    let known = raw::MREMAP_MAYMOVE | raw::MREMAP_FIXED | raw::MREMAP_DONTUNMAP;
    let may_move = flags.0 & raw::MREMAP_MAYMOVE != 0;
    let fixed = flags.0 & raw::MREMAP_FIXED != 0;
    if flags.0 & !known != 0 || !is_aligned(old_address.0) || new_size == 0 || fixed && !may_move {
        return Err(Errno::EINVAL);
    }
    if flags.0 & raw::MREMAP_DONTUNMAP != 0 || old_size == 0 {
        return Err(Errno::EINVAL);
    }
    let (old_size, new_size) = (pages(old_size)?, pages(new_size)?);
    if fixed {
        let overlaps = new_address.0 < old_address.0.saturating_add(old_size)
            && old_address.0 < new_address.0.saturating_add(new_size);
        if !is_aligned(new_address.0) || overlaps {
            return Err(Errno::EINVAL);
        }
    }
    let target = fixed.then_some(new_address);
    let mut memory = current().memory.lock();
    Ok(memory
        .remap(old_address, old_size, new_size, may_move, target)?
        .0)
}

/// `msync`.
pub fn msync(addr: LinearAddress, length: u64, flags: Flags) -> Return {
    let both = raw::MS_ASYNC | raw::MS_SYNC;
    if !is_aligned(addr.0) || flags.0 & !(both | raw::MS_INVALIDATE) != 0 || flags.0 & both == both
    {
        return Err(Errno::EINVAL);
    }
    current().memory.lock().write_back(addr, pages(length)?)?;
    Ok(0)
}

/// `mincore`: every mapped page counts as resident.
pub fn mincore(addr: LinearAddress, length: u64, vec: LinearAddress) -> Return {
    if !is_aligned(addr.0) {
        return Err(Errno::EINVAL);
    }
    let length = pages(length)?;
    if !current().memory.lock().is_mapped(addr, length) {
        return Err(Errno::ENOMEM);
    }
    let ones = [1; 256];
    let mut left = length / PAGE_SIZE;
    let mut at = vec;
    while left > 0 {
        let count = left.min(256);
        uaccess::write(at, ones.get(..count as usize).unwrap_or_default())?;
        at = LinearAddress(at.0 + count);
        left -= count;
    }
    Ok(0)
}

/// `madvise`.
pub fn madvise(addr: LinearAddress, length: u64, advice: u32) -> Return {
    if !is_aligned(addr.0) {
        return Err(Errno::EINVAL);
    }
    let length = pages(length).map_err(|_| Errno::EINVAL)?;
    if length == 0 {
        return Ok(0);
    }
    let mut memory = current().memory.lock();
    let mapped = match advice {
        raw::MADV_DONTNEED | raw::MADV_DONTNEED_LOCKED => memory.drop_content(addr, length)?,
        raw::MADV_HUGEPAGE => {
            guest_hal::platform().prefer_large_pages(addr, length, true);
            memory.is_mapped(addr, length)
        }
        raw::MADV_NOHUGEPAGE => {
            guest_hal::platform().prefer_large_pages(addr, length, false);
            memory.is_mapped(addr, length)
        }
        raw::MADV_POPULATE_READ | raw::MADV_POPULATE_WRITE => {
            guest_hal::platform().populate(addr, length, advice == raw::MADV_POPULATE_WRITE);
            memory.is_mapped(addr, length)
        }
        // Hints about which nothing needs to be done here: the host sees the accesses.
        // Freed memory may keep its content, which is what a hint to free allows.
        raw::MADV_NORMAL
        | raw::MADV_RANDOM
        | raw::MADV_SEQUENTIAL
        | raw::MADV_WILLNEED
        | raw::MADV_FREE
        | raw::MADV_DONTFORK
        | raw::MADV_DOFORK
        | raw::MADV_MERGEABLE
        | raw::MADV_UNMERGEABLE
        | raw::MADV_DONTDUMP
        | raw::MADV_DODUMP
        | raw::MADV_WIPEONFORK
        | raw::MADV_KEEPONFORK
        | raw::MADV_COLD
        | raw::MADV_PAGEOUT
        | raw::MADV_COLLAPSE => memory.is_mapped(addr, length),
        _ => return Err(Errno::EINVAL),
    };
    if mapped { Ok(0) } else { Err(Errno::ENOMEM) }
}

/// `mlock`, `munlock`: nothing of a machine is ever swapped by its own kernel.
pub fn mlock(addr: LinearAddress, length: u64) -> Return {
    let start = addr.0 & !(PAGE_SIZE - 1);
    let length = pages(length.saturating_add(addr.0 - start))?;
    if length == 0
        || current()
            .memory
            .lock()
            .is_mapped(LinearAddress(start), length)
    {
        Ok(0)
    } else {
        Err(Errno::ENOMEM)
    }
}

/// `mlock2`.
pub fn mlock2(addr: LinearAddress, length: u64, flags: Flags) -> Return {
    if flags.0 & !raw::MLOCK_ONFAULT != 0 {
        Err(Errno::EINVAL)
    } else {
        mlock(addr, length)
    }
}

/// `mlockall`.
pub fn mlockall(flags: Flags) -> Return {
    let known = raw::MCL_CURRENT | raw::MCL_FUTURE | raw::MCL_ONFAULT;
    if flags.0 == 0 || flags.0 & !known != 0 {
        Err(Errno::EINVAL)
    } else {
        Ok(0)
    }
}

/// `munlockall`.
pub fn munlockall() -> Return {
    Ok(0)
}

/// `pkey_alloc`: there are no protection keys.
pub fn pkey_alloc(flags: Flags, _access_rights: u64) -> Return {
    Err(if flags.0 == 0 {
        Errno::ENOSPC
    } else {
        Errno::EINVAL
    })
}
