//! `membarrier`: barriers for all threads of the program, without any in their code.

use core::sync::atomic::Ordering;

use guest_hal::platform;
use guest_kernel::process::current;
use guest_kernel::{Errno, sched};

use crate::Return;
use crate::argument::Flags;

const QUERY: i32 = 0;
const GLOBAL: i32 = 1 << 0;
const GLOBAL_EXPEDITED: i32 = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: i32 = 1 << 2;
const PRIVATE_EXPEDITED: i32 = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;
const SYNC_CORE: i32 = 1 << 5;
const REGISTER_SYNC_CORE: i32 = 1 << 6;
const RSEQ: i32 = 1 << 7;
const REGISTER_RSEQ: i32 = 1 << 8;
const GET_REGISTRATIONS: i32 = 1 << 9;
const SUPPORTED: i32 = (1 << 10) - 1;
/// `MEMBARRIER_CMD_FLAG_CPU`.
const ONE_CPU: u32 = 1;

/// `membarrier`.
pub fn membarrier(cmd: i32, flags: Flags, cpu_id: i32) -> Return {
    let known = if cmd == RSEQ { ONE_CPU } else { 0 };
    if flags.0 & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let registered = &current().barriers;
    match cmd {
        QUERY => Ok(SUPPORTED as u64),
        GET_REGISTRATIONS => Ok(u64::from(registered.load(Ordering::Relaxed))),
        REGISTER_GLOBAL_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED
        | REGISTER_SYNC_CORE
        | REGISTER_RSEQ => {
            registered.fetch_or(cmd.cast_unsigned(), Ordering::Relaxed);
            Ok(0)
        }
        GLOBAL | GLOBAL_EXPEDITED => everywhere(),
        // The bit of the registration is the next one.
        PRIVATE_EXPEDITED | SYNC_CORE | RSEQ => {
            if registered.load(Ordering::Relaxed) & cmd.cast_unsigned() << 1 == 0 {
                return Err(Errno::EPERM);
            }
            if cmd == RSEQ {
                let only = (flags.0 & ONE_CPU != 0).then_some(cpu_id);
                restart_sequences(only);
            }
            everywhere()
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Interrupts every virtual CPU that runs the program: on its way into the kernel and back it does
/// what a barrier does, and fetches its instructions anew.
fn everywhere() -> Return {
    sched::interrupt_others()?;
    Ok(0)
}

/// Has threads that run elsewhere leave their restartable sequences; on one virtual CPU, or all.
fn restart_sequences(only: Option<i32>) {
    let here = platform().vcpu();
    let wanted = |vcpu: &usize| only.is_none_or(|only| usize::try_from(only) == Ok(*vcpu));
    for vcpu in (0..sched::vcpus())
        .filter(wanted)
        .filter(|vcpu| *vcpu != here)
    {
        sched::restart_sequence(vcpu);
    }
}
