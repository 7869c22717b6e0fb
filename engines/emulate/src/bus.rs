//! What a virtual CPU reaches: memory by linear addresses, and the world.

use engine_contract::{VcpuId, Watchpoint, World};
use machine_bus::{GuestAddress, Nanos, Port};
use machine_irqchip::{Controllers, IO_APIC};
use machine_memory::{Frame, GuestMemory, Watch};
use x86_paging::{Access, EntrySize, Kind, MarkedTables, Paging, Privilege, Tables};
use x86_semantics::{Exception, Features, Forget, Memory, Size, System};

use crate::breakpoints::{Breakpoints, Cause};
use crate::contexts::Contexts;
use crate::identity::PHYSICAL_BITS;
use crate::interest::{self, Interest};
use crate::mode::Mode;
use crate::registers::Registers;
use crate::shared::Shared;
use crate::tlb::{Class, Tlb};
use crate::xen::Xen;

const PAGE: u64 = 0xfff;
const PAGE_SIZE: u64 = 0x1000;
/// In `IA32_APIC_BASE`: the local APIC is on; where it is.
const APIC_ON: u64 = 1 << 11;
const APIC_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Bits of a mode's number in a key.
const MODE_BITS: u32 = 4;
const MODE: u64 = (1 << MODE_BITS) - 1;

/// Everything around the registers.
pub(crate) struct Bus<'m> {
    pub(crate) tlb: Tlb<'m>,
    pub(crate) memory: &'m GuestMemory,
    pub(crate) watch: &'m Watch,
    pub(crate) world: &'m dyn World,
    pub(crate) shared: &'m Shared,
    pub(crate) vcpu: VcpuId,
    pub(crate) paging: Paging,
    /// Model-specific registers that are not the instructions'.
    pub(crate) registers: Registers,
    /// Where the guest's debugger wants to be told of accesses.
    pub(crate) breakpoints: Option<Breakpoints>,
    /// What others want.
    pub(crate) interest: &'m Interest,
    /// The watchpoint of theirs that was met.
    pub(crate) met: Option<Watchpoint>,
    /// Bits of a linear address, for what runs now.
    pub(crate) linear_mask: u64,
    /// What a remembered jump depends on beside its address: a generation, which ends with whatever blocks depend on, and
    /// in its last four bits the [mode](crate::mode::Mode::number).
    pub(crate) key: u64,
    contexts: Contexts,
    /// Pages that had got their first mark when this virtual CPU last looked.
    marked: u64,
    /// How often all had been told to forget their translations then.
    flushes: u64,
    /// A page that is larger than 4 KiB was translated since all was forgotten.
    has_large: bool,
    /// Where time passes with instructions: how many will have been executed when the budget is used up, and what
    /// is left of it after the one that is at work.
    pub(crate) end: u64,
    pub(crate) left: i64,
}

/// Page tables in memory.
struct InMemory<'m>(&'m GuestMemory);

impl Tables for InMemory<'_> {
    fn load(&self, address: u64, size: EntrySize) -> u64 {
        let Some(frame) = self.0.frame(address) else {
            return u64::MAX;
        };
        let offset = (address & PAGE) as usize;
        match size {
            EntrySize::Four => frame.load::<u32>(offset).into(),
            EntrySize::Eight => frame.load::<u64>(offset),
        }
    }
}

impl MarkedTables for InMemory<'_> {
    fn replace(&self, address: u64, size: EntrySize, before: u64, after: u64) -> bool {
        let Some(frame) = self.0.frame(address) else {
            return true;
        };
        let offset = (address & PAGE) as usize;
        match size {
            EntrySize::Four => frame.exchange(offset, before as u32, after as u32),
            EntrySize::Eight => frame.exchange(offset, before, after),
        }
    }
}

/// Where an access within a page leads.
#[derive(Clone, Copy)]
pub(crate) enum Place<'m> {
    Memory {
        frame: Frame<'m>,
        physical: u64,
        /// There is code in it.
        is_watched: bool,
    },
    /// Memory that the guest has put beside the machine's, and may put elsewhere: it is looked for each time, and code in it
    /// is executed instruction by instruction.
    Beside {
        frame: Frame<'m>,
        physical: u64,
    },
    Device(u64),
}

impl<'m> Bus<'m> {
    /// Everything around a virtual CPU; `None` without memory.
    pub(crate) fn new(
        memory: &'m GuestMemory,
        world: &'m dyn World,
        shared: &'m Shared,
        vcpu: VcpuId,
        registers: Registers,
    ) -> Option<Self> {
        let control = x86_state::Control::default();
        Some(Self {
            tlb: Tlb::new(memory)?,
            memory,
            watch: memory.watch(),
            world,
            shared,
            vcpu,
            paging: Paging::new(&control, PHYSICAL_BITS),
            registers,
            breakpoints: None,
            interest: &interest::NONE,
            met: None,
            linear_mask: u64::MAX,
            key: 1 << MODE_BITS,
            contexts: Contexts::new(),
            marked: memory.watch().fresh(),
            flushes: shared.xen.as_ref().map_or(0, Xen::flushes),
            has_large: false,
            end: 0,
            left: 0,
        })
    }

    fn controllers(&self) -> &Controllers {
        &self.shared.controllers
    }

    /// Notes how far time has come, where it passes with instructions.
    pub(crate) fn note_time(&self) {
        if let Some(counted) = self.shared.counted() {
            counted.set(self.end.wrapping_sub(self.left as u64));
        }
    }

    /// The machine's time.
    pub(crate) fn now(&self) -> Nanos {
        self.note_time();
        self.shared.now()
    }

    /// The machine's time stamp.
    pub(crate) fn machine_stamp(&self) -> u64 {
        self.note_time();
        self.shared.time_stamp()
    }

    /// What lies outside was reached: where time passes with instructions, somebody may wait for another moment now.
    fn look_around(&self) {
        if let Some(rounds) = self.shared.rounds() {
            rounds.call(self.vcpu);
        }
    }

    /// Forgets all translations, and what was found by them.
    pub(crate) fn forget_all(&mut self) {
        self.contexts.forget_others();
        self.begin();
        self.has_large = false;
    }

    /// The same when control registers came from elsewhere.
    pub(crate) fn begin_anew(&mut self) {
        self.forget_all();
        self.contexts.lose();
    }

    /// Forgets what was found in this context.
    fn begin(&mut self) {
        if self.tlb.begin() {
            self.contexts.forget_others();
        }
        let generation = self.contexts.generation();
        self.set_generation(generation);
    }

    const fn set_generation(&mut self, generation: u64) {
        self.key = generation << MODE_BITS | self.key & MODE;
    }

    /// Code is decoded as in this mode from now on.
    pub(crate) const fn set_mode(&mut self, mode: Mode) {
        self.key = self.key & !MODE | mode.number();
    }

    /// Forgets which blocks code leads to.
    pub(crate) fn forget_jumps(&mut self) {
        let generation = self.contexts.generation_for_all();
        self.set_generation(generation);
    }

    /// Goes to another context, and what was found there.
    fn enter(&mut self, context: u16) {
        if self.contexts.now() == Some(context) {
            return;
        }
        let (epoch, generation) = (self.tlb.epoch(), self.key >> MODE_BITS);
        let is_known = self.contexts.now().is_some();
        match self.contexts.change(epoch, generation, context) {
            Some(found) => {
                self.tlb.resume(found.epoch);
                self.set_generation(found.generation);
            }
            None if is_known => self.begin(),
            None => self.forget_all(),
        }
    }

    /// Another virtual CPU had its turn: it may have found code where this one writes, or have had all of them forget what
    /// they translated.
    pub(crate) fn see_marks(&mut self) {
        let marked = self.watch.fresh();
        let flushes = self.shared.xen.as_ref().map_or(0, Xen::flushes);
        if (marked, flushes) != (self.marked, self.flushes) {
            (self.marked, self.flushes) = (marked, flushes);
            self.forget_all();
        }
    }

    /// This virtual CPU has found code on a page for the first time.
    pub(crate) fn see_mark(&mut self, page: u64) {
        self.marked += 1;
        self.tlb.forget_writes(page);
        // And others, if it is not the only one.
        self.see_marks();
    }

    /// The page with code at a linear address: its memory and physical address. `None` where it is not
    /// memory.
    pub(crate) fn code(
        &mut self,
        linear: u64,
        privilege: Privilege,
    ) -> Result<Option<(Frame<'m>, u64)>, Exception> {
        let kind = Kind::Fetch;
        match self.place(linear, Access { kind, privilege })? {
            Place::Memory {
                frame, physical, ..
            } => Ok(Some((frame, physical & !PAGE))),
            Place::Beside { .. } | Place::Device(_) => Ok(None),
        }
    }

    /// Looks for the translation of an access by what runs now, which may be found afterwards.
    pub(crate) fn prepare(&mut self, linear: u64, access: Access) {
        // Whether it may be is seen when it is done.
        let _ = self.place(linear, access);
    }

    /// Where an access to one byte leads.
    pub(crate) fn place(&mut self, linear: u64, access: Access) -> Result<Place<'m>, Exception> {
        let class = Class::of(access.privilege);
        if let Some((frame, physical)) = self.tlb.find(class, access.kind, linear) {
            return Ok(Place::Memory {
                frame,
                physical: physical | linear & PAGE,
                is_watched: false,
            });
        }
        let tables = InMemory(self.memory);
        let mapping = self.paging.translate(&tables, linear, access);
        let mapping = mapping.map_err(|fault| Exception::Page {
            code: fault.code.bits(),
            address: fault.address,
        })?;
        self.has_large |= mapping.page_shift > 12;
        let physical = mapping.physical;
        let Some(frame) = self
            .memory
            .frame(physical)
            .filter(|_| !self.is_local(physical))
        else {
            return Ok(self.beside(physical));
        };
        let is_watched = access.kind == Kind::Write && self.watch.is_marked(self.memory, physical);
        let is_quick = access.kind == Kind::Fetch || !self.interest.watches_page(linear);
        if !is_watched && is_quick {
            let (kind, page) = (access.kind, physical & !PAGE);
            self.tlb.keep(class, kind, linear, frame, page);
        }
        Ok(Place::Memory {
            frame,
            physical,
            is_watched,
        })
    }

    /// Where an access leads that is not to the machine's memory.
    fn beside(&self, physical: u64) -> Place<'m> {
        let xen = self.shared.xen.as_ref();
        let frame = xen.and_then(|xen| xen.page_at(physical));
        match frame.filter(|_| !self.is_local(physical)) {
            Some(frame) => Place::Beside { frame, physical },
            None => Place::Device(physical),
        }
    }

    /// Tells breakpoints of an access of the program's.
    fn meet(&mut self, address: u64, bytes: usize, access: Access) {
        if let Some(met) = self.interest.watching(address, bytes as u64, access) {
            self.met.get_or_insert(met);
        }
        let Some(breakpoints) = &mut self.breakpoints else {
            return;
        };
        let cause = match access.kind {
            Kind::Write => Cause::Write,
            Kind::Read => Cause::Read,
            Kind::Fetch => return,
        };
        if access.privilege != Privilege::Implicit {
            breakpoints.meet(address, bytes as u64, cause);
        }
    }

    /// Tells breakpoints of ports.
    fn meet_port(&mut self, port: u16, size: Size) {
        if let Some(breakpoints) = &mut self.breakpoints {
            breakpoints.meet(port.into(), size.bytes().into(), Cause::Port);
        }
    }

    /// Whether an address is the local APIC's.
    const fn is_local(&self, physical: u64) -> bool {
        let base = self.registers.apic_base;
        base & APIC_ON != 0 && physical & !PAGE == base & APIC_ADDRESS
    }

    /// The linear address of the page behind.
    const fn behind(&self, linear: u64) -> u64 {
        let next = (linear | PAGE).wrapping_add(1);
        next & self.linear_mask
    }

    pub(crate) fn read_place(&mut self, place: Place<'m>, into: &mut [u8]) {
        match place {
            Place::Memory {
                frame, physical, ..
            }
            | Place::Beside { frame, physical } => frame.read((physical & PAGE) as usize, into),
            Place::Device(physical) => self.read_device(physical, into),
        }
    }

    pub(crate) fn write_place(&mut self, place: Place<'m>, bytes: &[u8]) {
        match place {
            Place::Memory {
                frame,
                physical,
                is_watched,
            } => {
                frame.write((physical & PAGE) as usize, bytes);
                if is_watched {
                    self.watch.note(self.memory, physical, bytes.len() as u64);
                }
            }
            Place::Beside { frame, physical } => frame.write((physical & PAGE) as usize, bytes),
            Place::Device(physical) => self.write_device(physical, bytes),
        }
    }

    fn read_device(&mut self, physical: u64, into: &mut [u8]) {
        let now = self.now();
        let vcpu = self.vcpu;
        let offset = (physical & PAGE) as u16;
        if self.is_local(physical) {
            read_register(offset, into, |at| {
                self.controllers().read_local(vcpu, at, now)
            });
        } else if is_within(physical, IO_APIC.0, IO_APIC.1) {
            read_register(offset, into, |at| self.controllers().read_io(at));
        } else {
            for (at, part) in parts(physical, into) {
                self.world.mmio_read(GuestAddress(at), part);
            }
            self.look_around();
        }
    }

    fn write_device(&mut self, physical: u64, bytes: &[u8]) {
        let now = self.now();
        let offset = (physical & PAGE) as u16;
        let mut low = [0; 4];
        let count = bytes.len().min(4);
        low[..count].copy_from_slice(&bytes[..count]);
        let value = u32::from_le_bytes(low);
        if self.is_local(physical) {
            let at = offset & !0xf;
            self.controllers().write_local(self.vcpu, at, value, now);
        } else if is_within(physical, IO_APIC.0, IO_APIC.1) {
            self.controllers().write_io(offset & !0xf, value);
        } else {
            // Images of the registers are longer than any other operand.
            let mut copy = bytes.to_vec();
            for (at, part) in parts(physical, &mut copy) {
                self.world.mmio_write(GuestAddress(at), part);
            }
            self.look_around();
        }
    }
}

const fn is_within(address: u64, start: u64, length: u64) -> bool {
    address >= start && address - start < length
}

/// Reads of a register of 32 bits, in a place of 16 bytes.
fn read_register(offset: u16, into: &mut [u8], read: impl FnOnce(u16) -> u32) {
    let value = u64::from(read(offset & !0xf)) >> (8 * (offset & 0xf).min(7));
    into.fill(0);
    let count = into.len().min(8);
    into[..count].copy_from_slice(&value.to_le_bytes()[..count]);
}

/// An access as a bus has it: by 1, 2, 4 or 8 bytes, aligned to that.
fn parts(start: u64, bytes: &mut [u8]) -> impl Iterator<Item = (u64, &mut [u8])> {
    let (mut at, mut rest) = (start, bytes);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let fits = |count: &usize| rest.len() >= *count && at.is_multiple_of(*count as u64);
        let count = [8, 4, 2].into_iter().find(fits).unwrap_or(1);
        let (part, behind) = std::mem::take(&mut rest).split_at_mut(count);
        rest = behind;
        let place = at;
        at = at.wrapping_add(count as u64);
        Some((place, part))
    })
}

/// The bits of a value of `size` as a number.
fn number(size: Size, bytes: [u8; 8]) -> u64 {
    size.cut(u64::from_le_bytes(bytes))
}

impl Memory for Bus<'_> {
    fn read(&mut self, address: u64, size: Size, access: Access) -> Result<u64, Exception> {
        let mut bytes = [0; 8];
        self.read_bytes(address, &mut bytes[..size.bytes() as usize], access)?;
        Ok(number(size, bytes))
    }

    fn write(
        &mut self,
        address: u64,
        size: Size,
        value: u64,
        privilege: Privilege,
    ) -> Result<(), Exception> {
        let bytes = value.to_le_bytes();
        self.write_bytes(address, &bytes[..size.bytes() as usize], privilege)
    }

    fn read_bytes(
        &mut self,
        address: u64,
        into: &mut [u8],
        access: Access,
    ) -> Result<(), Exception> {
        let place = self.place(address, access)?;
        self.meet(address, into.len(), access);
        let room = (PAGE_SIZE - (address & PAGE)) as usize;
        if into.len() <= room {
            self.read_place(place, into);
            return Ok(());
        }
        let behind = self.place(self.behind(address), access)?;
        let (first, second) = into.split_at_mut(room);
        self.read_place(place, first);
        self.read_place(behind, second);
        Ok(())
    }

    fn write_bytes(
        &mut self,
        address: u64,
        bytes: &[u8],
        privilege: Privilege,
    ) -> Result<(), Exception> {
        let kind = Kind::Write;
        let access = Access { kind, privilege };
        let place = self.place(address, access)?;
        self.meet(address, bytes.len(), access);
        let room = (PAGE_SIZE - (address & PAGE)) as usize;
        if bytes.len() <= room {
            self.write_place(place, bytes);
            return Ok(());
        }
        let behind = self.place(self.behind(address), access)?;
        let (first, second) = bytes.split_at(room);
        self.write_place(place, first);
        self.write_place(behind, second);
        Ok(())
    }

    fn exchange(
        &mut self,
        address: u64,
        size: Size,
        (old, new): (u64, u64),
        privilege: Privilege,
    ) -> Result<bool, Exception> {
        let kind = Kind::Write;
        let access = Access { kind, privilege };
        let place = self.place(address, access)?;
        let is_within = (address & PAGE) + u64::from(size.bytes()) <= PAGE_SIZE;
        self.meet(address, size.bytes() as usize, access);
        let memory = match place {
            Place::Memory {
                frame,
                physical,
                is_watched,
            } => Some((frame, physical, is_watched)),
            Place::Beside { frame, physical } => Some((frame, physical, false)),
            Place::Device(_) => None,
        };
        if let Some((frame, physical, is_watched)) = memory
            && is_within
        {
            let offset = (physical & PAGE) as usize;
            let done = match size {
                Size::Byte => frame.exchange(offset, old as u8, new as u8),
                Size::Word => frame.exchange(offset, old as u16, new as u16),
                Size::Double => frame.exchange(offset, old as u32, new as u32),
                Size::Quad => frame.exchange(offset, old, new),
            };
            if done && is_watched {
                let bytes = size.bytes().into();
                self.watch.note(self.memory, physical, bytes);
            }
            return Ok(done);
        }
        let last = address.wrapping_add(u64::from(size.bytes()) - 1) & self.linear_mask;
        let is_device = |place| matches!(place, Place::Device(_));
        if is_device(place) || !is_within && is_device(self.place(last, access)?) {
            // It is read once and written once: what it says next may be something else, for ever.
            self.write(address, size, new, privilege)?;
            return Ok(true);
        }
        // Across pages: one virtual CPU runs at a time, so no other sees the middle.
        let is_old = self.read(address, size, access)? == old;
        if is_old {
            self.write(address, size, new, privilege)?;
        }
        Ok(is_old)
    }

    fn system(&mut self) -> Option<&mut dyn System> {
        Some(self)
    }
}

impl System for Bus<'_> {
    fn features(&self) -> Features {
        self.shared.identity.features()
    }

    fn port_read(&mut self, port: u16, size: Size) -> u64 {
        let count = size.bytes() as usize;
        let mut bytes = [0xff; 8];
        self.meet_port(port, size);
        if Controllers::pic_port(port).is_some() {
            for (byte, port) in bytes[..count].iter_mut().zip(port..) {
                let offset = Controllers::pic_port(port);
                *byte = offset.map_or(0xff, |offset| self.controllers().read_pic(offset));
            }
        } else {
            self.note_time();
            self.world.port_read(Port(port), &mut bytes[..count]);
            self.look_around();
        }
        number(size, bytes)
    }

    fn port_write(&mut self, port: u16, size: Size, value: u64) {
        let bytes = value.to_le_bytes();
        let bytes = &bytes[..size.bytes() as usize];
        self.meet_port(port, size);
        if Controllers::pic_port(port).is_none() {
            self.note_time();
            self.world.port_write(Port(port), bytes);
            return self.look_around();
        }
        for (byte, port) in bytes.iter().zip(port..) {
            if let Some(offset) = Controllers::pic_port(port) {
                self.controllers().write_pic(offset, *byte);
            }
        }
    }

    fn identify(&mut self, leaf: u32, index: u32) -> [u32; 4] {
        self.shared.identity.answer(self.vcpu, leaf, index)
    }

    fn time_stamp(&mut self) -> u64 {
        self.stamp()
    }

    fn random(&mut self) -> Option<u64> {
        self.shared.random()
    }

    fn physical(&mut self, address: u64) -> u64 {
        InMemory(self.memory).load(address, EntrySize::Eight)
    }

    fn forget(&mut self, which: Forget, control: &x86_state::Control) {
        self.paging = Paging::new(control, PHYSICAL_BITS);
        match which {
            Forget::Page(linear) if !self.has_large => {
                self.tlb.forget_page(linear);
                self.forget_jumps();
            }
            Forget::Page(_) | Forget::All => self.forget_all(),
            Forget::Context(context) => self.contexts.forget(context),
            Forget::Nothing => {}
        }
        let context = control.context();
        let is_present = self.contexts.now() == Some(context);
        self.enter(context);
        if is_present && which == Forget::Context(context) {
            self.begin();
        }
    }

    fn model_specific(&mut self, number: u32) -> Option<u64> {
        self.read_register(number)
    }

    fn set_model_specific(&mut self, number: u32, value: u64) -> bool {
        self.write_register(number, value)
    }

    fn task_priority(&mut self) -> u8 {
        let class = self
            .controllers()
            .with_local(self.vcpu, |apic| apic.task_class());
        class.unwrap_or(0)
    }

    fn set_task_priority(&mut self, priority: u8) {
        let set = |apic: &mut device_legacy::lapic::LocalApic| apic.set_task_class(priority);
        self.controllers().with_local(self.vcpu, set);
    }
}
