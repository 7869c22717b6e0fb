//! The dozen things that only the layer below can do.

use core::fmt;
use core::sync::atomic::AtomicU32;

use crate::hardware::Hardware;
use crate::host_file::HostFiles;
use crate::{GuestAddress, LinearAddress, Nanos};

/// Access rights of a mapping; a subset of read, write, execute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Protection(u8);

impl Protection {
    /// No access.
    pub const NONE: Self = Self(0);
    /// Loads.
    pub const READ: Self = Self(1);
    /// Stores.
    pub const WRITE: Self = Self(2);
    /// Instruction fetches.
    pub const EXECUTE: Self = Self(4);

    /// From Linux' `PROT_READ` (1), `PROT_WRITE` (2), `PROT_EXEC` (4); other bits are dropped.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self((bits & 7) as u8)
    }

    /// As Linux' `PROT_` bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0 as u64
    }

    /// Whether all of `other` is allowed.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |has, letter| if self.contains(has) { letter } else { '-' };
        write!(
            f,
            "{}{}{}",
            flag(Self::READ, 'r'),
            flag(Self::WRITE, 'w'),
            flag(Self::EXECUTE, 'x')
        )
    }
}

/// The layer below has no room for another mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapError;

/// A point in the stream of events; see [`Platform::ticket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Events of this virtual CPU.
    pub own: u32,
    /// Completions of devices.
    pub devices: u32,
}

/// A platform. Ranges are whole pages; addresses are the program's or the kernel's own.
pub trait Platform: Sync {
    /// Maps `length` bytes of guest-physical memory at `linear`, replacing what was there.
    ///
    /// # Errors
    /// When there is no room for another mapping.
    fn map(
        &self,
        linear: LinearAddress,
        physical: GuestAddress,
        length: u64,
        protection: Protection,
    ) -> Result<(), MapError>;

    /// Removes whatever is mapped in a range.
    ///
    /// # Errors
    /// When a mapping would have to be split and there is no room for it.
    fn unmap(&self, linear: LinearAddress, length: u64) -> Result<(), MapError>;

    /// Changes the rights of a mapped range.
    ///
    /// # Errors
    /// When a mapping would have to be split and there is no room for it.
    fn protect(
        &self,
        linear: LinearAddress,
        length: u64,
        protection: Protection,
    ) -> Result<(), MapError>;

    /// Gives memory back: it reads as zero afterwards and costs nothing until touched.
    fn discard(&self, physical: GuestAddress, length: u64);

    /// Says whether a mapped range is best backed by large pages or by small ones. A hint.
    fn prefer_large_pages(&self, linear: LinearAddress, length: u64, large: bool);

    /// Touches a mapped range ahead of use. A hint.
    fn populate(&self, linear: LinearAddress, length: u64, write: bool);

    /// A ticket for [`Platform::idle`]: taken before the caller looks whether there is work.
    fn ticket(&self) -> Ticket;

    /// Sleeps until an event that came after `ticket`, or until `deadline` of the
    /// monotonic clock. May return early. The kernel's lock is given back meanwhile. `soon`: a
    /// device is about to answer, so that looking for a while may be cheaper than sleeping.
    fn idle(&self, ticket: Ticket, deadline: Option<Nanos>, soon: bool);

    /// Whether something became pending that asks for a look at signals and timers, since
    /// this was asked last. Cheap, for every way back to the program.
    fn take_pending(&self) -> bool;

    /// How many completions of devices there were.
    fn device_events(&self) -> u32;

    /// Whether this virtual CPU is to be interrupted for completions of devices while it runs
    /// the program, if nobody sleeps who could be woken.
    fn set_device_interrupts(&self, wanted: bool);

    /// The number of the virtual CPU that this runs on.
    fn vcpu(&self) -> usize;

    /// Wakes another virtual CPU if it sleeps, or interrupts it if it runs the program.
    fn interrupt(&self, vcpu: usize);

    /// Starts the virtual CPUs beside the first, which go on in [`crate::Kernel::run_vcpu`].
    fn start_others(&self);

    /// Keeps every other virtual CPU out of the program until this one goes back to it or waits:
    /// for changing the program's code.
    fn stop_others(&self);

    /// Takes the signals that came from outside: bit `n - 1` for Linux signal `n`.
    fn take_signals(&self) -> u64;

    /// Asks for an interrupt at `deadline` of the monotonic clock; `None` cancels.
    fn set_timer(&self, deadline: Option<Nanos>);

    /// Tells a device that one of its queues has work.
    fn notify(&self, device: u32, queue: u16);

    /// Sets the base of the program's thread-local storage (`fs`).
    fn set_tls_base(&self, base: u64);

    /// The base of the program's thread-local storage, which it may have set itself.
    fn tls_base(&self) -> u64;

    /// Ends the machine. What there is to say has been said by [`crate::report`].
    fn power_off(&self) -> !;
}

/// What only this crate asks of a platform.
pub(crate) trait Lower: Platform {
    /// Where a task goes that leaves for the program, with its frame at the stack's pointer.
    fn leave_address(&self) -> u64;

    /// Makes memory of the kernel safe as a stack: touching it must need no lock of this layer,
    /// since code that holds one may be the first to reach so deep.
    fn prepare_stack(&self, _linear: LinearAddress, _length: u64) {}

    /// Does what another virtual CPU waits for, holding the kernel's lock, while this one waits for
    /// that lock.
    fn answer(&self) {}

    /// Forgets all translations of addresses that may be remembered here.
    fn forget_translations(&self) {}

    /// Sleeps while `word` is `expected`. May return early.
    fn wait_on(&self, word: &AtomicU32, expected: u32);

    /// Wakes one who sleeps on `word`.
    fn wake_one(&self, word: &AtomicU32);

    /// Where a patched system call site enters the kernel.
    fn syscall_entry(&self) -> LinearAddress;

    /// Where a device finds what the kernel sees at `linear`: the physical address, and how
    /// many of `length` bytes follow each other there; at least one.
    fn device_range(&self, linear: u64, length: u64) -> (u64, u64);

    /// The way to files of the host.
    fn host_files(&self) -> Option<&'static dyn HostFiles> {
        None
    }

    /// The way to devices beside those of the shared pages.
    fn hardware(&self) -> Option<&'static dyn Hardware> {
        None
    }
}

#[cfg(not(kernel_build))]
pub(crate) use crate::hosted::lower;
#[cfg(kernel_build)]
pub(crate) use crate::start::lower;

/// The platform the kernel runs on.
#[must_use]
pub fn platform() -> &'static dyn Platform {
    lower()
}

/// Linear address at which a patched system call site enters the kernel: as the
/// `syscall` instruction leaves the registers, `rcx` being the address to return to.
#[must_use]
pub fn syscall_entry() -> LinearAddress {
    lower().syscall_entry()
}
