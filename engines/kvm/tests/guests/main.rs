//! The engine with real guests. Where the host has no KVM worth using, every test says that it
//! was skipped; `cargo xtask nested-kvm` runs this program where there is one.

mod events;
mod failures;
mod identity;
mod memory;
mod walks;

use std::io::Write as _;
use std::sync::OnceLock;

use engine_contract::Engine as _;
use engine_kvm::Kvm;

/// Whether the host has a KVM worth testing with; says so when not, past the capture of output.
fn has_kvm(test: &str) -> bool {
    static REFUSAL: OnceLock<Option<String>> = OnceLock::new();
    let refusal = REFUSAL.get_or_init(|| Kvm.probe().refusal);
    if let Some(refusal) = refusal {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {refusal}");
    }
    refusal.is_none()
}

/// Begins a test: returns from it when there is no KVM.
macro_rules! needs_kvm {
    ($test:literal) => {
        if !$crate::has_kvm($test) {
            return;
        }
    };
}
pub(crate) use needs_kvm;

fn kvm(test: &str) -> Option<Kvm> {
    has_kvm(test).then_some(Kvm)
}

machines::tests!(kvm);
