//! `hvm_op` (public/hvm/hvm_op.h and params.h).

use std::sync::atomic::Ordering;

use super::{Answer, Call, DONE, Errno, SELF, field};

const SET_PARAM: u64 = 0;
const GET_PARAM: u64 = 1;
const FLUSH_TLBS: u64 = 5;
const SET_UPCALL_VECTOR: u64 = 23;

/// The structure of a parameter, and where its value is.
const PARAM: usize = 16;
const VALUE: usize = 8;
/// `HVM_PARAM_CALLBACK_IRQ`, the only one.
const CALLBACK: u64 = 0;
/// The structure of an upcall's vector, and the lowest that an interrupt can have.
const UPCALL: usize = 8;
const LOWEST_VECTOR: u64 = 16;

impl Call<'_, '_> {
    pub(super) fn hvm(&mut self) -> Answer {
        let [operation, address, ..] = self.arguments;
        match operation {
            SET_PARAM => self.set_parameter(address),
            GET_PARAM => self.parameter(address),
            FLUSH_TLBS => self.forget_everywhere(address),
            SET_UPCALL_VECTOR => self.set_upcall_vector(address),
            _ => Err(Errno::NotServed),
        }
    }

    fn asked_for_parameter(&mut self, address: u64) -> Result<[u8; PARAM], Errno> {
        let asked: [u8; PARAM] = self.take(address)?;
        match (field(&asked, 0, 2), field(&asked, 4, 4)) {
            (SELF, CALLBACK) => Ok(asked),
            (SELF, _) => Err(Errno::Invalid),
            _ => Err(Errno::NoDomain),
        }
    }

    fn set_parameter(&mut self, address: u64) -> Answer {
        let asked = self.asked_for_parameter(address)?;
        let value = field(&asked, VALUE, 8);
        self.xen.callback.store(value, Ordering::Relaxed);
        Ok(DONE)
    }

    fn parameter(&mut self, address: u64) -> Answer {
        let mut asked = self.asked_for_parameter(address)?;
        let value = self.xen.callback.load(Ordering::Relaxed);
        asked[VALUE..].copy_from_slice(&value.to_le_bytes());
        self.give(address, &asked)?;
        Ok(DONE)
    }

    /// All virtual CPUs forget their translations: this one now, the others before they go on.
    fn forget_everywhere(&mut self, address: u64) -> Answer {
        if address != 0 {
            return Err(Errno::Invalid);
        }
        self.xen.flushes.fetch_add(1, Ordering::SeqCst);
        self.bus.see_marks();
        Ok(DONE)
    }

    /// Nothing ever comes by it.
    fn set_upcall_vector(&mut self, address: u64) -> Answer {
        let asked: [u8; UPCALL] = self.take(address)?;
        if field(&asked, 4, 1) < LOWEST_VECTOR {
            return Err(Errno::Invalid);
        }
        let is_there = field(&asked, 0, 4) < self.xen.vcpus().len() as u64;
        if is_there {
            Ok(DONE)
        } else {
            Err(Errno::NoEntry)
        }
    }
}
