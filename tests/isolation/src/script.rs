//! A byte string as a list of numbers, for targets that make calls of it.

/// What is left of an input.
#[derive(Clone, Debug)]
pub(crate) struct Script<'d>(&'d [u8]);

impl<'d> Script<'d> {
    pub(crate) const fn new(data: &'d [u8]) -> Self {
        Self(data)
    }

    /// The next byte; `None` at the end.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next `N` bytes as a number, as many as there are.
    pub(crate) fn number<const N: usize>(&mut self) -> u64 {
        let mut bytes = [0; 8];
        for to in bytes.iter_mut().take(N) {
            *to = self.byte().unwrap_or(0);
        }
        u64::from_le_bytes(bytes)
    }

    /// The next bytes, at most `most`.
    pub(crate) fn bytes(&mut self, most: usize) -> &'d [u8] {
        let (first, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        first
    }
}
