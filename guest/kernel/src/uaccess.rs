//! Copies from and to the program's memory, with missing pages brought in.
//!
//! Everything here answers `EFAULT` for an address the program may not use. Bytes
//! before the bad one may have been copied, as on Linux.

use alloc::vec::Vec;

use guest_hal::memory::Extent;
use guest_hal::report::{self, End};
use guest_hal::user::{self, Fault};
use guest_hal::{LinearAddress, Trap};

use crate::process::current;
use crate::{Errno, Result};

/// Runs a copy until it is through or a page cannot be had. `attempt` gets how many
/// bytes are done.
fn retry(
    start: LinearAddress,
    attempt: &mut dyn FnMut(u64) -> core::result::Result<(), Fault>,
) -> Result<()> {
    let mut done = 0;
    loop {
        let Err(fault) = attempt(done) else {
            return Ok(());
        };
        done = fault.address.0.wrapping_sub(start.0);
        if fault.no_memory {
            return beyond(fault.address);
        }
        let error = if fault.write { Trap::ERROR_WRITE } else { 0 };
        if current().memory.lock().fault(fault.address, error).is_err() {
            return Err(Errno::EFAULT);
        }
    }
}

/// The host could not give a page of the program's: that is where a file of the host has become
/// shorter, or the end of the machine's memory and with it of the machine.
fn beyond(address: LinearAddress) -> Result<()> {
    if !current().memory.lock().is_shown(address) {
        report::end(End::OutOfMemory, format_args!(""));
    }
    Err(Errno::EFAULT)
}

/// Copies in.
///
/// # Errors
/// `EFAULT`.
pub fn read(from: LinearAddress, into: &mut [u8]) -> Result<()> {
    retry(from, &mut |done| {
        let rest = into.get_mut(done as usize..).unwrap_or_default();
        user::read(LinearAddress(from.0 + done), rest)
    })
}

/// Copies out.
///
/// # Errors
/// `EFAULT`.
pub fn write(into: LinearAddress, from: &[u8]) -> Result<()> {
    retry(into, &mut |done| {
        let rest = from.get(done as usize..).unwrap_or_default();
        user::write(LinearAddress(into.0 + done), rest)
    })
}

/// Brings a range in, so that a copy from it (to it: `write`) does not have to wait.
///
/// # Errors
/// `EFAULT`.
pub fn touch(start: LinearAddress, length: u64, write: bool) -> Result<()> {
    const PAGE: u64 = guest_abi::layout::PAGE_SIZE;
    let mut at = start.0;
    let end = start.0.saturating_add(length);
    while at < end {
        if write {
            compare_exchange(LinearAddress(at & !3), 0, 0)?;
        } else {
            read(LinearAddress(at), &mut [0])?;
        }
        at = (at & !(PAGE - 1)).saturating_add(PAGE);
    }
    Ok(())
}

/// Replaces 32 bits in one step if they are `expected`; what they were.
///
/// # Errors
/// `EFAULT`.
pub fn compare_exchange(at: LinearAddress, expected: u32, new: u32) -> Result<u32> {
    let mut before = 0;
    retry(at, &mut |_| {
        before = user::compare_exchange(at, expected, new)?;
        Ok(())
    })?;
    Ok(before)
}

/// Copies from an extent to the program.
///
/// # Errors
/// `EFAULT`.
pub fn write_extent(into: LinearAddress, extent: &Extent, offset: u64, length: u64) -> Result<()> {
    retry(into, &mut |done| {
        extent.read_to_user(offset + done, LinearAddress(into.0 + done), length - done)
    })
}

/// Copies from the program to an extent.
///
/// # Errors
/// `EFAULT`.
pub fn read_extent(extent: &Extent, offset: u64, from: LinearAddress, length: u64) -> Result<()> {
    retry(from, &mut |done| {
        extent.write_from_user(offset + done, LinearAddress(from.0 + done), length - done)
    })
}

/// Copies `count` bytes in.
///
/// # Errors
/// `EFAULT`; `ENOMEM` for more than 256 MiB, which no caller has a use for.
pub fn read_vec(from: LinearAddress, count: u64) -> Result<Vec<u8>> {
    if count > 256 << 20 {
        return Err(Errno::ENOMEM);
    }
    let mut bytes = alloc::vec![0; count as usize];
    read(from, &mut bytes)?;
    Ok(bytes)
}

/// Reads a string up to its NUL, at most `max` bytes with it.
///
/// # Errors
/// `EFAULT`; `too_long` when there is no NUL in the first `max` bytes.
pub fn read_c_string(from: LinearAddress, max: usize, too_long: Errno) -> Result<Vec<u8>> {
    let mut string = Vec::new();
    let mut at = from.0;
    while string.len() < max {
        let page_rest = (4096 - at % 4096) as usize;
        let mut chunk = [0u8; 256];
        let length = page_rest.min(chunk.len()).min(max - string.len());
        let piece = chunk.get_mut(..length).unwrap_or_default();
        read(LinearAddress(at), piece)?;
        if let Some(end) = piece.iter().position(|&byte| byte == 0) {
            string.extend(piece.iter().take(end));
            return Ok(string);
        }
        string.extend_from_slice(piece);
        at += length as u64;
    }
    Err(too_long)
}

/// Reads a path: `ENAMETOOLONG` beyond `PATH_MAX`.
///
/// # Errors
/// `EFAULT`, `ENAMETOOLONG`.
pub fn read_path(from: LinearAddress) -> Result<Vec<u8>> {
    read_c_string(from, 4096, Errno::ENAMETOOLONG)
}

/// Reads a 64-bit value.
///
/// # Errors
/// `EFAULT`.
pub fn read_u64(from: LinearAddress) -> Result<u64> {
    let mut bytes = [0; 8];
    read(from, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Reads a 32-bit value.
///
/// # Errors
/// `EFAULT`.
pub fn read_u32(from: LinearAddress) -> Result<u32> {
    let mut bytes = [0; 4];
    read(from, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}
