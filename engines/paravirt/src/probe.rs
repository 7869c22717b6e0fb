//! What the host allows, found out by trying.

use std::time::Instant;

use engine_contract::{Layer, Probe};

use crate::sandbox::{self, LAYERS, Sandbox};

/// Bit of `AT_HWCAP2`: the FSGSBASE instructions work in user mode.
const HWCAP2_FSGSBASE: usize = 2;

/// CPUID leaf 1, `ecx`: the processor has XSAVE and the host's kernel has turned it on. (Rust's own
/// detection says no where there is no AVX.)
const LEAF_1_XSAVE: u32 = 1 << 26 | 1 << 27;

/// Why this engine can run nothing here.
pub(crate) fn refusal() -> Option<String> {
    let (_, hwcap2) = rustix::param::linux_hwcap();
    if hwcap2 & HWCAP2_FSGSBASE == 0 {
        return Some(
            "the processor or the host's kernel has no FSGSBASE (needs Linux 5.9 on a processor \
             of 2012 or later)"
                .to_owned(),
        );
    }
    let leaf = std::arch::x86_64::__cpuid(1);
    if leaf.ecx & LEAF_1_XSAVE != LEAF_1_XSAVE {
        return Some("the processor has no XSAVE (needs one of 2008 or later)".to_owned());
    }
    None
}

/// Tries everything a machine needs.
pub(crate) fn probe() -> Probe {
    let mut probe = Probe {
        refusal: refusal(),
        summary: String::new(),
        layers: Vec::new(),
    };
    if probe.refusal.is_some() {
        return probe;
    }
    sandbox::note_ids();
    let start = Instant::now();
    match Sandbox::create(guest_abi::layout::RAM_SPAN, 16 << 20, None) {
        Ok(sandbox) => {
            let missing = match sandbox.memory().and_then(|_| sandbox.report()) {
                Ok(missing) => missing,
                Err(error) => {
                    probe.refusal = Some(error.to_string());
                    return probe;
                }
            };
            let micros = start.elapsed().as_micros();
            probe.summary =
                format!("native speed, no privilege needed; a cell is made in {micros} us");
            probe.layers = LAYERS
                .into_iter()
                .map(|name| layer(name, &missing))
                .collect();
            // The cell ends as soon as its channel closes.
            drop(sandbox);
        }
        Err(error) => probe.refusal = Some(error.to_string()),
    }
    probe
}

fn layer(name: &'static str, missing: &[Layer]) -> Layer {
    let found = missing.iter().find(|layer| layer.name == name);
    found.cloned().unwrap_or(Layer {
        name,
        refusal: None,
    })
}
