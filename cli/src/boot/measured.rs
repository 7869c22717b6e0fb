//! `husk boot --stats`: what a machine has come to, as JSON. The fields are documented in `docs/stats.md`.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use engine_contract::{Machine, Vcpu};
use serde_json::json;

use crate::arguments::BootOptions;
use crate::determinism::Fingerprint;
use crate::error::{Failure, say};

/// Where it is written, if it is wanted.
pub(super) struct Measured<'o> {
    options: &'o BootOptions,
    /// Opened before the monitor gives up opening files.
    file: Option<File>,
}

impl<'o> Measured<'o> {
    /// Opens the file.
    pub(super) fn open(options: &'o BootOptions) -> Result<Self, Failure> {
        let path = options.stats.as_deref();
        let path = path.filter(|path| *path != Path::new("-"));
        let file = path.map(|path| File::create(path).map_err(|error| failed(path, &error)));
        let file = file.transpose()?;
        Ok(Self { options, file })
    }

    /// Writes it, now that the machine has ended so. Its virtual CPUs are missing if it was ended from outside.
    pub(super) fn write(
        mut self,
        machine: &dyn Machine,
        vcpus: Vec<Box<dyn Vcpu>>,
        status: &Result<u8, Failure>,
    ) -> Result<(), Failure> {
        let Some(path) = &self.options.stats else {
            return Ok(());
        };
        let exits = vcpus.iter().flat_map(|vcpu| vcpu.exits());
        let exits: serde_json::Map<_, _> = exits.map(|(name, n)| (name, json!(n))).collect();
        let value = json!({
            "version": 1,
            "exit_status": status.as_ref().map_or_else(|failure| failure.status, |status| *status),
            "memory": {
                "limit_bytes": self.options.memory,
                "touched_bytes": machine.touched_bytes(),
            },
            "exits": exits,
            "deterministic": self.fingerprint(machine, vcpus)?.map(|all| all.to_json()),
        });
        let text = format!("{value:#}\n");
        match &mut self.file {
            Some(file) => {
                let written = file.write_all(text.as_bytes());
                written.map_err(|error| failed(path, &error))
            }
            None => {
                say(text.trim_end());
                Ok(())
            }
        }
    }

    fn fingerprint(
        &self,
        machine: &dyn Machine,
        vcpus: Vec<Box<dyn Vcpu>>,
    ) -> Result<Option<Fingerprint>, Failure> {
        let seed = self.options.determinism.seed();
        let (Some(seed), Some(time)) = (seed, machine.virtual_time()) else {
            return Ok(None);
        };
        if vcpus.is_empty() {
            return Ok(None);
        }
        let memory = machine.memory();
        let taken = Fingerprint::take(seed, time.as_ref(), memory, vcpus)?;
        Ok(Some(taken))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    let remedy = "give --stats a file that can be written";
    Failure::new(path.display(), error, remedy)
}
