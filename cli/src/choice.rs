//! Which engine runs a machine.

use engine_contract::Engine;
use engine_paravirt::Paravirt;

use crate::arguments::EngineChoice;
use crate::error::Failure;

/// The engine that was asked for, or the first that runs Husk's kernel fast.
pub(crate) fn engine(choice: EngineChoice) -> Result<Box<dyn Engine>, Failure> {
    Ok(match choice {
        EngineChoice::Auto | EngineChoice::Paravirt => Box::new(Paravirt),
    })
}
