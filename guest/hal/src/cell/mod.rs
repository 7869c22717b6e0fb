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

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use guest_abi::cell::{CellCalls, RAM_FD};
use guest_abi::layout;

use crate::boot::{device_page, ring, vcpu_page};
use crate::platform::{Lower, MapError, Platform, Protection, Ticket};
use crate::sync::Once;
use crate::{GuestAddress, LinearAddress, Nanos, UserContext, time};

const _: () = assert!(RAM_FD == 3);

const MADV_REMOVE: u64 = 9;
const MADV_HUGEPAGE: u64 = 14;
const MADV_NOHUGEPAGE: u64 = 15;
const MADV_POPULATE_READ: u64 = 22;
const MADV_POPULATE_WRITE: u64 = 23;

/// What the entry code needs of a virtual CPU, found by the `gs` base. The offsets are
/// known to [`entry`].
#[repr(C, align(64))]
struct VcpuArea {
    /// Where the frame of a program's context ends on the kernel's stack.
    kernel_stack: AtomicU64,
    /// The program's stack pointer while the entry code switches.
    user_stack: AtomicU64,
    /// Not zero: look for work before going back to the program.
    pending: AtomicU64,
    /// The frame that is about to be resumed.
    frame: AtomicU64,
    /// The instruction pointer that is about to be resumed.
    resume: AtomicU64,
    /// The signal that a trap came by, and its page-fault address, until it is served.
    trap_signal: AtomicU64,
    trap_error: AtomicU64,
    trap_vector: AtomicU64,
    trap_address: AtomicU64,
}

static VCPU: VcpuArea = VcpuArea {
    kernel_stack: AtomicU64::new(0),
    user_stack: AtomicU64::new(0),
    pending: AtomicU64::new(0),
    frame: AtomicU64::new(0),
    resume: AtomicU64::new(0),
    trap_signal: AtomicU64::new(0),
    trap_error: AtomicU64::new(0),
    trap_vector: AtomicU64::new(0),
    trap_address: AtomicU64::new(0),
};

static CALLS: Once<CellCalls> = Once::new();

fn calls() -> &'static CellCalls {
    CALLS.get().expect("set at the entry")
}

/// Starts on the cell platform; the layers above go on.
pub(crate) fn start(table: CellCalls) {
    CALLS.call_once(|| table);
    crate::frame::set_gs_base((&raw const VCPU).addr() as u64);
    VCPU.kernel_stack
        .store(crate::start::stack_top(), Ordering::Relaxed);
    (table.set_trap_vector)(trap::vector);
    let info = crate::boot::initialize();
    crate::memory::initialize(info.ram_span.min(layout::RAM_SPAN_MAX));
}

/// The platform.
pub(crate) struct Cell;

/// How long to look for an event before sleeping, in ticks of the time-stamp counter;
/// adapted to whether looking helped.
static SPIN: AtomicU32 = AtomicU32::new(SPIN_MAX);
const SPIN_MAX: u32 = 200_000;
const SPIN_MIN: u32 = 50_000;

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
        VCPU.pending.store(0, Ordering::SeqCst);
        Ticket(vcpu_page(0).event.load(Ordering::SeqCst))
    }

    fn idle(&self, ticket: Ticket, deadline: Option<Nanos>) {
        let page = vcpu_page(0);
        if spin_for_event(ticket) {
            return;
        }
        page.asleep.store(1, Ordering::SeqCst);
        if page.event.load(Ordering::SeqCst) == ticket.0 && VCPU.pending.load(Ordering::SeqCst) == 0
        {
            let nanos = deadline.map_or(u64::MAX, |at| at.saturating_sub(time::monotonic()).0);
            if nanos > 0 {
                (calls().wait)(page.event.as_ptr(), ticket.0, nanos);
            }
        }
        page.asleep.store(0, Ordering::SeqCst);
    }

    fn take_pending(&self) -> bool {
        let pending = &vcpu_page(0).pending;
        pending.load(Ordering::Relaxed) != 0 && pending.swap(0, Ordering::SeqCst) != 0
    }

    fn take_signals(&self) -> u64 {
        vcpu_page(0).signals.swap(0, Ordering::SeqCst)
    }

    fn set_timer(&self, deadline: Option<Nanos>) {
        let page = vcpu_page(0);
        page.deadline
            .store(deadline.map_or(0, |at| at.0.max(1)), Ordering::SeqCst);
        page.timer_bell.fetch_add(1, Ordering::SeqCst);
        (calls().wake)(page.timer_bell.as_ptr());
    }

    fn notify(&self, device: u32, queue: u16) {
        let page = device_page(device);
        if let Some(slot) = page.and_then(|page| page.queues.get(usize::from(queue))) {
            ring(&slot.bell, &slot.asleep, |bell| {
                (calls().wake)(bell.as_ptr());
            });
        }
    }

    fn set_tls_base(&self, base: u64) {
        crate::frame::set_fs_base(base);
    }

    fn power_off(&self) -> ! {
        (calls().exit)(0)
    }
}

impl Lower for Cell {
    fn enter_user(&self, context: &UserContext) -> ! {
        entry::resume(context)
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

/// Looks for an event for a while; whether there was one.
fn spin_for_event(ticket: Ticket) -> bool {
    let page = vcpu_page(0);
    let budget = SPIN.load(Ordering::Relaxed);
    let start = time::tsc();
    while time::tsc().wrapping_sub(start) < u64::from(budget) {
        if page.event.load(Ordering::SeqCst) != ticket.0 {
            SPIN.store((budget * 2).min(SPIN_MAX), Ordering::Relaxed);
            return true;
        }
        core::hint::spin_loop();
    }
    SPIN.store((budget / 2).max(SPIN_MIN), Ordering::Relaxed);
    false
}
