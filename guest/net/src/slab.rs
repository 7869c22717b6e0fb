//! Places that are used again, each time under another generation.

use alloc::vec::Vec;

use crate::socket::Handle;

/// Values by handle.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, value: T) -> Handle {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                generation: 0,
                value: None,
            });
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let mut generation = 0;
        if let Some(place) = self.places.get_mut(index as usize) {
            place.generation = place.generation.wrapping_add(1);
            place.value = Some(value);
            generation = place.generation;
        }
        Handle { index, generation }
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<&T> {
        let place = self.places.get(handle.index as usize)?;
        (place.generation == handle.generation)
            .then_some(place.value.as_ref())
            .flatten()
    }

    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let place = self.places.get_mut(handle.index as usize)?;
        (place.generation == handle.generation)
            .then_some(place.value.as_mut())
            .flatten()
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Option<T> {
        let place = self.places.get_mut(handle.index as usize)?;
        if place.generation != handle.generation {
            return None;
        }
        let value = place.value.take()?;
        self.free.push(handle.index);
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let index = u32::try_from(index).ok()?;
            let generation = place.generation;
            Some((Handle { index, generation }, place.value.as_ref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_names_nothing_once_its_value_is_gone() {
        let mut slab = Slab::new();
        let one = slab.insert(1);
        assert_eq!(slab.get(one), Some(&1));
        assert_eq!(slab.remove(one), Some(1));
        let other = slab.insert(2);
        assert_eq!(one.index, other.index);
        assert_eq!(slab.get(one), None);
        assert_eq!(slab.remove(one), None);
        assert_eq!(slab.get(other), Some(&2));
        assert_eq!(slab.len(), 1);
    }
}
