//! The frame by which a signal handler runs: `struct rt_sigframe` of Linux on x86-64
//! (`asm/sigframe.h`, `asm/sigcontext.h`).

use alloc::vec::Vec;

use guest_hal::fpu::{self, FpuState};
use guest_hal::{LinearAddress, UserContext};
use guest_kernel::signal::{self, Action, AlternateStack, SignalInfo, bit};
use guest_kernel::{Errno, Result, thread, uaccess};

/// Bytes the compiler may use below the stack pointer.
const RED_ZONE: u64 = 128;
/// `struct ucontext`: flags, link, stack, `sigcontext`, mask.
const CONTEXT_SIZE: u64 = 8 + 8 + 24 + 256 + 8;
const INFO_SIZE: u64 = 128;
/// Return address, context, information.
const FRAME_SIZE: u64 = 8 + CONTEXT_SIZE + INFO_SIZE;
/// `UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`.
const CONTEXT_FLAGS: u64 = 7;
const XSTATE_MAGIC1: u32 = 0x4650_5853;
const XSTATE_MAGIC2: u32 = 0x4650_5845;
/// Where the description of the extended state lies in the legacy area.
const XSTATE_DESCRIPTION: usize = 464;
/// Flags the program may set: carry, parity, adjust, zero, sign, trap, direction,
/// overflow, resume, alignment check.
const USER_FLAGS: u64 = 0x0005_0dd5;
/// Flags that are always on: the reserved one and interrupts.
const FIXED_FLAGS: u64 = 0x202;
/// Trap, direction and resume: off when a handler starts.
const HANDLER_CLEARS: u64 = 0x0001_0500;

const SA_NODEFER: u64 = 0x4000_0000;
const SA_RESETHAND: u64 = 0x8000_0000;
const SA_ONSTACK: u64 = 0x0800_0000;
const SA_RESTORER: u64 = 0x0400_0000;
const SS_AUTODISARM: u32 = 1 << 31;
const SS_ONSTACK: u32 = 1;
const SS_DISABLE: u32 = 2;

/// Makes `context` run a handler for `info`.
///
/// # Errors
/// `EFAULT` when the frame does not fit where it has to go.
pub(crate) fn enter_handler(
    context: &mut UserContext,
    info: SignalInfo,
    action: Action,
) -> Result<()> {
    let thread = thread::current();
    let (alternate, mask) = {
        let mut signals = thread.signals.lock();
        (signals.alternate, signals.take_saved_mask())
    };
    let top = stack_top(context, action, alternate);
    let state = extended_state();
    let state_address = (top - state.len() as u64) & !63;
    let frame = ((state_address - FRAME_SIZE) & !15) - 8;
    let bytes = frame_bytes(context, info, action, alternate, mask, state_address);
    if on_alternate(action, alternate) && frame < alternate.base {
        return Err(Errno::EFAULT);
    }
    uaccess::write(LinearAddress(state_address), &state)?;
    uaccess::write(LinearAddress(frame), &bytes)?;
    FpuState::initial().restore();
    update_mask(info.number, action, mask);
    *context = UserContext {
        rip: action.handler,
        rsp: frame,
        rdi: u64::from(info.number),
        rsi: frame + 8 + CONTEXT_SIZE,
        rdx: frame + 8,
        rax: 0,
        rflags: context.rflags & !HANDLER_CLEARS,
        call: u64::MAX,
        ..*context
    };
    Ok(())
}

fn on_alternate(action: Action, alternate: AlternateStack) -> bool {
    action.flags & SA_ONSTACK != 0 && alternate.size != 0
}

fn stack_top(context: &UserContext, action: Action, alternate: AlternateStack) -> u64 {
    if on_alternate(action, alternate) && !alternate.contains(context.rsp) {
        alternate.base + alternate.size
    } else {
        context.rsp.wrapping_sub(RED_ZONE)
    }
}

fn update_mask(number: u32, action: Action, mask: u64) {
    let own = if action.flags & SA_NODEFER == 0 {
        bit(number)
    } else {
        0
    };
    signal::set_blocked(mask | action.mask | own);
    if action.flags & SA_RESETHAND != 0 {
        signal::set_action(number, Action::default());
    }
    let thread = thread::current();
    let mut signals = thread.signals.lock();
    if signals.alternate.flags & SS_AUTODISARM != 0 {
        signals.alternate = AlternateStack::default();
    }
}

/// The vector state with the description by which programs recognize it.
fn extended_state() -> Vec<u8> {
    let features = fpu::features();
    let mut state = FpuState::capture();
    let mut bytes = state.bytes().to_vec();
    let size = bytes.len() as u32;
    let description = [XSTATE_MAGIC1.to_le_bytes(), (size + 4).to_le_bytes()];
    let rest = features
        .mask
        .to_le_bytes()
        .into_iter()
        .chain(size.to_le_bytes());
    let description = description.into_iter().flatten().chain(rest);
    let place = bytes.iter_mut().skip(XSTATE_DESCRIPTION);
    place.zip(description).for_each(|(to, from)| *to = from);
    bytes.extend(XSTATE_MAGIC2.to_le_bytes());
    bytes
}

fn frame_bytes(
    context: &UserContext,
    info: SignalInfo,
    action: Action,
    alternate: AlternateStack,
    mask: u64,
    state_address: u64,
) -> Vec<u8> {
    let restorer = if action.flags & SA_RESTORER != 0 {
        action.restorer
    } else {
        0
    };
    let mut bytes = Vec::with_capacity(FRAME_SIZE as usize);
    let mut put = |value: u64| bytes.extend(value.to_le_bytes());
    put(restorer);
    put(CONTEXT_FLAGS);
    put(0);
    put(alternate.base);
    put(u64::from(stack_flags(alternate, context.rsp)));
    put(alternate.size);
    let c = context;
    let general = [
        c.r8,
        c.r9,
        c.r10,
        c.r11,
        c.r12,
        c.r13,
        c.r14,
        c.r15,
        c.rdi,
        c.rsi,
        c.rbp,
        c.rbx,
        c.rdx,
        c.rax,
        c.rcx,
        c.rsp,
        crate::patch::original_address(c.rip),
        c.rflags,
    ];
    general.into_iter().for_each(&mut put);
    put(c.cs | c.ss << 48);
    let [error, vector, address] = *thread::current().last_fault.lock();
    [error, vector, mask, address, state_address]
        .into_iter()
        .for_each(&mut put);
    (0..8).for_each(|_| put(0));
    put(mask);
    put(u64::from(info.number));
    put(u64::from(info.code as u32));
    bytes.extend(info.payload);
    bytes.resize(FRAME_SIZE as usize, 0);
    bytes
}

/// The flags `sigaltstack` reports.
pub(crate) fn stack_flags(alternate: AlternateStack, stack_pointer: u64) -> u32 {
    let state = if alternate.size == 0 {
        SS_DISABLE
    } else if alternate.contains(stack_pointer) {
        SS_ONSTACK
    } else {
        0
    };
    state | alternate.flags
}

/// Goes back to what a handler interrupted: `rt_sigreturn`.
///
/// # Errors
/// `EFAULT` when the frame is not there.
pub(crate) fn leave_handler(context: &mut UserContext) -> Result<()> {
    let frame = context.rsp.wrapping_sub(8);
    let mut bytes = [0; CONTEXT_SIZE as usize];
    uaccess::read(LinearAddress(frame + 8), &mut bytes)?;
    let mut words = [0; CONTEXT_SIZE as usize / 8];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    let [
        _,
        _,
        base,
        stack_state,
        size,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rdi,
        rsi,
        rbp,
        rbx,
        rdx,
        rax,
        rcx,
        rsp,
        rip,
        rflags,
        _,
        _,
        _,
        _,
        _,
        state,
        ..,
        mask,
    ] = words;
    *context = UserContext {
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rdi,
        rsi,
        rbp,
        rbx,
        rdx,
        rax,
        rcx,
        rsp,
        rip: crate::patch::patched_address(rip),
        rflags: rflags & USER_FLAGS | FIXED_FLAGS,
        call: u64::MAX,
        ..*context
    };
    restore_state(state)?;
    signal::set_blocked(mask);
    let thread = thread::current();
    let mut signals = thread.signals.lock();
    let flags = stack_state as u32;
    if flags & SS_DISABLE == 0 || flags & SS_AUTODISARM != 0 {
        signals.alternate = AlternateStack {
            base,
            size,
            flags: flags & SS_AUTODISARM,
        };
    }
    Ok(())
}

fn restore_state(address: u64) -> Result<()> {
    if address == 0 {
        FpuState::initial().restore();
        return Ok(());
    }
    let mut legacy = [0; 512];
    uaccess::read(LinearAddress(address), &mut legacy)?;
    let magic = legacy
        .get(XSTATE_DESCRIPTION..)
        .and_then(|rest| rest.first_chunk());
    let extended = magic.copied().map(u32::from_le_bytes) == Some(XSTATE_MAGIC1);
    if !extended {
        FpuState::from_bytes(&legacy, false).restore();
        return Ok(());
    }
    let bytes = uaccess::read_vec(LinearAddress(address), fpu::features().size as u64)?;
    FpuState::from_bytes(&bytes, true).restore();
    Ok(())
}
