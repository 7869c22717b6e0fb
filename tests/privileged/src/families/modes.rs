//! Every mode once.

use iced_x86::code_asm::*;

use crate::case::{Case, Mode};
use Mode::*;

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let modes = [
        Real,
        Virtual8086,
        Protected16(0),
        Protected16(3),
        Protected32(0),
        Protected32(1),
        Protected32(2),
        Protected32(3),
        Long64(0),
        Long64(3),
        Compatible16(0),
        Compatible16(3),
        Compatible32(0),
        Compatible32(3),
    ];
    let mut cases = Vec::new();
    for mode in modes {
        cases.push(Case::new(format!("mode/{}/end", mode.word()), mode));
        let stop = Case::new(format!("mode/{}/hlt", mode.word()), mode);
        if mode.level() > 0 {
            cases.push(stop.code(|a| a.hlt()));
        }
        let invalid = Case::new(format!("mode/{}/ud2", mode.word()), mode);
        cases.push(invalid.code(|a| {
            a.inc(ax)?;
            a.ud2()
        }));
    }
    for mode in [Protected32(0), Protected32(3)] {
        let name = format!("mode/{}", mode.word());
        cases.push(Case::new(format!("{name}/legacy-paging"), mode).legacy_paging());
        cases.push(Case::new(format!("{name}/pae-paging"), mode).pae_paging());
    }
    cases
}
