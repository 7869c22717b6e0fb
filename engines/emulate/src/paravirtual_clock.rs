//! The clock that KVM's guests have (Linux, Documentation/virt/kvm/x86/msr.rst and cpuid.rst): pages of the guest's that say how
//! the time stamp counter becomes time. The counter has one rate always, so each is written once. Xen's guests have the same in
//! other places (`xen`).

use crate::bus::Bus;

/// Where the guest wants its time, and what time it was when the machine was made.
pub(crate) const WALL_CLOCK: u32 = 0x4b56_4d00;
pub(crate) const SYSTEM_TIME: u32 = 0x4b56_4d01;
/// In an address: it is wanted.
const ON: u64 = 1;
/// The counter can be relied upon, on all virtual CPUs.
const STABLE: u8 = 1;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What a counter of so many kilohertz is shifted by and multiplied with, in units of 2 to the power of -32, to be
/// nanoseconds.
pub(crate) fn scale(kilohertz: u64) -> (i8, u32) {
    let mut factor = (1_000_000_u128 << 32) / u128::from(kilohertz.max(1));
    let mut shift = 0;
    while factor > u128::from(u32::MAX) {
        factor >>= 1;
        shift += 1;
    }
    while factor <= u128::from(u32::MAX) >> 1 && shift > -31 {
        // The bit that comes in is computed, not guessed.
        shift -= 1;
        factor = (1_000_000_u128 << (32 - shift)) / u128::from(kilohertz.max(1));
    }
    (shift, factor as u32)
}

impl Bus<'_> {
    /// The guest names the page of its time; whether it can.
    pub(crate) fn write_system_time(&mut self, value: u64) -> bool {
        if value & ON == 0 {
            return true;
        }
        let record = self.time_record(2, self.registers.time_offset);
        self.memory.write(value & !ON, &record).is_ok()
    }

    /// What says how a counter becomes time that is `offset` before the machine's. An even version: nobody is writing.
    pub(crate) fn time_record(&self, version: u32, offset: u64) -> [u8; 32] {
        let (shift, factor) = scale(self.shared.kilohertz());
        let stamp = self.shared.first_stamp().wrapping_add(offset);
        let mut record = [0; 32];
        // Time zero was at that stamp.
        record[..4].copy_from_slice(&version.to_le_bytes());
        record[8..16].copy_from_slice(&stamp.to_le_bytes());
        record[24..28].copy_from_slice(&factor.to_le_bytes());
        record[28] = shift as u8;
        record[29] = STABLE;
        record
    }

    /// The guest names the place of the time when the machine was made; whether it can.
    pub(crate) fn write_wall_clock(&mut self, value: u64) -> bool {
        self.memory.write(value, &self.wall_clock()).is_ok()
    }

    /// The time when the machine was made.
    pub(crate) fn wall_clock(&self) -> [u8; 12] {
        let then = self.shared.beginning();
        let mut place = [0; 12];
        place[..4].copy_from_slice(&2_u32.to_le_bytes());
        place[4..8].copy_from_slice(&((then / NANOS_PER_SECOND) as u32).to_le_bytes());
        place[8..].copy_from_slice(&((then % NANOS_PER_SECOND) as u32).to_le_bytes());
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_all_speeds_become_nanoseconds() {
        for kilohertz in [1_000, 999_999, 1_000_000, 2_600_000, 5_123_456] {
            let (shift, factor) = scale(kilohertz);
            assert!(factor >= 1 << 31, "{kilohertz}");
            let ticks = u128::from(kilohertz) * 1_000_000;
            let shifted = if shift < 0 {
                ticks >> -shift
            } else {
                ticks << shift
            };
            let nanos = (shifted * u128::from(factor)) >> 32;
            // A thousand seconds.
            let wanted = 1_000_u128 * 1_000_000_000;
            assert!(nanos.abs_diff(wanted) < 2_000, "{kilohertz}: {nanos}");
        }
    }
}
