//! `epoll`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use guest_hal::{LinearAddress, Nanos};
use guest_kernel::fs::OpenFile;
use guest_kernel::fs::epoll::Epoll;
use guest_kernel::fs::event::AnonymousInode;
use guest_kernel::{Errno, Result, uaccess};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::Flags;
use crate::descriptor::{downcast, install, open_file};
use crate::path::check_flags;
use crate::poll::{deadline_of, with_mask};

/// Bytes of `struct epoll_event`, which is packed.
const SIZE: usize = 12;
/// Most events of one call.
const EVENTS_MAX: i32 = i32::MAX / SIZE as i32;

/// `epoll_create`.
pub fn epoll_create(size: i32) -> Return {
    if size <= 0 {
        Err(Errno::EINVAL)
    } else {
        epoll_create1(Flags(0))
    }
}

/// `epoll_create1`.
pub fn epoll_create1(flags: Flags) -> Return {
    check_flags(flags, raw::EPOLL_CLOEXEC)?;
    let file = AnonymousInode::open_file(Epoll::new(), "anon_inode:[eventpoll]", raw::O_RDWR);
    install(file, flags.0 & raw::EPOLL_CLOEXEC != 0)
}

fn epoll_of(file: &OpenFile) -> Result<&Epoll> {
    downcast(file).ok_or(Errno::EINVAL)
}

/// `epoll_ctl`.
pub fn epoll_ctl(epfd: i32, op: u32, fd: i32, event: LinearAddress) -> Return {
    let list = open_file(epfd)?;
    let file = open_file(fd)?;
    file.file()?;
    let epoll = epoll_of(&list)?;
    if Arc::ptr_eq(&list, &file) {
        return Err(Errno::EINVAL);
    }
    if op == raw::EPOLL_CTL_DEL {
        return epoll.remove(fd, &file).map(|()| 0);
    }
    let events = uaccess::read_u32(event)?;
    let data = uaccess::read_u64(LinearAddress(event.0.wrapping_add(4)))?;
    match op {
        raw::EPOLL_CTL_ADD => epoll.add(fd, &file, events, data)?,
        raw::EPOLL_CTL_MOD => epoll.modify(fd, &file, events, data)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn wait(epfd: i32, events: LinearAddress, max: i32, deadline: Option<Nanos>) -> Return {
    if !(1..=EVENTS_MAX).contains(&max) {
        return Err(Errno::EINVAL);
    }
    let list = open_file(epfd)?;
    let reports = epoll_of(&list)?.wait(max as usize, deadline);
    let reports = reports.map_err(|errno| match errno {
        Errno::RESTART => Errno::RESTART_NO_HANDLER,
        other => other,
    })?;
    let mut bytes = Vec::with_capacity(reports.len() * SIZE);
    for report in &reports {
        bytes.extend_from_slice(&report.events.to_le_bytes());
        bytes.extend_from_slice(&report.data.to_le_bytes());
    }
    uaccess::write(events, &bytes)?;
    Ok(reports.len() as u64)
}

/// `epoll_wait`.
pub fn epoll_wait(epfd: i32, events: LinearAddress, maxevents: i32, timeout: i32) -> Return {
    wait(epfd, events, maxevents, deadline_of(timeout))
}

/// `epoll_pwait`.
pub fn epoll_pwait(
    epfd: i32,
    events: LinearAddress,
    maxevents: i32,
    timeout: i32,
    sigmask: LinearAddress,
    sigsetsize: u64,
) -> Return {
    with_mask(sigmask, sigsetsize, || {
        wait(epfd, events, maxevents, deadline_of(timeout))
    })
}

/// `epoll_pwait2`.
pub fn epoll_pwait2(
    epfd: i32,
    events: LinearAddress,
    maxevents: i32,
    timeout: LinearAddress,
    sigmask: LinearAddress,
    sigsetsize: u64,
) -> Return {
    let deadline = crate::time::deadline_after(timeout)?;
    with_mask(sigmask, sigsetsize, || {
        wait(epfd, events, maxevents, deadline)
    })
}
