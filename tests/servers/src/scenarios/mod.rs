//! Networks in hard times.

use anyhow::Result;

use crate::load::Served;
use crate::needs::Need;
use crate::site::Site;

/// A case with a server of this suite's own, or none.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) run: fn(&Site<'_>) -> Result<Served>,
}

/// All of them.
pub(crate) const SCENARIOS: &[Scenario] = &[];
