//! Instructions that a guest met and that nobody here knows: each is said once, and they are counted.
//!
//! A guest can have no more of them remembered than there are opcodes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use engine_contract::Reporter;
use iced_x86::{Code, Instruction, Mnemonic};

/// Those of a machine.
#[derive(Default)]
pub(crate) struct Unknown {
    /// How often each was met, by its opcode.
    counts: Mutex<BTreeMap<u16, u64>>,
    reporter: OnceLock<Reporter>,
}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unknown").field(&*self.all()).finish()
    }
}

/// Whether an instruction of no extension that is done here raised its `#UD` for that alone. Those that are there to
/// raise it, and what is no instruction, are known.
fn is_unknown(instruction: &Instruction) -> bool {
    let mnemonic = instruction.mnemonic();
    let is_meant = matches!(mnemonic, Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2);
    !instruction.is_invalid() && !is_meant && !x86_semantics::knows(mnemonic)
}

impl Unknown {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u16, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, they are said to this one. The first stays.
    pub(crate) fn report_to(&self, reporter: Reporter) {
        let _ = self.reporter.set(reporter);
    }

    /// An instruction raised `#UD` that is not one of vectors or x87's, as far as they are there.
    #[cold]
    pub(crate) fn met(&self, instruction: &Instruction) {
        if !is_unknown(instruction) {
            return;
        }
        let is_first = {
            let mut all = self.all();
            let count = all.entry(instruction.code() as u16).or_default();
            *count += 1;
            *count == 1
        };
        if is_first {
            self.say(&format!(
                "the guest executed {instruction}, which this engine does not know: it got #UD"
            ));
        }
    }

    /// Says a sentence that is said once.
    pub(crate) fn say(&self, sentence: &str) {
        if let Some(reporter) = self.reporter.get() {
            reporter(sentence);
        }
    }

    /// How often each was met, by its name.
    pub(crate) fn counts(&self) -> Vec<(String, u64)> {
        let mut names = BTreeMap::new();
        for (code, count) in &*self.all() {
            if let Ok(code) = Code::try_from(usize::from(*code)) {
                let name = format!("{:?}", code.mnemonic()).to_uppercase();
                *names.entry(format!("unknown {name}")).or_default() += count;
            }
        }
        names.into_iter().collect()
    }
}
