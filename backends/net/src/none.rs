//! A network to which nobody else is connected.

use crate::network::{Abilities, Guest, Network, Offload, Source};

/// Takes every frame and has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Network for Nothing {
    fn abilities(&self) -> Abilities {
        Abilities::ALL
    }

    fn mtu(&self) -> u16 {
        1500
    }

    fn pairs(&self) -> usize {
        1
    }

    fn servers(&self) -> usize {
        0
    }

    fn transmit(&self, _: usize, _: &mut dyn Source, _: Offload, _: &dyn Guest) {}

    fn wait(&self, _: usize) {}

    fn serve(&self, _: usize, _: &dyn Guest) {}

    fn rest(&self, _: usize) {}

    fn wake(&self) {}
}
