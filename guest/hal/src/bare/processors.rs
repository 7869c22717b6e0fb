//! The processors: which there are, how those beside the first are started, and how one
//! interrupts another.
//!
//! A virtual CPU is a processor, found by the number of its local interrupt controller. With a Husk
//! monitor the two numbers are the same; elsewhere ACPI's MADT says which there are ([`found`]), and
//! the one that the kernel was started on comes first.
//!
//! The others wait for a start-up message (SDM vol. 3, 9.4) and begin in real mode, in a page
//! below 1 MiB: the [`trampoline`]. They are started one after another, while the first holds the
//! kernel's lock, and touch nothing that is not there: stacks and tables were made for them.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use guest_abi::bare::{VECTOR_CALL, VECTOR_WAKE};
use guest_abi::layout::{self, PAGE_SIZE, VCPUS_MAX};
use guest_abi::vcpu::{ATTENTION_WAKE, PENDING_DEVICE};
use x86_64::instructions::interrupts;

use super::acpi::Processors;
use super::{apic, cpu, memory, trampoline};
use crate::boot::vcpu_page;
use crate::memory::Extent;
use crate::report::{self, End};
use crate::start::{OTHER_STACKS, give_stack};
use crate::{Nanos, area, time};

/// How often a processor is told to start, and how long it may take. One that has been told
/// twice begins once; one that was being reset has not heard it.
const REPEAT: Nanos = Nanos(20_000_000);
const PATIENCE: Nanos = Nanos(20_000_000_000);

/// The controller of each virtual CPU.
static CONTROLLERS: [AtomicU32; VCPUS_MAX] = [const { AtomicU32::new(0) }; VCPUS_MAX];
/// How many virtual CPUs run; they start in the order of their numbers.
static RUNNING: AtomicU64 = AtomicU64::new(1);
/// The virtual CPU that is being started; zero: none, or it has begun.
static STARTING: AtomicU64 = AtomicU64::new(0);
/// Virtual CPUs that sleep until the kernel's lock is given back, a bit each.
static SLEEPERS: AtomicU64 = AtomicU64::new(0);

fn controller(vcpu: usize) -> u32 {
    let place = CONTROLLERS.get(vcpu).expect("a virtual CPU's number");
    place.load(Ordering::Relaxed)
}

/// Notes the virtual CPUs of a machine of Husk's monitor.
pub(super) fn given(count: usize) {
    for (place, number) in CONTROLLERS.iter().zip(0..count as u32) {
        place.store(number, Ordering::Relaxed);
    }
}

/// Notes the processors that ACPI tells of; how many virtual CPUs that makes.
pub(super) fn found(processors: &Processors) -> u32 {
    let own = apic::number();
    // Without the extension nobody else can be reached.
    let most = if apic::is_extended() { u32::MAX } else { 0xff };
    let others = processors.numbers().iter().copied();
    let others = others.filter(|number| *number != own && *number < most);
    let mut count = 0;
    for (place, number) in CONTROLLERS.iter().zip(core::iter::once(own).chain(others)) {
        place.store(number, Ordering::Relaxed);
        count += 1;
    }
    count
}

/// How many virtual CPUs run.
pub(super) fn running() -> usize {
    RUNNING.load(Ordering::Acquire) as usize
}

/// Starts the virtual CPUs beside the first.
pub(super) fn start_others() {
    for vcpu in 1..crate::boot::info().vcpus as usize {
        prepare(vcpu);
        start(vcpu);
    }
}

/// Makes what a virtual CPU needs before it can ask for anything. Its stacks are there before it
/// runs: until it has the kernel's lock it can bring in nothing.
fn prepare(vcpu: usize) {
    let kernel_stack = give_stack(vcpu);
    let stacks = Extent::allocate(cpu::STACKS_SIZE, PAGE_SIZE, None).expect("stacks");
    let start = layout::RAM_BASE + stacks.start().0;
    // For ever, as the processor.
    core::mem::forget(stacks);
    let is_there = memory::populate(kernel_stack.start, kernel_stack.length, true)
        && memory::populate(start, cpu::STACKS_SIZE, true);
    if !is_there {
        report::end(End::OutOfMemory, format_args!(""));
    }
    cpu::prepare(vcpu, kernel_stack.top, start);
}

/// Starts a virtual CPU and waits until it has forgotten where it came from.
fn start(vcpu: usize) {
    let target = controller(vcpu);
    STARTING.store(vcpu as u64, Ordering::SeqCst);
    apic::reset(target);
    let begun = time::monotonic();
    let mut told = 0;
    while running() <= vcpu {
        let passed = time::monotonic().saturating_sub(begun);
        assert!(
            passed < PATIENCE,
            "the processor with local interrupt controller {target} does not start"
        );
        if passed.0 >= told * REPEAT.0 {
            apic::start(target, trampoline::page());
            told += 1;
        }
        core::hint::spin_loop();
    }
}

/// Where the trampoline leads: in long mode, with interrupts off, by page tables that show the
/// image and nothing else. A processor that nobody is starting any more stays here.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn arrives() -> ! {
    naked_asm!(
        "xor edi, edi",
        "xchg [rip + {starting}], rdi",
        "test rdi, rdi",
        "jz 2f",
        "mov rax, [rip + {root}]",
        "mov cr3, rax",
        "lea rax, [rip + {stacks}]",
        "mov rsp, [rax + rdi * 8]",
        "xor ebp, ebp",
        "call {begin}",
        "2:",
        "cli",
        "hlt",
        "jmp 2b",
        starting = sym STARTING,
        root = sym memory::ROOT,
        stacks = sym OTHER_STACKS,
        begin = sym begin,
    )
}

extern "C" fn begin(vcpu: u64) -> ! {
    let vcpu = vcpu as usize;
    cpu::initialize_other(vcpu);
    // Loading segments cleared it.
    area::claim(vcpu);
    apic::initialize_other();
    interrupts::enable();
    // From here on it is told what it must forget.
    RUNNING.fetch_add(1, Ordering::Release);
    crate::boot::can_be_interrupted();
    crate::context::run_vcpu()
}

/// Wakes a virtual CPU that sleeps, or interrupts one that runs the program.
pub(super) fn wake(vcpu: usize) {
    let (page, area) = (vcpu_page(vcpu), area::of(vcpu));
    page.pending.fetch_or(PENDING_DEVICE, Ordering::SeqCst);
    page.event.fetch_add(1, Ordering::SeqCst);
    let sleeps = page.attention.load(Ordering::SeqCst) == ATTENTION_WAKE;
    if sleeps || area.inside.load(Ordering::SeqCst) == 0 {
        apic::interrupt(controller(vcpu), VECTOR_WAKE);
    } else {
        // It waits for the lock, which the caller holds, and looks before it leaves.
        area.pending.store(1, Ordering::SeqCst);
    }
}

/// Has a virtual CPU do at once what it is asked for.
pub(super) fn call(vcpu: usize) {
    apic::interrupt(controller(vcpu), VECTOR_CALL);
}

/// Sleeps while `word`, the kernel's lock, is `expected`, or until an interrupt.
pub(super) fn sleep_on(word: &AtomicU32, expected: u32) {
    let bit = 1 << area::number();
    SLEEPERS.fetch_or(bit, Ordering::SeqCst);
    interrupts::disable();
    if word.load(Ordering::SeqCst) == expected {
        super::entry::sleep();
    } else {
        interrupts::enable();
    }
    SLEEPERS.fetch_and(!bit, Ordering::SeqCst);
}

/// Wakes one that sleeps on the kernel's lock.
pub(super) fn wake_sleeper() {
    let sleepers = SLEEPERS.load(Ordering::SeqCst);
    if sleepers != 0 {
        let vcpu = sleepers.trailing_zeros();
        SLEEPERS.fetch_and(!(1 << vcpu), Ordering::SeqCst);
        call(vcpu as usize);
    }
}
