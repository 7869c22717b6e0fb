//! Restartable sequences (`rseq`): what a thread is told of where it runs, and how it is sent out
//! of a sequence that was not done in one go.
//!
//! Nothing of this happens on a call: [`refresh`] runs when a thread comes back to a virtual CPU,
//! and when a signal's handler is to run. A handler, another thread and a move to another virtual
//! CPU are what ends a sequence (`include/uapi/linux/rseq.h`).

use guest_abi::layout::APP_END;
use guest_hal::{LinearAddress, UserContext, platform};
use guest_kernel::thread::{self, Rseq, Thread};
use guest_kernel::{Errno, Result, uaccess};

use crate::Return;
use crate::argument::Flags;

/// Bytes of `struct rseq` in its first version, which are its alignment too.
const SIZE: u64 = 32;
/// Where its fields are.
const CPU_ID_START: u64 = 0;
const SEQUENCE: u64 = 8;
const FLAGS: u64 = 16;
const NODE_ID: u64 = 20;
const UNREGISTER: u32 = 1;
/// `RSEQ_CPU_ID_UNINITIALIZED`.
const NO_CPU: u32 = u32::MAX;

/// `rseq`.
pub fn rseq(rseq: LinearAddress, length: u32, flags: Flags, sig: u32) -> Return {
    let wanted = Rseq {
        address: rseq,
        length,
        signature: sig,
    };
    let thread = thread::current();
    let registered = *thread.rseq.lock();
    match flags.0 {
        0 => register(&thread, registered, wanted),
        UNREGISTER => unregister(&thread, registered, wanted),
        _ => Err(Errno::EINVAL),
    }
}

/// Whether `wanted` is what is registered.
///
/// # Errors
/// `EINVAL` for another place or length, `EPERM` for another signature.
fn check_same(registered: Rseq, wanted: Rseq) -> Result<()> {
    if (registered.address, registered.length) != (wanted.address, wanted.length) {
        return Err(Errno::EINVAL);
    }
    if registered.signature == wanted.signature {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

fn register(thread: &Thread, registered: Option<Rseq>, wanted: Rseq) -> Return {
    if let Some(registered) = registered {
        check_same(registered, wanted)?;
        return Err(Errno::EBUSY);
    }
    let (at, length) = (wanted.address.0, u64::from(wanted.length));
    if length < SIZE || !at.is_multiple_of(SIZE) {
        return Err(Errno::EINVAL);
    }
    if at.checked_add(length).is_none_or(|end| end > APP_END) {
        return Err(Errno::EFAULT);
    }
    // What was there before is no sequence of this thread.
    uaccess::write(LinearAddress(at + SEQUENCE), &[0; 8])?;
    *thread.rseq.lock() = Some(wanted);
    thread.note_rseq();
    Ok(0)
}

fn unregister(thread: &Thread, registered: Option<Rseq>, wanted: Rseq) -> Return {
    check_same(registered.ok_or(Errno::EINVAL)?, wanted)?;
    tell(wanted.address.0, [0, NO_CPU], [0, 0])?;
    *thread.rseq.lock() = None;
    Ok(0)
}

/// Writes the numbers of processor (as a guess, for sure), node and concurrency.
fn tell(at: u64, cpu: [u32; 2], node_and_concurrency: [u32; 2]) -> Result<()> {
    let bytes = |numbers: [u32; 2]| numbers.map(u32::to_le_bytes);
    let at_field = |field| LinearAddress(at + field);
    uaccess::write(at_field(CPU_ID_START), bytes(cpu).as_flattened())?;
    uaccess::write(
        at_field(NODE_ID),
        bytes(node_and_concurrency).as_flattened(),
    )
}

/// Tells the running thread where it runs, and sends it out of a sequence in which it is.
///
/// # Errors
/// `EFAULT` where it cannot be told, `EINVAL` for a sequence that is none: Linux answers both by
/// `SIGSEGV`.
pub(crate) fn refresh(thread: &Thread, context: &mut UserContext) -> Result<()> {
    let Some(rseq) = *thread.rseq.lock() else {
        return Ok(());
    };
    let at = rseq.address.0;
    let sequence = uaccess::read_u64(LinearAddress(at + SEQUENCE))?;
    if sequence != 0 {
        leave_sequence(rseq, LinearAddress(sequence), context)?;
    }
    // At any time no two threads are told the same number of concurrency.
    let cpu = platform().vcpu() as u32;
    tell(at, [cpu, cpu], [0, cpu])
}

/// `struct rseq_cs`.
struct Sequence {
    flags: u32,
    start: u64,
    length: u64,
    abort: u64,
}

impl Sequence {
    fn read(at: LinearAddress) -> Result<Self> {
        let mut words = [[0; 8]; 4];
        if at.0 >= APP_END {
            return Err(Errno::EINVAL);
        }
        uaccess::read(at, words.as_flattened_mut())?;
        let [version_and_flags, start, length, abort] = words.map(u64::from_le_bytes);
        let (version, flags) = (version_and_flags as u32, (version_and_flags >> 32) as u32);
        let sequence = Self {
            flags,
            start,
            length,
            abort,
        };
        if version == 0 && sequence.is_sound() {
            Ok(sequence)
        } else {
            Err(Errno::EINVAL)
        }
    }

    fn is_sound(&self) -> bool {
        let end = self.start.checked_add(self.length);
        end.is_some_and(|end| end < APP_END) && self.abort < APP_END && !self.contains(self.abort)
    }

    const fn contains(&self, address: u64) -> bool {
        address.wrapping_sub(self.start) < self.length
    }
}

fn leave_sequence(rseq: Rseq, at: LinearAddress, context: &mut UserContext) -> Result<()> {
    let sequence = Sequence::read(at)?;
    let signature = uaccess::read_u32(LinearAddress(sequence.abort.wrapping_sub(4)))?;
    if signature != rseq.signature {
        return Err(Errno::EINVAL);
    }
    let is_inside = sequence.contains(context.rip);
    // Once flags said what not to start again for; that is over.
    if is_inside && sequence.flags | uaccess::read_u32(LinearAddress(rseq.address.0 + FLAGS))? != 0
    {
        return Err(Errno::EINVAL);
    }
    uaccess::write(LinearAddress(rseq.address.0 + SEQUENCE), &[0; 8])?;
    if is_inside {
        context.rip = sequence.abort;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(start: u64, length: u64, abort: u64, expect: bool) {
        let sequence = Sequence {
            flags: 0,
            start,
            length,
            abort,
        };
        assert_eq!(
            sequence.is_sound(),
            expect,
            "{start:#x} {length:#x} {abort:#x}"
        );
    }

    #[test]
    fn a_sequence_ends_in_the_program_and_is_left_to_outside_of_it() {
        check(0x1000, 16, 0x2000, true);
        check(0x1000, 16, 0x0800, true);
        check(0x1000, 16, 0x1010, true);
        check(0x1000, 16, 0x1008, false);
        check(u64::MAX, 2, 0x1000, false);
        check(APP_END, 16, 0x1000, false);
        check(0x1000, 16, APP_END, false);
    }
}
