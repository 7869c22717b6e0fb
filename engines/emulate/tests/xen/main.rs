//! A guest of some instructions that finds Xen below itself, and means it no good.

mod any;
mod calls;
mod guest;
mod refused;
mod several;
mod shared;

/// Numbers of hypercalls, and of what they do (Xen's public/xen.h and its neighbours).
mod numbers {
    pub(crate) const MEMORY: u64 = 12;
    pub(crate) const VERSION: u64 = 17;
    pub(crate) const CONSOLE: u64 = 18;
    pub(crate) const VCPU: u64 = 24;
    pub(crate) const SCHEDULE: u64 = 29;
    pub(crate) const HVM: u64 = 34;
    pub(crate) const ADD_TO_PHYSMAP: u64 = 7;
    pub(crate) const MEMORY_MAP: u64 = 9;
    pub(crate) const REGISTER_INFO: u64 = 10;
}

/// Errors as calls answer with them.
mod errors {
    pub(crate) const NOT_PERMITTED: i64 = -1;
    pub(crate) const NO_ENTRY: i64 = -2;
    pub(crate) const NO_DOMAIN: i64 = -3;
    pub(crate) const NO_PLACE: i64 = -6;
    pub(crate) const FAULT: i64 = -14;
    pub(crate) const INVALID: i64 = -22;
    pub(crate) const NOT_SERVED: i64 = -38;
}
