//! What a debugger, or a trace, asks of a virtual CPU.
//!
//! Addresses are linear. How they lead to memory is the same for every engine, a matter of `x86/paging`, and not
//! asked here.

use std::ops::RangeInclusive;
use std::sync::Arc;

use x86_state::CpuState;

use crate::{EngineError, VcpuId};

/// Stops a virtual CPU where a debugger wants it to; used between two runs. None of it is to be seen by the guest,
/// whose own debug registers go on working.
pub trait Debugging {
    /// How much of it there can be.
    fn limits(&self) -> Limits;

    /// Sets what stops it from now on; what was set before is forgotten.
    ///
    /// # Errors
    /// When that is more than the limits allow, or the engine cannot.
    fn set(&mut self, points: &Points) -> Result<(), EngineError>;
}

/// What stops a virtual CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Points {
    /// Before the instruction at one of these addresses, whatever lies there.
    pub breakpoints: Vec<u64>,
    /// After an access to one of these.
    pub watchpoints: Vec<Watchpoint>,
    /// After one instruction, one turn of a repeated one, or the delivery of an interrupt.
    pub steps: bool,
    /// No interrupt is delivered, unless one is what is waited for.
    pub holds_interrupts: bool,
    /// The instruction where it stands is executed, even if there is a breakpoint.
    pub passes: bool,
}

/// Memory that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchpoint {
    /// Its first byte.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// What is told of.
    pub kind: Watched,
}

/// Accesses that are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Writes.
    Writes,
    /// Reads; an engine that cannot tell them apart tells of writes, too.
    Reads,
    /// Both.
    Accesses,
}

/// What a virtual CPU met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// The end of a single step.
    Step,
    /// A breakpoint, before its instruction.
    Breakpoint,
    /// A watchpoint, after the access.
    Watchpoint(Watchpoint),
}

/// What there can be at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Breakpoints and watchpoints together.
    pub points: usize,
    /// Watched are 1, 2, 4 or 8 bytes, aligned to that.
    pub aligned: bool,
}

impl Limits {
    /// Whether all of these can be.
    #[must_use]
    pub fn allow(&self, points: &Points) -> bool {
        let fits = |watchpoint: &Watchpoint| {
            let (address, length) = (watchpoint.address, watchpoint.length);
            let is_word = matches!(length, 1 | 2 | 4 | 8) && address.is_multiple_of(length);
            length > 0 && (is_word || !self.aligned)
        };
        points.breakpoints.len() + points.watchpoints.len() <= self.points
            && points.watchpoints.iter().all(fits)
    }
}

/// Tells of each instruction that a virtual CPU executes.
pub trait Tracing {
    /// Tells `to` of those that begin in one of the ranges, from the next run on.
    fn trace(&mut self, ranges: &[RangeInclusive<u64>], to: Arc<dyn Tracer>);
}

/// Who is told.
pub trait Tracer: Send + Sync {
    /// A virtual CPU went from one state to the other by the instruction of these bytes, or by the exception that it
    /// raised; no bytes: it could not be fetched. Called from its thread.
    fn executed(&self, vcpu: VcpuId, before: &CpuState, after: &CpuState, code: &[u8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_of_all_points_and_of_what_is_watched() {
        let limits = Limits {
            points: 3,
            aligned: true,
        };
        let check = |breakpoints: usize, watched: &[(u64, u64)]| {
            let watchpoint = |&(address, length): &(u64, u64)| Watchpoint {
                address,
                length,
                kind: Watched::Writes,
            };
            limits.allow(&Points {
                breakpoints: vec![0; breakpoints],
                watchpoints: watched.iter().map(watchpoint).collect(),
                ..Points::default()
            })
        };
        assert!(check(3, &[]) && check(2, &[(4, 4)]) && check(1, &[(8, 8), (7, 1)]));
        assert!(!check(4, &[]) && !check(2, &[(0, 1), (1, 1)]));
        assert!(!check(0, &[(2, 4)]) && !check(0, &[(0, 3)]) && !check(0, &[(0, 0)]));
    }
}
