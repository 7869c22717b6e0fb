//! The processor: its tables, control registers and model-specific registers.

use alloc::boxed::Box;
use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};

use guest_abi::layout::VCPUS_MAX;
use x86_64::instructions::tables::load_tss;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr2, Cr3, Cr3Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::{Efer, EferFlags, LStar, Msr, SFMask, Star};
use x86_64::registers::rflags::RFlags;
use x86_64::registers::segmentation::{CS, DS, ES, SS, Segment, SegmentSelector};
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};
use x86_64::structures::gdt::{Descriptor, DescriptorFlags, GlobalDescriptorTable};
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::structures::paging::PhysFrame;
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PhysAddr, VirtAddr};

use super::entry;
use crate::context::{USER_CS, USER_SS};
use crate::sync::Once;

/// Selectors of the kernel, where Linux has them (`asm/segment.h`).
const KERNEL_CS: u16 = 0x10;
const KERNEL_SS: u16 = 0x18;
/// Bytes of a stack for exceptions.
const STACK_SIZE: usize = 16 << 10;
/// Stacks for exceptions that a processor has: for what the kernel meets itself, since its code
/// may use what is below its stack pointer; and one for what must never wait.
const STACKS_EACH: usize = 2;
/// Bytes of them.
pub(super) const STACKS_SIZE: u64 = (STACKS_EACH * STACK_SIZE) as u64;

/// One of the first processor's.
#[repr(C, align(4096))]
struct Stack(core::cell::UnsafeCell<[u8; STACK_SIZE]>);

// SAFETY: used by the first processor only, through its stack pointer.
unsafe impl Sync for Stack {}

static STACKS: [Stack; STACKS_EACH] =
    [const { Stack(core::cell::UnsafeCell::new([0; STACK_SIZE])) }; STACKS_EACH];

/// Null, six segments, and the task's state in two entries.
type DescriptorTable = GlobalDescriptorTable<9>;

/// A processor's descriptors, with the selector of its task's state.
type Descriptors = (DescriptorTable, SegmentSelector);

static TSS: Once<TaskStateSegment> = Once::new();
static GDT: Once<Descriptors> = Once::new();
static IDT: Once<InterruptDescriptorTable> = Once::new();
/// The descriptors of the processors beside the first.
static OTHERS: [Once<&'static Descriptors>; VCPUS_MAX] = [const { Once::new() }; VCPUS_MAX];

/// Sets the first processor up, everything but interrupts; `kernel_stack` is where the program's
/// traps go.
pub(super) fn initialize(kernel_stack: u64) {
    let tops = STACKS.each_ref().map(top);
    let tss = TSS.call_once(|| tss(kernel_stack, tops));
    IDT.call_once(idt);
    initialize_with(GDT.call_once(|| gdt(tss)));
}

/// Makes what another processor will need, `stacks` being memory of [`STACKS_SIZE`] for its
/// exceptions.
pub(super) fn prepare(vcpu: usize, kernel_stack: u64, stacks: u64) {
    let tops = [1, 2].map(|number| VirtAddr::new(stacks + number * STACK_SIZE as u64));
    let tss = Box::leak(Box::new(tss(kernel_stack, tops)));
    let place = OTHERS.get(vcpu).expect("a virtual CPU's number");
    place.call_once(|| Box::leak(Box::new(gdt(tss))));
}

/// Sets up the processor that this runs on as virtual CPU `vcpu`, which was prepared. Touches no
/// memory that is not there.
pub(super) fn initialize_other(vcpu: usize) {
    let place = OTHERS.get(vcpu).and_then(Once::get);
    initialize_with(place.expect("a processor is prepared before it is started"));
}

fn initialize_with((gdt, task): &'static Descriptors) {
    gdt.load();
    // SAFETY: the table just loaded has these selectors, with the rights that are needed.
    unsafe { CS::set_reg(SegmentSelector(KERNEL_CS)) };
    let data = SegmentSelector(KERNEL_SS);
    // SAFETY: as above.
    unsafe { SS::set_reg(data) };
    // SAFETY: a null selector may be loaded in 64-bit mode; nothing uses these.
    unsafe { DS::set_reg(SegmentSelector::NULL) };
    // SAFETY: as above.
    unsafe { ES::set_reg(SegmentSelector::NULL) };
    // SAFETY: the selector is that of a task's state, which lives for ever.
    unsafe { load_tss(*task) };
    IDT.get().expect("the first processor made it").load();
    control_registers();
    extended_state();
    system_calls();
}

fn top(stack: &'static Stack) -> VirtAddr {
    VirtAddr::from_ptr(stack) + STACK_SIZE as u64
}

fn tss(kernel_stack: u64, tops: [VirtAddr; STACKS_EACH]) -> TaskStateSegment {
    let mut tss = TaskStateSegment::new();
    tss.privilege_stack_table[0] = VirtAddr::new(kernel_stack);
    let [exceptions, urgent] = tops;
    tss.interrupt_stack_table[0] = exceptions;
    tss.interrupt_stack_table[1] = urgent;
    tss
}

fn gdt(tss: &'static TaskStateSegment) -> Descriptors {
    let mut gdt = DescriptorTable::empty();
    let data = DescriptorFlags::KERNEL_DATA.bits();
    for flags in [
        0,
        DescriptorFlags::KERNEL_CODE64.bits(),
        data,
        DescriptorFlags::USER_CODE32.bits(),
        DescriptorFlags::USER_DATA.bits(),
        DescriptorFlags::USER_CODE64.bits(),
    ] {
        gdt.append(Descriptor::UserSegment(flags));
    }
    let task = gdt.append(Descriptor::tss_segment(tss));
    (gdt, task)
}

fn idt() -> InterruptDescriptorTable {
    let mut idt = InterruptDescriptorTable::new();
    let table = (&raw mut idt).cast::<[u64; 2]>();
    for vector in 0..256usize {
        // Non-maskable interrupts, double faults and machine checks on a stack of their own.
        let stack = if matches!(vector, 2 | 8 | 18) { 2 } else { 1 };
        // The program may use breakpoints and overflow (SDM vol. 3, 6.12.1.2).
        let privilege = if matches!(vector, 3 | 4) { 3 } else { 0 };
        let gate = gate(entry::vector_address(vector), stack, privilege);
        // SAFETY: the table has 256 gates of 16 bytes.
        let slot = unsafe { table.add(vector) };
        // SAFETY: as above; the table is ours alone.
        unsafe { slot.write(gate) };
    }
    idt
}

/// An interrupt gate (SDM vol. 3, 6.14.1).
const fn gate(address: u64, stack: u64, privilege: u64) -> [u64; 2] {
    let low = address & 0xffff | (KERNEL_CS as u64) << 16 | stack << 32;
    let kind = 0xe << 40 | privilege << 45 | 1 << 47;
    [low | kind | (address >> 16 & 0xffff) << 48, address >> 32]
}

/// A leaf of `cpuid`, zero where the processor has none. Asking costs an exit.
fn leaf(number: u32) -> CpuidResult {
    if __cpuid(0).eax < number {
        return CpuidResult {
            eax: 0,
            ebx: 0,
            ecx: 0,
            edx: 0,
        };
    }
    __cpuid_count(number, 0)
}

fn control_registers() {
    let has = |register: u32, bit: u32| register >> bit & 1 != 0;
    let (basic, extended) = (leaf(1), leaf(7));
    // Entry and thread-local storage count on it.
    assert!(
        has(extended.ebx, 0),
        "the processor has no FSGSBASE (2012 or later has)"
    );
    let mut cr0 = Cr0::read();
    cr0.insert(Cr0Flags::WRITE_PROTECT | Cr0Flags::NUMERIC_ERROR | Cr0Flags::MONITOR_COPROCESSOR);
    cr0.remove(Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::TASK_SWITCHED);
    // SAFETY: paging and protection stay on.
    unsafe { Cr0::write(cr0) };
    let mut cr4 = Cr4::read();
    cr4.insert(Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE);
    cr4.insert(Cr4Flags::PAGE_GLOBAL | Cr4Flags::FSGSBASE);
    for (has, flag) in [
        (
            has(extended.ebx, 7),
            Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION,
        ),
        (
            has(extended.ecx, 2),
            Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION,
        ),
        (has(basic.ecx, 26), Cr4Flags::OSXSAVE),
    ] {
        cr4.set(flag, has);
    }
    // SAFETY: only features that the processor has are turned on.
    unsafe { Cr4::write(cr4) };
}

/// All vector state that the processor has is the program's to use.
fn extended_state() {
    let leaf = __cpuid_count(0xd, 0);
    let supported = u64::from(leaf.eax) | u64::from(leaf.edx) << 32;
    // What no program expects without asking for it (AMX) stays off.
    let wanted = XCr0Flags::X87
        | XCr0Flags::SSE
        | XCr0Flags::AVX
        | XCr0Flags::OPMASK
        | XCr0Flags::ZMM_HI256
        | XCr0Flags::HI16_ZMM
        | XCr0Flags::MPK;
    let flags = XCr0Flags::from_bits_truncate(supported) & wanted;
    // SAFETY: a subset of what the processor supports, with its dependencies.
    unsafe { XCr0::write(flags) };
}

fn system_calls() {
    let mut efer = Efer::read();
    efer.insert(EferFlags::SYSTEM_CALL_EXTENSIONS | EferFlags::NO_EXECUTE_ENABLE);
    // SAFETY: long mode stays on.
    unsafe { Efer::write(efer) };
    LStar::write(VirtAddr::new(entry::syscall_address()));
    let selector = |selector| SegmentSelector(selector);
    Star::write(
        selector(USER_CS as u16),
        selector(USER_SS as u16),
        selector(KERNEL_CS),
        selector(KERNEL_SS),
    )
    .expect("the selectors lie as SYSCALL and SYSRET want them");
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::TRAP_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::ALIGNMENT_CHECK
            | RFlags::NESTED_TASK,
    );
}

/// Loads the root of the page tables.
pub(super) fn load_root(physical: u64) {
    let frame = PhysFrame::containing_address(PhysAddr::new(physical));
    // SAFETY: callers pass tables that map the kernel as it is mapped now.
    unsafe { Cr3::write(frame, Cr3Flags::empty()) };
}

/// Forgets one page.
pub(super) fn flush(linear: u64) {
    tlb::flush(VirtAddr::new_truncate(linear));
}

/// Forgets all pages that are not the kernel's own.
pub(super) fn flush_all() {
    tlb::flush_all();
}

/// Linear address of the last page fault.
pub(super) fn fault_address() -> u64 {
    Cr2::read_raw()
}

/// Reads a model-specific register that the processor has.
pub(super) fn read_msr(number: u32) -> u64 {
    // SAFETY: callers pass registers whose existence CPUID told them.
    unsafe { Msr::new(number).read() }
}

/// Writes a model-specific register that the processor has.
pub(super) fn write_msr(number: u32, value: u64) {
    // SAFETY: callers pass registers of the interrupt controller, which reach no memory.
    unsafe { Msr::new(number).write(value) }
}

/// `out`, 32 bits.
pub(super) fn port_write(port: u16, value: u32) {
    // SAFETY: a store to a port reaches a device, none of which touches memory by that here.
    unsafe { x86_64::instructions::port::PortWriteOnly::new(port).write(value) }
}

/// `in`, 32 bits.
pub(super) fn port_read(port: u16) -> u32 {
    // SAFETY: as in `port_write`.
    unsafe { x86_64::instructions::port::PortReadOnly::new(port).read() }
}

/// `out`, 16 bits.
pub(super) fn port_write_word(port: u16, value: u16) {
    // SAFETY: as in `port_write`.
    unsafe { x86_64::instructions::port::PortWriteOnly::new(port).write(value) }
}

/// `out`, 8 bits.
pub(super) fn port_write_byte(port: u16, value: u8) {
    // SAFETY: as in `port_write`.
    unsafe { x86_64::instructions::port::PortWriteOnly::new(port).write(value) }
}

/// `in`, 8 bits.
pub(super) fn port_read_byte(port: u16) -> u8 {
    // SAFETY: as in `port_write`.
    unsafe { x86_64::instructions::port::PortReadOnly::new(port).read() }
}

/// Whether CPUID leaf 1 has a bit in `ecx`.
pub(super) fn has_feature(bit: u32) -> bool {
    leaf(1).ecx >> bit & 1 != 0
}

/// Random bytes from the processor, mixed with what its counter happens to show; where it has
/// no generator, only the latter.
pub(super) fn entropy() -> [u8; 64] {
    const RDRAND: u32 = 30;
    let generator = x86_64::instructions::random::RdRand::new();
    let generator = generator.filter(|_| has_feature(RDRAND));
    let mut bytes = [0; 64];
    let mut state = crate::time::tsc();
    for chunk in bytes.chunks_exact_mut(8) {
        let random = generator.and_then(|generator| (0..10).find_map(|_| generator.get_u64()));
        state = (state ^ crate::time::tsc()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 29;
        let word = random.unwrap_or(0) ^ state;
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}
