//! `husk engines`: what this host can do.

use std::fmt::Write as _;
use std::io::Write as _;

use engine_contract::Engine;
use engine_paravirt::Paravirt;

use crate::error::Failure;

/// Shows every engine, its layers of isolation, and why not.
pub(crate) fn engines() -> Result<u8, Failure> {
    let mut text = String::new();
    let mut usable = false;
    for engine in [&Paravirt as &dyn Engine] {
        let probe = engine.probe();
        usable |= probe.refusal.is_none();
        // Writing to a string cannot fail.
        let _ = match &probe.refusal {
            None => writeln!(text, "{:<10} works: {}", engine.name(), probe.summary),
            Some(refusal) => writeln!(text, "{:<10} does not work: {refusal}", engine.name()),
        };
        for layer in &probe.layers {
            let _ = match &layer.refusal {
                None => writeln!(text, "{:<12} {}", "", layer.name),
                Some(refusal) => {
                    writeln!(text, "{:<12} MISSING {}: {refusal}", "", layer.name)
                }
            };
        }
    }
    let written = std::io::stdout().write_all(text.as_bytes());
    written
        .map_err(|error| Failure::new("standard output", error, "it must take what is written"))?;
    Ok(u8::from(!usable))
}
