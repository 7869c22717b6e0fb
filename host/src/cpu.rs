//! The processor's own clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The time-stamp counter.
#[must_use]
#[expect(unsafe_code, reason = "the instruction has no safe wrapper")]
pub fn tsc() -> u64 {
    // SAFETY: reading the counter has no effect and no precondition on processes that may
    // use it, which is the default.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Frequency of the time-stamp counter in hertz as the host's kernel knows it; `None`
/// when that cannot be had or the host does not trust the counter as a clock.
///
/// The kernel's figure shows in `bogomips`, two ticks per loop, to 2 parts per million.
#[must_use]
pub fn tsc_frequency() -> Option<u64> {
    static FREQUENCY: OnceLock<Option<u64>> = OnceLock::new();
    *FREQUENCY.get_or_init(read_frequency)
}

/// The same; measured over 20 ms if the host does not say, good to some 10 parts per million.
#[must_use]
pub fn tsc_frequency_or_measured() -> u64 {
    tsc_frequency().unwrap_or_else(|| {
        let (start, before) = (Instant::now(), tsc());
        std::thread::sleep(Duration::from_millis(20));
        let (ticks, nanos) = (tsc().saturating_sub(before), start.elapsed().as_nanos());
        (u128::from(ticks) * 1_000_000_000 / nanos.max(1)) as u64
    })
}

fn read_frequency() -> Option<u64> {
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let source = std::fs::read_to_string(source).ok()?;
    if !matches!(
        source.trim(),
        "tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page"
    ) {
        return None;
    }
    let mut head = [0; 4096];
    let file = std::fs::File::open("/proc/cpuinfo").ok()?;
    let length = std::io::Read::read(&mut &file, &mut head).ok()?;
    frequency_from(std::str::from_utf8(head.get(..length)?).ok()?)
}

fn frequency_from(cpuinfo: &str) -> Option<u64> {
    let line = cpuinfo.lines().find(|line| line.starts_with("bogomips"))?;
    let (whole, fraction) = line.split_once(':')?.1.trim().split_once('.')?;
    let hundredths = whole.parse::<u64>().ok()? * 100 + fraction.get(..2)?.parse::<u64>().ok()?;
    let hertz = hundredths * 5000;
    (hertz > 100_000_000).then_some(hertz)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequency_is_half_of_bogomips() {
        let text = "processor\t: 0\ncpu MHz\t\t: 2596.100\nbogomips\t: 5192.20\n";
        assert_eq!(frequency_from(text), Some(2_596_100_000));
        assert_eq!(frequency_from("bogomips\t: nonsense\n"), None);
        assert_eq!(frequency_from(""), None);
    }
}
