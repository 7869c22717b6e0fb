//! The limits that the monitor was started with, and what it does about those in its own way. A
//! program's are another matter: `run::configuration` tells the kernel of them first.

use nix::sys::signal::{SigSet, Signal};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::Failure;

/// From now on, in this thread and those it starts, a file that may not grow (`RLIMIT_FSIZE`) is an
/// error of the request that would have it grow, and not the end of husk. Before any other thread.
pub(crate) fn outlive_sizes() {
    let mut set = SigSet::empty();
    set.add(Signal::SIGXFSZ);
    // Fails only for an invalid operation, which this is not.
    let _ = set.thread_block();
}

/// A machine's memory is a file: one of `wanted` bytes, or of its `memory` only, for which a limit
/// that is lower is raised if that is allowed.
pub(crate) fn raise_size(wanted: u64, memory: u64) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Fsize);
    let none = Rlimit {
        current: None,
        maximum: None,
    };
    let suffices = limit.current.is_none_or(|most| most >= wanted);
    if suffices || setrlimit(Resource::Fsize, none).is_ok() {
        return Ok(());
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // The most that is allowed without privilege.
    let _ = setrlimit(Resource::Fsize, raised);
    match limit.maximum {
        Some(most) if most < memory => {
            let why = format!(
                "a file may have {} KiB here, and the machine's memory is one of {} KiB",
                most >> 10,
                memory >> 10
            );
            let remedy = "raise the hard limit: `ulimit -f unlimited` where it is set";
            Err(Failure::new("limit of the file size", why, remedy))
        }
        _ => Ok(()),
    }
}

/// Most descriptors that a monitor asks for: as many as Linux lets a process have by default.
const FILES_MAX: u64 = 1 << 20;

/// Serving files takes descriptors, one for each file that a guest's kernel remembers: as many as
/// root may give itself, or as the host allows.
pub(crate) fn raise_files() {
    let limit = getrlimit(Resource::Nofile).maximum;
    let wanted = limit.map(|limit| limit.max(FILES_MAX));
    let raise = |maximum| {
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        setrlimit(Resource::Nofile, raised)
    };
    // Refused means fewer files at once, which the file server answers for itself.
    let _ = raise(wanted).or_else(|_| raise(limit));
}
