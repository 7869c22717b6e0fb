//! Clocks, sleeping and timers.

use guest_hal::time as clock;
use guest_hal::{LinearAddress, Nanos};
use guest_kernel::process::current;
use guest_kernel::time::{INTERVAL_TIMERS, processor};
use guest_kernel::{Errno, Result, uaccess, wait};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::Flags;

const SECOND: u64 = 1_000_000_000;
const TIMER_ABSTIME: u32 = 1;

/// The time of a clock.
fn read_clock(clockid: i32) -> Result<Nanos> {
    let Ok(id) = u32::try_from(clockid) else {
        // A processor-time clock of a process or thread: the one there is.
        return if clockid & 4 != 0 || clockid & 3 != 3 {
            Ok(processor())
        } else {
            Err(Errno::EINVAL)
        };
    };
    Ok(match id {
        raw::CLOCK_REALTIME
        | raw::CLOCK_REALTIME_COARSE
        | raw::CLOCK_REALTIME_ALARM
        | raw::CLOCK_TAI => clock::realtime(),
        raw::CLOCK_MONOTONIC | raw::CLOCK_MONOTONIC_RAW | raw::CLOCK_MONOTONIC_COARSE => {
            clock::monotonic()
        }
        raw::CLOCK_BOOTTIME | raw::CLOCK_BOOTTIME_ALARM => clock::boottime(),
        raw::CLOCK_PROCESS_CPUTIME_ID | raw::CLOCK_THREAD_CPUTIME_ID => processor(),
        _ => return Err(Errno::EINVAL),
    })
}

/// `clock_gettime`.
pub fn clock_gettime(clockid: i32, tp: LinearAddress) -> Return {
    write_timespec(tp, read_clock(clockid)?)?;
    Ok(0)
}

/// `clock_getres`.
pub fn clock_getres(clockid: i32, res: LinearAddress) -> Return {
    read_clock(clockid)?;
    let coarse = [raw::CLOCK_REALTIME_COARSE, raw::CLOCK_MONOTONIC_COARSE];
    let nanos = if coarse.contains(&(clockid as u32)) {
        4_000_000
    } else {
        1
    };
    if res.0 != 0 {
        write_timespec(res, Nanos(nanos))?;
    }
    Ok(0)
}

/// `gettimeofday`.
pub fn gettimeofday(tv: LinearAddress, tz: LinearAddress) -> Return {
    if tv.0 != 0 {
        write_timeval(tv, clock::realtime())?;
    }
    if tz.0 != 0 {
        uaccess::write(tz, &[0; 8])?;
    }
    Ok(0)
}

/// `time`.
pub fn time(tloc: LinearAddress) -> Return {
    let seconds = clock::realtime().0 / SECOND;
    if tloc.0 != 0 {
        uaccess::write(tloc, &seconds.to_le_bytes())?;
    }
    Ok(seconds)
}

pub(crate) fn write_timespec(to: LinearAddress, time: Nanos) -> Result<()> {
    let words = [time.0 / SECOND, time.0 % SECOND];
    uaccess::write(to, words.map(u64::to_le_bytes).as_flattened())
}

fn write_timeval(to: LinearAddress, time: Nanos) -> Result<()> {
    let words = timeval(time);
    uaccess::write(to, words.map(u64::to_le_bytes).as_flattened())
}

pub(crate) const fn timeval(time: Nanos) -> [u64; 2] {
    [time.0 / SECOND, time.0 % SECOND / 1000]
}

/// Reads a `timespec` that must make sense.
pub(crate) fn read_timespec(from: LinearAddress) -> Result<Nanos> {
    let mut words = [[0; 8]; 2];
    uaccess::read(from, words.as_flattened_mut())?;
    let [seconds, nanos] = words.map(i64::from_le_bytes);
    if seconds < 0 || !(0..SECOND as i64).contains(&nanos) {
        return Err(Errno::EINVAL);
    }
    Ok(Nanos(
        (seconds as u64)
            .saturating_mul(SECOND)
            .saturating_add(nanos as u64),
    ))
}

/// The deadline a relative time-out means; a null address: none.
///
/// # Errors
/// `EFAULT`, `EINVAL`.
pub fn deadline_after(timeout: LinearAddress) -> Result<Option<Nanos>> {
    if timeout.0 == 0 {
        return Ok(None);
    }
    Ok(Some(
        clock::monotonic().saturating_add(read_timespec(timeout)?),
    ))
}

/// `nanosleep`.
pub fn nanosleep(req: LinearAddress, rem: LinearAddress) -> Return {
    let deadline = clock::monotonic().saturating_add(read_timespec(req)?);
    sleep(deadline, rem)
}

/// Sleeps; the time left goes to `rem` when interrupted.
fn sleep(deadline: Nanos, rem: LinearAddress) -> Return {
    match wait::until(Some(deadline), &mut || None::<()>) {
        Ok(_) => Ok(0),
        Err(_) => {
            if rem.0 != 0 {
                write_timespec(rem, deadline.saturating_sub(clock::monotonic()))?;
            }
            Err(Errno::RESTART_NO_HANDLER)
        }
    }
}

/// `clock_nanosleep`.
pub fn clock_nanosleep(
    clockid: i32,
    flags: Flags,
    request: LinearAddress,
    remain: LinearAddress,
) -> Return {
    if flags.0 & !TIMER_ABSTIME != 0 || clockid == raw::CLOCK_THREAD_CPUTIME_ID as i32 {
        return Err(Errno::EINVAL);
    }
    let now = read_clock(clockid)?;
    let request = read_timespec(request)?;
    if flags.0 & TIMER_ABSTIME == 0 {
        return sleep(clock::monotonic().saturating_add(request), remain);
    }
    let left = request.saturating_sub(now);
    sleep(clock::monotonic().saturating_add(left), LinearAddress(0))
}

/// `getitimer`.
pub fn getitimer(which: u32, curr_value: LinearAddress) -> Return {
    if which as usize >= INTERVAL_TIMERS {
        return Err(Errno::EINVAL);
    }
    let (left, interval) = current().timers.lock().interval(which as usize);
    write_itimer(curr_value, left, interval)
}

fn write_itimer(to: LinearAddress, left: Nanos, interval: Nanos) -> Return {
    let words = [
        timeval(interval),
        timeval(Nanos(left.0.next_multiple_of(1000))),
    ];
    let bytes: [[u8; 8]; 4] =
        [words[0][0], words[0][1], words[1][0], words[1][1]].map(u64::to_le_bytes);
    uaccess::write(to, bytes.as_flattened())?;
    Ok(0)
}

/// `setitimer`.
pub fn setitimer(which: u32, new_value: LinearAddress, old_value: LinearAddress) -> Return {
    if which as usize >= INTERVAL_TIMERS {
        return Err(Errno::EINVAL);
    }
    let mut words = [[0; 8]; 4];
    if new_value.0 != 0 {
        uaccess::read(new_value, words.as_flattened_mut())?;
    }
    let [interval_seconds, interval_micros, seconds, micros] = words.map(i64::from_le_bytes);
    let interval = from_timeval(interval_seconds, interval_micros)?;
    let value = from_timeval(seconds, micros)?;
    let mut timers = current().timers.lock();
    let (left, old_interval) = timers.interval(which as usize);
    timers.set_interval(which as usize, value, interval);
    drop(timers);
    if old_value.0 != 0 {
        write_itimer(old_value, left, old_interval)?;
    }
    Ok(0)
}

fn from_timeval(seconds: i64, micros: i64) -> Result<Nanos> {
    if seconds < 0 || !(0..1_000_000).contains(&micros) {
        return Err(Errno::EINVAL);
    }
    Ok(Nanos(
        (seconds as u64)
            .saturating_mul(SECOND)
            .saturating_add(micros as u64 * 1000),
    ))
}

/// `alarm`.
pub fn alarm(seconds: u32) -> Return {
    let mut timers = current().timers.lock();
    let (left, _) = timers.interval(0);
    timers.set_interval(0, Nanos(u64::from(seconds) * SECOND), Nanos(0));
    Ok(left.0.div_ceil(SECOND))
}
