//! Tasks: flows of control in the kernel, each with a stack of its own.
//!
//! A task is what a thread of the program is to this layer: the kernel's stack, on which the
//! program's registers lie while the kernel serves it, and what stays in the processor
//! meanwhile (vector state, base of thread-local storage), kept here while another task runs.
//! Every virtual CPU has one more, which it was started on: [`Task::idle`].
//!
//! Who runs when is decided above ([`switch_to`] obeys). The kernel's lock is held across a
//! switch: it belongs to the virtual CPU.
#![cfg_attr(
    kernel_build,
    expect(unsafe_code, reason = "stacks are switched by their pointers")
)]

use alloc::sync::Arc;

use crate::UserContext;
use crate::memory::Extent;

/// Bytes of a task's stack, of which only what is touched exists.
pub const STACK_SIZE: u64 = 128 << 10;

#[cfg(kernel_build)]
pub use switching::{current, switch_to};

/// A flow of control in the kernel.
#[derive(Debug)]
pub struct Task {
    /// `None`: a virtual CPU's first stack.
    stack: Option<Extent>,
    #[cfg(kernel_build)]
    saved: switching::Saved,
}

impl Task {
    /// A task that starts the program at `context`, with that base of thread-local storage and
    /// the vector state that the caller's task has. `None`: no memory.
    #[must_use]
    pub fn new(context: &UserContext, tls_base: u64) -> Option<Arc<Self>> {
        let stack = Extent::allocate(STACK_SIZE, guest_abi::layout::PAGE_SIZE, None)?;
        #[cfg(kernel_build)]
        return Some(Arc::new(Self {
            saved: switching::Saved::fresh(&stack, context, tls_base),
            stack: Some(stack),
        }));
        #[cfg(not(kernel_build))]
        {
            let _ = (context, tls_base);
            Some(Arc::new(Self { stack: Some(stack) }))
        }
    }

    /// The task that a virtual CPU was started on: the caller.
    #[must_use]
    pub fn idle() -> Arc<Self> {
        Arc::new(Self {
            stack: None,
            #[cfg(kernel_build)]
            saved: switching::Saved::running(),
        })
    }

    /// Whether it has a stack of its own, so that it can serve the program.
    #[must_use]
    pub const fn serves_program(&self) -> bool {
        self.stack.is_some()
    }
}

#[cfg(not(kernel_build))]
mod hosted {
    use super::{Arc, Task};

    /// Unit tests have one flow of control.
    pub fn switch_to(_: Arc<Task>) {}
}

#[cfg(not(kernel_build))]
pub use hosted::switch_to;

#[cfg(kernel_build)]
mod switching {
    use alloc::sync::Arc;
    use core::arch::naked_asm;
    use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use guest_abi::layout::VCPUS_MAX;

    use super::{Extent, STACK_SIZE, Task, UserContext};
    use crate::area::{self, area};
    use crate::fpu::FpuState;
    use crate::{LinearAddress, frame, lock, platform};

    /// A spin lock: never held across a switch.
    type Slot<T> = spin::Mutex<Option<T>>;

    /// What a task leaves behind while another runs.
    #[derive(Debug)]
    pub(super) struct Saved {
        stack_pointer: AtomicU64,
        stack_top: u64,
        tls_base: AtomicU64,
        running: AtomicBool,
        vectors: Slot<FpuState>,
    }

    impl Saved {
        pub(super) fn running() -> Self {
            Self {
                stack_pointer: AtomicU64::new(0),
                stack_top: 0,
                tls_base: AtomicU64::new(0),
                running: AtomicBool::new(true),
                vectors: Slot::new(None),
            }
        }

        pub(super) fn fresh(stack: &Extent, context: &UserContext, tls_base: u64) -> Self {
            let start = crate::memory::ram_pointer(stack.start().0).addr() as u64;
            crate::platform::lower().prepare_stack(LinearAddress(start), STACK_SIZE);
            // A frame that ends here lies 16-byte aligned.
            let top = start + STACK_SIZE - 64 + 8;
            let frame = top - frame::LENGTH;
            write_frame(stack, frame - start, context);
            // Six registers and where to go on; the frame follows.
            let stack_pointer = frame - 7 * 8;
            let words = [0, 0, 0, 0, 0, 0, begins as *const () as usize as u64];
            stack.write(
                stack_pointer - start,
                words.map(u64::to_le_bytes).as_flattened(),
            );
            Self {
                stack_pointer: AtomicU64::new(stack_pointer),
                stack_top: top,
                tls_base: AtomicU64::new(tls_base),
                running: AtomicBool::new(false),
                vectors: Slot::new(Some(FpuState::capture())),
            }
        }
    }

    fn write_frame(stack: &Extent, at: u64, context: &UserContext) {
        let c = context;
        let words = [
            c.r15, c.r14, c.r13, c.r12, c.rbp, c.rbx, c.r11, c.r10, c.r9, c.r8, c.rax, c.rcx,
            c.rdx, c.rsi, c.rdi, c.call, c.rip, c.cs, c.rflags, c.rsp, c.ss,
        ];
        stack.write(at, words.map(u64::to_le_bytes).as_flattened());
    }

    /// The task that runs on each virtual CPU, and the one that ran before it until it is
    /// certain that nobody is on its stack any more.
    static CURRENT: [Slot<Arc<Task>>; VCPUS_MAX] = [const { Slot::new(None) }; VCPUS_MAX];
    static BEFORE: [Slot<Arc<Task>>; VCPUS_MAX] = [const { Slot::new(None) }; VCPUS_MAX];

    fn slot<T>(slots: &'static [Slot<T>; VCPUS_MAX]) -> &'static Slot<T> {
        slots.get(area::number()).expect("a virtual CPU's number")
    }

    /// The task that runs here: none before the first [`switch_to`] on this virtual CPU.
    #[must_use]
    pub fn current() -> Option<Arc<Task>> {
        slot(&CURRENT).lock().clone()
    }

    /// Runs `next` instead of the caller, which goes on when somebody switches to it.
    /// The first call on a virtual CPU makes `next` its idle task, which is the caller.
    ///
    /// # Panics
    /// When `next` runs on another virtual CPU: a fault of the scheduler.
    pub fn switch_to(next: Arc<Task>) {
        let Some(before) = slot(&CURRENT).lock().replace(Arc::clone(&next)) else {
            return;
        };
        if Arc::ptr_eq(&before, &next) {
            return;
        }
        assert!(
            !next.saved.running.swap(true, Ordering::Relaxed),
            "a task runs once"
        );
        if before.serves_program() {
            before
                .saved
                .tls_base
                .store(frame::fs_base(), Ordering::Relaxed);
            let mut vectors = before.saved.vectors.lock();
            match &mut *vectors {
                Some(state) => state.recapture(),
                none => *none = Some(FpuState::capture()),
            }
        }
        if next.serves_program() {
            platform().set_tls_base(next.saved.tls_base.load(Ordering::Relaxed));
            if let Some(state) = &mut *next.saved.vectors.lock() {
                state.restore();
            }
            area()
                .kernel_stack
                .store(next.saved.stack_top, Ordering::Relaxed);
        }
        let save = before.saved.stack_pointer.as_ptr();
        let load = next.saved.stack_pointer.load(Ordering::Relaxed);
        drop(next);
        *slot(&BEFORE).lock() = Some(before);
        // SAFETY: `save` lies in a task that `BEFORE` keeps until the switch is over; `load` is
        // where `next` left off, or a fresh stack, and nobody else runs on it (asserted).
        unsafe { switch_stacks(save, load) };
        finish();
    }

    /// Lets go of the task that ran before, on another stack than its own.
    fn finish() {
        let before = slot(&BEFORE).lock().take();
        if let Some(before) = before {
            before.saved.running.store(false, Ordering::Relaxed);
        }
    }

    /// Stores where the caller left off and goes on where another did.
    ///
    /// # Safety
    /// `load` was stored by this function, or is a fresh stack as `Saved::fresh` makes it.
    #[unsafe(naked)]
    unsafe extern "C" fn switch_stacks(save: *mut u64, load: u64) {
        naked_asm!(
            "push rbp",
            "push rbx",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "mov [rdi], rsp",
            "mov rsp, rsi",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbx",
            "pop rbp",
            "ret",
        )
    }

    /// Where a fresh task begins: with its frame at the stack's pointer.
    #[unsafe(naked)]
    unsafe extern "C" fn begins() {
        naked_asm!("call {begin}", "jmp rax", begin = sym begin)
    }

    extern "C" fn begin() -> u64 {
        finish();
        // The upper half looks after it first, as after every switch.
        area().pending.store(1, Ordering::Relaxed);
        lock::leave();
        crate::platform::lower().leave_address()
    }
}
