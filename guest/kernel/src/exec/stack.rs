//! What a program finds on its stack: arguments, environment and auxiliary vector
//! (System V ABI, x86-64 supplement, 3.4.1).

use alloc::vec::Vec;

use guest_hal::{LinearAddress, boot};
use linux_raw_sys::auxvec;

use super::ExecError;
use crate::process::Credentials;
use crate::{Errno, random, uaccess};

/// Bytes of `struct rseq` that the kernel fills in, and their alignment (`linux/auxvec.h`).
const AT_RSEQ_FEATURE_SIZE: u32 = 27;
const AT_RSEQ_ALIGN: u32 = 28;

/// What goes there.
pub(super) struct StartVectors<'a> {
    pub(super) path: &'a [u8],
    pub(super) arguments: &'a [Vec<u8>],
    pub(super) environment: &'a [Vec<u8>],
    pub(super) headers: u64,
    pub(super) header_count: u64,
    pub(super) interpreter_base: u64,
    pub(super) entry: u64,
    pub(super) vdso: u64,
    pub(super) credentials: &'a Credentials,
}

/// Where it went.
pub(super) struct Written {
    pub(super) pointer: u64,
    pub(super) arguments: (LinearAddress, u64),
    pub(super) environment: (LinearAddress, u64),
    pub(super) auxiliary: Vec<u8>,
}

/// Grows downwards from the stack's top; bytes are kept in reverse order of pieces.
struct Builder {
    top: u64,
    bytes: Vec<u8>,
}

impl Builder {
    /// Puts bytes below what is there; returns their address.
    fn push(&mut self, piece: &[u8]) -> u64 {
        self.bytes.extend(piece.iter().rev());
        self.top - self.bytes.len() as u64
    }

    fn push_string(&mut self, string: &[u8]) -> u64 {
        self.push(b"\0");
        self.push(string)
    }

    fn align(&mut self, to: u64) {
        while !(self.top - self.bytes.len() as u64).is_multiple_of(to) {
            self.bytes.push(0);
        }
    }
}

/// Builds the stack's content below `top` and writes it to the current process.
pub(super) fn write(vectors: &StartVectors<'_>, top: u64, size: u64) -> Result<Written, ExecError> {
    let strings = vectors.arguments.iter().chain(vectors.environment);
    let total: u64 = strings.map(|string| string.len() as u64 + 9).sum();
    if total > size / 4 * 3 {
        return Err(ExecError::new(
            Errno::E2BIG,
            "has arguments that do not fit its stack",
        ));
    }
    let mut builder = Builder {
        top,
        bytes: Vec::new(),
    };
    builder.push(&[0; 8]);
    let path = builder.push_string(vectors.path);
    let environment_end = top - builder.bytes.len() as u64;
    let environment = push_strings(&mut builder, vectors.environment);
    let arguments_end = top - builder.bytes.len() as u64;
    let arguments = push_strings(&mut builder, vectors.arguments);
    let strings_start = top - builder.bytes.len() as u64;
    let platform = builder.push_string(b"x86_64");
    let mut seed = [0; 16];
    random::fill(&mut seed);
    let random = builder.push(&seed);
    builder.align(16);
    let auxiliary = auxiliary(vectors, path, platform, random);
    let words = arguments.len() + environment.len() + 3;
    if words % 2 == 1 {
        builder.push(&[0; 8]);
    }
    builder.push(&auxiliary);
    push_pointers(&mut builder, &environment);
    push_pointers(&mut builder, &arguments);
    let pointer = builder.push(&(arguments.len() as u64).to_le_bytes());
    builder.bytes.reverse();
    uaccess::write(LinearAddress(pointer), &builder.bytes)?;
    Ok(Written {
        pointer,
        arguments: (LinearAddress(strings_start), arguments_end - strings_start),
        environment: (
            LinearAddress(arguments_end),
            environment_end - arguments_end,
        ),
        auxiliary,
    })
}

/// Puts strings so that the first has the lowest address; returns their addresses.
fn push_strings(builder: &mut Builder, strings: &[Vec<u8>]) -> Vec<u64> {
    let mut addresses: Vec<u64> = strings
        .iter()
        .rev()
        .map(|string| builder.push_string(string))
        .collect();
    addresses.reverse();
    addresses
}

fn push_pointers(builder: &mut Builder, addresses: &[u64]) {
    builder.push(&[0; 8]);
    for address in addresses.iter().rev() {
        builder.push(&address.to_le_bytes());
    }
}

fn auxiliary(vectors: &StartVectors<'_>, path: u64, platform: u64, random: u64) -> Vec<u8> {
    let info = boot::info();
    let who = vectors.credentials;
    let [uid, euid, _] = who.uid;
    let [gid, egid, _] = who.gid;
    let entries = [
        (auxvec::AT_SYSINFO_EHDR, vectors.vdso),
        (auxvec::AT_HWCAP, info.hwcap),
        (auxvec::AT_PAGESZ, 4096),
        (auxvec::AT_CLKTCK, 100),
        (auxvec::AT_PHDR, vectors.headers),
        (auxvec::AT_PHENT, super::elf::SEGMENT_SIZE),
        (auxvec::AT_PHNUM, vectors.header_count),
        (auxvec::AT_BASE, vectors.interpreter_base),
        (auxvec::AT_FLAGS, 0),
        (auxvec::AT_ENTRY, vectors.entry),
        (auxvec::AT_UID, u64::from(uid)),
        (auxvec::AT_EUID, u64::from(euid)),
        (auxvec::AT_GID, u64::from(gid)),
        (auxvec::AT_EGID, u64::from(egid)),
        (auxvec::AT_SECURE, 0),
        (auxvec::AT_RANDOM, random),
        (auxvec::AT_HWCAP2, info.hwcap2),
        (auxvec::AT_EXECFN, path),
        (auxvec::AT_PLATFORM, platform),
        (AT_RSEQ_FEATURE_SIZE, 28),
        (AT_RSEQ_ALIGN, 32),
        (auxvec::AT_MINSIGSTKSZ, info.signal_stack_min),
        (auxvec::AT_NULL, 0),
    ];
    let words = entries
        .into_iter()
        .flat_map(|(key, value)| [u64::from(key), value]);
    words.flat_map(u64::to_le_bytes).collect()
}
