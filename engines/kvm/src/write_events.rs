//! Descriptors that become readable when the guest writes somewhere: KVM's `ioeventfd`.
#![expect(
    unsafe_code,
    reason = "the library's call cannot ask for a length without a value"
)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use engine_contract::{EngineError, Place, WriteEvents};
use kvm_bindings::{kvm_ioeventfd, kvm_ioeventfd_flag_nr_datamatch, kvm_ioeventfd_flag_nr_pio};
use rustix::event::{EventfdFlags, eventfd};

use crate::vm::Vm;

/// `KVM_IOEVENTFD`: `_IOW(0xae, 0x79, struct kvm_ioeventfd)`.
const KVM_IOEVENTFD: libc::c_ulong =
    1 << 30 | (size_of::<kvm_ioeventfd>() as libc::c_ulong) << 16 | 0xae79;

/// Writes of a machine's guest. KVM holds the counters as long as the machine lives.
#[derive(Debug)]
pub(crate) struct Events(pub(crate) Arc<Vm>);

impl WriteEvents for Events {
    fn event(&self, place: Place, length: u32, value: Option<u64>) -> Result<OwnedFd, EngineError> {
        let fail = |reason: &dyn std::fmt::Display| EngineError::new("event for writes", reason);
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let counter = eventfd(0, flags).map_err(|error| fail(&error))?;
        let mut request = request(place, length, value).map_err(|error| fail(&error))?;
        request.fd = counter.as_raw_fd();
        // SAFETY: the descriptor is a machine's, and KVM reads a structure of this type from the
        // address, which is of a local one.
        let status =
            unsafe { libc::ioctl(self.0.fd().as_raw_fd(), KVM_IOEVENTFD, &raw const request) };
        match status {
            0 => Ok(counter),
            _ => Err(fail(&std::io::Error::last_os_error())),
        }
    }
}

/// What KVM is asked for, still without the counter.
fn request(place: Place, length: u32, value: Option<u64>) -> Result<kvm_ioeventfd, &'static str> {
    if !matches!(length, 0 | 1 | 2 | 4 | 8) {
        return Err("writes have 1, 2, 4 or 8 bytes");
    }
    if value.is_some() && length == 0 {
        return Err("a value needs a length");
    }
    let (addr, kind) = match place {
        Place::Port(port) => (u64::from(port.0), 1 << kvm_ioeventfd_flag_nr_pio),
        Place::Memory(address) => (address.0, 0),
    };
    let matching = match value {
        Some(_) => 1 << kvm_ioeventfd_flag_nr_datamatch,
        None => 0,
    };
    Ok(kvm_ioeventfd {
        datamatch: value.unwrap_or_default(),
        addr,
        len: length,
        flags: kind | matching,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use machine_bus::{GuestAddress, Port};

    use super::*;

    #[test]
    fn the_call_has_its_number() {
        assert_eq!(KVM_IOEVENTFD, 0x4040_ae79);
    }

    #[test]
    fn place_length_and_value_become_a_request() {
        let port = request(Place::Port(Port(0x510)), 0, None).unwrap();
        assert_eq!((port.addr, port.len, port.flags), (0x510, 0, 2));
        let memory = Place::Memory(GuestAddress(0xd000_0000));
        let valued = request(memory, 4, Some(7)).unwrap();
        assert_eq!((valued.addr, valued.len), (0xd000_0000, 4));
        assert_eq!((valued.flags, valued.datamatch), (1, 7));
    }

    #[test]
    fn what_no_guest_can_write_is_refused() {
        assert!(request(Place::Port(Port(1)), 3, None).is_err());
        assert!(request(Place::Port(Port(1)), 0, Some(1)).is_err());
    }
}
