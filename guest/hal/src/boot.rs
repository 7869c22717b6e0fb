//! The shared pages, and what the monitor says at the start.
#![expect(unsafe_code, reason = "shared pages are found by address")]

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_abi::boot::BootInfo;
use guest_abi::device::DevicePage;
use guest_abi::layout;
use guest_abi::report::ReportPage;
use guest_abi::vcpu::{ClockPage, VcpuPage};
use zerocopy::FromBytes;

use crate::memory::{copy_from_ram, ram_pointer};
use crate::sync::Once;

static INFO: Once<BootInfo> = Once::new();

/// A page of atomics in guest-physical memory.
fn shared<T>(physical: u64) -> &'static T {
    debug_assert!(size_of::<T>() as u64 <= layout::PAGE_SIZE);
    let pointer = ram_pointer(physical).cast::<T>();
    // SAFETY: the page lies below FREE_START, so no extent covers it and it is mapped for
    // ever; page alignment suffices for every T used here (private calls below), and each
    // consists of atomics only, so that writes from outside are no data race.
    unsafe { &*pointer }
}

/// Copies the boot information; before everything else.
///
/// # Panics
/// When the memory does not hold boot information of this version: a packaging fault.
pub fn initialize() -> &'static BootInfo {
    INFO.call_once(|| {
        let mut bytes = [0u8; size_of::<BootInfo>()];
        copy_from_ram(layout::BOOT_INFO, &mut bytes);
        let info = BootInfo::read_from_bytes(&bytes).expect("the buffer has the type's size");
        assert_eq!(info.magic, guest_abi::boot::MAGIC, "boot information");
        assert_eq!(
            info.version,
            guest_abi::boot::VERSION,
            "boot information's version"
        );
        info
    })
}

/// The boot information.
#[must_use]
pub fn info() -> &'static BootInfo {
    initialize()
}

/// The encoded configuration.
#[must_use]
pub fn config_bytes() -> Vec<u8> {
    let length = info().config_length.min(layout::CONFIG_MAX) as usize;
    let mut bytes = alloc::vec![0; length];
    copy_from_ram(layout::CONFIG, &mut bytes);
    bytes
}

/// The command line, where no Husk monitor started the machine: then there is no configuration.
#[must_use]
pub fn command_line() -> Option<&'static [u8]> {
    crate::bare::COMMAND_LINE.get().map(|line| line.bytes())
}

/// The page of a virtual CPU.
pub(crate) fn vcpu_page(number: usize) -> &'static VcpuPage {
    assert!(number < layout::VCPUS_MAX);
    shared(layout::VCPU_PAGES + number as u64 * layout::PAGE_SIZE)
}

/// Lets others interrupt this virtual CPU, whose area and handlers are there now. What happened
/// before is in its page, at which it looks before it runs the program.
#[cfg(kernel_build)]
pub(crate) fn can_be_interrupted() {
    let page = vcpu_page(crate::area::number());
    page.attention
        .store(guest_abi::vcpu::ATTENTION_NONE, Ordering::SeqCst);
}

/// The page of a device; `None` where there is none.
#[must_use]
pub fn device_page(number: u32) -> Option<&'static DevicePage> {
    if number as usize >= layout::DEVICES_MAX {
        return None;
    }
    let page: &DevicePage = shared(layout::DEVICE_PAGES + u64::from(number) * layout::PAGE_SIZE);
    (page.device_id.load(Ordering::Relaxed) != 0).then_some(page)
}

/// Guest-physical address of the clock page, for mapping it into the program.
pub const CLOCK_PAGE: crate::GuestAddress = crate::GuestAddress(layout::CLOCK_PAGE);

pub(crate) fn clock_page() -> &'static ClockPage {
    shared(layout::CLOCK_PAGE)
}

pub(crate) fn report_page() -> &'static ReportPage {
    shared(layout::REPORT_PAGE)
}

/// A bell that a device sleeps on.
pub(crate) fn ring(bell: &AtomicU32, asleep: &AtomicU32, wake: impl FnOnce(&AtomicU32)) {
    bell.fetch_add(1, Ordering::SeqCst);
    if asleep.load(Ordering::SeqCst) != 0 {
        wake(bell);
    }
}
