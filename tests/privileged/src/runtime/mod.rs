//! The test kernel itself: it sets everything back, enters a case, captures how that ended, and
//! prints it.
//!
//! Between cases the processor is at *home*: in protected mode, flat, without paging.
//!
//! * `home`: the loop over the cases. `reset`: what is set back before each. `enter`: the way into
//!   protected mode; `real`, `long`: the ways into those modes and back.
//! * `capture`: what interrupt gates and task gates of protected mode lead to.
//! * `print`: the line. `saved`: what is captured, and the test kernel's variables.

mod capture;
mod enter;
mod home;
mod long;
mod print;
mod real;
mod reset;
mod saved;
mod stubs;
mod texts;

use iced_x86::IcedError;

use crate::tables::Table;
use texts::Texts;

/// Bytes at an address.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) address: u32,
    pub(crate) bytes: Vec<u8>,
}

/// Addresses of the 32-bit code that the rest of the test kernel goes to.
#[derive(Clone, Copy, Debug)]
struct Places {
    /// Where the loop starts.
    start: u32,
    /// The captures of 32-bit gates, 16-bit gates, and tasks.
    gate: u32,
    gate_16: u32,
    task: u32,
}

/// The whole test kernel, and where it starts.
pub(crate) struct Runtime {
    pub(crate) blobs: Vec<Blob>,
    pub(crate) start: u32,
}

/// Assembles the test kernel. `set_back` names copies of tables: destination, source, length.
/// `first` is the address of the first record.
pub(crate) fn assemble(set_back: &[(u32, u32, u32)], first: u32) -> Result<Runtime, IcedError> {
    let mut texts = Texts::default();
    let (code, places) = home::assemble(&mut texts, set_back, first)?;
    let (real, real_capture) = real::assemble(home::HOME)?;
    let (long, long_capture) = long::assemble(&mut texts, home::HOME)?;
    let mut blobs = vec![code, real, long];
    blobs.extend(stubs::assemble(places, real_capture, long_capture)?);
    blobs.push(texts.blob());
    Ok(Runtime {
        blobs,
        start: places.start,
    })
}

/// What is copied before each case, and where from, if the tables are at `source`.
pub(crate) fn copies(tables: &[Table], mut source: u32) -> Vec<(u32, u32, u32)> {
    let mut copies = Vec::new();
    for table in tables {
        for (offset, length) in &table.set_back {
            copies.push((table.address + offset, source + offset, *length));
        }
        source += u32::try_from(table.bytes.len()).expect("tables are small");
    }
    copies
}
