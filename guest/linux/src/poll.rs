//! `poll` and `ppoll`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use guest_hal::{LinearAddress, Nanos, time};
use guest_kernel::fs::OpenFile;
use guest_kernel::fs::readiness::{Patience, ready, wait_for};
use guest_kernel::wait::WaitQueue;
use guest_kernel::{Errno, Result, signal, uaccess};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::descriptor::{file_limit, open_file};

/// Bytes of `struct pollfd`.
const SIZE: usize = 8;

/// One file to wait for.
pub(crate) struct Entry {
    /// `None`: not open.
    pub(crate) file: Option<Arc<OpenFile>>,
    pub(crate) wanted: u32,
}

impl Entry {
    pub(crate) fn look(&self) -> u32 {
        match &self.file {
            Some(file) => ready(file, self.wanted),
            None => raw::POLLNVAL,
        }
    }
}

/// The patience that all the files need.
pub(crate) fn patience(entries: &[Option<Entry>]) -> Patience {
    let files = entries
        .iter()
        .flatten()
        .filter_map(|entry| entry.file.as_ref());
    files.fold(Patience::default(), |all, file| all.and(Patience::of(file)))
}

/// Where the files say that they may be ready.
fn queues(entries: &[Option<Entry>]) -> Vec<&WaitQueue> {
    let files = entries
        .iter()
        .flatten()
        .filter_map(|entry| entry.file.as_ref());
    files.filter_map(|file| file.file().ok()?.queue()).collect()
}

/// Waits until an entry is ready; the results are in the order of the entries. An
/// interrupted call does not start again after a handler.
pub(crate) fn wait_entries(entries: &[Option<Entry>], deadline: Option<Nanos>) -> Result<Vec<u32>> {
    let look = || -> Vec<u32> {
        entries
            .iter()
            .map(|entry| entry.as_ref().map_or(0, Entry::look))
            .collect()
    };
    let mut check = || Some(look()).filter(|events| events.iter().any(|&event| event != 0));
    if let Some(events) = check() {
        return Ok(events);
    }
    let queues = queues(entries);
    let waited = wait_for(&queues, deadline, &|| patience(entries), &mut check);
    let waited = waited.map_err(|errno| match errno {
        Errno::RESTART => Errno::RESTART_NO_HANDLER,
        other => other,
    })?;
    Ok(waited.unwrap_or_else(|| alloc::vec![0; entries.len()]))
}

/// Runs `wait` with another mask of blocked signals, if one is given.
pub(crate) fn with_mask(mask: LinearAddress, size: u64, wait: impl FnOnce() -> Return) -> Return {
    if mask.0 == 0 {
        return wait();
    }
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    let mask = uaccess::read_u64(mask)?;
    signal::set_temporary_mask(mask);
    let result = wait();
    if !matches!(result, Err(Errno::RESTART | Errno::RESTART_NO_HANDLER)) {
        // An interrupting signal is delivered with the mask that let it in.
        signal::restore_mask();
    }
    result
}

/// When a time-out in milliseconds ends; negative: never.
pub(crate) fn deadline_of(milliseconds: i32) -> Option<Nanos> {
    let milliseconds = u64::try_from(milliseconds).ok()?;
    Some(time::monotonic().saturating_add(Nanos(milliseconds * 1_000_000)))
}

fn do_poll(fds: LinearAddress, count: u64, deadline: Option<Nanos>) -> Return {
    if count > file_limit() {
        return Err(Errno::EINVAL);
    }
    let mut bytes = uaccess::read_vec(fds, count * SIZE as u64)?;
    let entries: Vec<Option<Entry>> = bytes.as_chunks::<SIZE>().0.iter().map(entry).collect();
    let events = wait_entries(&entries, deadline)?;
    let slots = bytes.as_chunks_mut::<SIZE>().0.iter_mut();
    for ([.., low, high], events) in slots.zip(&events) {
        [*low, *high] = (*events as u16).to_le_bytes();
    }
    uaccess::write(fds, &bytes)?;
    Ok(events.iter().filter(|&&events| events != 0).count() as u64)
}

/// One `struct pollfd`; negative descriptors are passed over.
fn entry(bytes: &[u8; SIZE]) -> Option<Entry> {
    let [a, b, c, d, low, high, _, _] = *bytes;
    let fd = i32::from_le_bytes([a, b, c, d]);
    let wanted = u32::from(u16::from_le_bytes([low, high]));
    (fd >= 0).then(|| Entry {
        file: open_file(fd).ok(),
        wanted,
    })
}

/// `poll`.
pub fn poll(fds: LinearAddress, nfds: u64, timeout: i32) -> Return {
    do_poll(fds, nfds, deadline_of(timeout))
}

/// `ppoll`.
pub fn ppoll(
    fds: LinearAddress,
    nfds: u64,
    timeout: LinearAddress,
    sigmask: LinearAddress,
    sigsetsize: u64,
) -> Return {
    let deadline = crate::time::deadline_after(timeout)?;
    with_mask(sigmask, sigsetsize, || do_poll(fds, nfds, deadline))
}
