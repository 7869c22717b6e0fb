//! The page of calls: for each number the instructions that make the call (docs/guest-guide/x86/hypercall-abi.rst).

use super::leaves::PAGE_REGISTER;
use super::{NUMBERS, PAGE_SIZE};
use crate::bus::Bus;

/// Bytes for a call.
const STUB: usize = 32;
/// `mov eax, number; vmmcall; ret`, as the processor is one of AMD.
const MOV: u8 = 0xb8;
const VMMCALL_RET: [u8; 4] = [0x0f, 0x01, 0xd9, 0xc3];
/// `ud2`, for a call that only paravirtual guests have (`iret`).
const UD2: [u8; 2] = [0x0f, 0x0b];
const IRET: u64 = 23;

impl Bus<'_> {
    /// What of Xen's registers there is.
    pub(crate) fn read_xen_register(&self, number: u32) -> Option<u64> {
        let is_there = self.shared.xen.is_some() && number == PAGE_REGISTER;
        is_there.then_some(0)
    }

    /// The guest names the page of calls; whether it can.
    pub(crate) fn write_xen_register(&mut self, number: u32, value: u64) -> bool {
        let is_there = self.shared.xen.is_some() && number == PAGE_REGISTER;
        // Which of the pages is in the low bits; there is one.
        is_there
            && value.is_multiple_of(PAGE_SIZE)
            && self.memory.frame(value).is_some()
            && self.memory.write(value, &page()).is_ok()
    }
}

fn page() -> Vec<u8> {
    let stub = |number: u64| {
        let mut stub = [0xcc; STUB];
        if number == IRET {
            stub[..UD2.len()].copy_from_slice(&UD2);
        } else {
            stub[0] = MOV;
            stub[1..5].copy_from_slice(&(number as u32).to_le_bytes());
            stub[5..9].copy_from_slice(&VMMCALL_RET);
        }
        stub
    };
    let mut page: Vec<u8> = (0..NUMBERS).flat_map(stub).collect();
    page.resize(PAGE_SIZE as usize, 0xcc);
    page
}
