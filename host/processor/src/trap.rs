//! What the processor raises: signals of the host, taken where they come from the code.
#![expect(unsafe_code, reason = "handles signals")]

use std::arch::asm;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use libc::{siginfo_t, ucontext_t};

use crate::area::{SELECTOR_LONG, back, is_code};
use crate::{End, Registers};

const SIGNALS: [c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGBUS,
    libc::SIGTRAP,
];
const STACK: usize = 64 << 10;

/// `RFLAGS.AC`.
const ALIGNMENT_CHECK: i32 = 1 << 18;
/// A page fault's vector: only it has an address.
const PAGE_FAULT: u8 = 14;

/// Where the kernel keeps what is in which register, in the order of their encoding.
const GENERAL: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

thread_local! {
    static RAISED: Cell<Option<(End, Registers)>> = const { Cell::new(None) };
}

/// What was raised since the last time, and the registers there.
pub(crate) fn take() -> Option<(End, Registers)> {
    RAISED.take()
}

/// Handlers for what the code raises, and a stack for them on this thread.
#[derive(Debug)]
pub(crate) struct Handlers {
    stack: Box<[u8]>,
}

impl Handlers {
    pub(crate) fn new() -> io::Result<Self> {
        let mut stack = vec![0; STACK].into_boxed_slice();
        let given = libc::stack_t {
            ss_sp: stack.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: stack.len(),
        };
        // SAFETY: the memory lives until `drop` takes it away from the kernel.
        succeed(unsafe { libc::sigaltstack(&raw const given, ptr::null_mut()) })?;
        SIGNALS.into_iter().try_for_each(install)?;
        Ok(Self { stack })
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        let none = libc::stack_t {
            ss_sp: ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: self.stack.len(),
        };
        // SAFETY: no handler runs here, and none has a stack to run on from now on.
        unsafe { libc::sigaltstack(&raw const none, ptr::null_mut()) };
    }
}

fn succeed(result: c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn install(signal: c_int) -> io::Result<()> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    let fields = action.as_mut_ptr();
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = handle;
    // SAFETY: zeroes are a valid value, and the pointer is to it.
    let fields = unsafe { &mut *fields };
    fields.sa_sigaction = handler as usize;
    fields.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: the action is whole, and its handler touches its context and a thread's own cell only.
    succeed(unsafe { libc::sigaction(signal, fields, ptr::null_mut()) })
}

extern "C" fn handle(signal: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // The kernel leaves `AC` as the code had it, and this program's own accesses are not all aligned.
    // SAFETY: the flags change but for `AC` no more than `and` changes them; the stack is as before.
    unsafe {
        asm!("pushfq", "and dword ptr [rsp], {}", "popfq", const !ALIGNMENT_CHECK);
    }
    // SAFETY: the kernel passes the interrupted context, which is this handler's until it returns.
    let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    let get = |at: c_int| registers[at as usize] as u64;
    if !is_code(get(libc::REG_RIP)) {
        return give_back(signal);
    }
    let vector = get(libc::REG_TRAPNO) as u8;
    let end = End::Raised {
        vector,
        error: get(libc::REG_ERR) as u32,
        address: if vector == PAGE_FAULT {
            get(libc::REG_CR2)
        } else {
            0
        },
    };
    let there = Registers {
        general: GENERAL.map(get),
        flags: get(libc::REG_EFL),
    };
    RAISED.set(Some((end, there)));
    registers[libc::REG_RIP as usize] = back() as i64;
    let selectors = registers[libc::REG_CSGSFS as usize] & !0xffff;
    registers[libc::REG_CSGSFS as usize] = selectors | i64::from(SELECTOR_LONG);
}

/// Lets a signal that is not from the code have its usual effect when it comes again.
fn give_back(signal: c_int) {
    // SAFETY: the default action has no memory to care for.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}
