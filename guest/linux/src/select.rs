//! `select` and `pselect6`.

use alloc::vec::Vec;

use guest_hal::{LinearAddress, Nanos, time};
use guest_kernel::process::current;
use guest_kernel::{Errno, Result, uaccess};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::descriptor::open_file;
use crate::poll::{Entry, wait_entries, with_mask};

/// What each of the three sets waits for, and what counts as that.
const SETS: [(u32, u32); 3] = [
    (
        raw::POLLIN | raw::POLLRDNORM | raw::POLLRDBAND,
        raw::POLLIN | raw::POLLRDNORM | raw::POLLRDBAND | raw::POLLHUP | raw::POLLERR,
    ),
    (
        raw::POLLOUT | raw::POLLWRNORM | raw::POLLWRBAND,
        raw::POLLOUT | raw::POLLWRNORM | raw::POLLWRBAND | raw::POLLERR,
    ),
    (raw::POLLPRI, raw::POLLPRI),
];

/// One set of descriptors; nothing if the program gave none.
struct Set {
    address: LinearAddress,
    bytes: Vec<u8>,
}

impl Set {
    fn read(address: LinearAddress, count: usize) -> Result<Self> {
        let length = if address.0 == 0 {
            0
        } else {
            count.div_ceil(64) * 8
        };
        Ok(Self {
            address,
            bytes: uaccess::read_vec(address, length as u64)?,
        })
    }

    fn has(&self, fd: usize) -> bool {
        self.bytes
            .get(fd / 8)
            .is_some_and(|byte| byte >> (fd % 8) & 1 != 0)
    }

    fn set(&mut self, fd: usize) {
        if let Some(byte) = self.bytes.get_mut(fd / 8) {
            *byte |= 1 << (fd % 8);
        }
    }

    fn write(&self) -> Result<()> {
        uaccess::write(self.address, &self.bytes)
    }
}

fn do_select(nfds: i32, addresses: [LinearAddress; 3], deadline: Option<Nanos>) -> Return {
    let count = usize::try_from(nfds)
        .map_err(|_| Errno::EINVAL)?
        .min(current().files.lock().capacity());
    let [read, write, except] = addresses;
    let mut sets = [
        Set::read(read, count)?,
        Set::read(write, count)?,
        Set::read(except, count)?,
    ];
    let entries: Vec<Option<Entry>> = (0..count)
        .map(|fd| entry(&sets, fd))
        .collect::<Result<_>>()?;
    let events = wait_entries(&entries, deadline)?;
    let mut found = 0;
    for (set, (_, counts)) in sets.iter_mut().zip(SETS) {
        let wanted: Vec<usize> = (0..count).filter(|&fd| set.has(fd)).collect();
        set.bytes.fill(0);
        for fd in wanted {
            if events.get(fd).is_some_and(|events| events & counts != 0) {
                set.set(fd);
                found += 1;
            }
        }
        set.write()?;
    }
    Ok(found)
}

fn entry(sets: &[Set; 3], fd: usize) -> Result<Option<Entry>> {
    let wanted = sets.iter().zip(SETS).filter(|(set, _)| set.has(fd));
    let wanted = wanted.fold(0, |all, (_, (events, _))| all | events);
    if wanted == 0 {
        return Ok(None);
    }
    Ok(Some(Entry {
        file: Some(open_file(fd as i32)?),
        wanted,
    }))
}

/// `select`. What is left of the time is written back, as Linux does.
pub fn select(
    nfds: i32,
    readfds: LinearAddress,
    writefds: LinearAddress,
    exceptfds: LinearAddress,
    timeout: LinearAddress,
) -> Return {
    let mut deadline = None;
    if timeout.0 != 0 {
        let mut words = [[0; 8]; 2];
        uaccess::read(timeout, words.as_flattened_mut())?;
        let [seconds, micros] = words.map(i64::from_le_bytes);
        let seconds = u64::try_from(seconds).map_err(|_| Errno::EINVAL)?;
        let micros = u64::try_from(micros).map_err(|_| Errno::EINVAL)?;
        let nanos = seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(micros.saturating_mul(1000));
        deadline = Some(time::monotonic().saturating_add(Nanos(nanos)));
    }
    let result = do_select(nfds, [readfds, writefds, exceptfds], deadline);
    if let Some(deadline) = deadline {
        let left = deadline.saturating_sub(time::monotonic()).0;
        let words = [left / 1_000_000_000, left % 1_000_000_000 / 1000];
        // As on Linux, a place that cannot be written is not an error.
        let _: Result<()> = uaccess::write(timeout, words.map(u64::to_le_bytes).as_flattened());
    }
    result
}

/// `pselect6`.
pub fn pselect6(
    nfds: i32,
    readfds: LinearAddress,
    writefds: LinearAddress,
    exceptfds: LinearAddress,
    timeout: LinearAddress,
    sigmask: LinearAddress,
) -> Return {
    let deadline = crate::time::deadline_after(timeout)?;
    let (mut mask, mut size) = (0, 0);
    if sigmask.0 != 0 {
        let mut words = [[0; 8]; 2];
        uaccess::read(sigmask, words.as_flattened_mut())?;
        [mask, size] = words.map(u64::from_le_bytes);
    }
    with_mask(LinearAddress(mask), size, || {
        do_select(nfds, [readfds, writefds, exceptfds], deadline)
    })
}
