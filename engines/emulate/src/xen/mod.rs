//! The part of Xen's interface for HVM and PVH guests that a hypervisor as guest needs, in machines that are asked to offer it.
//!
//! A guest finds [`leaves`] of `cpuid` and a register for its [page of calls](page), and calls by `VMCALL` or `VMMCALL`, whichever
//! it likes: the number in `rax`, arguments in `rdi`, `rsi`, `rdx`, `r10` and `r8`, the answer in `rax` (Xen's
//! public/arch-x86/xen-x86_64.h, docs/guest-guide/x86/hypercall-abi.rst). Served are, by their names in public/xen.h:
//!
//! * `memory_op` ([`memory`]): the map of memory and the page of shared information;
//! * `vcpu_op` ([`vcpu`]): a place for a virtual CPU's information, and the time in there;
//! * `hvm_op` ([`hvm`]): parameters, and forgetting translations;
//! * `sched_op` ([`schedule`]): waiting and the machine's end;
//! * `xen_version` ([`version`]).
//!
//! All else is answered with `-ENOSYS`, counted, and said once by its number ([`Unserved`]). So is what code outside of 64-bit mode
//! asks at level 0; at any other level, and in virtual-8086 mode, it is `-EPERM`, as Xen has it. There are no event channels, no
//! grants, no console and no other domains: no upcall ever comes, so the vector for those is looked at and not kept.
//!
//! Addresses in arguments are the guest's linear ones, translated by its page tables ([`buffers`]); a fault becomes `-EFAULT` and is
//! nobody's exception. Devices of the machine do not reach the page of shared information, and a debugger is not told of what a
//! call reads and writes.

mod buffers;
mod hvm;
pub(crate) mod leaves;
mod memory;
mod page;
mod schedule;
mod vcpu;
mod version;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use engine_contract::MemoryRange;
use iced_x86::{Instruction, Mnemonic};
use machine_memory::{Frame, GuestMemory, MemoryError};
use x86_paging::Privilege;
use x86_semantics::CodeSize;

use crate::bus::Bus;
use crate::core::{Core, Ending};
use vcpu::Place;

/// Numbers of hypercalls (public/xen.h).
const MEMORY_OP: u64 = 12;
const XEN_VERSION: u64 = 17;
const VCPU_OP: u64 = 24;
const SCHED_OP: u64 = 29;
const HVM_OP: u64 = 34;
/// No hypercall has this number or a higher one; all of those are counted as this.
const NUMBERS: u64 = 64;

/// `DOMID_SELF` (public/xen.h), the only domain there is.
const SELF: u64 = 0x7ff0;
const PAGE_SHIFT: u32 = 12;
const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// The shared page is nowhere.
const NOWHERE: u64 = u64::MAX;

/// General registers by their numbers.
const RAX: usize = 0;
/// Arguments: `rdi`, `rsi`, `rdx`, `r10`, `r8`.
const ARGUMENTS: [usize; 5] = [7, 6, 2, 10, 8];

/// Why a call was refused (public/errno.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errno {
    NotPermitted = 1,
    NoEntry = 2,
    NoDomain = 3,
    NoPlace = 6,
    Fault = 14,
    Invalid = 22,
    NotServed = 38,
}

/// What a call came to.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Value(u64),
    /// The virtual CPU waits for an interrupt.
    Wait,
    End(Ending),
}

/// That all is well.
const DONE: Reply = Reply::Value(0);

type Answer = Result<Reply, Errno>;

/// What a machine's guest shares with the Xen below it.
#[derive(Debug)]
pub(crate) struct Xen {
    /// The page of shared information.
    page: GuestMemory,
    /// Where in the guest's memory it is.
    at: AtomicU64,
    /// What the guest is told of its memory.
    map: OnceLock<Vec<MemoryRange>>,
    vcpus: Mutex<Vec<Place>>,
    /// `HVM_PARAM_CALLBACK_IRQ`.
    callback: AtomicU64,
    /// How often all translations of all virtual CPUs were to be forgotten.
    flushes: AtomicU64,
    unserved: Unserved,
}

impl Xen {
    pub(crate) fn new(vcpus: u32) -> Result<Self, MemoryError> {
        Ok(Self {
            page: machine_memory::create(PAGE_SIZE)?,
            at: AtomicU64::new(NOWHERE),
            map: OnceLock::new(),
            vcpus: Mutex::new(vec![Place::default(); vcpus as usize]),
            callback: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            unserved: Unserved::default(),
        })
    }

    /// What the guest is to be told of its memory. The first stays.
    pub(crate) fn describe_memory(&self, map: Vec<MemoryRange>) {
        let _ = self.map.set(map);
    }

    /// The shared page, if this physical address is in it.
    pub(crate) fn page_at(&self, physical: u64) -> Option<Frame<'_>> {
        let is_there = self.at.load(Ordering::Relaxed) == physical >> PAGE_SHIFT << PAGE_SHIFT;
        self.page.frame(0).filter(|_| is_there)
    }

    /// How often translations were to be forgotten.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::SeqCst)
    }

    fn vcpus(&self) -> MutexGuard<'_, Vec<Place>> {
        self.vcpus.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often each call was made that is not served.
    pub(crate) fn counts(&self) -> Vec<(String, u64)> {
        let all = self.unserved.all();
        let name = |number: &u64| match *number {
            NUMBERS => "unserved hypercall beyond all".to_owned(),
            number => format!("unserved hypercall {number}"),
        };
        let counts = all.iter().map(|(number, count)| (name(number), *count));
        counts.collect()
    }
}

/// Calls that are not served, by number.
#[derive(Debug, Default)]
struct Unserved(Mutex<BTreeMap<u64, u64>>);

impl Unserved {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one; whether it is the first.
    fn met(&self, number: u64) -> bool {
        let mut all = self.all();
        let count = all.entry(number.min(NUMBERS)).or_default();
        *count += 1;
        *count == 1
    }
}

/// A hypercall at work.
struct Call<'c, 'm> {
    bus: &'c mut Bus<'m>,
    xen: &'m Xen,
    privilege: Privilege,
    arguments: [u64; 5],
}

impl<'a> Core<'a> {
    /// Executes a hypercall, which lies at `rip`, if the instruction is one here.
    #[cold]
    pub(crate) fn hypercall(&mut self, instruction: &Instruction) -> bool {
        let is_call = matches!(instruction.mnemonic(), Mnemonic::Vmcall | Mnemonic::Vmmcall);
        let Some(xen) = self.bus.shared.xen.as_ref().filter(|_| is_call) else {
            return false;
        };
        let value = match self.answer(xen) {
            Ok(Reply::Value(value)) => value,
            Ok(Reply::Wait) => {
                self.cpu.halted = true;
                0
            }
            Ok(Reply::End(ending)) => {
                self.end(ending);
                0
            }
            Err(errno) => (errno as u64).wrapping_neg(),
        };
        let size = self.mode.size;
        self.cpu.general[RAX] = match size {
            CodeSize::Quad => value,
            _ => value & 0xffff_ffff,
        };
        self.cpu.rip = instruction.next_ip() & size.following();
        self.cpu.interrupt_shadow = false;
        true
    }

    fn answer(&mut self, xen: &'a Xen) -> Answer {
        if self.cpu.level() != 0 || self.cpu.is_virtual_8086() {
            return Err(Errno::NotPermitted);
        }
        let general = self.cpu.general;
        let arguments = ARGUMENTS.map(|number| general[number]);
        let (is_64_bit, number) = match self.mode.size {
            CodeSize::Quad => (true, general[RAX]),
            _ => (false, general[RAX] & 0xffff_ffff),
        };
        let answer = if is_64_bit {
            let privilege = self.cpu.privilege();
            let mut call = Call {
                bus: &mut self.bus,
                xen,
                privilege,
                arguments,
            };
            call.serve(number)
        } else {
            Err(Errno::NotServed)
        };
        if matches!(answer, Err(Errno::NotServed)) && xen.unserved.met(number) {
            let [first, ..] = arguments;
            self.bus.shared.unknown.say(&format!(
                "the guest made hypercall {number} ({first:#x}, ...), which is not served here: it got ENOSYS"
            ));
        }
        answer
    }
}

impl Call<'_, '_> {
    fn serve(&mut self, number: u64) -> Answer {
        match number {
            MEMORY_OP => self.memory(),
            XEN_VERSION => self.version(),
            VCPU_OP => self.vcpu(),
            SCHED_OP => self.schedule(),
            HVM_OP => self.hvm(),
            _ => Err(Errno::NotServed),
        }
    }

    /// An argument of 32 bits.
    const fn word(&self, number: usize) -> u32 {
        self.arguments[number] as u32
    }
}

/// The bytes of a structure's field as a number; all of them are in it.
fn field(structure: &[u8], at: usize, bytes: usize) -> u64 {
    let mut number = [0; 8];
    number[..bytes].copy_from_slice(&structure[at..at + bytes]);
    u64::from_le_bytes(number)
}
