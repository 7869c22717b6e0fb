//! An address space with devices in it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What answers accesses. Several virtual CPUs may call at once.
///
/// Offsets count from the start of the range at which it was attached, and an access lies
/// wholly inside that range; its length is 1, 2, 4 or 8 bytes unless the engine says
/// otherwise, little endian. A device survives any access: what makes no sense reads as
/// the hardware would have it (usually zeros or ones) and writes nothing.
pub trait Device: Send + Sync {
    /// Fills `data` with what is at `offset`.
    fn read(&self, offset: u64, data: &mut [u8]);

    /// Takes `data` for `offset`.
    fn write(&self, offset: u64, data: &[u8]);
}

/// Two devices want the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusError {
    /// Start of the range that was refused.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, length) = (self.start, self.length);
        write!(
            f,
            "{length:#x} bytes at {start:#x} are taken, empty or too long"
        )
    }
}

impl std::error::Error for BusError {}

struct Range {
    length: u64,
    device: Arc<dyn Device>,
}

/// An address space: I/O ports, or guest-physical addresses that are not memory.
///
/// What nobody answers reads as ones and ignores writes, as on a bus with pull-ups. An access
/// that crosses a border is cut there, byte ranges to whoever owns them.
#[derive(Default)]
pub struct Bus {
    ranges: BTreeMap<u64, Range>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.ranges.iter();
        f.debug_map()
            .entries(ranges.map(|(start, range)| (start, range.length)))
            .finish()
    }
}

impl Bus {
    /// Nothing attached.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Attaches a device to `length` addresses from `start`.
    ///
    /// # Errors
    /// When the range is empty, wraps, or overlaps another.
    pub fn attach(
        &mut self,
        start: u64,
        length: u64,
        device: Arc<dyn Device>,
    ) -> Result<(), BusError> {
        let refused = BusError { start, length };
        let end = start.checked_add(length).filter(|_| length > 0);
        let end = end.ok_or(refused.clone())?;
        let before = self.ranges.range(..end).next_back();
        if before.is_some_and(|(other, range)| other + range.length > start) {
            return Err(refused);
        }
        self.ranges.insert(start, Range { length, device });
        Ok(())
    }

    /// Detaches what was attached at `start`.
    pub fn detach(&mut self, start: u64) -> Option<Arc<dyn Device>> {
        self.ranges.remove(&start).map(|range| range.device)
    }

    /// Whether a device answers at `address`.
    #[must_use]
    pub fn is_attached(&self, address: u64) -> bool {
        self.at(address).is_some()
    }

    /// Reads.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        self.each(address, data.len(), |offset, device, from, length| {
            if let Some(part) = data.get_mut(from..from + length) {
                device.read(offset, part);
            }
        });
    }

    /// Writes.
    pub fn write(&self, address: u64, data: &[u8]) {
        self.each(address, data.len(), |offset, device, from, length| {
            if let Some(part) = data.get(from..from + length) {
                device.write(offset, part);
            }
        });
    }

    fn at(&self, address: u64) -> Option<(u64, &Range)> {
        let (start, range) = self.ranges.range(..=address).next_back()?;
        let offset = address - start;
        (offset < range.length).then_some((offset, range))
    }

    /// Calls `part` for each device that an access meets: offset in the device, the device,
    /// and which bytes of the access are its.
    fn each(
        &self,
        address: u64,
        length: usize,
        mut part: impl FnMut(u64, &dyn Device, usize, usize),
    ) {
        let mut done = 0;
        while done < length {
            let Some(at) = address.checked_add(done as u64) else {
                return;
            };
            let rest = (length - done) as u64;
            let taken = match self.at(at) {
                Some((offset, range)) => {
                    let taken = rest.min(range.length - offset);
                    part(offset, range.device.as_ref(), done, taken as usize);
                    taken
                }
                None => rest.min(self.gap(at)),
            };
            done += taken as usize;
        }
    }

    /// How many addresses from `at` on nobody answers.
    fn gap(&self, at: u64) -> u64 {
        let next = self.ranges.range(at..).next();
        next.map_or(u64::MAX, |(start, _)| start - at)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Reads as its number plus the offset; remembers writes.
    struct Fake {
        number: u8,
        written: Mutex<Vec<(u64, Vec<u8>)>>,
    }

    impl Fake {
        fn new(number: u8) -> Arc<Self> {
            let written = Mutex::default();
            Arc::new(Self { number, written })
        }
    }

    impl Device for Fake {
        fn read(&self, offset: u64, data: &mut [u8]) {
            for (byte, at) in data.iter_mut().zip(offset..) {
                *byte = self.number + at as u8;
            }
        }

        fn write(&self, offset: u64, data: &[u8]) {
            self.written.lock().unwrap().push((offset, data.to_vec()));
        }
    }

    #[test]
    fn an_access_reaches_the_device_at_its_offset() {
        let mut bus = Bus::new();
        let fake = Fake::new(0x10);
        bus.attach(0x60, 5, fake.clone()).unwrap();
        let mut data = [0; 2];
        bus.read(0x63, &mut data);
        assert_eq!(data, [0x13, 0x14]);
        bus.write(0x64, &[9]);
        assert_eq!(*fake.written.lock().unwrap(), [(4, vec![9])]);
    }

    #[test]
    fn what_nobody_answers_reads_as_ones() {
        let mut data = [0; 4];
        Bus::new().read(u64::MAX - 1, &mut data);
        assert_eq!(data, [0xff; 4]);
        Bus::new().write(u64::MAX - 1, &[0; 4]);
    }

    #[test]
    fn an_access_across_a_border_is_cut() {
        let mut bus = Bus::new();
        let (first, second) = (Fake::new(0x10), Fake::new(0x20));
        bus.attach(0, 2, first).unwrap();
        bus.attach(4, 4, second.clone()).unwrap();
        let mut data = [0; 8];
        bus.read(0, &mut data);
        assert_eq!(data, [0x10, 0x11, 0xff, 0xff, 0x20, 0x21, 0x22, 0x23]);
        bus.write(2, &[1, 2, 3, 4]);
        assert_eq!(*second.written.lock().unwrap(), [(0, vec![3, 4])]);
    }

    #[test]
    fn overlaps_empty_ranges_and_wraps_are_refused() {
        let mut bus = Bus::new();
        bus.attach(0x100, 0x10, Fake::new(0)).unwrap();
        for (start, length) in [
            (0x100, 1),
            (0x10f, 1),
            (0xf0, 0x11),
            (0, 0x1000),
            (5, 0),
            (u64::MAX, 2),
        ] {
            assert!(bus.attach(start, length, Fake::new(1)).is_err());
        }
        bus.attach(0x110, 1, Fake::new(1)).unwrap();
        assert!(bus.detach(0x100).is_some() && bus.detach(0x100).is_none());
        assert!(!bus.is_attached(0x100) && bus.is_attached(0x110));
    }
}
