//! Interrupts, exceptions and `INT`: through the table of handlers (SDM vol. 3, chapter 6; in real mode,
//! 21.1.4; out of virtual-8086 mode, 21.3.1).

use iced_x86::Register;
use x86_paging::{Access, Kind, Privilege};
use x86_state::Segment;

use crate::descriptor::{Gate, Rights, system};
use crate::processor::{Processor, is_canonical};
use crate::stack::Stack;
use crate::tables::{error_code, is_null, requested_level, unusable};
use crate::{Cpu, Exception, Memory, Size};

/// Flags that delivery clears: `TF`, `NT`, `RF`, `VM`; and `IF`, `AC` (in real mode).
const TRAP: u64 = 1 << 8;
const INTERRUPT: u64 = 1 << 9;
const NESTED_TASK: u64 = 1 << 14;
const RESUME: u64 = 1 << 16;
const VIRTUAL_8086: u64 = 1 << 17;
const ALIGNMENT_CHECK: u64 = 1 << 18;
/// In error codes: it comes from outside; it names a gate of the interrupt table (6.13).
const EXTERNAL: u32 = 1;
const OF_TABLE: u32 = 2;
/// Where a task state has the stacks of the inner levels and of the interrupt stack table (8.2.1, 8.7).
const STACKS_32: u64 = 4;
const STACKS_16: u64 = 2;
const STACKS_LONG: u64 = 4;
const INTERRUPT_STACKS: u64 = 0x24;
/// `DR7.GD`: off while exceptions of debugging are handled.
const GENERAL_DETECT: u64 = 1 << 13;
/// Vectors of the exceptions in question.
const DIVIDE: u8 = 0;
const DEBUG: u8 = 1;
const DOUBLE_FAULT: u8 = 8;
const INVALID_TASK: u8 = 10;
const PROTECTION: u8 = 13;
const PAGE: u8 = 14;

/// Where an interruption comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// From outside: an interrupt, or `NMI`.
    External,
    /// From an instruction that could not be.
    Exception,
    /// From `INT n`, `INT3` or `INTO`, which may not go where they like.
    Program,
}

/// What is to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interruption {
    /// Its vector.
    pub vector: u8,
    /// What is pushed last, where the vector has it.
    pub error: Option<u32>,
    /// Where it comes from.
    pub source: Source,
    /// Where what is interrupted goes on.
    pub rip: u64,
}

impl Interruption {
    /// What an instruction at `at` raised that another follows at `next`.
    #[must_use]
    pub const fn raised(exception: Exception, at: u64, next: u64) -> Self {
        let (source, rip) = match exception {
            Exception::Breakpoint | Exception::Overflow | Exception::Interrupt(_) => {
                (Source::Program, next)
            }
            Exception::Trap => (Source::Exception, next),
            _ => (Source::Exception, at),
        };
        Self {
            vector: exception.vector(),
            error: exception.error_code(),
            source,
            rip,
        }
    }

    /// Whether its instruction will be tried again: then its breakpoints are passed over
    /// (SDM vol. 3, 18.3.1.1).
    pub(crate) const fn is_fault(&self) -> bool {
        matches!(self.source, Source::Exception) && self.vector != DEBUG
    }
}

/// The processor stops until it is reset: a fault while a double fault was delivered (6.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown;

/// Has the system's handler go on.
///
/// # Errors
/// What is raised on the way, with registers as before.
pub fn deliver(
    cpu: &mut Cpu,
    memory: &mut dyn Memory,
    what: &Interruption,
) -> Result<(), Exception> {
    Processor { cpu, memory }.interrupt(what)
}

/// Delivers what the instruction at `cpu.rip` raised, or a double fault if that cannot be; `next` is where
/// the one after it lies.
///
/// # Errors
/// When a double fault cannot be delivered either.
pub fn raise(
    cpu: &mut Cpu,
    memory: &mut dyn Memory,
    first: Exception,
    next: u64,
) -> Result<(), Shutdown> {
    let mut now = first;
    loop {
        if let Exception::Page { address, .. } = now {
            cpu.control.cr2 = address;
        }
        if now.vector() == DEBUG {
            cpu.debug[5] &= !GENERAL_DETECT;
        }
        let what = Interruption::raised(now, cpu.rip, next);
        let Err(second) = deliver(cpu, memory, &what) else {
            return Ok(());
        };
        now = match (now.vector(), second.vector()) {
            (DOUBLE_FAULT, _) => return Err(Shutdown),
            (before, after) if makes_double_fault(before, after) => Exception::DoubleFault,
            _ => second,
        };
    }
}

/// Whether the second of two exceptions cannot be handled after the first (SDM vol. 3, table 6-5).
const fn makes_double_fault(first: u8, second: u8) -> bool {
    const fn contributes(vector: u8) -> bool {
        matches!(vector, DIVIDE | INVALID_TASK..=PROTECTION)
    }
    match first {
        PAGE => contributes(second) || second == PAGE,
        _ => contributes(first) && contributes(second),
    }
}

/// Where a handler begins, and at which level it runs.
struct Handler {
    code: Segment,
    offset: u64,
    level: u8,
}

impl Processor<'_> {
    pub(crate) fn interrupt(&mut self, what: &Interruption) -> Result<(), Exception> {
        if !self.cpu.is_protected() && !self.cpu.is_virtual_8086() {
            return self.interrupt_real(what);
        }
        let external = match what.source {
            Source::Program => 0,
            _ => EXTERNAL,
        };
        let gate = self.gate(what, external)?;
        if gate.is_task() {
            return self.interrupt_by_task(gate.selector(), external, what);
        }
        let handler = self.handler(&gate, external)?;
        let mut stack = self.stack_of(&handler, &gate, external)?;
        let size = gate.size(self.cpu.is_long());
        let before = &self.cpu.segments;
        let is_inner = handler.level < self.cpu.level();
        let flags = self.cpu.rflags();
        let mut pushed = Vec::with_capacity(10);
        if self.cpu.is_virtual_8086() {
            pushed.extend([before.gs, before.fs, before.ds, before.es].map(of_selector));
        }
        if is_inner || self.cpu.is_long() {
            pushed.extend([of_selector(before.ss), self.cpu.general[4]]);
        }
        let resumed = if what.is_fault() { RESUME } else { 0 };
        pushed.extend([flags | resumed, of_selector(before.cs), what.rip]);
        pushed.extend(what.error.map(u64::from));
        for value in pushed {
            stack.push(self.memory, size, value)?;
        }
        if self.cpu.is_virtual_8086() {
            for name in [Register::GS, Register::FS, Register::DS, Register::ES] {
                self.set_segment(name, unusable(0));
            }
        }
        self.go_on(&handler, &stack);
        let mut flags = flags & !(TRAP | NESTED_TASK | RESUME | VIRTUAL_8086);
        if gate.is_for_interrupts() {
            flags &= !INTERRUPT;
        }
        self.cpu.set_rflags(flags);
        Ok(())
    }

    fn interrupt_real(&mut self, what: &Interruption) -> Result<(), Exception> {
        let at = u64::from(what.vector) * 4;
        if at + 3 > self.cpu.idt.limit.into() {
            return Err(Exception::Protection(0));
        }
        let entry = self.read_table(self.cpu.idt.base.wrapping_add(at), Size::Double)?;
        let code = self.paragraph(Register::CS, (entry >> 16) as u16)?;
        let offset = entry & 0xffff;
        let flags = self.cpu.rflags();
        let caller = self.selector(Register::CS)?;
        let stack = self.cpu.general[4];
        for value in [flags, caller, what.rip] {
            if let Err(exception) = self.push(Size::Word, value) {
                self.cpu.general[4] = stack;
                return Err(exception);
            }
        }
        self.cpu.segments.cs = code;
        self.cpu.rip = offset;
        let cleared = INTERRUPT | TRAP | RESUME | ALIGNMENT_CHECK;
        self.cpu.set_rflags(flags & !cleared);
        Ok(())
    }

    /// The gate of a vector.
    fn gate(&mut self, what: &Interruption, external: u32) -> Result<Gate, Exception> {
        let is_long = self.cpu.is_long();
        let size = if is_long { 16 } else { 8 };
        let code = u32::from(what.vector) << 3 | OF_TABLE | external;
        let at = u64::from(what.vector) * size;
        if at + (size - 1) > self.cpu.idt.limit.into() {
            return Err(Exception::Protection(code));
        }
        let place = self.cpu.idt.base.wrapping_add(at);
        let low = self.read_table(place, Size::Quad)?;
        let high = if is_long {
            self.read_table(place.wrapping_add(8), Size::Quad)?
        } else {
            0
        };
        let gate = Gate { low, high };
        if !gate.is_handler(is_long) && (is_long || !gate.is_task()) {
            return Err(Exception::Protection(code));
        }
        if what.source == Source::Program && gate.rights().level() < self.cpu.level() {
            return Err(Exception::Protection(code));
        }
        if !gate.rights().is_present() {
            return Err(Exception::NotPresent(code));
        }
        Ok(gate)
    }

    /// The code that a gate leads to.
    fn handler(&mut self, gate: &Gate, external: u32) -> Result<Handler, Exception> {
        let selector = gate.selector();
        if is_null(selector) {
            return Err(Exception::Protection(external));
        }
        let refused = Exception::Protection(error_code(selector) | external);
        let mut found = self.descriptor(selector)?.ok_or(refused)?;
        let (rights, now) = (found.descriptor.rights(), self.cpu.level());
        let is_long = self.cpu.is_long();
        let is_wide = rights.is_long() && !rights.is_big();
        if !rights.is_code() || rights.level() > now || is_long && !is_wide {
            return Err(refused);
        }
        if !rights.is_present() {
            return Err(Exception::NotPresent(error_code(selector) | external));
        }
        let level = if rights.is_conforming() {
            now
        } else {
            rights.level()
        };
        if self.cpu.is_virtual_8086() && level != 0 {
            return Err(refused);
        }
        let offset = gate.offset(is_long);
        self.mark(&mut found)?;
        let code = found.descriptor.segment(selector & !3 | u16::from(level));
        let is_there = if is_long {
            is_canonical(offset)
        } else {
            offset <= code.limit.into()
        };
        if !is_there {
            return Err(Exception::Protection(external));
        }
        Ok(Handler {
            code,
            offset,
            level,
        })
    }

    /// The stack on which a handler begins.
    fn stack_of(
        &mut self,
        handler: &Handler,
        gate: &Gate,
        external: u32,
    ) -> Result<Stack, Exception> {
        let is_inner = handler.level < self.cpu.level();
        if self.cpu.is_long() {
            let mut stack = match (gate.interrupt_stack(), is_inner) {
                (0, false) => self.same_stack(handler.level, external),
                (0, true) => self.inner_stack_long(handler.level, external)?,
                (number, _) => {
                    let at = INTERRUPT_STACKS + 8 * (number - 1);
                    let pointer = self.task_value(at, Size::Quad, external)?;
                    self.long_stack(pointer, handler.level, external)?
                }
            };
            if !is_inner {
                stack.segment = self.cpu.segments.ss;
            }
            stack.pointer &= !0xf;
            return Ok(stack);
        }
        if is_inner {
            return self.inner_stack(handler.level, external);
        }
        Ok(Stack {
            segment: self.cpu.segments.ss,
            pointer: self.cpu.general[4],
            is_long: false,
            privilege: self.cpu.privilege(),
            at_end: Exception::Stack(external),
        })
    }

    /// The stack that the task has for an inner level, in long mode.
    pub(crate) fn inner_stack_long(
        &mut self,
        level: u8,
        external: u32,
    ) -> Result<Stack, Exception> {
        let at = STACKS_LONG + 8 * u64::from(level);
        let pointer = self.task_value(at, Size::Quad, external)?;
        self.long_stack(pointer, level, external)
    }

    /// The stack that is in use, in long mode: where it is not canonical shows when it is.
    fn same_stack(&self, level: u8, external: u32) -> Stack {
        Stack {
            segment: unusable(level.into()),
            pointer: self.cpu.general[4],
            is_long: true,
            privilege: self.cpu.privilege_at(level),
            at_end: Exception::Stack(external),
        }
    }

    fn long_stack(&self, pointer: u64, level: u8, external: u32) -> Result<Stack, Exception> {
        let at_end = Exception::Stack(external);
        if !is_canonical(pointer) {
            return Err(at_end);
        }
        Ok(Stack {
            segment: unusable(level.into()),
            pointer,
            is_long: true,
            privilege: self.cpu.privilege_at(level),
            at_end,
        })
    }

    /// The stack that the task has for an inner level, outside long mode.
    pub(crate) fn inner_stack(&mut self, level: u8, external: u32) -> Result<Stack, Exception> {
        let is_small = matches!(
            Rights(self.cpu.segments.tr.rights).kind(),
            system::TASK_16 | system::TASK_16_BUSY
        );
        let (size, at) = if is_small {
            (Size::Word, STACKS_16 + 4 * u64::from(level))
        } else {
            (Size::Double, STACKS_32 + 8 * u64::from(level))
        };
        let bytes = u64::from(size.bytes());
        // Both are checked before either is read.
        self.check_task(at + bytes + 1, external)?;
        let pointer = self.task_value(at, size, external)?;
        let selector = self.task_value(at + bytes, Size::Word, external)? as u16;
        if is_null(selector) {
            return Err(Exception::InvalidTask(external));
        }
        let code = error_code(selector) | external;
        let refused = Exception::InvalidTask(code);
        let mut found = self.descriptor(selector)?.ok_or(refused)?;
        let rights = found.descriptor.rights();
        let is_right = requested_level(selector) == level && rights.level() == level;
        if !is_right || !rights.is_writable() {
            return Err(refused);
        }
        if !rights.is_present() {
            return Err(Exception::Stack(code));
        }
        self.mark(&mut found)?;
        Ok(Stack {
            segment: found.descriptor.segment(selector),
            pointer,
            is_long: false,
            privilege: self.cpu.privilege_at(level),
            at_end: Exception::Stack(code),
        })
    }

    fn check_task(&self, last: u64, external: u32) -> Result<(), Exception> {
        let task = &self.cpu.segments.tr;
        if last > task.limit.into() {
            return Err(Exception::InvalidTask(error_code(task.selector) | external));
        }
        Ok(())
    }

    /// A value of the task's state.
    fn task_value(&mut self, at: u64, size: Size, external: u32) -> Result<u64, Exception> {
        self.check_task(at + u64::from(size.bytes()) - 1, external)?;
        let place = self.cpu.segments.tr.base.wrapping_add(at);
        self.read_table(place, size)
    }

    /// Reads what only the processor itself looks at.
    pub(crate) fn read_table(&mut self, address: u64, size: Size) -> Result<u64, Exception> {
        let access = Access {
            kind: Kind::Read,
            privilege: Privilege::Implicit,
        };
        let address = address & self.cpu.linear_mask();
        self.memory.read(address, size, access)
    }

    fn go_on(&mut self, handler: &Handler, stack: &Stack) {
        self.cpu.segments.cs = handler.code;
        self.cpu.segments.ss = stack.segment;
        self.cpu.general[4] = stack.pointer_over(self.cpu.general[4]);
        self.cpu.rip = handler.offset;
    }
}

const fn of_selector(segment: Segment) -> u64 {
    segment.selector as u64
}
