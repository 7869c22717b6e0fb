//! Clocks, sleeping and timers.

use guest_hal::time as clock;
use guest_hal::{LinearAddress, Nanos};
use guest_kernel::process::current;
use guest_kernel::signal::number;
use guest_kernel::time::{INTERVAL_TIMERS, Measure, Notice, processor};
use guest_kernel::{Errno, Result, sched, thread, uaccess, wait};
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
        raw::CLOCK_PROCESS_CPUTIME_ID => processor(),
        raw::CLOCK_THREAD_CPUTIME_ID => sched::ran(&thread::current()),
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
    match wait::until(&[], Some(deadline), &mut || None::<()>) {
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

/// What a clock measures, for a timer on it.
fn measure_of(clockid: i32) -> Result<Measure> {
    read_clock(clockid)?;
    let processor = [raw::CLOCK_PROCESS_CPUTIME_ID, raw::CLOCK_THREAD_CPUTIME_ID];
    let is_processor = clockid < 0 || processor.contains(&(clockid as u32));
    Ok(if is_processor {
        Measure::Processor
    } else {
        Measure::Real
    })
}

/// What a `struct sigevent` asks for. `SIGEV_THREAD` is made of `SIGEV_THREAD_ID` by the C library.
fn notice(sevp: LinearAddress) -> Result<Option<Notice>> {
    const SIGEV_SIGNAL: u32 = 0;
    const SIGEV_NONE: u32 = 1;
    const SIGEV_THREAD_ID: u32 = 4;
    if sevp.0 == 0 {
        return Ok(None);
    }
    let value = uaccess::read_u64(sevp)?;
    let word = |at: u64| uaccess::read_u32(LinearAddress(sevp.0.wrapping_add(at)));
    let (signal, kind, tid) = (word(8)?, word(12)?, word(16)?);
    let thread = match kind {
        SIGEV_NONE => return Ok(None),
        SIGEV_SIGNAL => None,
        SIGEV_THREAD_ID if current().thread(tid).is_some() => Some(tid),
        _ => return Err(Errno::EINVAL),
    };
    if !(1..=64).contains(&signal) {
        return Err(Errno::EINVAL);
    }
    Ok(Some(Notice {
        signal,
        value,
        thread,
    }))
}

/// `timer_create`: with a signal, or without notice.
pub fn timer_create(clockid: i32, sevp: LinearAddress, timerid: LinearAddress) -> Return {
    let measure = measure_of(clockid)?;
    let notice = notice(sevp)?;
    let made = current().timers.lock().create(measure, notice)?;
    if sevp.0 == 0 {
        let mut timers = current().timers.lock();
        timers.posix(made as i32)?.notice = Some(Notice {
            signal: number::SIGALRM,
            value: made as u64,
            thread: None,
        });
    }
    uaccess::write(timerid, &(made as u32).to_le_bytes())?;
    Ok(0)
}

/// `timer_settime`.
pub fn timer_settime(
    timerid: i32,
    flags: Flags,
    new_value: LinearAddress,
    old_value: LinearAddress,
) -> Return {
    let interval = read_timespec(new_value)?;
    let value = read_timespec(LinearAddress(new_value.0 + 16))?;
    let measure = current().timers.lock().posix(timerid)?.measure;
    let relative = if flags.0 & TIMER_ABSTIME != 0 && value.0 != 0 {
        let now = if measure == Measure::Real {
            absolute_now(value)
        } else {
            processor()
        };
        value.saturating_sub(now).max(Nanos(1))
    } else {
        value
    };
    let mut timers = current().timers.lock();
    let old = timers.posix(timerid)?.left();
    timers.arm(timerid, relative, interval)?;
    drop(timers);
    if old_value.0 != 0 {
        write_itimerspec(old_value, old)?;
    }
    Ok(0)
}

/// The clock an absolute time was taken from: times since 1970 are far from times since
/// the start of the host.
fn absolute_now(value: Nanos) -> Nanos {
    let monotonic = clock::monotonic();
    let realtime = clock::realtime();
    if value.0.abs_diff(realtime.0) < value.0.abs_diff(monotonic.0) {
        realtime
    } else {
        monotonic
    }
}

fn write_itimerspec(to: LinearAddress, (left, interval): (Nanos, Nanos)) -> Result<()> {
    write_timespec(to, interval)?;
    write_timespec(LinearAddress(to.0 + 16), left)
}

/// `timer_gettime`.
pub fn timer_gettime(timerid: i32, curr_value: LinearAddress) -> Return {
    let left = current().timers.lock().posix(timerid)?.left();
    write_itimerspec(curr_value, left)?;
    Ok(0)
}

/// `timer_getoverrun`.
pub fn timer_getoverrun(timerid: i32) -> Return {
    Ok(current().timers.lock().posix(timerid)?.overrun)
}

/// `timer_delete`.
pub fn timer_delete(timerid: i32) -> Return {
    current().timers.lock().delete(timerid)?;
    Ok(0)
}
