//! What gdb's protocol asks of a machine. A thread is a virtual CPU, by its number from 1.
//!
//! Anything may be asked at any time: of a machine that runs, most of it is refused.

use std::convert::Infallible;
use std::num::NonZeroUsize;

use engine_contract::{Points, VcpuId, Watched, Watchpoint};
use gdbstub::arch::{Arch, RegId, Registers};
use gdbstub::common::{Signal, Tid};
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadResume, MultiThreadResumeOps, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::base::single_register_access::{
    SingleRegisterAccess, SingleRegisterAccessOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps,
    SwBreakpoint, SwBreakpointOps, WatchKind,
};
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd, MonitorCmdOps};
use gdbstub::target::ext::target_description_xml_override::{
    TargetDescriptionXmlOverride, TargetDescriptionXmlOverrideOps,
};
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{TargetError, TargetResult};
use machine_memory::GuestMemory;
use x86_listing::{bitness, code_address};
use x86_state::CpuState;

use crate::description::describe;
use crate::gate::{Gate, Order};
use crate::memory;
use crate::monitor::Monitor;
use crate::registers::{self, Layout, Row};

/// `EFAULT`, as gdb has errors.
const FAULT: u8 = 14;

/// The processor, as the protocol's crate wants it; which registers it has is not known before.
pub(crate) enum X86 {}

/// All registers, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bank {
    bytes: Vec<u8>,
    pointer: u64,
}

/// A register's number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(usize);

impl RegId for Number {
    fn from_raw_id(id: usize) -> Option<(Self, Option<NonZeroUsize>)> {
        Some((Self(id), None))
    }
}

impl Registers for Bank {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        self.pointer
    }

    fn gdb_serialize(&self, mut write_byte: impl FnMut(Option<u8>)) {
        self.bytes.iter().for_each(|byte| write_byte(Some(*byte)));
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.bytes = bytes.to_vec();
        Ok(())
    }
}

impl Arch for X86 {
    type Usize = u64;
    type Registers = Bank;
    type BreakpointKind = usize;
    type RegId = Number;
}

/// The thread of a virtual CPU.
pub(crate) fn thread(id: VcpuId) -> Tid {
    Tid::MIN.saturating_add(id.0 as usize)
}

/// The virtual CPU of a thread; there may be none.
fn vcpu(tid: Tid) -> VcpuId {
    VcpuId(u32::try_from(tid.get() - 1).unwrap_or(u32::MAX))
}

/// Points as gdb has them: a place can be in both lists of breakpoints.
#[derive(Default)]
struct Lists {
    software: Vec<u64>,
    hardware: Vec<u64>,
    watchpoints: Vec<Watchpoint>,
}

/// One of the lists.
type List<T> = fn(&mut Lists) -> &mut Vec<T>;

/// A machine for one debugger.
pub(crate) struct Target<'g> {
    gate: &'g Gate,
    memory: &'g GuestMemory,
    rows: Vec<Row>,
    description: String,
    lists: Lists,
    orders: Vec<Option<Order>>,
    /// Those without an order wait.
    is_locked: bool,
    /// The virtual CPU that was asked about last.
    current: VcpuId,
}

impl<'g> Target<'g> {
    pub(crate) fn new(gate: &'g Gate, memory: &'g GuestMemory) -> Self {
        let first = gate.state(VcpuId(0));
        let layout = first.map_or(Layout::Amd64, |state| Layout::of(&state));
        Self {
            gate,
            memory,
            rows: layout.rows(),
            description: describe(layout),
            lists: Lists::default(),
            orders: Vec::new(),
            is_locked: false,
            current: VcpuId(0),
        }
    }

    fn state(&mut self, tid: Tid) -> TargetResult<CpuState, Self> {
        self.current = vcpu(tid);
        let state = self.gate.state(self.current);
        state.ok_or(TargetError::NonFatal)
    }

    fn set_state(&self, tid: Tid, state: CpuState) -> TargetResult<(), Self> {
        let is_set = self.gate.set_state(vcpu(tid), state);
        is_set.then_some(()).ok_or(TargetError::NonFatal)
    }

    fn row(&self, number: Number) -> TargetResult<Row, Self> {
        let row = self.rows.get(number.0);
        row.copied().ok_or(TargetError::NonFatal)
    }

    /// Sets what the lists say; whether there is room.
    fn set_points(&self) -> bool {
        let mut breakpoints = [self.lists.software.as_slice(), &self.lists.hardware].concat();
        breakpoints.sort_unstable();
        breakpoints.dedup();
        self.gate.set_points(Points {
            breakpoints,
            watchpoints: self.lists.watchpoints.clone(),
            ..Points::default()
        })
    }

    /// Adds a point, and takes it back if there is no room for it.
    fn add<T: Copy + PartialEq>(&mut self, list: List<T>, point: T) -> bool {
        if list(&mut self.lists).contains(&point) {
            return true;
        }
        list(&mut self.lists).push(point);
        let is_set = self.set_points();
        if !is_set {
            list(&mut self.lists).pop();
        }
        is_set
    }

    /// Removes one; whether it was there.
    fn remove<T: Copy + PartialEq>(&mut self, list: List<T>, point: T) -> bool {
        let list = list(&mut self.lists);
        let before = list.len();
        list.retain(|other| *other != point);
        before > list.len() && self.set_points()
    }

    /// Why a virtual CPU stopped at a breakpoint. Where its instruction pointer is no linear address, gdb does not
    /// know of a breakpoint there, and is only told that it stopped.
    pub(crate) fn breakpoint_reason(&self, id: VcpuId) -> MultiThreadStopReason<u64> {
        let (tid, signal) = (thread(id), Signal::SIGTRAP);
        let state = self.gate.state(id);
        let here = state.filter(|state| code_address(state) == state.rip);
        match here.map(|state| state.rip) {
            Some(here) if self.lists.software.contains(&here) => {
                MultiThreadStopReason::SwBreak(tid)
            }
            Some(here) if self.lists.hardware.contains(&here) => {
                MultiThreadStopReason::HwBreak(tid)
            }
            _ => MultiThreadStopReason::SignalWithThread { tid, signal },
        }
    }
}

impl gdbstub::target::Target for Target<'_> {
    type Arch = X86;
    type Error = Infallible;

    fn base_ops(&mut self) -> BaseOps<'_, X86, Infallible> {
        BaseOps::MultiThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }

    fn support_target_description_xml_override(
        &mut self,
    ) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }
}

impl TargetDescriptionXmlOverride for Target<'_> {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        if annex != b"target.xml" {
            return Err(TargetError::NonFatal);
        }
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self
            .description
            .as_bytes()
            .get(offset..)
            .unwrap_or_default();
        let count = rest.len().min(length).min(buf.len());
        for (to, from) in buf.iter_mut().zip(rest.iter().take(count)) {
            *to = *from;
        }
        Ok(count)
    }
}

impl MultiThreadBase for Target<'_> {
    fn read_registers(&mut self, regs: &mut Bank, tid: Tid) -> TargetResult<(), Self> {
        let state = self.state(tid)?;
        let bytes = |row| registers::read(&state, row);
        regs.bytes = self.rows.iter().flat_map(bytes).collect();
        regs.pointer = state.rip;
        Ok(())
    }

    fn write_registers(&mut self, regs: &Bank, tid: Tid) -> TargetResult<(), Self> {
        let mut state = self.state(tid)?;
        let mut rest = regs.bytes.as_slice();
        for row in &self.rows {
            let (bytes, behind) = rest
                .split_at_checked(row.bits / 8)
                .ok_or(TargetError::NonFatal)?;
            registers::write(&mut state, row, bytes);
            rest = behind;
        }
        self.set_state(tid, state)
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, Tid, Self>> {
        Some(self)
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8], tid: Tid) -> TargetResult<usize, Self> {
        let state = self.state(tid)?;
        match memory::read(self.memory, &state, start, data) {
            0 if !data.is_empty() => Err(TargetError::Errno(FAULT)),
            count => Ok(count),
        }
    }

    fn write_addrs(&mut self, start: u64, data: &[u8], tid: Tid) -> TargetResult<(), Self> {
        let state = self.state(tid)?;
        let is_written = memory::write(self.memory, &state, start, data);
        is_written.then_some(()).ok_or(TargetError::Errno(FAULT))
    }

    fn list_active_threads(&mut self, active: &mut dyn FnMut(Tid)) -> Result<(), Infallible> {
        for (number, is_there) in (0..).zip(self.gate.members()) {
            if is_there {
                active(thread(VcpuId(number)));
            }
        }
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl SingleRegisterAccess<Tid> for Target<'_> {
    fn read_register(
        &mut self,
        tid: Tid,
        number: Number,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        let row = self.row(number)?;
        let bytes = registers::read(&self.state(tid)?, &row);
        let place = buf.get_mut(..bytes.len()).ok_or(TargetError::NonFatal)?;
        place.copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn write_register(&mut self, tid: Tid, number: Number, val: &[u8]) -> TargetResult<(), Self> {
        let row = self.row(number)?;
        let mut state = self.state(tid)?;
        if !registers::write(&mut state, &row, val) {
            return Err(TargetError::NonFatal);
        }
        self.set_state(tid, state)
    }
}

impl ThreadExtraInfo for Target<'_> {
    fn thread_extra_info(&self, tid: Tid, buf: &mut [u8]) -> Result<usize, Infallible> {
        let text = match self.gate.state(vcpu(tid)) {
            None => "does not stop".to_owned(),
            Some(state) if state.events.awaits_startup => "waits to be started".to_owned(),
            Some(state) if state.events.halted => "halted".to_owned(),
            Some(state) => format!("{} bits", bitness(&state)),
        };
        let text = format!("virtual CPU {}, {text}", vcpu(tid).0);
        let count = text.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        Ok(count)
    }
}

impl Target<'_> {
    fn order(&mut self, tid: Tid, order: Order) {
        let place = self.orders.get_mut(vcpu(tid).0 as usize);
        if let Some(place) = place {
            // gdb has the first that fits count.
            place.get_or_insert(order);
        }
    }
}

impl MultiThreadResume for Target<'_> {
    fn resume(&mut self) -> Result<(), Infallible> {
        // One that runs needs no word.
        if self.gate.is_waiting() {
            let others = if self.is_locked {
                Order::Stay
            } else {
                Order::Run
            };
            let orders = self.orders.iter().map(|order| order.unwrap_or(others));
            self.gate.go_on(&orders.collect::<Vec<_>>());
        }
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), Infallible> {
        self.orders = vec![None; self.gate.members().len()];
        self.is_locked = false;
        Ok(())
    }

    fn set_resume_action_continue(
        &mut self,
        tid: Tid,
        _: Option<Signal>,
    ) -> Result<(), Infallible> {
        self.order(tid, Order::Run);
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSingleStep for Target<'_> {
    fn set_resume_action_step(&mut self, tid: Tid, _: Option<Signal>) -> Result<(), Infallible> {
        self.order(tid, Order::Step);
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for Target<'_> {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Infallible> {
        self.is_locked = true;
        Ok(())
    }
}

impl Breakpoints for Target<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Target<'_> {
    fn add_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.add(|lists| &mut lists.software, address))
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.remove(|lists| &mut lists.software, address))
    }
}

impl HwBreakpoint for Target<'_> {
    fn add_hw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.add(|lists| &mut lists.hardware, address))
    }

    fn remove_hw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.remove(|lists| &mut lists.hardware, address))
    }
}

/// As engines have it.
const fn watchpoint(address: u64, length: u64, kind: WatchKind) -> Watchpoint {
    let kind = match kind {
        WatchKind::Write => Watched::Writes,
        WatchKind::Read => Watched::Reads,
        WatchKind::ReadWrite => Watched::Accesses,
    };
    Watchpoint {
        address,
        length,
        kind,
    }
}

impl HwWatchpoint for Target<'_> {
    fn add_hw_watchpoint(
        &mut self,
        address: u64,
        length: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        let watchpoint = watchpoint(address, length, kind);
        Ok(self.add(|lists| &mut lists.watchpoints, watchpoint))
    }

    fn remove_hw_watchpoint(
        &mut self,
        address: u64,
        length: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        let watchpoint = watchpoint(address, length, kind);
        Ok(self.remove(|lists| &mut lists.watchpoints, watchpoint))
    }
}

impl MonitorCmd for Target<'_> {
    fn handle_monitor_cmd(
        &mut self,
        command: &[u8],
        mut out: ConsoleOutput<'_>,
    ) -> Result<(), Infallible> {
        let monitor = Monitor {
            gate: self.gate,
            memory: self.memory,
            current: self.current,
        };
        let mut answer = monitor.answer(command);
        answer.push('\n');
        out.write_raw(answer.as_bytes());
        Ok(())
    }
}
