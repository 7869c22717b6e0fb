//! What can go wrong, and what helps.

use std::io::ErrorKind;

use engine_contract::EngineError;
use kvm_ioctls::Error;
use machine_memory::MemoryError;

/// KVM cannot be used, or not for that.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KvmError {
    /// `/dev/kvm` cannot be opened.
    #[error("/dev/kvm: {0}")]
    Open(String),
    /// It is another interface than ours.
    #[error("/dev/kvm has version {0} instead of 12 (use a host with a newer Linux)")]
    Version(i32),
    /// It cannot do something that is needed.
    #[error("this host's KVM has no {0} (use a host with a newer Linux, or another engine)")]
    Missing(&'static str),
    /// A call failed.
    #[error("{0}: {1}")]
    Call(&'static str, String),
    /// The guest's memory.
    #[error("{0}")]
    Memory(String),
    /// KVM does not give its guests the host's time-stamp counter; with the reason, if there is one.
    #[error(
        "this host's KVM gives guests another time-stamp counter than the host's{0} (look for tsc in \
         the host's log; another engine can run here)"
    )]
    Counter(String),
    /// A machine cannot have that many virtual CPUs.
    #[error("a machine has 1 to {1} virtual CPUs, not {0} (change --cpus)")]
    Count(u32, usize),
    /// A trial's guest ended otherwise than by its last instruction.
    #[error("{0}")]
    Exit(String),
    /// No processor can be in the state that was asked for.
    #[error("no virtual CPU can be in that state: {0}")]
    State(String),
}

impl From<MemoryError> for KvmError {
    fn from(error: MemoryError) -> Self {
        Self::Memory(error.to_string())
    }
}

impl KvmError {
    /// As the contract has it, with what was being done.
    pub(crate) fn during(self, action: &'static str) -> EngineError {
        EngineError::new(action, self)
    }
}

/// A failed call, by its name in the interface's documentation.
pub(crate) fn call(name: &'static str) -> impl Fn(Error) -> KvmError {
    move |error| KvmError::Call(name, std::io::Error::from(error).to_string())
}

/// Why `/dev/kvm` cannot be opened, and what helps.
pub(crate) fn why_closed(error: Error) -> String {
    let error = std::io::Error::from(error);
    let remedy = match error.kind() {
        ErrorKind::NotFound => {
            "the host has no hardware virtualization, or its kvm module is not loaded"
        }
        ErrorKind::PermissionDenied => {
            "add yourself to the group that owns it, often `kvm`: usermod -aG kvm NAME"
        }
        _ => return error.to_string(),
    };
    format!("{error} ({remedy})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_device_says_what_helps() {
        let reason = |number| why_closed(Error::new(number));
        assert!(reason(libc::ENOENT).contains("module"));
        assert!(reason(libc::EACCES).contains("group"));
        assert!(!reason(libc::ENOMEM).is_empty());
    }

    #[test]
    fn errors_are_sentences_with_a_remedy() {
        let count = KvmError::Count(0, 64).during("the machine cannot be made");
        assert!(count.to_string().contains("1 to 64"), "{count}");
        assert!(count.to_string().contains("--cpus"), "{count}");
        let missing = KvmError::Missing("x").to_string();
        assert!(missing.contains("another engine"), "{missing}");
    }
}
