//! The cell platform: the kernel in a sandboxed process of the host.
//!
//! Privilege is played, not enforced: program and kernel share the address space, and
//! what is below `APP_END` is the program. The boundary is the cell's own, around both.
//!
//! * [`entry`]: the assembly by which control passes between program and kernel.
//! * [`trap`]: what the host's signals mean.
#![expect(unsafe_code, reason = "the kernel's meeting point with its stub")]

mod entry;
mod trap;

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use guest_abi::cell::{CellCalls, RAM_FD};
use guest_abi::layout;
use guest_abi::vcpu::{
    ATTENTION_ABSENT, ATTENTION_INTERRUPT, ATTENTION_LOOKS, ATTENTION_NONE, ATTENTION_WAKE, OVER,
    VcpuPage,
};

use crate::area::{self, area};
use crate::boot::{device_page, ring, vcpu_page};
use crate::host_file::HostFiles;
use crate::platform::{Lower, MapError, Platform, Protection, Ticket};
use crate::sync::Once;
use crate::{GuestAddress, LinearAddress, Nanos, lock, time};

const MADV_REMOVE: u64 = 9;
const MADV_HUGEPAGE: u64 = 14;
const MADV_NOHUGEPAGE: u64 = 15;
const MADV_POPULATE_READ: u64 = 22;
const MADV_POPULATE_WRITE: u64 = 23;

static CALLS: Once<CellCalls> = Once::new();

fn calls() -> &'static CellCalls {
    CALLS.get().expect("set at the entry")
}

/// Starts on the cell platform; the layers above go on.
pub(crate) fn start(table: CellCalls) {
    CALLS.call_once(|| table);
    (table.set_trap_vector)(trap::vector);
    let info = crate::boot::initialize();
    let dear = info.large_pages_are_dear != 0;
    crate::memory::initialize(info.ram_span.min(layout::RAM_SPAN_MAX), dear);
}

/// The platform.
pub(crate) struct Cell;

/// How long to look for an event before sleeping, in ticks of the time-stamp counter;
/// adapted to whether looking helped.
static LOOK: AtomicU32 = AtomicU32::new(LOOK_MAX);
const LOOK_MAX: u32 = 400_000;
const LOOK_MIN: u32 = 100_000;
/// Whether a virtual CPU looks.
static LOOKING: AtomicBool = AtomicBool::new(false);

fn check(result: i64) -> Result<(), MapError> {
    if result < 0 { Err(MapError) } else { Ok(()) }
}

impl Platform for Cell {
    fn map(
        &self,
        linear: LinearAddress,
        physical: GuestAddress,
        length: u64,
        protection: Protection,
    ) -> Result<(), MapError> {
        check((calls().map)(
            RAM_FD,
            linear.0,
            physical.0,
            length,
            protection.bits(),
        ))
    }

    fn unmap(&self, linear: LinearAddress, length: u64) -> Result<(), MapError> {
        check((calls().unmap)(linear.0, length))
    }

    fn protect(
        &self,
        linear: LinearAddress,
        length: u64,
        protection: Protection,
    ) -> Result<(), MapError> {
        check((calls().protect)(linear.0, length, protection.bits()))
    }

    fn discard(&self, physical: GuestAddress, length: u64) {
        (calls().advise)(layout::RAM_BASE + physical.0, length, MADV_REMOVE);
    }

    fn prefer_large_pages(&self, linear: LinearAddress, length: u64, large: bool) {
        let advice = if large {
            MADV_HUGEPAGE
        } else {
            MADV_NOHUGEPAGE
        };
        (calls().advise)(linear.0, length, advice);
    }

    fn populate(&self, linear: LinearAddress, length: u64, write: bool) {
        let advice = if write {
            MADV_POPULATE_WRITE
        } else {
            MADV_POPULATE_READ
        };
        (calls().advise)(linear.0, length, advice);
    }

    fn ticket(&self) -> Ticket {
        // What interrupted the kernel so far is in the page's bits, which the caller looks at.
        area().pending.store(0, Ordering::SeqCst);
        Ticket {
            own: vcpu_page(area::number()).event.load(Ordering::SeqCst),
            devices: self.device_events(),
        }
    }

    fn idle(&self, ticket: Ticket, deadline: Option<Nanos>, soon: bool) {
        lock::give_back();
        let area = area();
        let page = vcpu_page(area::number());
        let before = page.attention.load(Ordering::SeqCst);
        if !(soon && look_for_event(page, ticket)) {
            page.attention.store(ATTENTION_WAKE, Ordering::SeqCst);
            if !has_event(page, ticket) && area.pending.load(Ordering::SeqCst) == 0 {
                let nanos = deadline.map_or(u64::MAX, |at| at.saturating_sub(time::monotonic()).0);
                if nanos > 0 {
                    (calls().wait)(page.event.as_ptr(), ticket.own, nanos);
                }
            }
        }
        page.attention.store(before, Ordering::SeqCst);
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
        vcpu_page(area::number())
            .attention
            .store(attention, Ordering::SeqCst);
    }

    fn vcpu(&self) -> usize {
        area::number()
    }

    fn interrupt(&self, vcpu: usize) {
        let page = vcpu_page(vcpu);
        page.event.fetch_add(1, Ordering::SeqCst);
        match page.attention.load(Ordering::SeqCst) {
            ATTENTION_LOOKS | ATTENTION_ABSENT => {}
            ATTENTION_WAKE => {
                (calls().wake)(page.event.as_ptr());
            }
            _ => {
                page.interrupt.store(1, Ordering::SeqCst);
                ring_timer();
            }
        }
    }

    fn start_others(&self) {
        for vcpu in 1..crate::boot::info().vcpus as usize {
            crate::start::give_stack(vcpu);
            let online = &vcpu_page(vcpu).online;
            online.store(1, Ordering::SeqCst);
            (calls().wake)(online.as_ptr());
        }
    }

    fn stop_others(&self) {
        lock::stop_others();
    }

    fn take_signals(&self) -> u64 {
        vcpu_page(0).signals.swap(0, Ordering::SeqCst)
    }

    fn set_timer(&self, deadline: Option<Nanos>) {
        vcpu_page(area::number())
            .deadline
            .store(deadline.map_or(0, |at| at.0.max(1)), Ordering::SeqCst);
        ring_timer();
    }

    fn notify(&self, device: u32, queue: u16) {
        let page = device_page(device);
        if let Some((_, slot)) = page.and_then(|page| page.bell_of(queue)) {
            ring(&slot.bell, &slot.asleep, |bell| {
                (calls().wake)(bell.as_ptr());
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
        // The monitor takes the memory apart on another processor than the cell's.
        vcpu_page(0).over.store(OVER, Ordering::SeqCst);
        ring_timer();
        (calls().exit)(0)
    }
}

impl HostFiles for Cell {
    fn receive(&self) -> Option<(u64, i32)> {
        let mut token = 0;
        let descriptor = (calls().receive)(&raw mut token);
        Some((
            token,
            i32::try_from(descriptor)
                .ok()
                .filter(|number| *number >= 0)?,
        ))
    }

    fn map(
        &self,
        descriptor: i32,
        linear: LinearAddress,
        offset: u64,
        length: u64,
        protection: Protection,
    ) -> Result<(), MapError> {
        let (linear, protection) = (linear.0, protection.bits());
        check((calls().map)(
            descriptor, linear, offset, length, protection,
        ))
    }

    fn close(&self, descriptor: i32) {
        (calls().close)(descriptor);
    }
}

impl Lower for Cell {
    fn host_files(&self) -> Option<&'static dyn HostFiles> {
        Some(&Self)
    }

    fn leave_address(&self) -> u64 {
        entry::leave_address()
    }

    fn wait_on(&self, word: &AtomicU32, expected: u32) {
        (calls().wait)(word.as_ptr(), expected, u64::MAX);
    }

    fn wake_one(&self, word: &AtomicU32) {
        (calls().wake)(word.as_ptr());
    }

    fn syscall_entry(&self) -> LinearAddress {
        LinearAddress(entry::syscall_address())
    }

    fn device_range(&self, linear: u64, length: u64) -> (u64, u64) {
        let image = linear.wrapping_sub(layout::KERNEL_BASE);
        let physical = if image < layout::KERNEL_SPAN {
            layout::KERNEL_IMAGE + image
        } else {
            linear.wrapping_sub(layout::RAM_BASE)
        };
        (physical, length)
    }
}

/// Wakes the monitor's thread that watches deadlines.
fn ring_timer() {
    let bell = &vcpu_page(0).timer_bell;
    bell.fetch_add(1, Ordering::SeqCst);
    (calls().wake)(bell.as_ptr());
}

/// Whether something happened after `ticket`.
fn has_event(page: &VcpuPage, ticket: Ticket) -> bool {
    page.event.load(Ordering::SeqCst) != ticket.own || Cell.device_events() != ticket.devices
}

/// Looks for an event for a while, unless another virtual CPU is at it; whether there was one.
fn look_for_event(page: &VcpuPage, ticket: Ticket) -> bool {
    if LOOKING.swap(true, Ordering::SeqCst) {
        return false;
    }
    page.attention.store(ATTENTION_LOOKS, Ordering::SeqCst);
    let budget = LOOK.load(Ordering::Relaxed);
    let start = time::tsc();
    let mut found = has_event(page, ticket);
    while !found && time::tsc().wrapping_sub(start) < u64::from(budget) {
        core::hint::spin_loop();
        found = has_event(page, ticket);
    }
    let next = if found { budget * 2 } else { budget / 2 };
    LOOK.store(next.clamp(LOOK_MIN, LOOK_MAX), Ordering::Relaxed);
    LOOKING.store(false, Ordering::SeqCst);
    found
}
