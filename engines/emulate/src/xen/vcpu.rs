//! `vcpu_op` (public/vcpu.h), and the time that a guest finds in what it shares (public/xen.h: `vcpu_info`, `vcpu_time_info`,
//! `shared_info`).
//!
//! The first virtual CPUs have their information in the shared page until they name a place in the guest's memory. The time in
//! there says how a virtual CPU's counter becomes time since the machine was made, as in [`crate::paravirtual_clock`]; it is written
//! again when the guest sets that counter.

use engine_contract::VcpuId;

use super::{Answer, Call, DONE, Errno, PAGE_SHIFT, PAGE_SIZE, Xen, field};
use crate::bus::Bus;
use crate::identity::PHYSICAL_BITS;

/// `VCPUOP_register_vcpu_info`, and its structure.
const REGISTER_INFO: u32 = 10;
const REGISTRATION: usize = 16;

/// Bytes of `vcpu_info`, its alignment, and where in it the time is.
const INFO: usize = 64;
const INFO_ALIGNMENT: u64 = 8;
const TIME: usize = 32;
/// Virtual CPUs that have theirs in the shared page, and where that has the time when the machine was made.
const IN_SHARED_PAGE: usize = 32;
const WALL_CLOCK: u64 = 3072;

/// Where the information of a virtual CPU is, and what its time depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// In the guest's memory.
    registered: Option<u64>,
    /// What is added to the machine's time stamp.
    offset: u64,
    /// How often its time was written.
    version: u32,
}

impl Call<'_, '_> {
    pub(super) fn vcpu(&mut self) -> Answer {
        let (operation, number) = (self.word(0), self.word(1) as usize);
        if number >= self.xen.vcpus().len() {
            return Err(Errno::NoEntry);
        }
        match operation {
            REGISTER_INFO => self.register_info(number),
            _ => Err(Errno::NotServed),
        }
    }

    /// The guest's own virtual CPU or, as it need not run yet, another has its information there from now on.
    fn register_info(&mut self, number: usize) -> Answer {
        let [_, _, address, ..] = self.arguments;
        let asked: [u8; REGISTRATION] = self.take(address)?;
        let (frame, offset) = (field(&asked, 0, 8), field(&asked, 8, 4));
        if offset > PAGE_SIZE - INFO as u64 || !offset.is_multiple_of(INFO_ALIGNMENT) {
            return Err(Errno::NoPlace);
        }
        if frame >> (PHYSICAL_BITS - PAGE_SHIFT) != 0 {
            return Err(Errno::Invalid);
        }
        let (xen, physical) = (self.xen, frame << PAGE_SHIFT | offset);
        let mut places = xen.vcpus();
        let place = places.get_mut(number).ok_or(Errno::NoEntry)?;
        if place.registered.is_some() || self.bus.memory.frame(physical).is_none() {
            return Err(Errno::Invalid);
        }
        let mut info = [0; INFO];
        if number < IN_SHARED_PAGE {
            let at = (number * INFO) as u64;
            xen.page.read(at, &mut info).map_err(|_| Errno::Fault)?;
        }
        let written = self.bus.memory.write(physical, &info);
        written.map_err(|_| Errno::Fault)?;
        place.registered = Some(physical);
        self.bus.tell_time(xen, number, place);
        Ok(DONE)
    }

    /// Writes all that the shared page says of time.
    pub(super) fn tell_all_times(&mut self) {
        let xen = self.xen;
        let clock = self.bus.wall_clock();
        // The page is there.
        let _ = xen.page.write(WALL_CLOCK, &clock);
        for (number, place) in xen.vcpus().iter_mut().enumerate() {
            if place.registered.is_none() {
                self.bus.tell_time(xen, number, place);
            }
        }
    }
}

impl Bus<'_> {
    /// The virtual CPU's own counter was set.
    pub(crate) fn retell_time(&mut self) {
        let Some(xen) = &self.shared.xen else {
            return;
        };
        let VcpuId(number) = self.vcpu;
        if let Some(place) = xen.vcpus().get_mut(number as usize) {
            place.offset = self.registers.time_offset;
            self.tell_time(xen, number as usize, place);
        }
    }

    /// Writes the time into a virtual CPU's information.
    fn tell_time(&self, xen: &Xen, number: usize, place: &mut Place) {
        place.version = place.version.wrapping_add(2);
        let time = self.time_record(place.version, place.offset);
        // The places are there: one was looked at, the other is ours.
        let _ = match place.registered {
            Some(physical) => self.memory.write(physical + TIME as u64, &time),
            None if number < IN_SHARED_PAGE => xen.page.write((number * INFO + TIME) as u64, &time),
            None => Ok(()),
        };
    }
}
