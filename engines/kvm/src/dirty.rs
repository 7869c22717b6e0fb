//! Which pages the guest wrote.
//!
//! KVM notes what virtual CPUs write, the page tables that they walk, and some pages that they
//! touch for the first time. What the monitor writes for its devices is not in it: who takes a picture of a running machine
//! must note that itself.

use std::sync::Arc;

use engine_contract::{DirtyLog, EngineError};

use crate::error::{KvmError, call};
use crate::vm::Vm;
use machine_memory::HOLE;

/// Pages a word of the log holds.
const PAGES_A_WORD: u64 = 64;
// The second region's first page is the lowest bit of a word.
const _: () = assert!(HOLE.start.is_multiple_of(PAGES_A_WORD * 4096));

/// The pages written since the last look, in the order of the memory's file: the hole has none.
#[derive(Debug)]
pub(crate) struct WrittenPages(pub(crate) Arc<Vm>);

impl WrittenPages {
    fn log(&self) -> Result<Vec<u64>, KvmError> {
        let mut pages = Vec::new();
        for (slot, region) in (0..).zip(self.0.memory().regions()) {
            let log = self.0.fd().get_dirty_log(slot, region.length as usize);
            let mut log = log.map_err(call("KVM_GET_DIRTY_LOG"))?;
            log.truncate((region.length / 4096).div_ceil(PAGES_A_WORD) as usize);
            pages.append(&mut log);
        }
        Ok(pages)
    }
}

impl DirtyLog for WrittenPages {
    fn enable(&self, on: bool) -> Result<(), EngineError> {
        let done = self.0.log_writes(on);
        done.map_err(|error| error.during("written pages cannot be noted"))
    }

    fn take(&self) -> Result<Vec<u64>, EngineError> {
        let pages = self.log();
        pages.map_err(|error| error.during("written pages are not known (are they noted?)"))
    }
}
