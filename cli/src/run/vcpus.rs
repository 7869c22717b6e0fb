//! The virtual CPUs of a machine, each on a thread: the first on the caller's.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use boot::ring0;
use engine_contract::{EngineError, Kick, Machine, Platform, Stop, Vcpu, VcpuId};

use super::world::Ports;
use crate::error::Failure;

/// The virtual CPUs that the monitor runs: all of them at ring 0; of a cell the first, which
/// stands for all.
pub(super) struct Vcpus(Vec<Box<dyn Vcpu>>);

/// How one ended, and itself.
type Ended = (Result<Stop, EngineError>, Box<dyn Vcpu>);

/// How all of them ended.
pub(super) struct End {
    pub(super) stop: Stop,
    /// Their exits.
    pub(super) exits: Vec<(String, u64)>,
    /// Themselves, by number.
    pub(super) vcpus: Vec<Box<dyn Vcpu>>,
}

impl Vcpus {
    /// Takes them.
    pub(super) fn take(
        machine: &mut dyn Machine,
        platform: Platform,
        count: u32,
    ) -> Result<Self, Failure> {
        let count = match platform {
            Platform::Cell => 1,
            Platform::Bare => count,
        };
        let take = |id| -> Result<_, Failure> {
            let mut vcpu = machine.vcpu(VcpuId(id))?;
            vcpu.prepare()?;
            Ok(vcpu)
        };
        let vcpus = (0..count).map(take).collect::<Result<_, _>>()?;
        Ok(Self(vcpus))
    }

    /// Has the first start at the kernel's entry, and the others wait for it to start them.
    pub(super) fn set_start(&mut self, machine: &dyn Machine, entry: u64) -> Result<(), Failure> {
        for (number, vcpu) in self.0.iter_mut().enumerate() {
            let state = if number == 0 {
                ring0::start_state(machine.memory(), entry)?
            } else {
                ring0::waiting_state(vcpu.state()?)
            };
            vcpu.set_state(&state)?;
        }
        Ok(())
    }

    /// All of them, by number.
    pub(super) fn all(&mut self) -> &mut [Box<dyn Vcpu>] {
        &mut self.0
    }

    /// What ends the runs of each.
    pub(super) fn kicks(&self) -> Vec<Arc<dyn Kick>> {
        self.0.iter().map(|vcpu| vcpu.kick()).collect()
    }

    /// Starts the threads of those beside the first.
    pub(super) fn start(self, ports: &Arc<Ports>) -> Result<Running, Failure> {
        let mut vcpus = self.0.into_iter();
        let first = vcpus.next().expect("a machine has a virtual CPU");
        let mut others = Vec::new();
        for (number, vcpu) in (1..).zip(vcpus) {
            let ports = Arc::clone(ports);
            let thread = Builder::new().name(format!("vcpu-{number}"));
            let thread = thread.spawn(move || run_one(VcpuId(number), vcpu, &ports));
            others.push(thread.map_err(|error| Failure::new("a thread", error, ""))?);
        }
        Ok(Running { first, others })
    }
}

fn run_one(id: VcpuId, mut vcpu: Box<dyn Vcpu>, ports: &Ports) -> Ended {
    let ended = ports.run(id, vcpu.as_mut());
    (ended, vcpu)
}

/// Virtual CPUs that have their threads.
pub(super) struct Running {
    first: Box<dyn Vcpu>,
    others: Vec<JoinHandle<Ended>>,
}

impl Running {
    /// Runs the first here until the machine has ended.
    pub(super) fn run(self, ports: &Ports) -> Result<End, EngineError> {
        let mut all = vec![run_one(VcpuId(0), self.first, ports)];
        for other in self.others {
            let failed = |_| EngineError::new("a virtual CPU cannot run", "its thread failed");
            all.push(other.join().map_err(failed)?);
        }
        let mut end = End {
            stop: Stop::Shutdown,
            exits: Vec::new(),
            vcpus: Vec::new(),
        };
        for (ended, vcpu) in all {
            add(&mut end.exits, vcpu.exits());
            end.vcpus.push(vcpu);
            // The others were ended by the one that has something to say.
            let ended = ended?;
            if end.stop == Stop::Shutdown {
                end.stop = ended;
            }
        }
        Ok(end)
    }
}

/// Adds the counts of another, whose causes have the same names.
fn add(sum: &mut Vec<(String, u64)>, counts: Vec<(String, u64)>) {
    for (name, count) in counts {
        match sum.iter_mut().find(|(other, _)| *other == name) {
            Some((_, total)) => *total += count,
            None => sum.push((name, count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_counted_over_all_virtual_cpus() {
        let counts = |list: &[(&str, u64)]| -> Vec<(String, u64)> {
            let own = |&(name, count): &(&str, u64)| (name.to_owned(), count);
            list.iter().map(own).collect()
        };
        let mut sum = counts(&[("exits", 3), ("io", 1)]);
        add(&mut sum, counts(&[("exits", 4), ("mmio", 2)]));
        assert_eq!(sum, counts(&[("exits", 7), ("io", 1), ("mmio", 2)]));
    }
}
