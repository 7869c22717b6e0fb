//! `--deterministic`: every run of a machine is the same, to the bit.
//!
//! The engine counts time in instructions and draws random numbers from a seed, devices do their work while the virtual CPU waits that
//! asked for it, files have numbers and times of the machine's own (decision 23). What would make a difference nevertheless
//! is refused here. [`Fingerprint`] is what two runs can be compared by.

use std::fmt::Write as _;
use std::os::fd::OwnedFd;

use clap::Args;
use engine_contract::{Engine, Vcpu, VirtualTime};
use engine_emulate::EmulateWith;
use machine_memory::{GuestMemory, MemoryError};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x86_state::CpuState;

use crate::arguments::{Arguments, BootEngine, EngineChoice, Verb};
use crate::error::Failure;
use crate::network::{Net, NetworkOptions};

const OPTION: &str = "--deterministic";
/// Most bytes of standard input that are read before an operating system starts.
const INPUT_MAX: usize = 64 << 20;

/// What a command line says of it.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct DeterminismOptions {
    /// Have every run do the same: time is counted in instructions, random numbers follow from a seed. Interprets; no network,
    /// no terminal as standard input, no debugger, volumes with :ro
    #[arg(long)]
    deterministic: bool,
    /// What the random numbers of --deterministic follow from (default: 0)
    #[arg(long, value_name = "NUMBER", requires = "deterministic")]
    seed: Option<u64>,
}

/// What else was asked for.
struct Asked<'a> {
    engine: Option<&'static str>,
    is_debugged: bool,
    /// A volume that can be written.
    writable: Option<String>,
    network: &'a mut NetworkOptions,
}

impl DeterminismOptions {
    /// What random numbers follow from; `None`: runs differ.
    pub(crate) fn seed(self) -> Option<u64> {
        self.deterministic.then(|| self.seed.unwrap_or_default())
    }

    /// The engine.
    pub(crate) fn engine(self) -> Option<Box<dyn Engine>> {
        let seed = Some(self.seed()?);
        Some(Box::new(EmulateWith {
            seed,
            ..EmulateWith::default()
        }))
    }

    fn check(self, asked: Asked<'_>) -> Result<(), Failure> {
        if !self.deterministic {
            return Ok(());
        }
        let refuse = |why: &str, remedy: &str| Err(Failure::new(OPTION, why, remedy));
        if let Some(engine) = asked.engine {
            let why = format!("the {engine} engine runs by the host's time");
            return refuse(&why, "use --engine emulate, or leave --engine out");
        }
        if asked.is_debugged {
            let why = "a debugger's commands come at any time";
            return refuse(why, "leave --gdb out");
        }
        if let Some(volume) = asked.writable {
            let why = format!("what the guest writes to {volume} is there in the next run");
            return refuse(&why, "add :ro to the volume");
        }
        let network = asked.network;
        let is_none = matches!(network.net, None | Some(Net::None));
        if !is_none || !network.publish.is_empty() || !network.allow_net.is_empty() {
            let why = "what comes by a network comes at any time";
            return refuse(why, "use --net none, and neither --publish nor --allow-net");
        }
        network.net = Some(Net::None);
        if host::inherited::was_open(0) && rustix::termios::isatty(std::io::stdin()) {
            let why = "standard input is a terminal, and keys are pressed at any time";
            return refuse(why, "redirect it, as in </dev/null or <FILE");
        }
        Ok(())
    }
}

/// Refuses what would make runs differ, and takes for granted what has to be.
pub(crate) fn settle(arguments: &mut Arguments) -> Result<(), Failure> {
    match &mut arguments.verb {
        Verb::Run(options) => {
            let writable = options.volume.iter().find(|volume| !volume.read_only);
            options.determinism.check(Asked {
                engine: match options.engine {
                    EngineChoice::Kvm => Some("kvm"),
                    EngineChoice::Paravirt => Some("paravirt"),
                    EngineChoice::Auto | EngineChoice::Emulate => None,
                },
                is_debugged: options.debug.gdb.is_some(),
                writable: writable.map(|volume| volume.guest.display().to_string()),
                network: &mut options.network,
            })
        }
        Verb::Boot(options) => {
            let writable = options.volume.iter().find(|volume| !volume.read_only);
            options.determinism.check(Asked {
                engine: match options.engine {
                    BootEngine::Kvm => Some("kvm"),
                    BootEngine::Auto | BootEngine::Emulate => None,
                },
                is_debugged: options.debug.gdb.is_some(),
                writable: writable.map(|volume| volume.tag.clone()),
                network: &mut options.network,
            })
        }
        Verb::Engines => Ok(()),
    }
}

/// All of standard input.
pub(crate) fn whole_input(stdin: Option<OwnedFd>) -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let mut bytes = Vec::new();
    if let Some(stdin) = stdin {
        let mut most = std::fs::File::from(stdin).take(INPUT_MAX as u64 + 1);
        let read = most.read_to_end(&mut bytes);
        read.map_err(|error| Failure::new("standard input", error, ""))?;
    }
    if bytes.len() > INPUT_MAX {
        let why = format!("it is longer than {} MiB", INPUT_MAX >> 20);
        return Err(Failure::new("standard input", why, "give it as a --disk"));
    }
    Ok(bytes)
}

/// What a machine has come to: equal for two runs that were the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    seed: u64,
    instructions: u64,
    nanoseconds: u64,
    /// Of all registers and all memory.
    state: String,
}

impl Fingerprint {
    /// Of a machine that has ended; its virtual CPUs by number.
    pub(crate) fn take(
        seed: u64,
        time: &dyn VirtualTime,
        memory: &GuestMemory,
        vcpus: Vec<Box<dyn Vcpu>>,
    ) -> Result<Self, Failure> {
        let states = vcpus.into_iter().map(|mut vcpu| vcpu.state());
        let states = states.collect::<Result<Vec<_>, _>>()?;
        Ok(Self::of(seed, time, memory, &states)?)
    }

    fn of(
        seed: u64,
        time: &dyn VirtualTime,
        memory: &GuestMemory,
        states: &[CpuState],
    ) -> Result<Self, MemoryError> {
        let mut hash = Sha256::new();
        for state in states {
            // A text with every field.
            hash.update(format!("{state:?}\n"));
        }
        memory.each_page(|address, page| {
            hash.update(address.to_le_bytes());
            hash.update(page);
        })?;
        let mut text = String::new();
        for byte in hash.finalize() {
            // Writing to a text does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self {
            seed,
            instructions: time.instructions(),
            nanoseconds: time.now().0,
            state: text,
        })
    }

    /// For the measurements.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "seed": self.seed,
            "instructions": self.instructions,
            "virtual_ns": self.nanoseconds,
            "state_sha256": self.state,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn refusal(line: &str) -> Option<String> {
        let mut arguments = Arguments::parse_from(line.split_whitespace());
        settle(&mut arguments).err().map(|failure| failure.why)
    }

    #[test]
    fn what_makes_runs_differ_is_refused() {
        for (line, word) in [
            ("husk run --deterministic --engine kvm x", "kvm"),
            ("husk run --deterministic --engine paravirt x", "paravirt"),
            ("husk boot --deterministic --engine kvm --kernel k", "kvm"),
            ("husk run --deterministic --net user x", "network"),
            ("husk run --deterministic -p 80:80 x", "network"),
            (
                "husk boot --deterministic --net tap=t --kernel k",
                "network",
            ),
            ("husk run --deterministic -v /a:/b x", "/b"),
            (
                "husk boot --deterministic -v /a:b --kernel k",
                "writes to b",
            ),
            ("husk run --deterministic --gdb 1 x", "debugger"),
        ] {
            let why = refusal(line).unwrap_or_default();
            assert!(why.contains(word), "{line}: {why}");
        }
        let parsed = Arguments::try_parse_from("husk run --seed 1 x".split_whitespace());
        assert!(parsed.is_err());
    }

    #[test]
    fn without_the_option_nothing_is_refused_or_changed() {
        let line = "husk run --engine kvm -v /a:/b -p 80:80 x";
        let mut arguments = Arguments::parse_from(line.split_whitespace());
        assert!(settle(&mut arguments).is_ok());
        let Verb::Run(options) = arguments.verb else {
            panic!()
        };
        assert_eq!(options.network.net, None);
        assert_eq!(options.determinism.seed(), None);
    }

    #[test]
    fn fingerprints_tell_registers_and_memory_apart() {
        struct Stands;
        impl VirtualTime for Stands {
            fn now(&self) -> machine_bus::Nanos {
                machine_bus::Nanos(5)
            }

            fn beginning(&self) -> u64 {
                0
            }

            fn instructions(&self) -> u64 {
                3
            }

            fn attend(&self, _: std::sync::Arc<dyn engine_contract::Timed>) {}
        }
        let of = |rip, byte| {
            let memory = machine_memory::create(1 << 20).unwrap();
            memory.write(0x3000, &[byte]).unwrap();
            let state = CpuState {
                rip,
                ..CpuState::default()
            };
            Fingerprint::of(0, &Stands, &memory, &[state]).unwrap()
        };
        assert_eq!(of(1, 1), of(1, 1));
        assert_ne!(of(1, 1), of(2, 1));
        assert_ne!(of(1, 1), of(1, 2));
        assert_ne!(of(1, 1), of(1, 0));
    }
}
