//! Floating-point and vector state: the standard form of `XSAVE` (SDM vol. 1, 13.4).
#![expect(
    unsafe_code,
    reason = "KVM reads and writes as many bytes as it once said it would"
)]

use kvm_bindings::{Xsave, kvm_xsave};
use kvm_ioctls::VcpuFd;

use crate::error::{KvmError, call};
use crate::state::refused;

/// Bytes of the structure's part with a fixed length.
const FIXED: usize = 4096;
/// The legacy region and the header.
const SHORTEST: usize = 576;
/// Left to software by the processor; the host may put things of its own there.
const SOFTWARE: std::ops::Range<usize> = 464..512;
/// After reset (SDM vol. 3, table 9-1): x87 control, `mxcsr`, and that both are in the image.
const RESET: [(usize, &[u8]); 3] = [(0, &[0x7f, 3]), (24, &[0x80, 0x1f]), (512, &[3])];

/// Bytes of the state, given what KVM says of `KVM_CAP_XSAVE2`.
pub(super) fn length(capability: i32) -> usize {
    usize::try_from(capability).unwrap_or(0).max(FIXED)
}

pub(super) fn read(fd: &VcpuFd, length: usize) -> Result<Vec<u8>, KvmError> {
    let mut bytes = if length > FIXED {
        let mut state = buffer(length)?;
        // SAFETY: the buffer has as many bytes as KVM asked for; no feature is turned on later.
        unsafe { fd.get_xsave2(&mut state) }.map_err(call("KVM_GET_XSAVE2"))?;
        bytes_of(&state.as_fam_struct_ref().xsave, state.as_slice())
    } else {
        let state = fd.get_xsave().map_err(call("KVM_GET_XSAVE"))?;
        bytes_of(&state, &[])
    };
    bytes[SOFTWARE].fill(0);
    Ok(bytes)
}

pub(super) fn write(fd: &VcpuFd, length: usize, bytes: &[u8]) -> Result<(), KvmError> {
    let words = words(length, bytes)?;
    let mut state = buffer(length)?;
    let (fixed, rest) = words.split_at(FIXED / 4);
    // SAFETY: the length of the buffer is left alone.
    let inner = unsafe { state.as_mut_fam_struct() };
    inner.xsave.region.copy_from_slice(fixed);
    state.as_mut_slice().copy_from_slice(rest);
    // SAFETY: the buffer has as many bytes as KVM asked for; no feature is turned on later.
    unsafe { fd.set_xsave2(&state) }.map_err(refused("KVM_SET_XSAVE"))
}

fn buffer(length: usize) -> Result<Xsave, KvmError> {
    let room = Xsave::new((length - FIXED).div_ceil(4));
    room.map_err(|_| KvmError::Memory("there is no room for vector state".to_owned()))
}

fn bytes_of(state: &kvm_xsave, rest: &[u32]) -> Vec<u8> {
    let words = state.region.iter().chain(rest);
    words.flat_map(|word| word.to_le_bytes()).collect()
}

/// As many as KVM wants: those that are given, and zeros; without any, those after reset.
fn words(length: usize, bytes: &[u8]) -> Result<Vec<u32>, KvmError> {
    let fail = |why: String| Err(KvmError::State(why));
    let mut all = vec![0; length.next_multiple_of(4)];
    match bytes.len() {
        0 => {
            for (at, values) in RESET {
                all[at..at + values.len()].copy_from_slice(values);
            }
        }
        1..SHORTEST => return fail(format!("{} bytes are no vector state", bytes.len())),
        count => {
            let (known, unknown) = bytes.split_at(count.min(length));
            if unknown.iter().any(|byte| *byte != 0) {
                return fail("there is vector state that this host does not have".to_owned());
            }
            all[..known.len()].copy_from_slice(known);
        }
    }
    let words = all.chunks_exact(4).map(|word| {
        let word = word.try_into().expect("4 bytes");
        u32::from_le_bytes(word)
    });
    Ok(words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_at_least_the_fixed_part() {
        assert_eq!([-1, 0, 4096].map(length), [FIXED; 3]);
        assert_eq!(length(11008), 11008);
    }

    #[test]
    fn shorter_and_longer_states_fit_when_nothing_is_lost() {
        let mut bytes = vec![0; 5000];
        bytes[0] = 1;
        bytes[575] = 2;
        for count in [576, 4096, 5000] {
            let words = words(FIXED, &bytes[..count]).unwrap();
            assert_eq!((words.len(), words[0], words[143]), (1024, 1, 2 << 24));
        }
        bytes[4999] = 3;
        assert!(words(FIXED, &bytes).is_err());
        assert!(words(5000, &bytes).is_ok());
        assert!(words(FIXED, &bytes[..575]).is_err());
    }

    #[test]
    fn no_bytes_are_the_state_after_reset() {
        let words = words(FIXED, &[]).unwrap();
        assert_eq!((words[0], words[6], words[128]), (0x37f, 0x1f80, 3));
    }
}
