//! The network device (virtio 1.2, 5.1) on a [`Network`](backend_net::Network).
//!
//! [`Net`] is the device behind a transport; [`NetPage`] is the one of machines whose kernel
//! shares pages with the monitor. Each queue has a thread that waits for its notifications, and
//! the host end has threads that wait for the host. Who takes a frame from the guest hands it to
//! the host end at once, and who has one for the guest puts it into its buffers: between the
//! two nobody is woken. The guest notifies of buffers only when they had run out, and is
//! interrupted once for all frames of a batch.

mod control;
mod device;
mod features;
mod link;
mod page;
mod receive;
mod source;

pub use device::Net;
pub use features::{Config, Counters};
pub use page::NetPage;

/// Queues of the first pair.
pub const QUEUE_RECEIVE: u16 = 0;
/// See [`QUEUE_RECEIVE`].
pub const QUEUE_TRANSMIT: u16 = 1;
