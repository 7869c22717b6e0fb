//! `futex`.

use guest_hal::{LinearAddress, Nanos, time as clock};
use guest_kernel::futex::{self, Key};
use guest_kernel::{Errno, Result, uaccess};
use linux_raw_sys::general as raw;

use crate::argument::Flags;
use crate::{Return, time};

const COMMAND: u32 = 127;
const PRIVATE: u32 = 128;
const CLOCK_REALTIME: u32 = 256;

/// The arguments of a call, beside the command.
struct Call {
    address: LinearAddress,
    flags: u32,
    value: u32,
    timeout: LinearAddress,
    other: LinearAddress,
    third: u32,
}

impl Call {
    fn key(&self, address: LinearAddress) -> Result<Key> {
        Key::of(address, self.flags & PRIVATE == 0)
    }

    fn word(&self) -> Result<(LinearAddress, Key)> {
        Ok((self.address, self.key(self.address)?))
    }

    /// A point in time of the clock that the flags choose.
    fn absolute(&self, realtime: bool) -> Result<Option<Nanos>> {
        if self.timeout.0 == 0 {
            return Ok(None);
        }
        let at = time::read_timespec(self.timeout)?;
        let now = if realtime {
            clock::realtime()
        } else {
            clock::monotonic()
        };
        Ok(Some(
            clock::monotonic().saturating_add(at.saturating_sub(now)),
        ))
    }

    fn chosen(&self) -> Result<Option<Nanos>> {
        self.absolute(self.flags & CLOCK_REALTIME != 0)
    }

    /// The second number, which lies where the time-out would.
    const fn second(&self) -> u64 {
        self.timeout.0
    }

    fn wait(&self, bits: u32, deadline: Option<Nanos>) -> Return {
        if bits == 0 {
            return Err(Errno::EINVAL);
        }
        futex::wait(self.word()?, self.value, bits, deadline).map(|()| 0)
    }

    fn wake(&self, bits: u32) -> Return {
        if bits == 0 {
            return Err(Errno::EINVAL);
        }
        // Zero wakes one, as on Linux.
        let count = i32::max(self.value as i32, 1) as u64;
        futex::wake(self.key(self.address)?, count, bits)
    }

    fn requeue(&self, expected: Option<u32>) -> Return {
        let (wake, moved) = (self.value as i32, self.second() as i32);
        if wake < 0 || moved < 0 {
            return Err(Errno::EINVAL);
        }
        let (from, to) = (self.key(self.address)?, self.key(self.other)?);
        if let Some(expected) = expected
            && uaccess::read_u32(self.address)? != expected
        {
            return Err(Errno::EAGAIN);
        }
        let (woken, moved) = futex::requeue(from, to, wake as u64, moved as u64)?;
        // The plain form counts the woken only.
        Ok(woken + if expected.is_some() { moved } else { 0 })
    }

    fn other_word(&self) -> Result<(LinearAddress, Key)> {
        Ok((self.other, self.key(self.other)?))
    }

    /// `FUTEX_WAIT_REQUEUE_PI`.
    fn wait_to_own(&self) -> Return {
        let deadline = self.chosen()?;
        let (word, other) = (self.word()?, self.other_word()?);
        futex::wait_to_own(word, self.value, other, deadline).map(|()| 0)
    }

    /// `FUTEX_CMP_REQUEUE_PI`: wakes one, or none if it has to wait for its word.
    fn requeue_to_owned(&self) -> Return {
        let count = u64::try_from(self.second() as i32).map_err(|_| Errno::EINVAL)?;
        if self.value != 1 {
            return Err(Errno::EINVAL);
        }
        let (from, to) = (self.key(self.address)?, self.other_word()?);
        if from == to.1 {
            return Err(Errno::EINVAL);
        }
        if uaccess::read_u32(self.address)? != self.third {
            return Err(Errno::EAGAIN);
        }
        futex::requeue_to_owned(from, to, count)
    }

    /// `FUTEX_WAKE_OP`: changes the other word, wakes at this one, and at the other if what it
    /// was compares.
    fn wake_op(&self) -> Return {
        let code = self.third;
        let signed = |bits: u32| (bits as i32) << 20 >> 20;
        let (operation, comparison) = (code >> 28, code >> 24 & 15);
        let mut operand = signed(code >> 12 & 0xfff) as u32;
        let compared = signed(code & 0xfff);
        if operation & 8 != 0 {
            operand = 1u32.wrapping_shl(operand);
        }
        if operation & 7 > 4 {
            return Err(Errno::ENOSYS);
        }
        let change = |value: u32| match operation & 7 {
            0 => operand,
            1 => value.wrapping_add(operand),
            2 => value | operand,
            3 => value & !operand,
            _ => value ^ operand,
        };
        let (first, second) = (self.key(self.address)?, self.key(self.other)?);
        let before = futex::update(self.other, &change)? as i32;
        let holds = match comparison {
            0 => before == compared,
            1 => before != compared,
            2 => before < compared,
            3 => before <= compared,
            4 => before > compared,
            5 => before >= compared,
            _ => return Err(Errno::ENOSYS),
        };
        let count = |number: i32| i32::max(number, 1) as u64;
        let mut woken = futex::wake(first, count(self.value as i32), futex::ANY)?;
        if holds {
            woken += futex::wake(second, count(self.second() as i32), futex::ANY)?;
        }
        Ok(woken)
    }
}

/// `futex`.
pub fn futex(
    uaddr: LinearAddress,
    op: Flags,
    val: u32,
    timeout: LinearAddress,
    uaddr2: LinearAddress,
    val3: u32,
) -> Return {
    let call = Call {
        address: uaddr,
        flags: op.0,
        value: val,
        timeout,
        other: uaddr2,
        third: val3,
    };
    let command = op.0 & COMMAND;
    let has_clock = op.0 & CLOCK_REALTIME != 0;
    let may_have = [
        raw::FUTEX_WAIT,
        raw::FUTEX_WAIT_BITSET,
        raw::FUTEX_LOCK_PI2,
        raw::FUTEX_WAIT_REQUEUE_PI,
    ];
    if has_clock && !may_have.contains(&command) {
        return Err(Errno::ENOSYS);
    }
    match command {
        raw::FUTEX_WAIT => call.wait(futex::ANY, time::deadline_after(timeout)?),
        raw::FUTEX_WAIT_BITSET => call.wait(val3, call.chosen()?),
        raw::FUTEX_WAKE => call.wake(futex::ANY),
        raw::FUTEX_WAKE_BITSET => call.wake(val3),
        raw::FUTEX_REQUEUE => call.requeue(None),
        raw::FUTEX_CMP_REQUEUE => call.requeue(Some(val3)),
        raw::FUTEX_WAKE_OP => call.wake_op(),
        raw::FUTEX_LOCK_PI => futex::lock(call.word()?, Some(call.absolute(true)?)).map(|()| 0),
        raw::FUTEX_LOCK_PI2 => futex::lock(call.word()?, Some(call.chosen()?)).map(|()| 0),
        raw::FUTEX_TRYLOCK_PI => futex::lock(call.word()?, None).map(|()| 0),
        raw::FUTEX_WAIT_REQUEUE_PI => call.wait_to_own(),
        raw::FUTEX_CMP_REQUEUE_PI => call.requeue_to_owned(),
        raw::FUTEX_UNLOCK_PI => futex::unlock(call.word()?).map(|()| 0),
        _ => Err(Errno::ENOSYS),
    }
}
