//! One entry into the guest, and what the guest's exit becomes.
#![expect(
    unsafe_code,
    reason = "which part of a union is valid depends on the exit; port data is needed together with it"
)]

use engine_contract::{Stop, World};
use kvm_bindings::{
    KVM_INTERNAL_ERROR_DELIVERY_EV, KVM_INTERNAL_ERROR_EMULATION, KVM_INTERNAL_ERROR_SIMUL_EX,
    KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN,
    kvm_debug_exit_arch, kvm_run,
};
use kvm_ioctls::{Error, VcpuExit, VcpuFd};
use machine_bus::{GuestAddress, Port};

/// What comes next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// The guest goes on.
    Enter,
    /// There is something to say.
    Stop(Stop),
    /// It met what a debugger set, or something of its own that looks like it.
    Debug(kvm_debug_exit_arch),
    /// It cannot go on.
    Fail(String),
}

/// Enters the guest and serves its exit.
///
/// # Errors
/// `EINTR` when there was a signal or a kick; what KVM had begun for the guest is complete then.
pub(crate) fn enter(fd: &mut VcpuFd, world: &dyn World) -> Result<Next, Error> {
    match fd.run()? {
        VcpuExit::IoIn(port, data) => {
            let data = &raw mut *data;
            let size = element_size(fd.get_kvm_run());
            // SAFETY: the data lies in the memory that KVM shares, behind the structure that
            // `get_kvm_run` showed, and stays until the next entry; nobody else refers to it.
            let data = unsafe { &mut *data };
            for element in data.chunks_exact_mut(size) {
                world.port_read(Port(port), element);
            }
        }
        VcpuExit::IoOut(port, data) => {
            let data = &raw const *data;
            let size = element_size(fd.get_kvm_run());
            // SAFETY: as above.
            let data = unsafe { &*data };
            for element in data.chunks_exact(size) {
                world.port_write(Port(port), element);
            }
        }
        VcpuExit::MmioRead(address, mut data) => {
            for (address, length) in pieces(address, data.len()) {
                let (piece, rest) = data.split_at_mut(length);
                world.mmio_read(address, piece);
                data = rest;
            }
        }
        VcpuExit::MmioWrite(address, mut data) => {
            for (address, length) in pieces(address, data.len()) {
                let (piece, rest) = data.split_at(length);
                world.mmio_write(address, piece);
                data = rest;
            }
        }
        VcpuExit::InternalError => return Ok(Next::Fail(internal_error(fd.get_kvm_run()))),
        other => return Ok(without_access(&other)),
    }
    Ok(Next::Enter)
}

/// Exits that are no access.
///
/// A triple fault is `KVM_EXIT_SHUTDOWN`, named after the processor's shutdown cycle. That the guest
/// asked KVM itself to power off or reset the machine, which on x86 only some paravirtual
/// interfaces can, is `KVM_EXIT_SYSTEM_EVENT`; guests that ask a device of the board never show here.
fn without_access(exit: &VcpuExit<'_>) -> Next {
    match exit {
        VcpuExit::Intr | VcpuExit::IrqWindowOpen | VcpuExit::SetTpr | VcpuExit::Nmi => Next::Enter,
        VcpuExit::Hlt => Next::Stop(Stop::Halted),
        VcpuExit::Shutdown => Next::Stop(Stop::TripleFault),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _) => Next::Stop(Stop::Shutdown),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_RESET, _) => Next::Stop(Stop::Reset),
        VcpuExit::Debug(exit) => Next::Debug(*exit),
        VcpuExit::FailEntry(reason, _) => Next::Fail(format!(
            "the processor refuses to enter the guest in this state (reason {reason:#x})"
        )),
        VcpuExit::MemoryFault { gpa, size, .. } => Next::Fail(format!(
            "the host has no memory for {size:#x} bytes at {gpa:#x}"
        )),
        other => Next::Fail(format!("KVM ends with what nobody expects: {other:?}")),
    }
}

/// Bytes of one element of a port access, at least 1.
fn element_size(run: &kvm_run) -> usize {
    // SAFETY: only called after an exit for a port, for which this is the valid part; any bytes
    // are valid integers.
    let io = unsafe { run.__bindgen_anon_1.io };
    usize::from(io.size).max(1)
}

fn internal_error(run: &kvm_run) -> String {
    // SAFETY: only called after an internal error, for which this is the valid part; any bytes
    // are valid integers.
    let error = unsafe { run.__bindgen_anon_1.internal };
    let why = match error.suberror {
        KVM_INTERNAL_ERROR_EMULATION => "it cannot emulate the instruction",
        KVM_INTERNAL_ERROR_SIMUL_EX => "two exceptions at once",
        KVM_INTERNAL_ERROR_DELIVERY_EV => "an exit while an event was delivered",
        KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON => "an exit that it does not know",
        _ => "for a reason that has no name",
    };
    let known = error.data.get(..error.ndata as usize);
    let data = known.unwrap_or_default().iter();
    let data: Vec<String> = data.map(|word| format!("{word:#x}")).collect();
    format!(
        "KVM gives up: {why} ({}; {})",
        error.suberror,
        data.join(" ")
    )
}

/// An access cut into pieces of 1, 2, 4 or 8 bytes, each aligned if the whole is not one of those.
/// KVM's own pieces of a wide access can have other lengths.
fn pieces(address: u64, length: usize) -> impl Iterator<Item = (GuestAddress, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = length - done;
        if left == 0 {
            return None;
        }
        let at = address.wrapping_add(done as u64);
        let piece = match left {
            1 | 2 | 4 | 8 if done == 0 => left,
            _ => 1 << left.ilog2().min(3).min(at.trailing_zeros()),
        };
        done += piece;
        Some((GuestAddress(at), piece))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_cut_into_lengths_that_devices_know() {
        let check = |address, length, expected: &[(u64, usize)]| {
            let found: Vec<_> = pieces(address, length).map(|(a, l)| (a.0, l)).collect();
            assert_eq!(found, expected, "{length} at {address:#x}");
        };
        check(0x1001, 4, &[(0x1001, 4)]);
        check(0x1001, 8, &[(0x1001, 8)]);
        check(0x1000, 3, &[(0x1000, 2), (0x1002, 1)]);
        check(0x1001, 7, &[(0x1001, 1), (0x1002, 2), (0x1004, 4)]);
        check(0x1ffb, 5, &[(0x1ffb, 1), (0x1ffc, 4)]);
        check(0x1000, 16, &[(0x1000, 8), (0x1008, 8)]);
        check(u64::MAX, 3, &[(u64::MAX, 1), (0, 2)]);
        check(0, 0, &[]);
    }

    #[test]
    fn a_triple_fault_is_no_shutdown_of_the_machine() {
        let becomes = |exit: VcpuExit<'_>| without_access(&exit);
        assert_eq!(becomes(VcpuExit::Shutdown), Next::Stop(Stop::TripleFault));
        let event = |kind| becomes(VcpuExit::SystemEvent(kind, &[]));
        assert_eq!(event(KVM_SYSTEM_EVENT_SHUTDOWN), Next::Stop(Stop::Shutdown));
        assert_eq!(event(KVM_SYSTEM_EVENT_RESET), Next::Stop(Stop::Reset));
        assert!(matches!(event(77), Next::Fail(why) if why.contains("77")));
    }

    #[test]
    fn what_is_unknown_fails_with_its_name() {
        let fails = |exit: VcpuExit<'_>| match without_access(&exit) {
            Next::Fail(why) => why,
            other => panic!("{other:?}"),
        };
        assert!(fails(VcpuExit::FailEntry(0x8000_0021, 0)).contains("0x80000021"));
        assert!(fails(VcpuExit::Unsupported(99)).contains("99"));
        assert!(fails(VcpuExit::Watchdog).contains("Watchdog"));
    }
}
