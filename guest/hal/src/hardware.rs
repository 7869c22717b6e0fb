//! What a platform with devices beside the shared pages lets their drivers do.
//!
//! [`Hardware`] is what the platform gives, [`Registers`] a range of a device's registers.
//! The cell has none of it; unit tests bring a machine made of memory.
#![expect(unsafe_code, reason = "registers are reached by address")]

use core::ptr::NonNull;

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The ways to reach devices of a machine that is not a Husk monitor's own.
pub(crate) trait Hardware: Sync {
    /// Reads 32 bits of a PCI function's configuration space, all ones where there is none.
    /// `function` is bus (8 bits), device (5) and function (3); `register` a multiple of 4.
    fn read_configuration(&self, function: u16, register: u8) -> u32;

    /// Writes 32 bits of a PCI function's configuration space.
    fn write_configuration(&self, function: u16, register: u8, value: u32);

    /// Makes registers of a device visible, uncached and for ever.
    fn map_registers(&self, physical: u64, length: u64) -> Option<Registers>;

    /// Lets an interrupt line (edge-triggered, as the interrupt controller counts them)
    /// interrupt as a device; whether that is possible.
    fn connect_line(&self, line: u32) -> bool;

    /// Reads a register of the first serial port.
    fn read_serial(&self, register: u8) -> u8;

    /// Writes a register of the first serial port.
    fn write_serial(&self, register: u8, value: u8);
}

/// Registers of a device. What lies outside reads as zero and cannot be written.
#[derive(Debug)]
pub(crate) struct Registers {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: registers are reached by volatile accesses only, from whichever processor.
unsafe impl Send for Registers {}
// SAFETY: as above.
unsafe impl Sync for Registers {}

impl Registers {
    /// # Safety
    /// The range is mapped for ever, and holds nothing that Rust knows as an object.
    pub(crate) const unsafe fn new(base: NonNull<u8>, length: usize) -> Self {
        Self { base, length }
    }

    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    /// A part, if it lies inside.
    pub(crate) fn part(&self, offset: usize, length: usize) -> Option<Self> {
        let end = offset.checked_add(length)?;
        let base = self.place::<u8>(offset)?;
        // The place is inside, so it is not null either.
        let base = NonNull::new(base)?;
        (end <= self.length).then_some(Self { base, length })
    }

    /// Where a value lies, if it is inside and aligned.
    fn place<T>(&self, offset: usize) -> Option<*mut T> {
        let end = offset.checked_add(size_of::<T>())?;
        let place = self.base.as_ptr().wrapping_add(offset).cast::<T>();
        (end <= self.length && place.is_aligned()).then_some(place)
    }

    /// Reads a register.
    pub(crate) fn read<T: FromBytes>(&self, offset: usize) -> T {
        match self.place::<T>(offset) {
            // SAFETY: the place is inside and aligned, mapped by the contract of `new`; any
            // bytes are a value.
            Some(place) => unsafe { place.read_volatile() },
            None => T::new_zeroed(),
        }
    }

    /// Writes a register.
    pub(crate) fn write<T: IntoBytes + Immutable>(&self, offset: usize, value: T) {
        if let Some(place) = self.place::<T>(offset) {
            // SAFETY: as in `read`.
            unsafe { place.write_volatile(value) };
        }
    }

    /// Writes 64 bits as two registers, the lower half first.
    pub(crate) fn write_halves(&self, offset: usize, value: u64) {
        self.write(offset, value as u32);
        self.write(offset + 4, (value >> 32) as u32);
    }

    /// Fills bytes from registers of a byte each; `None` if not all are there.
    pub(crate) fn read_bytes(&self, offset: usize, into: &mut [u8]) -> Option<()> {
        let part = self.part(offset, into.len())?;
        for (index, byte) in into.iter_mut().enumerate() {
            *byte = part.read(index);
        }
        Some(())
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! A machine made of memory.

    extern crate std;

    use std::boxed::Box;
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::vec::Vec;

    use super::*;

    /// Registers that are memory: 64-bit aligned, zero, never given back.
    pub(crate) fn registers(length: usize) -> Registers {
        let words = Box::leak(std::vec![0u64; length.div_ceil(8)].into_boxed_slice());
        let base = NonNull::from(words).cast();
        // SAFETY: the memory is leaked, and nobody else has its address.
        unsafe { Registers::new(base, length) }
    }

    /// Another view of the same registers.
    pub(crate) fn same(registers: &Registers) -> Registers {
        registers
            .part(0, registers.len())
            .expect("the whole is a part")
    }

    /// Configuration spaces, memory ranges, and what a serial port takes and gives.
    #[derive(Default)]
    pub(crate) struct Fake {
        pub(crate) functions: Mutex<BTreeMap<u16, Space>>,
        pub(crate) memory: Mutex<Vec<(u64, Registers)>>,
        pub(crate) sent: Mutex<Vec<u8>>,
        pub(crate) typed: Mutex<Vec<u8>>,
    }

    /// One function's configuration space, and the lengths of its base address registers.
    pub(crate) struct Space {
        pub(crate) bytes: [u8; 256],
        pub(crate) masks: [u32; 6],
    }

    impl Default for Space {
        fn default() -> Self {
            Self {
                bytes: [0; 256],
                masks: [0; 6],
            }
        }
    }

    impl Space {
        pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        }

        fn word(&mut self, register: u8) -> &mut [u8] {
            let at = usize::from(register & 0xfc);
            &mut self.bytes[at..at + 4]
        }
    }

    impl Fake {
        pub(crate) fn leaked() -> &'static Self {
            Box::leak(Box::default())
        }
    }

    impl Hardware for Fake {
        fn read_configuration(&self, function: u16, register: u8) -> u32 {
            let mut functions = self.functions.lock().unwrap();
            let Some(space) = functions.get_mut(&function) else {
                return u32::MAX;
            };
            u32::from_le_bytes((&*space.word(register)).try_into().unwrap())
        }

        fn write_configuration(&self, function: u16, register: u8, value: u32) {
            let mut functions = self.functions.lock().unwrap();
            let Some(space) = functions.get_mut(&function) else {
                return;
            };
            let bar = usize::from(register).wrapping_sub(0x10) / 4;
            let old = u32::from_le_bytes((&*space.word(register)).try_into().unwrap());
            let value = match space.masks.get(bar) {
                Some(mask) => value & mask | old & !mask & 0xf,
                // Status beside the command.
                None if register == 4 => value & 0xffff | old & 0xffff_0000,
                None => value,
            };
            space.word(register).copy_from_slice(&value.to_le_bytes());
        }

        fn map_registers(&self, physical: u64, length: u64) -> Option<Registers> {
            let memory = self.memory.lock().unwrap();
            memory.iter().find_map(|(start, registers)| {
                let offset = physical.checked_sub(*start)?;
                registers.part(offset as usize, length as usize)
            })
        }

        fn connect_line(&self, line: u32) -> bool {
            line < 24
        }

        fn read_serial(&self, register: u8) -> u8 {
            let mut typed = self.typed.lock().unwrap();
            match register {
                0 if !typed.is_empty() => typed.remove(0),
                5 => 0x60 | u8::from(!typed.is_empty()),
                7 => 0x5a,
                _ => 0,
            }
        }

        fn write_serial(&self, register: u8, value: u8) {
            if register == 0 {
                self.sent.lock().unwrap().push(value);
            }
        }
    }

    #[test]
    fn what_lies_outside_reads_as_zero_and_cannot_be_written() {
        let all = registers(16);
        all.write(12, 7u32);
        all.write(14, 9u32);
        all.write(usize::MAX, 9u32);
        assert_eq!(all.read::<u32>(12), 7);
        assert_eq!(all.read::<u32>(14), 0);
        assert_eq!(all.read::<u8>(16), 0);
        assert!(all.part(8, 9).is_none());
        assert!(all.part(usize::MAX, 2).is_none());
        assert_eq!(all.part(8, 8).unwrap().read::<u32>(4), 7);
        assert_eq!(all.read_bytes(10, &mut [0; 7]), None);
    }
}
