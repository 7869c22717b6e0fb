//! virtio by a page of memory shared with the monitor ([`guest_abi::device`]).

use core::sync::atomic::Ordering;

use guest_abi::device::DevicePage;
use virtio_drivers::PhysAddr;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::wire::{Bell, Wire, device_type, read_value};
use crate::boot::device_page;
use crate::platform;

/// virtio by a shared page.
pub(super) struct PageTransport {
    page: &'static DevicePage,
    number: u32,
}

impl PageTransport {
    pub(super) fn new(number: u32) -> Option<Self> {
        let page = device_page(number)?;
        Some(Self { page, number })
    }
}

impl Wire for PageTransport {
    fn id(&self) -> u32 {
        self.page.device_id.load(Ordering::Relaxed)
    }

    fn bell(&mut self, queue: u16) -> Option<Bell> {
        Some(Bell::Page(self.number, queue))
    }

    fn interrupts(&self) -> bool {
        true
    }

    fn configuration(&self, offset: usize, into: &mut [u8]) -> Option<()> {
        for (index, byte) in into.iter_mut().enumerate() {
            let at = offset.checked_add(index)?;
            let word = self.page.config.get(at / 4)?.load(Ordering::Relaxed);
            *byte = *word.to_le_bytes().get(at % 4)?;
        }
        Some(())
    }
}

impl Transport for PageTransport {
    fn device_type(&self) -> DeviceType {
        device_type(self.id())
    }

    fn read_device_features(&mut self) -> u64 {
        self.page.device_features.load(Ordering::Relaxed)
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        self.page
            .driver_features
            .store(driver_features, Ordering::Relaxed);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        let count = self.page.queue_count.load(Ordering::Relaxed);
        if u32::from(queue) < count {
            self.page.queue_size_max.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    fn notify(&mut self, queue: u16) {
        platform().notify(self.number, queue);
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.page.status.load(Ordering::Relaxed))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.page.status.store(status.bits(), Ordering::Release);
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        desc: PhysAddr,
        avail: PhysAddr,
        used: PhysAddr,
    ) {
        if let Some(slot) = self.page.queues.get(usize::from(queue)) {
            slot.descriptors.store(desc, Ordering::Relaxed);
            slot.driver.store(avail, Ordering::Relaxed);
            slot.device.store(used, Ordering::Relaxed);
            slot.size.store(size, Ordering::Release);
        }
    }

    fn queue_unset(&mut self, queue: u16) {
        if let Some(slot) = self.page.queues.get(usize::from(queue)) {
            slot.size.store(0, Ordering::Release);
        }
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        let slot = self.page.queues.get(usize::from(queue));
        slot.is_some_and(|slot| slot.size.load(Ordering::Relaxed) != 0)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T: FromBytes + IntoBytes>(
        &self,
        offset: usize,
    ) -> virtio_drivers::Result<T> {
        read_value(self, offset)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        _: usize,
        _: T,
    ) -> virtio_drivers::Result<()> {
        Err(virtio_drivers::Error::Unsupported)
    }
}
