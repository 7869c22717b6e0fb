//! One connection, from its first byte to its end.

use engine_contract::{Met, VcpuId, Watched};
use gdbstub::common::Signal;
use gdbstub::conn::Connection as _;
use gdbstub::stub::state_machine::GdbStubStateMachine;
use gdbstub::stub::{DisconnectReason, GdbStubBuilder, MultiThreadStopReason};
use gdbstub::target::ext::breakpoints::WatchKind;
use machine_memory::GuestMemory;

use crate::gate::{Gate, News};
use crate::link::{Closed, Link};
use crate::target::{Target, thread};

/// Longest packet.
const PACKET_MAX: usize = 16 << 10;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The debugger is gone.
    Gone,
    /// The machine has ended.
    Ended,
    /// The debugger wants the machine to end.
    Killed,
}

type Machine<'g> = GdbStubStateMachine<'static, Target<'g>, Link<'g>>;
type Reason = MultiThreadStopReason<u64>;

/// Serves a debugger until either is gone. What cannot be understood ends the connection.
pub(crate) fn hold<'g>(link: Link<'g>, gate: &'g Gate, memory: &'g GuestMemory) -> Over {
    let mut target = Target::new(gate, memory);
    let stub = GdbStubBuilder::new(link).packet_buffer_size(PACKET_MAX);
    let machine = stub.build().ok();
    let mut machine = machine.and_then(|stub| stub.run_state_machine(&mut target).ok());
    while let Some(now) = machine.take() {
        machine = match now {
            GdbStubStateMachine::Disconnected(mut inner) => {
                let reason = inner.get_reason();
                if reason == DisconnectReason::Kill {
                    // gdb waits for it, and does not mind if not.
                    let _ = answer_kill(inner.borrow_conn());
                }
                return over(reason, gate);
            }
            other => step(other, &mut target, gate),
        };
    }
    if gate.is_over() {
        Over::Ended
    } else {
        Over::Gone
    }
}

/// `vKill` wants an answer, which the protocol's crate leaves out.
fn answer_kill(link: &mut Link<'_>) -> Result<(), Closed> {
    link.write_all(b"$OK#9a")?;
    link.flush()
}

fn over(reason: DisconnectReason, gate: &Gate) -> Over {
    match reason {
        DisconnectReason::Kill => Over::Killed,
        DisconnectReason::TargetExited(_) | DisconnectReason::TargetTerminated(_) => Over::Ended,
        DisconnectReason::Disconnect => {
            // Also what has not begun to run.
            gate.go_on(&[]);
            Over::Gone
        }
    }
}

/// Takes one byte, or news; `None`: the connection is to be closed.
fn step<'g>(machine: Machine<'g>, target: &mut Target<'g>, gate: &Gate) -> Option<Machine<'g>> {
    match machine {
        GdbStubStateMachine::Idle(mut inner) => match next(inner.borrow_conn(), gate) {
            Ok(Some(byte)) => inner.incoming_data(target, byte).ok(),
            Ok(None) if gate.is_over() => None,
            Ok(None) => Some(inner.into()),
            Err(Closed) => None,
        },
        GdbStubStateMachine::Running(mut inner) => {
            if let Some(reason) = reason(target, gate) {
                return inner.report_stop(target, reason).ok();
            }
            match next(inner.borrow_conn(), gate) {
                Ok(Some(byte)) => inner.incoming_data(target, byte).ok(),
                Ok(None) => Some(inner.into()),
                Err(Closed) => None,
            }
        }
        GdbStubStateMachine::CtrlCInterrupt(inner) => {
            // Of a machine that waits anyway it is not told again.
            let interrupted = (!gate.is_waiting()).then(|| {
                gate.hold();
                let signal = Signal::SIGINT;
                let tid = thread(VcpuId(0));
                Reason::SignalWithThread { tid, signal }
            });
            inner.interrupt_handled(target, interrupted).ok()
        }
        GdbStubStateMachine::Disconnected(_) => None,
    }
}

fn next(link: &mut Link<'_>, gate: &Gate) -> Result<Option<u8>, Closed> {
    if gate.is_over() && gate.status().is_none() {
        // How it ended is said in a moment.
        link.pause();
        return Ok(None);
    }
    link.next()
}

/// What a running machine stopped for, if it has.
fn reason(target: &mut Target<'_>, gate: &Gate) -> Option<Reason> {
    if let Some(status) = gate.status() {
        return Some(Reason::Exited(status));
    }
    let (id, news) = gate.news()?;
    let (tid, signal) = (thread(id), Signal::SIGTRAP);
    Some(match news {
        News::Met(Met::Step) => Reason::SignalWithThread { tid, signal },
        News::Met(Met::Breakpoint) => target.breakpoint_reason(id),
        News::Met(Met::Watchpoint(watchpoint)) => Reason::Watch {
            tid,
            kind: match watchpoint.kind {
                Watched::Writes => WatchKind::Write,
                Watched::Reads => WatchKind::Read,
                Watched::Accesses => WatchKind::ReadWrite,
            },
            addr: watchpoint.address,
        },
        News::TripleFault => {
            let signal = Signal::SIGSEGV;
            Reason::SignalWithThread { tid, signal }
        }
    })
}
