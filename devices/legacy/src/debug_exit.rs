//! A port that ends the machine, for tests of kernels: a written byte is the wish to end
//! with that status. What the caller makes of it is the caller's; QEMU's `isa-debug-exit`
//! ends with `2 * status + 1`.

use crate::{FLOATING, StateError};

/// The state of a [`DebugExit`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugExitState {
    /// The status that was asked for and not taken yet.
    pub status: Option<u8>,
}

/// The port.
#[derive(Clone, Debug, Default)]
pub struct DebugExit {
    state: DebugExitState,
}

impl DebugExit {
    /// A port to which nobody has written.
    pub fn new() -> Self {
        Self::default()
    }

    /// There is nothing to read.
    pub fn read(&mut self, _offset: u16) -> u8 {
        FLOATING
    }

    /// Writes to offset 0. The first status stands until it is taken.
    pub fn write(&mut self, offset: u16, value: u8) {
        if offset == 0 {
            self.state.status.get_or_insert(value);
        }
    }

    /// The port interrupts nobody.
    pub fn irq(&self) -> bool {
        false
    }

    /// Takes the status with which the guest asks to end.
    pub fn take_exit(&mut self) -> Option<u8> {
        self.state.status.take()
    }

    /// A copy of the whole state.
    pub fn save(&self) -> DebugExitState {
        self.state.clone()
    }

    /// A port in the state of `state`.
    ///
    /// # Errors
    /// None: every state is possible. The signature is that of every chip.
    pub fn restore(state: DebugExitState) -> Result<Self, StateError> {
        Ok(Self { state })
    }
}
