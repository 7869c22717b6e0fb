//! Which opcodes are known.

use host_processor::stub;
use iced_x86::Code;

use crate::unit::by_hand;

/// Whether an opcode is one of this crate's, by which [`Unit::prepare`](crate::Unit::prepare) says how it is
/// done where [`Features`](crate::Features) allow it.
#[must_use]
pub fn knows(code: Code) -> bool {
    by_hand(code).is_some() || stub::knows(code, false) || stub::knows(code, true)
}
