//! What is asked of a translation, and how it is refused.

use bitflags::bitflags;

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Reads data.
    Read,
    /// Writes data, or reads data that it is about to write.
    Write,
    /// Fetches an instruction.
    Fetch,
}

/// In whose name (SDM vol. 3, 4.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Privilege {
    /// The program's: the current privilege level is 3.
    User,
    /// The system's own: a lower level.
    Supervisor {
        /// `RFLAGS.AC`: allows what SMAP forbids, access to the program's data.
        alignment_check: bool,
    },
    /// The processor's, at any level, to descriptor tables and task states.
    Implicit,
}

/// One access to one byte, or to bytes of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// What it does.
    pub kind: Kind,
    /// In whose name.
    pub privilege: Privilege,
}

impl Access {
    /// A system's access, without `RFLAGS.AC`.
    #[must_use]
    pub const fn supervisor(kind: Kind) -> Self {
        let privilege = Privilege::Supervisor {
            alignment_check: false,
        };
        Self { kind, privilege }
    }

    /// A program's access.
    #[must_use]
    pub const fn user(kind: Kind) -> Self {
        let privilege = Privilege::User;
        Self { kind, privilege }
    }

    pub(crate) const fn is_user(self) -> bool {
        matches!(self.privilege, Privilege::User)
    }
}

bitflags! {
    /// A page fault's error code (SDM vol. 3, 4.7).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct FaultCode: u32 {
        /// There is a page, but no right to it; otherwise there is none.
        const PRESENT = 1;
        /// It was a write.
        const WRITE = 1 << 1;
        /// It was the program's.
        const USER = 1 << 2;
        /// An entry says what it must not say.
        const RESERVED = 1 << 3;
        /// It was a fetch, and fetches are told apart.
        const FETCH = 1 << 4;
    }
}

/// A page fault: what the processor says about an access that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageFault {
    /// The linear address, as CR2 takes it.
    pub address: u64,
    /// Why.
    pub code: FaultCode,
}
