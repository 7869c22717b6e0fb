//! Process contexts (SDM vol. 3, 4.10.1): what was found in one holds when a virtual CPU comes back to it.
//!
//! An epoch stands for the translations that were found since all of a context's were forgotten, a generation for what
//! blocks depend on. Both are never used again, but for epochs, of which few fit into a tag; then all is forgotten.
//! Translations of global pages are found again in each context, which is always allowed.

/// Contexts that are remembered, each at the place of its last bits.
const PLACES: usize = 16;

/// What was found in a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// Its number in `CR3`.
    number: u16,
    pub(crate) epoch: u64,
    pub(crate) generation: u64,
}

/// The contexts of a virtual CPU.
#[derive(Debug)]
pub(crate) struct Contexts {
    others: [Option<Context>; PLACES],
    /// `None`: registers came from elsewhere, and nobody has said which it is.
    now: Option<u16>,
    newest: u64,
    /// Generations below it are over.
    floor: u64,
}

impl Contexts {
    pub(crate) const fn new() -> Self {
        Self {
            others: [None; PLACES],
            now: None,
            newest: 1,
            floor: 0,
        }
    }

    const fn place(number: u16) -> usize {
        number as usize % PLACES
    }

    /// Which it is, if that is known.
    pub(crate) const fn now(&self) -> Option<u16> {
        self.now
    }

    /// It may be any from now on.
    pub(crate) const fn lose(&mut self) {
        self.now = None;
    }

    /// A generation that has not been before.
    pub(crate) const fn generation(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }

    /// The same, after which no other context's holds.
    pub(crate) const fn generation_for_all(&mut self) -> u64 {
        let generation = self.generation();
        self.floor = generation;
        generation
    }

    /// Forgets what was found in the others.
    pub(crate) const fn forget_others(&mut self) {
        self.others = [None; PLACES];
    }

    /// Forgets what was found in one that is not the present one.
    pub(crate) fn forget(&mut self, number: u16) {
        let place = &mut self.others[Self::place(number)];
        *place = place.filter(|context| context.number != number);
    }

    /// Changes from the present one, in which this was found, to another; what was found there.
    pub(crate) fn change(&mut self, epoch: u64, generation: u64, to: u16) -> Option<Context> {
        // Both may have the same place.
        let found = self.others[Self::place(to)].take_if(|context| context.number == to);
        if let Some(number) = self.now.replace(to) {
            self.others[Self::place(number)] = Some(Context {
                number,
                epoch,
                generation,
            });
        }
        let found = found?;
        let generation = if found.generation < self.floor {
            self.generation()
        } else {
            found.generation
        };
        Some(Context {
            generation,
            ..found
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_found_again_until_it_is_forgotten() {
        let mut contexts = Contexts::new();
        assert_eq!(contexts.change(1, 1, 5), None);
        assert_eq!(contexts.now(), Some(5));
        assert_eq!(contexts.change(2, 2, 6), None);
        let five = contexts.change(3, 3, 5).unwrap();
        assert_eq!((five.epoch, five.generation), (2, 2));
        contexts.forget(6);
        assert_eq!(contexts.change(2, 2, 6), None);
        // Those at the same place change places.
        assert_eq!(contexts.change(4, 4, 6 + 16), None);
        assert_eq!(contexts.change(5, 5, 6).map(|six| six.epoch), Some(4));
        contexts.forget_others();
        assert_eq!(contexts.change(4, 4, 5), None);
    }

    #[test]
    fn a_generation_ends_for_all_while_translations_stay() {
        let mut contexts = Contexts::new();
        assert_eq!(contexts.change(1, 1, 1), None);
        let mine = contexts.generation();
        assert_eq!(contexts.change(7, mine, 2), None);
        let all = contexts.generation_for_all();
        let one = contexts.change(8, all, 1).unwrap();
        assert_eq!(one.epoch, 7);
        assert!(one.generation > all);
        assert_eq!(
            contexts.change(7, one.generation, 2).unwrap().generation,
            all
        );
    }
}
