//! The machine's last words, and its counters.

use core::fmt;
use core::sync::atomic::Ordering;

use guest_abi::report::{self as abi, ReportPage};

use crate::boot::report_page;

/// How a machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The program's exit status.
    Exited(u8),
    /// The signal that ended the program.
    Signaled(u8),
    /// The Linux error number for which the program could not start.
    NotStarted(u16),
    /// Memory is used up.
    OutOfMemory,
    /// A fault of the kernel.
    Panic,
}

/// Writes the end of the machine where the monitor reads it, and powers off.
pub fn end(end: End, text: fmt::Arguments<'_>) -> ! {
    let page = report_page();
    if page.kind.load(Ordering::Acquire) != 0 {
        // Another virtual CPU had the last word; its memory may be gone already.
        crate::platform().power_off()
    }
    let mut writer = TextWriter { page, length: 0 };
    // Text that does not fit is cut: the writer never fails.
    let _ = fmt::write(&mut writer, text);
    let (kind, value) = match end {
        End::Exited(status) => (abi::KIND_EXITED, u32::from(status)),
        End::Signaled(number) => (abi::KIND_SIGNALED, u32::from(number)),
        End::NotStarted(errno) => (abi::KIND_NOT_STARTED, u32::from(errno)),
        End::OutOfMemory => (abi::KIND_OUT_OF_MEMORY, 0),
        End::Panic => (abi::KIND_PANIC, 0),
    };
    page.value.store(value, Ordering::Relaxed);
    page.kind.store(kind, Ordering::Release);
    crate::platform().power_off()
}

struct TextWriter {
    page: &'static ReportPage,
    length: usize,
}

impl fmt::Write for TextWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if let Some(cell) = self.page.text.get(self.length) {
                cell.store(byte, Ordering::Relaxed);
                self.length += 1;
            }
        }
        self.page
            .text_length
            .store(self.length as u32, Ordering::Relaxed);
        Ok(())
    }
}

/// The text of the report, with a line's end; nothing if there is none.
#[cfg(kernel_build)]
pub(crate) fn text() -> impl Iterator<Item = u8> {
    let page = report_page();
    let length = page.text_length.load(Ordering::Relaxed) as usize;
    let text = page.text.iter().take(length);
    let end = (length > 0).then_some(b'\n');
    text.map(|byte| byte.load(Ordering::Relaxed)).chain(end)
}

/// The report as an exit status, as a shell would show it.
#[cfg(kernel_build)]
pub(crate) fn status() -> u8 {
    let page = report_page();
    let value = page.value.load(Ordering::Relaxed) as u8;
    match page.kind.load(Ordering::Relaxed) {
        abi::KIND_EXITED => value,
        abi::KIND_SIGNALED => 128 + value,
        abi::KIND_NOT_STARTED => 127,
        abi::KIND_OUT_OF_MEMORY => 137,
        _ => 125,
    }
}

/// The counters the monitor shows with `--stats`.
#[must_use]
pub fn counters() -> &'static ReportPage {
    report_page()
}
