//! What a debugger or a trace wants to be told of: apart from the guest's own debug registers, and nothing that
//! the guest could see.
//!
//! Blocks end before an instruction that somebody is interested in, which is one of its own and goes by a
//! [step](Core::step); pages with watchpoints are kept out of the quick translations. So what nobody looks at runs
//! as always.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use engine_contract::{
    Debugging, EngineError, Limits, Points, Tracer, Tracing, Watched, Watchpoint,
};
use iced_x86::Instruction;
use x86_paging::{Access, Kind, Privilege};
use x86_semantics::{CodeSize, Memory};
use x86_state::CpuState;

use crate::blocks::Start;
use crate::core::Core;
use crate::decode;
use crate::state::{Waiting, Whole};
use crate::vcpu::EmulatedVcpu;

const PAGE: u64 = !0xfff;
/// Many enough for everybody, and few enough to be looked through.
const LIMITS: Limits = Limits {
    points: 4096,
    aligned: false,
};

/// What stops a virtual CPU, and what is told of its instructions.
#[derive(Clone, Default)]
pub(crate) struct Interest {
    breakpoints: BTreeSet<u64>,
    watchpoints: Vec<Watchpoint>,
    /// One instruction, and no more.
    pub(crate) steps: bool,
    /// No interrupt meanwhile, unless one is what is waited for.
    pub(crate) holds_interrupts: bool,
    /// The instruction where it stands is executed in any case.
    pub(crate) passes: bool,
    traced: Vec<RangeInclusive<u64>>,
    tracer: Option<Arc<dyn Tracer>>,
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interest").finish_non_exhaustive()
    }
}

/// Nobody's.
pub(crate) static NONE: Interest = Interest {
    breakpoints: BTreeSet::new(),
    watchpoints: Vec::new(),
    steps: false,
    holds_interrupts: false,
    passes: false,
    traced: Vec::new(),
    tracer: None,
};

impl Interest {
    /// Whether a repeated instruction does one turn at a time.
    pub(crate) fn is_by_turns(&self) -> bool {
        self.steps || !self.watchpoints.is_empty()
    }

    pub(crate) fn stops_before(&self, linear: u64) -> bool {
        self.breakpoints.contains(&linear)
    }

    pub(crate) fn traces(&self, linear: u64) -> bool {
        self.traced.iter().any(|range| range.contains(&linear))
    }

    /// Whether an instruction is looked at for itself.
    pub(crate) fn is_in(&self, linear: u64) -> bool {
        self.stops_before(linear) || self.traces(linear)
    }

    /// Where code of a segment lies, if that matters to what it is decoded to.
    pub(crate) fn base(&self, rip: u64, linear: u64) -> u64 {
        if self.breakpoints.is_empty() && self.traced.is_empty() {
            return 0;
        }
        linear.wrapping_sub(rip)
    }

    /// Of a block's instructions, those before the first that somebody is interested in, but at least one.
    pub(crate) fn cut(&self, start: &Start, instructions: &mut Vec<Instruction>) {
        let mask = match start.mode.size {
            CodeSize::Quad => u64::MAX,
            _ => 0xffff_ffff,
        };
        let place = |instruction: &Instruction| instruction.ip().wrapping_add(start.base) & mask;
        let mut rest = instructions.iter().skip(1);
        if let Some(before) = rest.position(|instruction| self.is_in(place(instruction))) {
            instructions.truncate(before + 1);
        }
    }

    /// Whether accesses to a page are looked at.
    pub(crate) fn watches_page(&self, linear: u64) -> bool {
        let page = linear & PAGE;
        self.watchpoints.iter().any(|watchpoint| {
            let last = watchpoint.address.wrapping_add(watchpoint.length - 1);
            (watchpoint.address & PAGE..=last & PAGE).contains(&page)
        })
    }

    /// The watchpoint that an access meets.
    pub(crate) fn watching(&self, start: u64, length: u64, access: Access) -> Option<Watchpoint> {
        if self.watchpoints.is_empty() || access.privilege == Privilege::Implicit {
            return None;
        }
        let meets = |watchpoint: &&Watchpoint| {
            let overlaps = watchpoint.address.wrapping_sub(start) < length
                || start.wrapping_sub(watchpoint.address) < watchpoint.length;
            let is_kind = match watchpoint.kind {
                Watched::Accesses => access.kind != Kind::Fetch,
                Watched::Reads => access.kind == Kind::Read,
                Watched::Writes => access.kind == Kind::Write,
            };
            overlaps && is_kind
        };
        self.watchpoints.iter().find(meets).copied()
    }
}

impl Core<'_> {
    /// Executes the one instruction at `rip`, and tells of it.
    pub(crate) fn step_told(&mut self, linear: u64) {
        let Some(tracer) = &self.bus.interest.tracer else {
            return self.step_untold();
        };
        let code = self.bytes_at(linear);
        let before = self.shown();
        self.step_untold();
        tracer.executed(self.bus.vcpu, &before, &self.shown(), &code);
    }

    /// The bytes of the instruction at `rip`; none if they cannot be fetched.
    fn bytes_at(&mut self, linear: u64) -> Vec<u8> {
        let Ok(instruction) = decode::one(self) else {
            return Vec::new();
        };
        let mut bytes = vec![0; instruction.len()];
        let (kind, privilege) = (Kind::Fetch, self.cpu.privilege());
        let read = self
            .bus
            .read_bytes(linear, &mut bytes, Access { kind, privilege });
        read.map_or(Vec::new(), |()| bytes)
    }

    fn shown(&self) -> CpuState {
        let whole = Whole {
            cpu: self.cpu.clone(),
            vectors: self.vectors.clone(),
            registers: self.bus.registers,
            waiting: Waiting {
                nmi_masked: self.nmi_masked,
                ..Waiting::default()
            },
        };
        whole.show()
    }
}

impl Debugging for EmulatedVcpu {
    fn limits(&self) -> Limits {
        LIMITS
    }

    fn set(&mut self, points: &Points) -> Result<(), EngineError> {
        if !LIMITS.allow(points) {
            let why = "these are more than there can be";
            return Err(EngineError::new("a debugger's points", why));
        }
        let interest = &mut self.interest;
        interest.breakpoints = points.breakpoints.iter().copied().collect();
        interest.watchpoints.clone_from(&points.watchpoints);
        (interest.steps, interest.passes) = (points.steps, points.passes);
        interest.holds_interrupts = points.holds_interrupts;
        Ok(())
    }
}

impl Tracing for EmulatedVcpu {
    fn trace(&mut self, ranges: &[RangeInclusive<u64>], to: Arc<dyn Tracer>) {
        self.interest.traced = ranges.to_vec();
        self.interest.tracer = Some(to);
    }
}
