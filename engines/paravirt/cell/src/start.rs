//! From the first instruction to the kernel's.
#![expect(unsafe_code, reason = "raw memory of the starting process")]

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_abi::boot::{BootInfo, MAGIC, SEGMENTS_MAX, SOURCE_IMAGE};
use guest_abi::cell::{CHANNEL_FD, CellEntry, IMAGE_FD, RAM_FD};
use guest_abi::layout::{self, VCPUS_MAX};
use guest_abi::vcpu::VcpuPage;

use crate::calls::{self, CALLS, MAP_FLAGS, system_call};
use crate::filter::{FILTER, Program};

const PROT_READ_WRITE: u64 = 3;
/// `SA_SIGINFO | SA_RESTORER | SA_ONSTACK | SA_NODEFER`.
const HANDLER_FLAGS: u64 = 0x4 | 0x0400_0000 | 0x0800_0000 | 0x4000_0000;
/// The signals the kernel wants: the exceptions, the filter's trap, the monitor's interrupt.
const SIGNALS: [u64; 7] = [4, 5, 7, 8, 11, 31, 10];
const SIG_SETMASK: u64 = 2;
const SECCOMP_SET_MODE_FILTER: u64 = 1;
/// All threads get the filter.
const SECCOMP_FILTER_FLAG_TSYNC: u64 = 1;
/// `CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM`.
const THREAD: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;
/// Highest address a process can map, exclusive.
const TASK_END: u64 = 0x7fff_ffff_f000;

const STACK_SIZE: usize = 16 << 10;
/// Room for the largest signal frame there is (AMX state), several deep, and for [`BEGINNING`].
const SIGNAL_STACK_SIZE: usize = 64 << 10;
/// Bytes that a thread needs until it enters the kernel, at the end of its signal stack.
const BEGINNING: u64 = 4 << 10;

#[repr(C, align(64))]
struct Stack<const SIZE: usize>(UnsafeCell<[u8; SIZE]>);

// SAFETY: each is used by one thread, through the processor's stack pointer.
unsafe impl<const SIZE: usize> Sync for Stack<SIZE> {}

static STACK: Stack<STACK_SIZE> = Stack(UnsafeCell::new([0; STACK_SIZE]));
/// A thread's; only what is touched exists.
static SIGNAL_STACKS: [Stack<SIGNAL_STACK_SIZE>; VCPUS_MAX] =
    [const { Stack(UnsafeCell::new([0; SIGNAL_STACK_SIZE])) }; VCPUS_MAX];

/// How many threads beside the first are ready for the filter.
static READY: AtomicU32 = AtomicU32::new(0);

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

/// Lets every signal in: the monitor may have held some back when it started us.
fn unblock_signals() {
    let none = 0u64;
    let pointer = (&raw const none).addr() as u64;
    require(
        73,
        system_call(
            calls::SYS_RT_SIGPROCMASK,
            [SIG_SETMASK, pointer, 0, 8, 0, 0],
        ),
    );
}

/// Ends the cell unless the host did as asked; the status says which step failed.
fn require(step: i32, result: i64) {
    if result < 0 {
        calls::exit(step);
    }
}

extern "C" fn start() -> ! {
    catch_signals();
    unblock_signals();
    close_descriptors(0, RAM_FD - 1);
    close_descriptors(IMAGE_FD + 1, i32::MAX);
    wait_for_word();
    map(
        65,
        RAM_FD,
        layout::RAM_BASE,
        layout::PAGE_SIZE,
        0,
        PROT_READ_WRITE,
    );
    let boot = core::ptr::with_exposed_provenance::<BootInfo>(layout::RAM_BASE as usize);
    // SAFETY: the page was mapped just now; the monitor filled it in before the start.
    let info = unsafe { boot.read() };
    if info.magic != MAGIC || info.ram_span > layout::RAM_SPAN_MAX {
        calls::exit(66);
    }
    map(
        67,
        RAM_FD,
        layout::RAM_BASE,
        info.ram_span,
        0,
        PROT_READ_WRITE,
    );
    for segment in info
        .segments
        .iter()
        .take((info.segment_count as usize).min(SEGMENTS_MAX))
    {
        let file = if segment.source == SOURCE_IMAGE {
            IMAGE_FD
        } else {
            RAM_FD
        };
        map(
            68,
            file,
            segment.linear,
            segment.length,
            segment.offset,
            segment.protection,
        );
    }
    unmap_everything_else(info.ram_span);
    start_threads(info.vcpus);
    wait_for_word();
    close_descriptors(CHANNEL_FD + 1, i32::MAX);
    close_the_sandbox();
    enter(info.entry, 0)
}

/// Starts a thread for each virtual CPU beside the first, and waits until each has nothing more
/// to ask of the host than the filter allows.
fn start_threads(vcpus: u32) {
    let others = vcpus.clamp(1, VCPUS_MAX as u32) - 1;
    for vcpu in 1..=others {
        // Its signal stack is free until signals come: it begins on that.
        let stack = SIGNAL_STACKS.get(vcpu as usize).map_or(0, |stack| {
            (&raw const *stack).addr() as u64 + SIGNAL_STACK_SIZE as u64
        });
        // SAFETY: the stack is the thread's alone.
        require(75, unsafe { start_thread(THREAD, stack, u64::from(vcpu)) });
    }
    loop {
        let ready = READY.load(Ordering::SeqCst);
        if ready >= others {
            break;
        }
        calls::wait(READY.as_ptr(), ready, u64::MAX);
    }
}

/// Makes a thread that begins in [`other`] on `stack`.
///
/// # Safety
/// The memory below `stack` must be nobody else's.
#[unsafe(naked)]
unsafe extern "C" fn start_thread(flags: u64, stack: u64, vcpu: u64) -> i64 {
    naked_asm!(
        "mov r9, rdx",
        "xor edx, edx",
        "xor r10d, r10d",
        "xor r8d, r8d",
        "mov eax, {clone}",
        "syscall",
        "test rax, rax",
        "jz 2f",
        "ret",
        "2:",
        "xor ebp, ebp",
        "mov rdi, r9",
        "call {other}",
        "ud2",
        clone = const calls::SYS_CLONE,
        other = sym other,
    )
}

/// A virtual CPU beside the first: waits until the kernel is ready for it.
extern "C" fn other(vcpu: u64) -> ! {
    set_signal_stack(vcpu as usize);
    READY.fetch_add(1, Ordering::SeqCst);
    calls::wake(READY.as_ptr());
    let page = layout::RAM_BASE + layout::VCPU_PAGES + vcpu * layout::PAGE_SIZE;
    let page = core::ptr::with_exposed_provenance::<VcpuPage>(page as usize);
    // SAFETY: the whole span is mapped for ever, and the page consists of atomics.
    let online = unsafe { &(*page).online };
    while online.load(Ordering::SeqCst) == 0 {
        calls::wait(online.as_ptr(), 0, u64::MAX);
    }
    let boot = core::ptr::with_exposed_provenance::<BootInfo>(layout::RAM_BASE as usize);
    // SAFETY: the page is mapped; a kernel that changed it harms only its own cell.
    let entry = unsafe { (*boot).entry };
    enter(entry, vcpu)
}

fn close_descriptors(first: i32, last: i32) {
    let arguments = [first as u64, last as u64, 0, 0, 0, 0];
    require(64, system_call(calls::SYS_CLOSE_RANGE, arguments));
}

/// The monitor's next message; when it is gone instead, so are we.
fn wait_for_word() {
    let mut word = 0u16;
    let pointer = (&raw mut word).addr() as u64;
    let got = system_call(calls::SYS_READ, [CHANNEL_FD as u64, pointer, 2, 0, 0, 0]);
    require(74, got - 2);
}

fn map(step: i32, file: i32, linear: u64, length: u64, offset: u64, protection: u64) {
    let arguments = [linear, length, protection, MAP_FLAGS, file as u64, offset];
    require(step, system_call(calls::SYS_MMAP, arguments));
}

/// Gives back the stack, the vDSO and whatever else the host mapped.
fn unmap_everything_else(ram_span: u64) {
    let ranges = [
        (layout::APP_START, layout::STUB_BASE),
        (layout::STUB_BASE + layout::STUB_SPAN, layout::KERNEL_BASE),
        (layout::KERNEL_BASE + layout::KERNEL_SPAN, layout::RAM_BASE),
        (layout::RAM_BASE + ram_span, TASK_END),
    ];
    for (start, end) in ranges {
        require(
            69,
            system_call(calls::SYS_MUNMAP, [start, end - start, 0, 0, 0, 0]),
        );
    }
}

/// Says where a thread's signals are served.
fn set_signal_stack(vcpu: usize) {
    let base = SIGNAL_STACKS
        .get(vcpu)
        .map_or(0, |stack| (&raw const *stack).addr() as u64);
    // The upper part may be the stack that the thread begins on.
    let size = SIGNAL_STACK_SIZE as u64 - BEGINNING;
    let stack = [base, 0, size];
    let pointer = (&raw const stack).addr() as u64;
    require(
        70,
        system_call(calls::SYS_SIGALTSTACK, [pointer, 0, 0, 0, 0, 0]),
    );
}

fn catch_signals() {
    set_signal_stack(0);
    let handler = calls::on_signal as *const () as usize as u64;
    let restorer = calls::signal_return as *const () as usize as u64;
    let action = [handler, HANDLER_FLAGS, restorer, 0];
    for signal in SIGNALS {
        let pointer = (&raw const action).addr() as u64;
        require(
            71,
            system_call(calls::SYS_RT_SIGACTION, [signal, pointer, 0, 8, 0, 0]),
        );
    }
}

fn close_the_sandbox() {
    let program = Program {
        length: FILTER.len() as u16,
        filter: (&raw const FILTER).cast(),
    };
    let pointer = (&raw const program).addr() as u64;
    let (mode, flags) = (SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC);
    let arguments = [mode, flags, pointer, 0, 0, 0];
    // With that flag, a positive answer names a thread that could not get it.
    require(72, -system_call(calls::SYS_SECCOMP, arguments).abs());
}

fn enter(entry: u64, vcpu: u64) -> ! {
    let entry = core::ptr::with_exposed_provenance::<()>(entry as usize);
    // SAFETY: the monitor says where the entry of the kernel it loaded lies.
    let entry = unsafe { core::mem::transmute::<*const (), CellEntry>(entry) };
    entry(&raw const CALLS, layout::RAM_BASE, vcpu)
}
