//! The kernel's own image, part by part (symbols of the linker script).

use super::frames::FRAME;
use super::ranges::Range;
use super::tables::{NO_EXECUTE, WRITE};

unsafe extern "C" {
    safe static husk_text_start: u8;
    safe static husk_text_end: u8;
    safe static husk_constants_end: u8;
    safe static husk_image_end: u8;
}

fn address(symbol: *const u8) -> u64 {
    symbol.addr() as u64
}

/// Linear addresses of code, constants and data, and the rights of each; whole pages.
pub(super) fn parts() -> [(Range, u64); 3] {
    let part = |start: *const u8, end: *const u8| Range {
        // A part begins on the page after the one before it ended.
        start: address(start).next_multiple_of(FRAME),
        end: address(end).next_multiple_of(FRAME),
    };
    let (start, text, constants, end) = (
        &raw const husk_text_start,
        &raw const husk_text_end,
        &raw const husk_constants_end,
        &raw const husk_image_end,
    );
    [
        (part(start, text), 0),
        (part(text, constants), NO_EXECUTE),
        (part(constants, end), WRITE | NO_EXECUTE),
    ]
}
