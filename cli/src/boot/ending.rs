//! How a machine with an operating system ended, as an exit status and a sentence.

use machine_board::Ending;

use crate::error::{Failure, STATUS_RESET, STATUS_TRIPLE_FAULT};

/// The exit status, or the sentence to say first.
pub(super) fn status(ending: &Ending) -> Result<u8, Failure> {
    match ending {
        Ending::PowerOff => Ok(0),
        Ending::Exit(status) | Ending::Stopped(status) => Ok(*status),
        Ending::Reset => Ok(STATUS_RESET),
        Ending::Crash(registers) => Err(Failure {
            status: STATUS_TRIPLE_FAULT,
            ..Failure::new(
                "the guest",
                format_args!("it told the hypervisor below it that it crashed, on {registers}"),
                "",
            )
        }),
        Ending::TripleFault(registers) => Err(triple_fault(registers)),
        Ending::Halted => Err(Failure::new(
            "the guest",
            "it waits for an interrupt that nothing can bring",
            "",
        )),
        Ending::Failed(reason) => Err(Failure::new("the machine", reason, "")),
    }
}

fn triple_fault(registers: &str) -> Failure {
    let why = format!(
        "an exception while a double fault was delivered (triple fault), on {registers}\n\
         On a processor of AMD these are the registers after the reset that follows, since KVM has \
         no others"
    );
    Failure {
        status: STATUS_TRIPLE_FAULT,
        ..Failure::new("the guest", why, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_have_the_documented_statuses() {
        let status = |ending| status(&ending).unwrap_or_else(|failure| failure.status);
        assert_eq!(status(Ending::PowerOff), 0);
        assert_eq!(status(Ending::Exit(7)), 7);
        assert_eq!(status(Ending::Stopped(143)), 143);
        assert_eq!(status(Ending::Reset), 123);
        assert_eq!(status(Ending::Crash(String::new())), 124);
        assert_eq!(status(Ending::TripleFault(String::new())), 124);
        assert_eq!(status(Ending::Failed(String::new())), 125);
    }
}
