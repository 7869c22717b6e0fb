//! `xen_version` (public/version.h and features.h).

use super::leaves::VERSION;
use super::{Answer, Call, DONE, Errno, Reply, field};

const NUMBER: u32 = 0;
const EXTRA: u32 = 1;
const FEATURES: u32 = 6;

/// Bytes of what is said behind the version: nothing.
const EXTRA_BYTES: usize = 16;
/// The guest's memory is translated, and its clock's page can be relied upon (`XENFEAT_auto_translated_physmap`,
/// `XENFEAT_hvm_safe_pvclock`).
const OFFERED: u32 = 1 << 2 | 1 << 9;

impl Call<'_, '_> {
    pub(super) fn version(&mut self) -> Answer {
        let [_, address, ..] = self.arguments;
        match self.word(0) {
            NUMBER => Ok(Reply::Value(VERSION.into())),
            EXTRA => {
                self.give(address, &[0; EXTRA_BYTES])?;
                Ok(DONE)
            }
            FEATURES => self.features(address),
            _ => Err(Errno::NotServed),
        }
    }

    /// Features by parts of 32 bits, of which there is one.
    fn features(&mut self, address: u64) -> Answer {
        let mut asked: [u8; 8] = self.take(address)?;
        if field(&asked, 0, 4) != 0 {
            return Err(Errno::Invalid);
        }
        asked[4..].copy_from_slice(&OFFERED.to_le_bytes());
        self.give(address, &asked)?;
        Ok(DONE)
    }
}
