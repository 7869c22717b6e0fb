//! Errors as the user sees them, and exit statuses.
//!
//! The program's own status, or 128 + N when signal N ended it; 125 for Husk's own
//! errors, 126 for a program that cannot be executed, 127 for one that is not found. An
//! operating system ends with 0 when it powers off, or with what it writes to the debug exit port;
//! 123 for a reset that it does not get, 124 for a triple fault or a crash that it tells a hypervisor of.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// An operating system asked for a reset, and was not to get it.
pub(crate) const STATUS_RESET: u8 = 123;
/// An operating system ended in a triple fault, or said that it crashed.
pub(crate) const STATUS_TRIPLE_FAULT: u8 = 124;
/// What a shell says of a program that was killed: 128 + `SIGKILL`.
pub(crate) const STATUS_KILLED: u8 = 128 + 9;
/// Husk's own error.
pub(crate) const STATUS_HUSK: u8 = 125;
/// The program cannot be executed.
pub(crate) const STATUS_NOT_EXECUTABLE: u8 = 126;
/// The program is not there.
pub(crate) const STATUS_NOT_FOUND: u8 = 127;

/// Writes a line to stderr; a stderr that takes nothing must not change the status.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Says what an engine has to say of its guest.
pub(crate) fn reporter() -> engine_contract::Reporter {
    std::sync::Arc::new(|sentence| say(&format!("husk: {sentence}")))
}

/// One sentence, one status.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: u8,
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) remedy: String,
}

impl Failure {
    /// An error of Husk's own.
    pub(crate) fn new(
        what: impl fmt::Display,
        why: impl fmt::Display,
        remedy: impl fmt::Display,
    ) -> Self {
        Self {
            status: STATUS_HUSK,
            what: what.to_string(),
            why: why.to_string(),
            remedy: remedy.to_string(),
        }
    }

    /// Says it on stderr.
    pub(crate) fn report(&self) -> ExitCode {
        say(&self.to_string());
        ExitCode::from(self.status)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "husk: {}: {}", self.what, self.why)?;
        if self.remedy.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.remedy)
        }
    }
}
