//! `/dev/kvm`, and whether it has what is needed.

use kvm_bindings::KVM_API_VERSION;
use kvm_ioctls::{Cap, Kvm};

use crate::error::{KvmError, why_closed};

/// What the engine needs of KVM; all of it is older than Linux 4.14.
const NEEDED: [(Cap, &str); 13] = [
    (Cap::UserMemory, "memory from user space"),
    (Cap::SetTssAddr, "choice of where its task state lies"),
    (
        Cap::SetIdentityMapAddr,
        "choice of where its page table lies",
    ),
    (Cap::ExtCpuid, "list of processor features"),
    (Cap::Irqchip, "interrupt controllers"),
    (Cap::IrqRouting, "choice of where interrupts lead"),
    (Cap::SignalMsi, "interrupts by message"),
    (Cap::Ioeventfd, "events for writes (ioeventfd)"),
    (Cap::ImmediateExit, "immediate exit"),
    (Cap::MpState, "states of several processors"),
    (Cap::VcpuEvents, "events of virtual CPUs"),
    (Cap::Debugregs, "debug registers"),
    (Cap::Xsave, "vector state"),
];

/// Opens it.
///
/// # Errors
/// When it is not there, not ours to open, or lacks something, which is named.
pub(crate) fn open() -> Result<Kvm, KvmError> {
    let kvm = Kvm::new().map_err(|error| KvmError::Open(why_closed(error)))?;
    let version = kvm.get_api_version();
    if version.cast_unsigned() != KVM_API_VERSION {
        return Err(KvmError::Version(version));
    }
    let mut needed = NEEDED.iter();
    match needed.find(|(capability, _)| !kvm.check_extension(*capability)) {
        Some((_, what)) => Err(KvmError::Missing(what)),
        None => Ok(kvm),
    }
}
