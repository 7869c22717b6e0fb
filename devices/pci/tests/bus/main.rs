//! What drivers of a PCI bus rely on, Linux first, and what they must not be able to do.

mod fake;
mod host;
mod msix;
mod random;
