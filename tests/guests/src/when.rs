//! When a guest is booted: CI has no hour for each.

/// When and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// By every engine, everywhere.
    Always,
    /// By every engine, but not in the nested environment, where it would take minutes.
    NotNested,
    /// When slow ones are asked for, by every engine, everywhere.
    Slow,
}

impl When {
    /// Whether it is now.
    pub(crate) const fn is_now(self, is_nested: bool, wants_slow: bool) -> bool {
        match self {
            Self::Always => true,
            Self::NotNested => !is_nested || wants_slow,
            Self::Slow => wants_slow,
        }
    }
}
