//! From a trap or a patched site to a family's function and back.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_abi::layout::APP_END;
use guest_hal::report::{self, End};
use guest_hal::{Entry, Kernel, Leave, LinearAddress, Nanos, Ticket, Trap, UserContext, platform};
use guest_kernel::mm::FaultError;
use guest_kernel::process::current;
use guest_kernel::signal::{self, Action, DefaultAction, SignalInfo, default_action, number};
use guest_kernel::thread::{self, Thread};
use guest_kernel::{Errno, Result, sched};

use crate::{execute, patch, process, rseq, signal_frame, signals, table, threads, trace};

/// The Linux kernel as the program sees it.
#[derive(Debug)]
pub struct Linux;

/// Whether calls are traced.
static TRACING: AtomicBool = AtomicBool::new(false);

const SA_RESTART: u64 = 0x1000_0000;
const RT_SIGRETURN: u64 = 15;
const CLONE: u64 = 56;
const EXECVE: u64 = 59;
const SIGALTSTACK: u64 = 131;
const EXECVEAT: u64 = 322;
const CLONE3: u64 = 435;

/// Writes every call to the log from now on.
pub fn start_tracing() {
    TRACING.store(true, Ordering::Relaxed);
}

/// Whether every call is written to the log.
pub(crate) fn is_tracing() -> bool {
    TRACING.load(Ordering::Relaxed)
}

impl Kernel for Linux {
    fn system_call(&self, context: &mut UserContext, entry: Entry) -> Leave {
        let counters = report::counters();
        // One virtual CPU writes them, so a plain addition does.
        let calls = counters.system_calls.load(Ordering::Relaxed);
        counters.system_calls.store(calls + 1, Ordering::Relaxed);
        if entry == Entry::Trapped {
            counters
                .trapped_system_calls
                .fetch_add(1, Ordering::Relaxed);
        }
        if context.call == RT_SIGRETURN {
            return_from_handler(context);
            if is_tracing() {
                let blocked = thread::current().signals.lock().blocked();
                trace::returned(blocked, context.rax);
            }
            return finish(context, Leave::Full);
        }
        if matches!(
            context.call,
            EXECVE | EXECVEAT | CLONE | CLONE3 | SIGALTSTACK
        ) {
            return call_with_context(context);
        }
        let result = call(context);
        context.rax = result.unwrap_or_else(Errno::to_register);
        let leave = if entry == Entry::Trapped {
            patch::patch(context);
            Leave::Full
        } else {
            Leave::Fast
        };
        finish(context, leave)
    }

    fn trap(&self, context: &mut UserContext, trap: Trap) {
        report::counters()
            .page_faults
            .fetch_add(1, Ordering::Relaxed);
        let served = trap.vector == Trap::PAGE_FAULT
            && match page_fault(&trap) {
                Ok(()) => true,
                Err(error) => {
                    post_page_fault(&trap, error);
                    false
                }
            };
        if !served && trap.vector != Trap::PAGE_FAULT {
            *thread::current().last_fault.lock() = [trap.error, u64::from(trap.vector), 0];
            signal::force(exception(context, trap.vector));
        }
        finish(context, Leave::Full);
    }

    fn interrupt(&self, context: &mut UserContext) {
        sched::collect();
        sched::take_turns();
        finish(context, Leave::Full);
    }

    fn wait_for_event(&self, ticket: Ticket, deadline: Option<Nanos>) {
        sched::wait_for_event(ticket, deadline);
    }

    fn wait_for_lock(&self) {
        sched::wait_for_lock();
    }

    fn lock_given_back(&self) {
        sched::lock_given_back();
    }

    fn run_vcpu(&self) -> ! {
        sched::run()
    }
}

/// Serves the calls that are about the program's registers.
fn call_with_context(context: &mut UserContext) -> Leave {
    let traced = is_tracing().then(|| trace::enter(context.call, registers(context)));
    let result = match context.call {
        CLONE => threads::clone(context),
        CLONE3 => threads::clone3(context),
        SIGALTSTACK => {
            let (ss, old) = (LinearAddress(context.rdi), LinearAddress(context.rsi));
            signals::sigaltstack(ss, old, context.rsp)
        }
        _ => execute::execute(context),
    };
    if let Some(call) = traced {
        trace::leave(&call, &result);
    }
    match result {
        Ok(value) => context.rax = value,
        Err(error) => context.rax = error.to_register(),
    }
    finish(context, Leave::Full)
}

/// The arguments of a system call.
const fn registers(context: &UserContext) -> [u64; 6] {
    let UserContext {
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        ..
    } = *context;
    [rdi, rsi, rdx, r10, r8, r9]
}

fn call(context: &UserContext) -> Result<u64> {
    let registers = registers(context);
    if !is_tracing() {
        return table::dispatch(context.call, registers);
    }
    let call = trace::enter(context.call, registers);
    let result = table::dispatch(context.call, registers);
    trace::leave(&call, &result);
    result
}

/// Delivers signals, if there are any, lets others run whose turn it is, and says how to go back.
fn finish(context: &mut UserContext, leave: Leave) -> Leave {
    let happened = platform().take_pending();
    if happened
        || sched::has_work()
        || leave == Leave::Full
        || context.rip >= APP_END
        || is_restart(context)
    {
        look_after(context, leave, happened)
    } else {
        leave
    }
}

/// Notes what happened outside and lets others run whose turn it is, until there is nothing of
/// that left.
fn let_others_run(mut happened: bool) {
    while happened || sched::has_work() {
        if happened || sched::has_news() {
            sched::collect();
        }
        sched::take_turns();
        happened = platform().take_pending();
    }
}

/// What [`finish`] does when there is anything to do.
fn look_after(context: &mut UserContext, leave: Leave, mut happened: bool) -> Leave {
    let mut leave = leave;
    let thread = thread::current();
    loop {
        let_others_run(happened);
        if look_after_rseq(&thread, context) {
            leave = Leave::Full;
        }
        if thread.is_killed() {
            drop(thread);
            threads::end();
        }
        if leave == Leave::Full {
            // Another thread may have had the site patched from which this one came.
            context.rip = patch::patched_address(context.rip);
        }
        if context.rip >= APP_END {
            // The program is sent where no program can be: by a frame it made, or a handler.
            signal::force(SignalInfo::from_kernel(number::SIGSEGV));
        }
        if signal::has_work(&thread) || is_restart(context) {
            deliver(&thread, context);
            if context.rip >= APP_END {
                process::end_by_signal(context, SignalInfo::from_kernel(number::SIGSEGV));
            }
            leave = Leave::Full;
        }
        if !thread.was_away() {
            return leave;
        }
        // Others ran while a frame's pages were waited for.
        happened = false;
    }
}

/// Says where the thread runs now, and has it leave a sequence that it did not finish in one go;
/// whether there was anything to do.
fn look_after_rseq(thread: &Thread, context: &mut UserContext) -> bool {
    let mut has_looked = false;
    while thread.take_was_away() && thread.rseq.lock().is_some() {
        has_looked = true;
        if rseq::refresh(thread, context).is_err() {
            signal::force(SignalInfo::from_kernel(number::SIGSEGV));
        }
        // Its pages may have had to be waited for.
        let_others_run(false);
    }
    has_looked
}

/// Whether the call that came in wants to be started again.
fn is_restart(context: &UserContext) -> bool {
    context.call != u64::MAX
        && [
            Errno::RESTART,
            Errno::RESTART_ALWAYS,
            Errno::RESTART_NO_HANDLER,
        ]
        .iter()
        .any(|errno| context.rax == errno.to_register())
}

fn deliver(thread: &Thread, context: &mut UserContext) {
    signal::clear_work(thread);
    while let Some(info) = signal::take() {
        let action = thread.process.signals.lock().action(info.number);
        if is_tracing() {
            trace::signal(&info);
        }
        match action.handler {
            Action::IGNORE => {}
            Action::DEFAULT => default(context, info),
            _ => handle(context, info, action),
        }
    }
    if is_restart(context) {
        restart(context);
    }
    signal::restore_mask();
}

fn default(context: &UserContext, info: SignalInfo) {
    if default_action(info.number) == DefaultAction::Ignore {
        return;
    }
    process::end_by_signal(context, info);
}

fn handle(context: &mut UserContext, info: SignalInfo, action: Action) {
    if is_restart(context) {
        let asks = context.rax == Errno::RESTART.to_register() && action.flags & SA_RESTART != 0;
        if asks || context.rax == Errno::RESTART_ALWAYS.to_register() {
            restart(context);
        } else {
            context.rax = Errno::EINTR.to_register();
        }
    }
    let thread = thread::current();
    if thread.rseq.lock().is_some() && rseq::refresh(&thread, context).is_err() {
        if info.number == number::SIGSEGV {
            process::end_by_signal(context, SignalInfo::from_kernel(number::SIGSEGV));
        }
        signal::force(SignalInfo::from_kernel(number::SIGSEGV));
    }
    drop(thread);
    if signal_frame::enter_handler(context, info, action).is_err() {
        // The frame does not fit: as on Linux, that is a fault that nobody can handle.
        process::end_by_signal(context, SignalInfo::from_kernel(number::SIGSEGV));
    }
}

/// Goes back to the `syscall` instruction, with the number where it was.
fn restart(context: &mut UserContext) {
    context.rip -= 2;
    context.rax = context.call;
    context.call = u64::MAX;
}

fn return_from_handler(context: &mut UserContext) {
    context.call = u64::MAX;
    if signal_frame::leave_handler(context).is_err() {
        signal::force(SignalInfo::from_kernel(number::SIGSEGV));
    }
}

/// Brings in what is missing. Where the host has no page: a file of the host that is mapped has
/// become shorter, or the machine's memory is used up, which ends the machine.
fn page_fault(trap: &Trap) -> core::result::Result<(), FaultError> {
    let address = LinearAddress(trap.address);
    let mut memory = current().memory.lock();
    if !trap.no_memory {
        return memory.fault(address, trap.error);
    }
    if !memory.is_shown(address) {
        report::end(End::OutOfMemory, format_args!(""));
    }
    Err(FaultError::Bus)
}

fn post_page_fault(trap: &Trap, error: FaultError) {
    *thread::current().last_fault.lock() = [trap.error, u64::from(trap.vector), trap.address];
    let (signal, code) = match error {
        FaultError::Unmapped => (number::SIGSEGV, 1),
        FaultError::Forbidden => (number::SIGSEGV, 2),
        FaultError::Bus => (number::SIGBUS, 2),
    };
    signal::fault(signal, code, LinearAddress(trap.address));
}

/// The signal of an exception other than a page fault (SDM vol. 3, 6.15; codes from
/// `asm-generic/siginfo.h`).
fn exception(context: &UserContext, vector: u8) -> SignalInfo {
    let at = context.rip;
    match vector {
        0 => SignalInfo::fault(number::SIGFPE, 1, at),
        1 => SignalInfo::fault(number::SIGTRAP, 2, at),
        3 => SignalInfo::from_kernel(number::SIGTRAP),
        6 => SignalInfo::fault(number::SIGILL, 2, at),
        12 => SignalInfo::from_kernel(number::SIGBUS),
        16 | 19 => SignalInfo::fault(number::SIGFPE, floating_point_code(vector), at),
        17 => SignalInfo::fault(number::SIGBUS, 1, 0),
        _ => SignalInfo::from_kernel(number::SIGSEGV),
    }
}

/// `si_code` of a floating-point exception, from the state's exception and mask bits.
fn floating_point_code(vector: u8) -> i32 {
    let mut state = guest_hal::fpu::FpuState::capture();
    let bytes = state.bytes();
    let half = |at: usize| -> u32 {
        bytes
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |two| u32::from(u16::from_le_bytes(*two)))
    };
    let raised = if vector == 16 {
        half(2) & !half(0)
    } else {
        let mxcsr = half(24);
        mxcsr & !(mxcsr >> 7)
    };
    match raised {
        flags if flags & 1 != 0 => 7,
        flags if flags & 4 != 0 => 3,
        flags if flags & 8 != 0 => 4,
        flags if flags & 0x12 != 0 => 5,
        flags if flags & 0x20 != 0 => 6,
        _ => 0,
    }
}

/// Shows a register set, for reports.
pub(crate) struct Registers<'a>(pub(crate) &'a UserContext);

impl fmt::Display for Registers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.0;
        write!(
            f,
            "rip {:#x} rsp {:#x} rax {:#x} rbx {:#x} ",
            c.rip, c.rsp, c.rax, c.rbx
        )?;
        write!(
            f,
            "rcx {:#x} rdx {:#x} rsi {:#x} rdi {:#x}",
            c.rcx, c.rdx, c.rsi, c.rdi
        )
    }
}
