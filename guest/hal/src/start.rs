//! The kernel's entry, and which platform it finds itself on.
#![expect(unsafe_code, reason = "the first instructions, and the stack they use")]

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guest_abi::cell::CellCalls;
use guest_abi::layout::{PAGE_SIZE, VCPUS_MAX};

use crate::memory::Extent;
use crate::platform::Lower;
use crate::sync::Once;

/// Bytes of the kernel's stack.
const STACK_SIZE: usize = 256 << 10;

#[repr(C, align(4096))]
struct Stack(UnsafeCell<[u8; STACK_SIZE]>);

// SAFETY: only the first virtual CPU runs on it.
unsafe impl Sync for Stack {}

static STACK: Stack = Stack(UnsafeCell::new([0; STACK_SIZE]));

static LOWER: Once<&'static dyn Lower> = Once::new();

/// The platform; chosen at the start.
pub(crate) fn lower() -> &'static dyn Lower {
    *LOWER.get().expect("chosen before anything else")
}

/// End of the first stack.
pub(crate) fn stack_top() -> u64 {
    (&raw const STACK).addr() as u64 + STACK_SIZE as u64 - 64
}

/// Where the stacks of the virtual CPUs beside the first end; none has entered at zero.
pub(crate) static OTHER_STACKS: [AtomicU64; VCPUS_MAX] = [const { AtomicU64::new(0) }; VCPUS_MAX];

/// Where a stack lies.
pub(crate) struct Place {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) top: u64,
}

/// Gives a virtual CPU beside the first its stack, before it enters.
pub(crate) fn give_stack(vcpu: usize) -> Place {
    let length = crate::task::STACK_SIZE;
    let stack = Extent::allocate(length, PAGE_SIZE, None).expect("a stack");
    let start = crate::memory::ram_pointer(stack.start().0).addr() as u64;
    // For ever: the virtual CPU's idle task runs on it.
    core::mem::forget(stack);
    let top = start + length - 64;
    if let Some(slot) = OTHER_STACKS.get(vcpu) {
        slot.store(top, Ordering::SeqCst);
    }
    Place { start, length, top }
}

/// The kernel's entry point in its file. `rdi`: the calls of a cell's stub
/// ([`guest_abi::cell::CellEntry`]); zero at ring 0, where `rsi` is the physical address of PVH's
/// start information, or zero with a Husk monitor. `rdx`: the number of the virtual CPU, in a
/// cell.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "xor ebp, ebp",
        "test rdi, rdi",
        "jz 2f",
        "test rdx, rdx",
        "jnz 3f",
        "2:",
        "lea rsp, [rip + {stack} + {size}]",
        "call {start}",
        "ud2",
        "3:",
        "lea rax, [rip + {others}]",
        "mov rsp, [rax + rdx * 8]",
        "mov rdi, rdx",
        "call {other}",
        "ud2",
        stack = sym STACK,
        size = const STACK_SIZE,
        start = sym start,
        others = sym OTHER_STACKS,
        other = sym start_other,
    )
}

/// A virtual CPU of a cell beside the first, when it has a stack.
extern "C" fn start_other(vcpu: u64) -> ! {
    crate::area::claim(vcpu as usize);
    crate::boot::can_be_interrupted();
    crate::context::run_vcpu()
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
        crate::area::claim(0);
        // SAFETY: the stub passes the address of its table, which lives as long as the cell.
        let table = unsafe { *calls };
        crate::cell::start(table);
    }
    crate::boot::can_be_interrupted();
    // Nobody else runs yet.
    crate::lock::take();
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
