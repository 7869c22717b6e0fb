//! The platform's calls.

use core::sync::atomic::{AtomicU32, Ordering};

use guest_abi::bare::{PORT_DEBUG_EXIT, PORT_END, PORT_RING};
use guest_abi::vcpu::{ATTENTION_INTERRUPT, ATTENTION_NONE, ATTENTION_WAKE};
use x86_64::instructions::{hlt, interrupts};

use super::{apic, cpu, entry, memory, processors, serial, translations};
use crate::area::{self, area};
use crate::boot::{device_page, ring, vcpu_page};
use crate::hardware::Hardware;
use crate::platform::{Lower, MapError, Platform, Protection, Ticket};
use crate::sync::Once;
use crate::{GuestAddress, LinearAddress, Nanos, lock, report, time};

/// The platform.
pub(crate) struct Bare;

/// What [`Platform::set_timer`] asked for here. A sleep may need the timer earlier.
fn timer() -> Option<Nanos> {
    Some(Nanos(area().timer.load(Ordering::SeqCst))).filter(|at| at.0 != 0)
}

/// The timer went off: if too early, because it does not reach as far as was asked for, it is
/// set again. Whether it was time.
pub(super) fn timer_is_due() -> bool {
    match timer() {
        Some(at) if at > time::monotonic() => {
            apic::set_timer(Some(at));
            false
        }
        _ => {
            area().timer.store(0, Ordering::SeqCst);
            true
        }
    }
}

/// How another monitor is told that the machine has ended; none for Husk's.
static POWER_OFF: Once<Option<(u16, u16)>> = Once::new();

/// Says that this is no Husk monitor, and what port and value its ACPI powers off by.
pub(super) fn set_power_off(by: Option<(u16, u16)>) {
    POWER_OFF.call_once(|| by);
}

/// Ends a machine of another monitor.
fn end_elsewhere(by: Option<(u16, u16)>) {
    serial::write(report::text());
    // QEMU's `isa-debug-exit`: its status becomes twice ours, plus one.
    cpu::port_write(PORT_DEBUG_EXIT, u32::from(report::status()));
    if let Some((port, value)) = by {
        cpu::port_write_word(port, value);
    }
}

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
        area().pending.store(0, Ordering::SeqCst);
        Ticket {
            own: vcpu_page(area::number()).event.load(Ordering::SeqCst),
            devices: self.device_events(),
        }
    }

    fn idle(&self, ticket: Ticket, deadline: Option<Nanos>, _: bool) {
        lock::give_back();
        let area = area();
        let page = vcpu_page(area::number());
        let before = page.attention.swap(ATTENTION_WAKE, Ordering::SeqCst);
        let timer = timer();
        let earlier = deadline.filter(|at| timer.is_none_or(|timer| *at < timer));
        if earlier.is_some() {
            apic::set_timer(earlier);
        }
        interrupts::disable();
        if page.event.load(Ordering::SeqCst) == ticket.own
            && self.device_events() == ticket.devices
            && area.pending.load(Ordering::SeqCst) == 0
        {
            entry::sleep();
        } else {
            interrupts::enable();
        }
        page.attention.store(before, Ordering::SeqCst);
        if earlier.is_some() {
            apic::set_timer(timer);
        }
        lock::take();
    }

    fn take_pending(&self) -> bool {
        let pending = &vcpu_page(area::number()).pending;
        pending.load(Ordering::Relaxed) != 0 && pending.swap(0, Ordering::SeqCst) != 0
    }

    fn device_events(&self) -> u32 {
        vcpu_page(0).device_event.load(Ordering::SeqCst)
    }

    fn set_device_interrupts(&self, wanted: bool) {
        let attention = if wanted {
            ATTENTION_INTERRUPT
        } else {
            ATTENTION_NONE
        };
        let page = vcpu_page(area::number());
        page.attention.store(attention, Ordering::SeqCst);
    }

    fn vcpu(&self) -> usize {
        area::number()
    }

    fn interrupt(&self, vcpu: usize) {
        processors::wake(vcpu);
    }

    fn start_others(&self) {
        processors::start_others();
    }

    fn stop_others(&self) {
        lock::stop_others();
    }

    fn take_signals(&self) -> u64 {
        vcpu_page(0).signals.swap(0, Ordering::SeqCst)
    }

    fn set_timer(&self, deadline: Option<Nanos>) {
        let nanos = deadline.map_or(0, |at| at.0.max(1));
        area().timer.store(nanos, Ordering::SeqCst);
        apic::set_timer(deadline);
    }

    fn notify(&self, device: u32, queue: u16) {
        let page = device_page(device);
        if let Some((number, slot)) = page.and_then(|page| page.bell_of(queue)) {
            ring(&slot.bell, &slot.asleep, |_| {
                cpu::port_write(PORT_RING, device << 16 | u32::from(number));
            });
        }
    }

    fn set_tls_base(&self, base: u64) {
        crate::frame::set_fs_base(base);
    }

    fn tls_base(&self) -> u64 {
        crate::frame::fs_base()
    }

    fn power_off(&self) -> ! {
        match POWER_OFF.get() {
            Some(by) => end_elsewhere(*by),
            None => cpu::port_write(PORT_END, 0),
        }
        // Nobody answers there: what is left is to do nothing, for ever.
        interrupts::disable();
        loop {
            hlt();
        }
    }
}

impl Lower for Bare {
    fn leave_address(&self) -> u64 {
        entry::leave_address()
    }

    fn prepare_stack(&self, linear: LinearAddress, length: u64) {
        memory::populate(linear.0, length, true);
    }

    fn answer(&self) {
        translations::answer();
    }

    fn forget_translations(&self) {
        cpu::flush_all();
    }

    fn wait_on(&self, word: &AtomicU32, expected: u32) {
        processors::sleep_on(word, expected);
    }

    fn wake_one(&self, _: &AtomicU32) {
        processors::wake_sleeper();
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
