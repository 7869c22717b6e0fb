//! Executables whose headers have been tampered with: the kernel refuses them, or their
//! program ends of itself or by a signal; the kernel never fails over them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::machine::Bench;
use crate::{Case, Verdict};

/// How many are tried.
const MUTANTS: u64 = 200;
/// A program with another entry may run for ever.
const LIMIT: Duration = Duration::from_secs(2);
/// File header and the first program headers.
const HEADERS: usize = 64 + 8 * 56;

pub(crate) fn cases(seed: u64) -> Vec<Case> {
    vec![Case::new("executables/headers", move |bench| {
        mutants(bench, seed)
    })]
}

fn mutants(bench: &Bench, seed: u64) -> Result<Verdict> {
    let right = fs::read(bench.program("hello")?)?;
    let (mut refused, mut ran, mut endless) = (0, 0, 0);
    for number in seed..seed + MUTANTS {
        let path = bench.folder()?.join("mutant");
        fs::write(&path, mutate(&right, number))?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        let program = path.display().to_string();
        let ended = bench.start(&[&program])?.end_within(LIMIT);
        match ended {
            Ok(ended) => {
                let fine = !ended.killed && !ended.stderr.contains("kernel failed");
                ensure!(fine, "mutant {number}: {ended:?}");
                let is_refusal = ended.status == 126 || ended.status == 127;
                *(if is_refusal { &mut refused } else { &mut ran }) += 1;
            }
            Err(_) => endless += 1,
        }
        let folder = path.parent().context("it is in a folder")?;
        fs::remove_dir_all(folder)?;
    }
    Ok(Verdict::Passed(format!(
        "{refused} refused, {ran} ran and ended, {endless} were ended after {LIMIT:?}"
    )))
}

/// Up to four bytes of the headers changed, at times the end cut off.
fn mutate(right: &[u8], seed: u64) -> Vec<u8> {
    let mut bytes = right.to_vec();
    let mut random = isolation::Random::new(seed);
    for _ in 0..=random.below(4) {
        let at = random.below(HEADERS as u64) as usize;
        if let Some(byte) = bytes.get_mut(at) {
            *byte = random.below(256) as u8;
        }
    }
    if random.below(8) == 0 {
        bytes.truncate(random.below(bytes.len() as u64) as usize);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_repeat_themselves_and_differ() {
        let right = vec![0; 4096];
        assert_eq!(mutate(&right, 7), mutate(&right, 7));
        assert_ne!(mutate(&right, 7), mutate(&right, 8));
    }
}
