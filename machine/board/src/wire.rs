//! Lines that several devices share.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use machine_bus::InterruptLine;

use crate::ends::{Ending, Ends};

/// A line that is high while at least one of its ends is.
pub(crate) struct Wire {
    line: Arc<dyn InterruptLine>,
    /// Ends that are high. Held while the line changes, so that its last level is right.
    high: Mutex<u32>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wire").field(&self.high).finish()
    }
}

impl Wire {
    pub(crate) fn new(line: Arc<dyn InterruptLine>) -> Arc<Self> {
        let high = Mutex::new(0);
        Arc::new(Self { line, high })
    }

    /// Another end.
    pub(crate) fn end(self: &Arc<Self>) -> Arc<dyn InterruptLine> {
        Arc::new(End {
            wire: Arc::clone(self),
            level: Mutex::new(false),
        })
    }

    fn change(&self, level: bool) {
        let mut high = self.high.lock().unwrap_or_else(PoisonError::into_inner);
        *high = if level {
            high.saturating_add(1)
        } else {
            high.saturating_sub(1)
        };
        self.line.set(*high > 0);
    }
}

struct End {
    wire: Arc<Wire>,
    level: Mutex<bool>,
}

impl InterruptLine for End {
    fn set(&self, level: bool) {
        let mut last = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != level {
            *last = level;
            self.wire.change(level);
        }
    }
}

/// A line that one of two devices drives: the second while it replaces the first.
pub(crate) struct Replaceable {
    line: Arc<dyn InterruptLine>,
    /// Held while the line changes, so that its last level is right.
    levels: Mutex<Levels>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Levels {
    first: bool,
    second: bool,
    replaced: bool,
}

impl Levels {
    fn chosen(self) -> bool {
        if self.replaced {
            self.second
        } else {
            self.first
        }
    }
}

impl Replaceable {
    pub(crate) fn new(line: Arc<dyn InterruptLine>) -> Arc<Self> {
        let levels = Mutex::default();
        Arc::new(Self { line, levels })
    }

    /// Where the device is that may be replaced.
    pub(crate) fn first(self: &Arc<Self>) -> Arc<dyn InterruptLine> {
        Arc::new(First(Arc::clone(self)))
    }

    /// Where the device is that may replace it.
    pub(crate) fn second(self: &Arc<Self>) -> Arc<dyn InterruptLine> {
        Arc::new(Second(Arc::clone(self)))
    }

    /// Whether the second device drives the line from now on.
    pub(crate) fn replace(&self, replaced: bool) {
        self.change(|levels| levels.replaced = replaced);
    }

    fn change(&self, change: impl FnOnce(&mut Levels)) {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut levels);
        self.line.set(levels.chosen());
    }
}

struct First(Arc<Replaceable>);

impl InterruptLine for First {
    fn set(&self, level: bool) {
        self.0.change(|levels| levels.first = level);
    }
}

struct Second(Arc<Replaceable>);

impl InterruptLine for Second {
    fn set(&self, level: bool) {
        self.0.change(|levels| levels.second = level);
    }
}

/// Notes a reset when it goes high.
pub(crate) struct ResetLine(pub(crate) Arc<Ends>);

impl InterruptLine for ResetLine {
    fn set(&self, level: bool) {
        if level {
            self.0.note(Ending::Reset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    #[test]
    fn a_shared_line_is_high_while_one_end_is() {
        let line = Arc::new(Recorder::default());
        let wire = Wire::new(line.clone());
        let (first, second) = (wire.end(), wire.end());
        first.set(true);
        first.set(true);
        second.set(true);
        first.set(false);
        assert!(line.level());
        second.set(false);
        second.set(false);
        assert!(!line.level());
    }

    #[test]
    fn a_device_that_is_replaced_comes_back_with_its_level() {
        let line = Arc::new(Recorder::default());
        let shared = Replaceable::new(line.clone());
        let (first, second) = (shared.first(), shared.second());
        second.set(true);
        assert!(!line.level());
        first.set(true);
        shared.replace(true);
        second.set(false);
        assert!(!line.level());
        first.set(false);
        first.set(true);
        assert!(!line.level());
        shared.replace(false);
        assert!(line.level());
        assert_eq!(line.rises(), 2);
    }
}
