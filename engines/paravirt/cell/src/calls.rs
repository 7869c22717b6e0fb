//! The host system calls, and what the kernel may ask for.
#![expect(unsafe_code, reason = "system calls of the host")]

use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicPtr, Ordering};

use guest_abi::cell::{CHANNEL_FD, CellCalls, TrapVector};

pub(crate) const SYS_READ: u64 = 0;
pub(crate) const SYS_CLOSE: u64 = 3;
pub(crate) const SYS_MMAP: u64 = 9;
pub(crate) const SYS_MPROTECT: u64 = 10;
pub(crate) const SYS_MUNMAP: u64 = 11;
pub(crate) const SYS_RT_SIGACTION: u64 = 13;
pub(crate) const SYS_RT_SIGPROCMASK: u64 = 14;
pub(crate) const SYS_RT_SIGRETURN: u64 = 15;
pub(crate) const SYS_MADVISE: u64 = 28;
pub(crate) const SYS_RECVMSG: u64 = 47;
pub(crate) const SYS_CLONE: u64 = 56;
pub(crate) const SYS_SIGALTSTACK: u64 = 131;
pub(crate) const SYS_FUTEX: u64 = 202;
pub(crate) const SYS_EXIT_GROUP: u64 = 231;
pub(crate) const SYS_SECCOMP: u64 = 317;
pub(crate) const SYS_CLOSE_RANGE: u64 = 436;

/// `MAP_SHARED | MAP_FIXED`: the only flags a cell maps with.
pub(crate) const MAP_FLAGS: u64 = 0x11;
/// `MSG_DONTWAIT | MSG_CMSG_CLOEXEC`: the only flags it receives with.
pub(crate) const RECEIVE_FLAGS: u64 = 0x4000_0040;
/// `FUTEX_WAIT` and `FUTEX_WAKE`, shared between processes.
pub(crate) const FUTEX_WAIT: u64 = 0;
pub(crate) const FUTEX_WAKE: u64 = 1;

/// A system call of the host. Never inlined: the filter lets system calls through only
/// from the stub's text.
#[inline(never)]
pub(crate) fn system_call(number: u64, arguments: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: the cell's memory is the guest's own affair; the stub's own mappings are
    // never the target of a call it makes itself.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The table handed to the kernel.
pub(crate) static CALLS: CellCalls = CellCalls {
    map,
    unmap,
    protect,
    advise,
    wait,
    wake,
    exit,
    receive,
    close,
    set_trap_vector,
};

extern "C" fn map(descriptor: i32, linear: u64, offset: u64, length: u64, protection: u64) -> i64 {
    system_call(
        SYS_MMAP,
        [
            linear,
            length,
            protection,
            MAP_FLAGS,
            descriptor as u64,
            offset,
        ],
    )
}

/// `struct msghdr`.
#[repr(C)]
struct Message {
    name: u64,
    name_length: u64,
    pieces: *const [u64; 2],
    piece_count: u64,
    control: *mut Control,
    control_length: u64,
    flags: u64,
}

/// `struct cmsghdr` with one descriptor.
#[repr(C)]
struct Control {
    length: u64,
    level: i32,
    kind: i32,
    descriptor: i32,
    padding: i32,
}

/// `EBADMSG`: a message without a descriptor.
const NO_FILE: i64 = -74;
/// Length, level and kind of the control message of one descriptor: `SOL_SOCKET`, `SCM_RIGHTS`.
const ONE_DESCRIPTOR: (u64, i32, i32) = (20, 1, 1);

extern "C" fn receive(token: *mut u64) -> i64 {
    let piece = [token.addr() as u64, size_of::<u64>() as u64];
    let mut control = Control {
        length: 0,
        level: 0,
        kind: 0,
        descriptor: -1,
        padding: 0,
    };
    // The host writes lengths and flags back to it.
    let mut message = Message {
        name: 0,
        name_length: 0,
        pieces: &raw const piece,
        piece_count: 1,
        control: &raw mut control,
        control_length: size_of::<Control>() as u64,
        flags: 0,
    };
    let pointer = (&raw mut message).addr() as u64;
    let arguments = [CHANNEL_FD as u64, pointer, RECEIVE_FLAGS, 0, 0, 0];
    let got = system_call(SYS_RECVMSG, arguments);
    // SAFETY: it lives, and the host may have written to it behind the compiler's back.
    let control = unsafe { (&raw const control).read_volatile() };
    match (control.length, control.level, control.kind) {
        _ if got < 0 => got,
        ONE_DESCRIPTOR => i64::from(control.descriptor),
        _ => NO_FILE,
    }
}

extern "C" fn close(descriptor: i32) -> i64 {
    system_call(SYS_CLOSE, [descriptor as u64, 0, 0, 0, 0, 0])
}

extern "C" fn unmap(linear: u64, length: u64) -> i64 {
    system_call(SYS_MUNMAP, [linear, length, 0, 0, 0, 0])
}

extern "C" fn protect(linear: u64, length: u64, protection: u64) -> i64 {
    system_call(SYS_MPROTECT, [linear, length, protection, 0, 0, 0])
}

extern "C" fn advise(linear: u64, length: u64, advice: u64) -> i64 {
    system_call(SYS_MADVISE, [linear, length, advice, 0, 0, 0])
}

pub(crate) extern "C" fn wait(word: *const u32, expected: u32, nanos: u64) -> i64 {
    let timeout = [nanos / 1_000_000_000, nanos % 1_000_000_000];
    let pointer = if nanos == u64::MAX {
        0
    } else {
        (&raw const timeout).addr() as u64
    };
    let word = word.addr() as u64;
    system_call(
        SYS_FUTEX,
        [word, FUTEX_WAIT, u64::from(expected), pointer, 0, 0],
    )
}

pub(crate) extern "C" fn wake(word: *const u32) -> i64 {
    system_call(
        SYS_FUTEX,
        [word.addr() as u64, FUTEX_WAKE, i32::MAX as u64, 0, 0, 0],
    )
}

/// Ends the cell.
pub(crate) extern "C" fn exit(status: i32) -> ! {
    loop {
        system_call(SYS_EXIT_GROUP, [status as u64, 0, 0, 0, 0, 0]);
    }
}

/// Where signals go; null until the kernel says so.
static VECTOR: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

extern "C" fn set_trap_vector(vector: TrapVector) {
    VECTOR.store(vector as *mut (), Ordering::Relaxed);
}

/// The handler of every signal: passes on to the kernel with the arguments as they are.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn on_signal() {
    naked_asm!("jmp qword ptr [rip + {vector}]", vector = sym VECTOR)
}

/// Where a signal handler returns to.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn signal_return() {
    naked_asm!("mov eax, {number}", "syscall", "ud2", number = const SYS_RT_SIGRETURN)
}

macro_rules! memory_functions {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty { $($line:literal),* $(,)? })*) => {$(
        /// What the compiler expects of a C library.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            naked_asm!($($line),*)
        }
    )*};
}

memory_functions! {
    memcpy(into: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        "mov rax, rdi", "mov rcx, rdx", "rep movsb", "ret",
    }
    memset(into: *mut u8, byte: i32, length: usize) -> *mut u8 {
        "mov r8, rdi", "mov eax, esi", "mov rcx, rdx", "rep stosb", "mov rax, r8", "ret",
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(125)
}
