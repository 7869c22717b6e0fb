//! Devices under a driver of our own: real rings in guest memory, through both transports.

mod access;
mod block;
mod console;
mod driver;
mod fs;
mod hostile;
mod net;
mod rng;
mod snapshot;
mod transports;
