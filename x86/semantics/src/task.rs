//! Task switches (SDM vol. 3, chapter 7). There are none in long mode.
//!
//! What can be found out beforehand is: until the new task's registers are loaded, an exception is the old task's
//! and nothing has changed. From then on it is the new one's, at its first instruction.

use iced_x86::Register;
use x86_state::Segment;

use crate::cpu::segment;
use crate::descriptor::{Rights, system};
use crate::processor::{Processor, allows};
use crate::tables::{Found, error_code, is_null, requested_level, unusable};
use crate::{Exception, Forget, Interruption, Size};

/// `CR0.TS`, and `CR0.PG`.
const TASK_SWITCHED: u64 = 1 << 3;
const PAGING: u64 = 1 << 31;
/// Flags: `NT`, `RF`, `VM`; those that there are, and the one that is always set.
const NESTED: u64 = 1 << 14;
const RESUME: u64 = 1 << 16;
const VIRTUAL_8086: u64 = 1 << 17;
const KNOWN: u64 = 0x003f_7fd5;
const ALWAYS: u64 = 2;
/// `DR6.BT`, and the enables of breakpoints that are a task's own in `DR7`.
const TASK_TRAP: u64 = 1 << 15;
const LOCAL_BREAKPOINTS: u64 = 0x155;
/// Rights of a task state that is in use.
const BUSY: u16 = 1 << 1;
/// In a selector: of the local table.
const LOCAL: u16 = 1 << 2;
/// Segment registers, in the order in which a task state has them.
const SEGMENTS: [Register; 6] = [
    Register::ES,
    Register::CS,
    Register::SS,
    Register::DS,
    Register::FS,
    Register::GS,
];

/// What switches tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The old task ends.
    Jump,
    /// It goes on when the new one returns.
    Call,
    /// It returns.
    Return,
    /// As a call, by an interrupt or an exception, with what its error codes add.
    Interrupt {
        /// What that is.
        external: u32,
        /// The old task's instruction will be tried again.
        resumes: bool,
    },
}

impl Reason {
    const fn external(self) -> u32 {
        match self {
            Self::Interrupt { external, .. } => external,
            _ => 0,
        }
    }

    const fn nests(self) -> bool {
        matches!(self, Self::Call | Self::Interrupt { .. })
    }
}

/// Where things are in a task state (SDM vol. 3, figures 7-2 and 7-10).
struct Layout {
    size: Size,
    /// Last offset that there has to be.
    last: u32,
    /// Root of the page tables.
    root: Option<u64>,
    ip: u64,
    general: u64,
    segments: u64,
    count: usize,
    local: u64,
    /// The task begins with an exception.
    trap: Option<u64>,
}

const WIDE: Layout = Layout {
    size: Size::Double,
    last: 0x67,
    root: Some(0x1c),
    ip: 0x20,
    general: 0x28,
    segments: 0x48,
    count: 6,
    local: 0x60,
    trap: Some(0x64),
};
const NARROW: Layout = Layout {
    size: Size::Word,
    last: 0x2b,
    root: None,
    ip: 0xe,
    general: 0x12,
    segments: 0x22,
    count: 4,
    local: 0x2a,
    trap: None,
};

impl Layout {
    const fn of(rights: Rights) -> &'static Self {
        match rights.kind() {
            system::TASK | system::TASK_BUSY => &WIDE,
            _ => &NARROW,
        }
    }

    fn step(&self) -> u64 {
        self.size.bytes().into()
    }
}

/// What a task state says that is loaded.
struct Loaded {
    root: u64,
    ip: u64,
    flags: u64,
    general: [u64; 8],
    selectors: [u16; 6],
    local: u16,
    traps: bool,
}

impl Processor<'_> {
    /// Switches to the task of a descriptor that was found by `selector`, and has been seen to be one that is
    /// free, or for a return one that is busy; the old task goes on at `next`. Where the new one begins.
    pub(crate) fn switch_task(
        &mut self,
        selector: u16,
        found: Found,
        reason: Reason,
        next: u64,
    ) -> Result<u64, Exception> {
        let code = error_code(selector) | reason.external();
        let rights = found.descriptor.rights();
        if !rights.is_present() {
            return Err(Exception::NotPresent(code));
        }
        let mut task = found.descriptor.segment(selector);
        let layout = Layout::of(rights);
        if task.limit < layout.last {
            return Err(Exception::InvalidTask(code));
        }
        let loaded = self.read_task(&task, layout)?;
        self.save_task(reason, next)?;
        let old = self.cpu.segments.tr;
        if !reason.nests() {
            self.set_busy(old.selector, false)?;
        }
        if reason.nests() {
            self.write_table(task.base, Size::Word, old.selector.into())?;
        }
        if reason != Reason::Return {
            self.set_busy(selector, true)?;
        }
        task.rights |= BUSY;
        self.cpu.segments.tr = task;
        self.cpu.control.cr0 |= TASK_SWITCHED;
        self.load_task(&loaded, layout, reason)
    }

    /// The layout of the task that runs.
    fn own_layout(&self) -> &'static Layout {
        Layout::of(Rights(self.cpu.segments.tr.rights))
    }

    fn read_task(&mut self, task: &Segment, layout: &Layout) -> Result<Loaded, Exception> {
        let step = layout.step();
        let mut at =
            |offset: u64, size: Size| self.read_table(task.base.wrapping_add(offset), size);
        // The first byte is looked at first.
        at(0, Size::Word)?;
        let root = match layout.root {
            Some(place) => at(place, Size::Double)?,
            None => 0,
        };
        let (ip, flags) = (
            at(layout.ip, layout.size)?,
            at(layout.ip + step, layout.size)?,
        );
        let mut general = [0; 8];
        for (place, value) in (layout.general..).step_by(step as usize).zip(&mut general) {
            *value = at(place, layout.size)?;
        }
        let mut selectors = [0; 6];
        let places = (layout.segments..).step_by(step as usize);
        for (place, selector) in places.zip(&mut selectors).take(layout.count) {
            *selector = at(place, Size::Word)? as u16;
        }
        let local = at(layout.local, Size::Word)? as u16;
        let traps = match layout.trap {
            Some(place) => at(place, Size::Word)? & 1 != 0,
            None => false,
        };
        Ok(Loaded {
            root,
            ip,
            flags,
            general,
            selectors,
            local,
            traps,
        })
    }

    /// Saves the old task's registers in its state.
    fn save_task(&mut self, reason: Reason, next: u64) -> Result<(), Exception> {
        let layout = self.own_layout();
        let (base, step) = (self.cpu.segments.tr.base, layout.step());
        let mut flags = self.cpu.rflags();
        match reason {
            Reason::Return => flags &= !NESTED,
            Reason::Interrupt { resumes: true, .. } => flags |= RESUME,
            _ => {}
        }
        let mut values = vec![next, flags];
        values.extend(&self.cpu.general[..8]);
        let first = base.wrapping_add(layout.ip);
        let last = base.wrapping_add(layout.segments + step * layout.count as u64 - 1);
        // Both ends can be written before anything is.
        self.demand_writable(first)?;
        self.demand_writable(last)?;
        for (place, value) in (0..).zip(values) {
            self.write_table(first.wrapping_add(place * step), layout.size, value)?;
        }
        for (place, name) in (0..).zip(SEGMENTS).take(layout.count) {
            let selector = self.selector(name)?;
            let at = base.wrapping_add(layout.segments + place * step);
            self.write_table(at, Size::Word, selector)?;
        }
        Ok(())
    }

    /// Marks the task of a selector as busy, or free.
    fn set_busy(&mut self, selector: u16, is_busy: bool) -> Result<(), Exception> {
        const RIGHTS_AT: u64 = 5;
        let at = self.cpu.gdt.base.wrapping_add((selector & !7).into());
        let at = at.wrapping_add(RIGHTS_AT);
        let old = self.read_table(at, Size::Byte)?;
        let bit = u64::from(BUSY);
        let new = if is_busy { old | bit } else { old & !bit };
        self.write_table(at, Size::Byte, new)
    }

    fn load_task(
        &mut self,
        loaded: &Loaded,
        layout: &Layout,
        reason: Reason,
    ) -> Result<u64, Exception> {
        let external = reason.external();
        if layout.root.is_some() && self.cpu.control.cr0 & PAGING != 0 {
            self.cpu.control.cr3 = loaded.root;
            let control = self.cpu.control;
            if let Some(system) = self.memory.system() {
                system.forget(Forget::Context(0), &control);
            }
        }
        let is_wide = layout.size == Size::Double;
        let high = if is_wide { 0 } else { 0xffff_0000 };
        for (register, value) in self.cpu.general.iter_mut().zip(loaded.general) {
            *register = *register & high | value;
        }
        let nested = if reason.nests() { NESTED } else { 0 };
        self.cpu.set_rflags(loaded.flags & KNOWN | ALWAYS | nested);
        self.cpu.rip = loaded.ip;
        self.cpu.debug[5] &= !LOCAL_BREAKPOINTS;
        self.name_segments(loaded);
        self.load_local(loaded.local, external)?;
        if loaded.flags & VIRTUAL_8086 != 0 && is_wide {
            for (name, selector) in SEGMENTS.into_iter().zip(loaded.selectors) {
                let segment = self.paragraph(name, selector)?;
                self.set_segment(name, segment);
            }
        } else {
            self.load_segments(loaded, external)?;
        }
        let code = self.cpu.segments.cs;
        if loaded.ip > code.limit.into() {
            return Err(Exception::Protection(external));
        }
        if loaded.traps {
            self.cpu.debug[4] |= TASK_TRAP;
            return Err(Exception::Debug);
        }
        Ok(loaded.ip)
    }

    /// Selectors are loaded before what they name is looked at: a handler of what that raises sees them.
    fn name_segments(&mut self, loaded: &Loaded) {
        for (name, selector) in SEGMENTS.into_iter().zip(loaded.selectors) {
            // The level is the new task's from here on.
            let before = segment(&self.cpu.segments, name).copied();
            let keeps = name == Register::CS || name == Register::SS;
            let kept = before.filter(|_| keeps).unwrap_or_default();
            let rights = if keeps { kept.rights } else { 0 };
            self.set_segment(
                name,
                Segment {
                    selector,
                    rights,
                    ..kept
                },
            );
        }
        self.cpu.segments.ldt = unusable(loaded.local);
    }

    fn load_local(&mut self, selector: u16, external: u32) -> Result<(), Exception> {
        if is_null(selector) {
            return Ok(());
        }
        let refused = Exception::InvalidTask(error_code(selector) | external);
        if selector & LOCAL != 0 {
            return Err(refused);
        }
        let found = self.descriptor(selector)?.ok_or(refused)?;
        let rights = found.descriptor.rights();
        let is_local = rights.is_system() && rights.kind() == system::LDT;
        if !is_local || !rights.is_present() {
            return Err(refused);
        }
        self.cpu.segments.ldt = found.descriptor.segment(selector);
        Ok(())
    }

    fn load_segments(&mut self, loaded: &Loaded, external: u32) -> Result<(), Exception> {
        let [_, code, stack, ..] = loaded.selectors;
        self.load_code(code, external)?;
        self.load_stack(stack, requested_level(code), external)?;
        for (name, selector) in SEGMENTS.into_iter().zip(loaded.selectors) {
            if !matches!(name, Register::CS | Register::SS) {
                self.load_data(name, selector, requested_level(code), external)?;
            }
        }
        Ok(())
    }

    /// A descriptor that a task needs.
    fn of_task(&mut self, selector: u16, external: u32) -> Result<Found, Exception> {
        let refused = Exception::InvalidTask(error_code(selector) | external);
        if is_null(selector) {
            return Err(refused);
        }
        self.descriptor(selector)?.ok_or(refused)
    }

    fn load_code(&mut self, selector: u16, external: u32) -> Result<(), Exception> {
        let mut found = self.of_task(selector, external)?;
        let code = error_code(selector) | external;
        let rights = found.descriptor.rights();
        let requested = requested_level(selector);
        let is_right = if rights.is_conforming() {
            rights.level() <= requested
        } else {
            rights.level() == requested
        };
        if !rights.is_code() || !is_right {
            return Err(Exception::InvalidTask(code));
        }
        if !rights.is_present() {
            return Err(Exception::NotPresent(code));
        }
        self.mark(&mut found)?;
        self.cpu.segments.cs = found.descriptor.segment(selector);
        Ok(())
    }

    fn load_stack(&mut self, selector: u16, level: u8, external: u32) -> Result<(), Exception> {
        let mut found = self.of_task(selector, external)?;
        let code = error_code(selector) | external;
        let rights = found.descriptor.rights();
        let is_right = rights.level() == level && requested_level(selector) == level;
        if !rights.is_writable() || !is_right {
            return Err(Exception::InvalidTask(code));
        }
        if !rights.is_present() {
            return Err(Exception::Stack(code));
        }
        self.mark(&mut found)?;
        self.cpu.segments.ss = found.descriptor.segment(selector);
        Ok(())
    }

    fn load_data(
        &mut self,
        name: Register,
        selector: u16,
        level: u8,
        external: u32,
    ) -> Result<(), Exception> {
        if is_null(selector) {
            self.set_segment(name, unusable(selector));
            return Ok(());
        }
        let mut found = self.of_task(selector, external)?;
        let code = error_code(selector) | external;
        let rights = found.descriptor.rights();
        let needed = level.max(requested_level(selector));
        let is_allowed = rights.is_conforming() || needed <= rights.level();
        if !rights.is_readable() || !is_allowed {
            return Err(Exception::InvalidTask(code));
        }
        if !rights.is_present() {
            return Err(Exception::NotPresent(code));
        }
        self.mark(&mut found)?;
        let segment = found.descriptor.segment(selector);
        self.set_segment(name, segment);
        Ok(())
    }

    /// The descriptor of a task that a gate or a far transfer names.
    pub(crate) fn task(&mut self, selector: u16, external: u32) -> Result<Found, Exception> {
        let refused = Exception::Protection(error_code(selector) | external);
        if is_null(selector) || selector & LOCAL != 0 {
            return Err(refused);
        }
        let found = self.descriptor(selector)?.ok_or(refused)?;
        let rights = found.descriptor.rights();
        let is_free = matches!(rights.kind(), system::TASK | system::TASK_16);
        if !rights.is_system() || !is_free {
            return Err(refused);
        }
        Ok(found)
    }

    /// Returns to the task that was interrupted or called by this one.
    pub(crate) fn return_to_task(&mut self, next: u64) -> Result<u64, Exception> {
        let link = self.read_table(self.cpu.segments.tr.base, Size::Word)? as u16;
        let refused = Exception::InvalidTask(error_code(link));
        if link & LOCAL != 0 || is_null(link) {
            return Err(refused);
        }
        let found = self.descriptor(link)?.ok_or(refused)?;
        let rights = found.descriptor.rights();
        let is_busy = matches!(rights.kind(), system::TASK_BUSY | system::TASK_16_BUSY);
        if !rights.is_system() || !is_busy {
            return Err(refused);
        }
        self.switch_task(link, found, Reason::Return, next)
    }

    /// Switches to the handler's task, and gives it an error code.
    pub(crate) fn interrupt_by_task(
        &mut self,
        selector: u16,
        external: u32,
        what: &Interruption,
    ) -> Result<(), Exception> {
        let found = self.task(selector, external)?;
        let resumes = what.is_fault();
        let reason = Reason::Interrupt { external, resumes };
        self.cpu.rip = self.switch_task(selector, found, reason, what.rip)?;
        let Some(error) = what.error else {
            return Ok(());
        };
        let size = self.own_layout().size;
        let before = self.cpu.general[4];
        let pushed = self.push_external(size, error.into(), external);
        if pushed.is_err() {
            self.cpu.general[4] = before;
        }
        pushed
    }

    fn push_external(&mut self, size: Size, value: u64, external: u32) -> Result<(), Exception> {
        let bytes = size.bytes().into();
        let at = self.stack().wrapping_sub(bytes) & self.cpu.stack_mask();
        if !allows(&self.cpu.segments.ss, at, bytes, true) {
            return Err(Exception::Stack(external));
        }
        self.push(size, value)
    }
}
