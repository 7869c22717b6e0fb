//! The threads of the virtual CPUs.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use engine_contract::{EngineError, Machine, Stop, Vcpu, VcpuId};
use machine_board::{Ending, Ends, Running};
use machine_debugger::Debugger;
use x86_state::CpuState;

use crate::error::Failure;

/// Takes all of them; the end of the machine kicks each.
pub(super) fn take(
    machine: &mut dyn Machine,
    count: u32,
    ends: &Ends,
) -> Result<Vec<Box<dyn Vcpu>>, Failure> {
    let mut vcpus = Vec::new();
    for id in 0..count {
        let vcpu = machine.vcpu(VcpuId(id))?;
        ends.kick_too(vcpu.kick());
        vcpus.push(vcpu);
    }
    Ok(vcpus)
}

/// The first starts in this state; the others wait for it to start them.
pub(super) fn prepare(vcpus: &mut [Box<dyn Vcpu>], start: &CpuState) -> Result<(), Failure> {
    for vcpu in &mut *vcpus {
        vcpu.prepare()?;
    }
    if let Some(first) = vcpus.first_mut() {
        first.set_state(start)?;
    }
    Ok(())
}

/// What is around them: what they reach, and who may hold them.
#[derive(Clone)]
pub(super) struct World {
    pub(super) board: Arc<Running>,
    pub(super) debugger: Option<Arc<Debugger>>,
}

impl World {
    fn run(&self, id: u32, vcpu: &mut dyn Vcpu) -> Result<Stop, EngineError> {
        let board = self.board.as_ref();
        match &self.debugger {
            Some(debugger) => debugger.run(VcpuId(id), vcpu, board),
            None => vcpu.run(board),
        }
    }
}

/// Runs them, a thread each, until the machine ends. They come back, by number, unless somebody ended it from outside.
pub(super) fn run(
    vcpus: Vec<Box<dyn Vcpu>>,
    world: &World,
    ends: &Arc<Ends>,
) -> (Ending, Vec<Box<dyn Vcpu>>) {
    let mut threads: Vec<JoinHandle<Box<dyn Vcpu>>> = Vec::new();
    for (id, mut vcpu) in (0..).zip(vcpus) {
        let (world, own) = (world.clone(), Arc::clone(ends));
        let name = Builder::new().name(format!("vcpu-{id}"));
        let started = name.spawn(move || {
            let ending = run_one(id, vcpu.as_mut(), &world, &own);
            own.note(ending);
            vcpu
        });
        match started {
            Ok(thread) => threads.push(thread),
            Err(error) => ends.note(Ending::Failed(format!(
                "a thread cannot be started: {error}"
            ))),
        }
    }
    let ending = ends.wait();
    // One that waits for a reader of the console's output may never come back.
    if matches!(ending, Ending::Stopped(_)) {
        return (ending, Vec::new());
    }
    // A thread that panicked has said so already.
    let vcpus = threads.into_iter().filter_map(|thread| thread.join().ok());
    (ending, vcpus.collect())
}

/// Runs one until it or another ends the machine; how.
fn run_one(id: u32, vcpu: &mut dyn Vcpu, world: &World, ends: &Ends) -> Ending {
    loop {
        let stop = match world.run(id, vcpu) {
            Ok(stop) => stop,
            Err(error) => return Ending::Failed(error.to_string()),
        };
        if let Some(ending) = after(stop, || ends.ending(), || described(id, vcpu)) {
            return ending;
        }
    }
}

/// What a stop means; `None`: it goes on.
fn after(
    stop: Stop,
    ending: impl FnOnce() -> Option<Ending>,
    describe: impl FnOnce() -> String,
) -> Option<Ending> {
    match stop {
        Stop::Kicked | Stop::Breakpoint(_) => ending(),
        Stop::Shutdown => Some(Ending::PowerOff),
        Stop::Reset => Some(Ending::Reset),
        Stop::Crash => Some(Ending::Crash(describe())),
        Stop::TripleFault => Some(Ending::TripleFault(describe())),
        Stop::Halted => Some(Ending::Halted),
        Stop::OutOfMemory => Some(Ending::Failed("the host has no more memory".to_owned())),
        Stop::Died { signal, status } => Some(Ending::Failed(format!(
            "its process ended (signal {signal:?}, status {status})"
        ))),
    }
}

fn described(id: u32, vcpu: &mut dyn Vcpu) -> String {
    let shown = match vcpu.state() {
        Ok(state) => x86_listing::describe(&state, &[]),
        Err(error) => error.to_string(),
    };
    format!("virtual CPU {id}\n{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stop_has_its_meaning() {
        let after = |stop, ending: Option<Ending>| after(stop, || ending, || "r".to_owned());
        assert_eq!(after(Stop::Kicked, None), None);
        let over = Some(Ending::Reset);
        assert_eq!(after(Stop::Kicked, over.clone()), over);
        assert_eq!(after(Stop::Shutdown, None), Some(Ending::PowerOff));
        let crash = Some(Ending::Crash("r".to_owned()));
        assert_eq!(after(Stop::Crash, None), crash);
        let fault = Some(Ending::TripleFault("r".to_owned()));
        assert_eq!(after(Stop::TripleFault, None), fault);
    }
}
