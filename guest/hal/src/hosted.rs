//! The platform of unit tests: an ordinary process with some memory of its own.
//!
//! There is no program to run; extents and everything built on them work.
#![expect(unsafe_code, reason = "memory is handed out by address")]

extern crate std;

use core::sync::atomic::{AtomicU32, Ordering};
use std::alloc::{Layout, alloc_zeroed};
use std::sync::OnceLock;

use crate::platform::{Lower, MapError, Platform, Protection, Ticket};
use crate::{GuestAddress, LinearAddress, Nanos};

/// Bytes of guest-physical space; only what a test touches exists.
const SPAN: u64 = 1 << 30;

static BASE: OnceLock<usize> = OnceLock::new();

pub(crate) fn ram_base() -> usize {
    *BASE.get_or_init(|| {
        let layout = Layout::from_size_align(SPAN as usize, 4096).expect("a valid layout");
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        assert!(!memory.is_null(), "memory for the test machine");
        memory.expose_provenance()
    })
}

/// Prepares extents for a test; harmless when repeated.
pub fn initialize() {
    static DONE: std::sync::Once = std::sync::Once::new();
    DONE.call_once(|| {
        ram_base();
        crate::memory::initialize(SPAN, false);
    });
}

pub(crate) fn lower() -> &'static dyn Lower {
    &Hosted
}

struct Hosted;

impl Lower for Hosted {
    fn leave_address(&self) -> u64 {
        0
    }

    fn wait_on(&self, _: &AtomicU32, _: u32) {
        std::thread::yield_now();
    }

    fn wake_one(&self, _: &AtomicU32) {}

    fn syscall_entry(&self) -> LinearAddress {
        LinearAddress(0)
    }

    fn device_range(&self, linear: u64, length: u64) -> (u64, u64) {
        (linear.wrapping_sub(ram_base() as u64), length)
    }
}

static EVENTS: AtomicU32 = AtomicU32::new(0);

impl Platform for Hosted {
    fn map(
        &self,
        _: LinearAddress,
        _: GuestAddress,
        _: u64,
        _: Protection,
    ) -> Result<(), MapError> {
        Ok(())
    }

    fn unmap(&self, _: LinearAddress, _: u64) -> Result<(), MapError> {
        Ok(())
    }

    fn protect(&self, _: LinearAddress, _: u64, _: Protection) -> Result<(), MapError> {
        Ok(())
    }

    fn discard(&self, physical: GuestAddress, length: u64) {
        assert!(physical.0 + length <= SPAN);
        let pointer = crate::memory::ram_pointer(physical.0);
        // SAFETY: the range lies in the test machine's memory and belongs to the caller's extent.
        unsafe { core::ptr::write_bytes(pointer, 0, length as usize) }
    }

    fn prefer_large_pages(&self, _: LinearAddress, _: u64, _: bool) {}

    fn populate(&self, _: LinearAddress, _: u64, _: bool) {}

    fn ticket(&self) -> Ticket {
        Ticket {
            own: EVENTS.load(Ordering::SeqCst),
            devices: 0,
        }
    }

    fn idle(&self, _: Ticket, _: Option<Nanos>, _: bool) {
        std::thread::yield_now();
    }

    fn take_pending(&self) -> bool {
        false
    }

    fn device_events(&self) -> u32 {
        0
    }

    fn set_device_interrupts(&self, _: bool) {}

    fn vcpu(&self) -> usize {
        0
    }

    fn interrupt(&self, _: usize) {}

    fn start_others(&self) {}

    fn stop_others(&self) {}

    fn take_signals(&self) -> u64 {
        0
    }

    fn set_timer(&self, _: Option<Nanos>) {}

    fn notify(&self, _: u32, _: u16) {}

    fn set_tls_base(&self, _: u64) {}

    fn tls_base(&self) -> u64 {
        0
    }

    fn power_off(&self) -> ! {
        panic!("the machine of a unit test powered off")
    }
}
