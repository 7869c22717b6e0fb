//! The platform's calls.

use core::sync::atomic::Ordering;

use guest_abi::bare::{PORT_END, PORT_RING};
use x86_64::instructions::{hlt, interrupts};

use super::{VCPU, apic, cpu, entry, memory, serial};
use crate::boot::{device_page, ring, vcpu_page};
use crate::hardware::Hardware;
use crate::platform::{Lower, MapError, Platform, Protection, Ticket};
use crate::sync::Mutex;
use crate::{GuestAddress, LinearAddress, Nanos, UserContext, report};

/// The platform.
pub(crate) struct Bare;

/// What [`Platform::set_timer`] asked for; a sleep may need the timer earlier.
static TIMER: Mutex<Option<Nanos>> = Mutex::new(None);

impl Platform for Bare {
    fn map(
        &self,
        linear: LinearAddress,
        physical: GuestAddress,
        length: u64,
        protection: Protection,
    ) -> Result<(), MapError> {
        memory::map(linear.0, physical.0, length, protection);
        Ok(())
    }

    fn unmap(&self, linear: LinearAddress, length: u64) -> Result<(), MapError> {
        memory::unmap(linear.0, length);
        Ok(())
    }

    fn protect(
        &self,
        linear: LinearAddress,
        length: u64,
        protection: Protection,
    ) -> Result<(), MapError> {
        memory::protect(linear.0, length, protection);
        Ok(())
    }

    fn discard(&self, physical: GuestAddress, length: u64) {
        memory::discard(physical.0, length);
    }

    fn prefer_large_pages(&self, linear: LinearAddress, length: u64, large: bool) {
        memory::prefer_large(linear.0, length, large);
    }

    fn populate(&self, linear: LinearAddress, length: u64, write: bool) {
        memory::populate(linear.0, length, write);
    }

    fn ticket(&self) -> Ticket {
        VCPU.pending.store(0, Ordering::SeqCst);
        Ticket(vcpu_page(0).event.load(Ordering::SeqCst))
    }

    fn idle(&self, ticket: Ticket, deadline: Option<Nanos>) {
        let page = vcpu_page(0);
        page.asleep.store(1, Ordering::SeqCst);
        let timer = *TIMER.lock();
        let earlier = deadline.filter(|at| timer.is_none_or(|timer| *at < timer));
        if earlier.is_some() {
            apic::set_timer(earlier);
        }
        interrupts::disable();
        if page.event.load(Ordering::SeqCst) == ticket.0 && VCPU.pending.load(Ordering::SeqCst) == 0
        {
            // No interrupt comes between the two instructions.
            interrupts::enable_and_hlt();
        } else {
            interrupts::enable();
        }
        page.asleep.store(0, Ordering::SeqCst);
        if earlier.is_some() {
            apic::set_timer(timer);
        }
    }

    fn take_pending(&self) -> bool {
        let pending = &vcpu_page(0).pending;
        pending.load(Ordering::Relaxed) != 0 && pending.swap(0, Ordering::SeqCst) != 0
    }

    fn take_signals(&self) -> u64 {
        vcpu_page(0).signals.swap(0, Ordering::SeqCst)
    }

    fn set_timer(&self, deadline: Option<Nanos>) {
        *TIMER.lock() = deadline;
        apic::set_timer(deadline);
    }

    fn notify(&self, device: u32, queue: u16) {
        let page = device_page(device);
        if let Some(slot) = page.and_then(|page| page.queues.get(usize::from(queue))) {
            ring(&slot.bell, &slot.asleep, |_| {
                cpu::port_write(PORT_RING, device << 16 | u32::from(queue));
            });
        }
    }

    fn set_tls_base(&self, base: u64) {
        entry::set_fs_base(base);
    }

    fn power_off(&self) -> ! {
        if let Some(text) = report::panic_text() {
            serial::write(text);
        }
        cpu::port_write(PORT_END, 0);
        // Nobody answers there: what is left is to do nothing, for ever.
        interrupts::disable();
        loop {
            hlt();
        }
    }
}

impl Lower for Bare {
    fn enter_user(&self, context: &UserContext) -> ! {
        entry::resume(context)
    }

    fn syscall_entry(&self) -> LinearAddress {
        LinearAddress(entry::syscall_address())
    }

    fn hardware(&self) -> Option<&'static dyn Hardware> {
        Some(&Self)
    }

    fn device_range(&self, linear: u64, length: u64) -> (u64, u64) {
        memory::device_range(linear, length)
    }
}
