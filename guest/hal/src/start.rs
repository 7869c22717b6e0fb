//! The kernel's entry, and which platform it finds itself on.
#![expect(unsafe_code, reason = "the first instructions, and the stack they use")]

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_abi::cell::CellCalls;

use crate::platform::Lower;
use crate::sync::Once;

/// Bytes of the kernel's stack.
const STACK_SIZE: usize = 256 << 10;

#[repr(C, align(4096))]
struct Stack(UnsafeCell<[u8; STACK_SIZE]>);

// SAFETY: only the one virtual CPU runs on it.
unsafe impl Sync for Stack {}

static STACK: Stack = Stack(UnsafeCell::new([0; STACK_SIZE]));

static LOWER: Once<&'static dyn Lower> = Once::new();

/// The platform; chosen at the start.
pub(crate) fn lower() -> &'static dyn Lower {
    *LOWER.get().expect("chosen before anything else")
}

/// End of the kernel's stack, placed so that a frame ends up 16-byte aligned.
pub(crate) fn stack_top() -> u64 {
    (&raw const STACK).addr() as u64 + STACK_SIZE as u64 - 64 + 8
}

/// The kernel's entry point in its file. `rdi`: the calls of a cell's stub
/// ([`guest_abi::cell::CellEntry`]); zero at ring 0, where `rsi` is the physical address of PVH's
/// start information, or zero with a Husk monitor.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "lea rsp, [rip + {stack} + {size}]",
        "xor ebp, ebp",
        "call {start}",
        "ud2",
        stack = sym STACK,
        size = const STACK_SIZE,
        start = sym start,
    )
}

unsafe extern "Rust" {
    /// The kernel's start, above this crate.
    safe fn husk_kernel_main() -> !;
}

extern "C" fn start(calls: *const CellCalls, start_info: u64) -> ! {
    if calls.is_null() {
        LOWER.call_once(|| &crate::bare::Bare);
        crate::bare::start(start_info);
    } else {
        LOWER.call_once(|| &crate::cell::Cell);
        // SAFETY: the stub passes the address of its table, which lives as long as the cell.
        let table = unsafe { *calls };
        crate::cell::start(table);
    }
    husk_kernel_main()
}

/// Set while a panic is reported.
static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    if PANICKING.swap(true, Ordering::Relaxed) {
        // Reporting needs what is missing: the machine ends without words.
        lower().power_off()
    }
    crate::report::end(crate::report::End::Panic, format_args!("{info}"))
}
