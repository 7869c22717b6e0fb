//! How often the guest left, by cause: KVM's own counters of a virtual CPU
//! (`Documentation/virt/kvm/api.rst`, `KVM_GET_STATS_FD`; Linux 5.14 and later).
#![expect(unsafe_code, reason = "kvm-ioctls has no call for it")]

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

use kvm_bindings::{KVM_STATS_TYPE_CUMULATIVE, KVM_STATS_TYPE_MASK};
use kvm_ioctls::VcpuFd;

/// `KVM_GET_STATS_FD` (`linux/kvm.h`).
const GET_STATS_FD: libc::c_ulong = 0xaece;
/// Longest file that is read.
const LENGTH_MAX: usize = 64 << 10;
/// Bytes of a descriptor before its name.
const DESCRIPTOR: usize = 16;

/// The counters of a virtual CPU.
#[derive(Debug)]
pub(crate) struct Exits(Option<File>);

impl Exits {
    /// Opens them; hosts that have none count nothing.
    pub(crate) fn of(fd: &VcpuFd) -> Self {
        // SAFETY: takes no argument; the result is a descriptor or an error.
        let stats = unsafe { libc::ioctl(fd.as_raw_fd(), GET_STATS_FD) };
        // SAFETY: the call just made this descriptor, which nobody else has.
        let file = (stats >= 0).then(|| unsafe { File::from_raw_fd(stats) });
        Self(file)
    }

    /// All that are not zero.
    pub(crate) fn read(&self) -> Vec<(String, u64)> {
        let mut bytes = vec![0; LENGTH_MAX];
        let file = self.0.as_ref();
        let length = file.and_then(|file| file.read_at(&mut bytes, 0).ok());
        let bytes = bytes.get(..length.unwrap_or(0)).unwrap_or_default();
        counters(bytes).unwrap_or_default()
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    let value = u32::from_ne_bytes(field.try_into().ok()?);
    usize::try_from(value).ok()
}

/// The counters in a file of statistics: header, descriptors with names, data.
fn counters(bytes: &[u8]) -> Option<Vec<(String, u64)>> {
    let [name_size, count, descriptors, data] =
        [4, 8, 16, 20].map(|at| number(bytes, at).unwrap_or(usize::MAX));
    let step = name_size.checked_add(DESCRIPTOR)?;
    let mut found = Vec::new();
    for index in 0..count.min(LENGTH_MAX) {
        let at = descriptors.checked_add(index.checked_mul(step)?)?;
        let descriptor = bytes.get(at..at.checked_add(step)?)?;
        let kind = number(descriptor, 0)? as u32 & KVM_STATS_TYPE_MASK;
        let size = u16::from_ne_bytes(descriptor.get(6..8)?.try_into().ok()?);
        if kind != KVM_STATS_TYPE_CUMULATIVE || size != 1 {
            continue;
        }
        let place = data.checked_add(number(descriptor, 8)?)?;
        let value = bytes.get(place..place.checked_add(8)?)?;
        let value = u64::from_ne_bytes(value.try_into().ok()?);
        let name = descriptor.get(DESCRIPTOR..)?.split(|byte| *byte == 0);
        let name = name.into_iter().next().unwrap_or_default();
        if value != 0 {
            found.push((String::from_utf8_lossy(name).into_owned(), value));
        }
    }
    found.sort();
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Header, two descriptors with names of 8 bytes, data.
    fn file(kinds: [u32; 2], values: [u64; 2]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for field in [0u32, 8, 2, 24, 24, 72] {
            bytes.extend(field.to_ne_bytes());
        }
        for (kind, (name, offset)) in kinds
            .into_iter()
            .zip([("exits\0\0\0", 8u32), ("b\0xxxxxx", 0)])
        {
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0, 0]);
            bytes.extend(1u16.to_ne_bytes());
            bytes.extend(offset.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(name.as_bytes());
        }
        for value in values {
            bytes.extend(value.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn what_is_counted_is_found_by_name() {
        let found = counters(&file([0, 0], [5, 7])).unwrap();
        assert_eq!(found, [("b".to_owned(), 5), ("exits".to_owned(), 7)]);
        let found = counters(&file([1, 0], [0, 7])).unwrap();
        assert_eq!(found, []);
    }

    #[test]
    fn a_damaged_file_is_no_harm() {
        let whole = file([0, 0], [5, 7]);
        for length in 0..whole.len() {
            let _ = counters(&whole[..length]);
        }
        let mut odd = whole;
        odd[8..24].fill(0xff);
        assert_eq!(counters(&odd), None);
    }
}
