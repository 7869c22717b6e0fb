//! The terminal that husk was started on, made raw: the guest's own takes care of lines, echo and
//! Ctrl-C. It is put back however husk ends, unless it is killed outright.

use std::os::fd::OwnedFd;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// A raw terminal, until this is dropped.
pub(super) struct Terminal {
    fd: OwnedFd,
    before: Termios,
}

impl Terminal {
    /// Makes standard input raw, if it is a terminal.
    pub(super) fn raw(stdin: &OwnedFd) -> Option<Self> {
        let fd = stdin.try_clone().ok()?;
        let before = tcgetattr(&fd).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&fd, OptionalActions::Now, &raw).ok()?;
        restore_at_panic(&fd, &before);
        Some(Self { fd, before })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may be gone.
        let _ = tcsetattr(&self.fd, OptionalActions::Now, &self.before);
    }
}

/// A panic may end the process at once.
fn restore_at_panic(fd: &OwnedFd, before: &Termios) {
    let Ok(fd) = fd.try_clone() else {
        return;
    };
    let (before, say) = (before.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        let _ = tcsetattr(&fd, OptionalActions::Now, &before);
        say(panic);
    }));
}
