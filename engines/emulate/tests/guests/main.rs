//! The engine with real guests of some instructions: what all engines must do, and what only this one could do wrong.

mod changes;
mod contexts;
mod devices;
mod held;
mod nmi;
mod quick;
mod repeated;
mod segments;
mod unknown;

use engine_emulate::Emulate;

#[expect(
    clippy::unnecessary_wraps,
    reason = "other engines cannot run everywhere"
)]
fn emulate(_: &str) -> Option<Emulate> {
    Some(Emulate)
}

machines::tests!(emulate);
