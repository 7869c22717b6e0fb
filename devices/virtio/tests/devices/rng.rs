//! The entropy device.

use device_virtio::rng::{REQUEST_MAX, Rng};

use crate::access::Access;
use crate::driver::{Driver, EVENT_INDEX, INDIRECT, wait_until};

fn fills<A: Access>(mut driver: Driver<A>) {
    for _ in 0..40 {
        let (bytes, length) = driver.call(0, &[], &[32, 32]);
        assert_eq!(length, 64);
        assert!(bytes.iter().any(|&byte| byte != 0xee));
        assert_ne!(bytes[..32], bytes[32..]);
    }
    wait_until("an interrupt", || driver.access.interrupted());
}

#[test]
fn buffers_are_filled_over_every_transport() {
    for features in [0, INDIRECT, EVENT_INDEX, INDIRECT | EVENT_INDEX] {
        fills(Driver::mmio(Rng::new(), features));
        fills(Driver::pci(Rng::new(), features, true));
        fills(Driver::pci(Rng::new(), features, false));
    }
}

#[test]
fn a_request_is_bounded_and_readable_buffers_are_no_target() {
    let mut driver = Driver::mmio(Rng::new(), 0);
    let (_, length) = driver.call(0, &[], &[REQUEST_MAX + 1000]);
    assert_eq!(length, REQUEST_MAX as u32);
    assert_eq!(driver.call(0, &[b"no"], &[]), (vec![], 0));
}
