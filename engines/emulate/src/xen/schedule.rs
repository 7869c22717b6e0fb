//! `sched_op` (public/sched.h).

use super::{Answer, Call, DONE, Errno, Reply, field};
use crate::core::Ending;

const YIELD: u32 = 0;
const BLOCK: u32 = 1;
const SHUTDOWN: u32 = 2;

/// Reasons of a shutdown.
const POWER_OFF: u64 = 0;
const REBOOT: u64 = 1;
const CRASH: u64 = 3;
const WATCHDOG: u64 = 4;

impl Call<'_, '_> {
    pub(super) fn schedule(&mut self) -> Answer {
        let [_, address, ..] = self.arguments;
        match self.word(0) {
            // Others have their turns anyway.
            YIELD => Ok(DONE),
            BLOCK => Ok(Reply::Wait),
            SHUTDOWN => self.shut_down(address),
            _ => Err(Errno::NotServed),
        }
    }

    /// Nobody could resume a machine that is suspended.
    fn shut_down(&mut self, address: u64) -> Answer {
        let asked: [u8; 4] = self.take(address)?;
        let ending = match field(&asked, 0, 4) {
            POWER_OFF => Ending::PowerOff,
            REBOOT | WATCHDOG => Ending::Reset,
            CRASH => Ending::Crash,
            _ => return Err(Errno::Invalid),
        };
        Ok(Reply::End(ending))
    }
}
