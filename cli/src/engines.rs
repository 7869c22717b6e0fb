//! `husk engines`: what this host can do.

use std::fmt::Write as _;
use std::io::Write as _;

use engine_contract::{Engine, Probe};
use engine_emulate::Emulate;
use engine_kvm::Kvm;
use engine_paravirt::Paravirt;

use crate::error::Failure;

/// Shows every engine, its layers of isolation, and why not.
pub(crate) fn engines() -> Result<u8, Failure> {
    let mut text = String::new();
    // The cell is made by a copy of this process, which must have one thread: so it is first.
    let paravirt = Paravirt.probe();
    let usable = paravirt.refusal.is_none();
    show(&mut text, Paravirt.name(), &paravirt);
    show(&mut text, Kvm.name(), &Kvm.probe());
    show(&mut text, Emulate.name(), &Emulate.probe());
    let written = std::io::stdout().write_all(text.as_bytes());
    written
        .map_err(|error| Failure::new("standard output", error, "it must take what is written"))?;
    Ok(u8::from(!usable))
}

fn show(text: &mut String, name: &str, probe: &Probe) {
    // Writing to a string cannot fail.
    let _ = match &probe.refusal {
        None => writeln!(text, "{name:<10} works: {}", probe.summary),
        Some(refusal) => writeln!(text, "{name:<10} does not work: {refusal}"),
    };
    for layer in &probe.layers {
        let _ = match &layer.refusal {
            None => writeln!(text, "{:<12} {}", "", layer.name),
            Some(refusal) => writeln!(text, "{:<12} MISSING {}: {refusal}", "", layer.name),
        };
    }
}
