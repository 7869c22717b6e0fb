//! What is needed to put a server under load, in a machine or natively.
//!
//! * `machine`: a server's process and its end; `ports`: free ones.
//! * `clients`: our own, which check every answer; `load`: many of them at once, a thread each;
//!   `steady`: the same request for a while by one thread, for figures.
//!
//! Knows no particular server, nothing of Husk's options, and judges no figure.
#![forbid(unsafe_code)]

pub mod clients;
pub mod load;
pub mod machine;
pub mod ports;
pub mod steady;
