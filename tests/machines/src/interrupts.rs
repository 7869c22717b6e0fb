//! Interrupts by message, by wire and by doorbell.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use engine_contract::{Engine, InterruptController, Machine};
use guest_abi::layout::VCPU_PAGES;
use guest_abi::vcpu::{ATTENTION_WAKE, VcpuPage};
use machine_bus::Message;

use crate::code;
use crate::harness::{Access, Recorder, first, machine_with, run};

/// Says that the guest is about to sleep, and names the vector that came.
const READY: u16 = 0xf0;
const CAME: u16 = 0xf5;

fn message(vector: u32) -> Message {
    Message {
        address: 0xfee0_0000,
        data: vector,
    }
}

/// The vectors that came when this happened each time the guest was ready.
fn vectors(machine: &mut dyn Machine, react: impl Fn(&Access) + Send + Sync + 'static) -> Vec<u8> {
    let mut vcpu = first(machine);
    let world = Recorder::reacting(&*vcpu, react);
    run(&mut *vcpu, &world);
    let accesses = world.accesses();
    let came = accesses.iter().filter_map(|access| match access {
        Access::Out(CAME, data) => data.first().copied(),
        _ => None,
    });
    came.collect()
}

fn is_ready(access: &Access) -> bool {
    matches!(access, Access::Out(READY, _))
}

/// From another thread, when the guest most likely sleeps.
fn later(act: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        act();
    });
}

fn controller(machine: &dyn Machine) -> Arc<dyn InterruptController> {
    machine.interrupt_controller().expect("the ability")
}

pub fn a_message_wakes_a_sleeping_guest(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::wait_for_interrupts(), 1);
    let controller = controller(&*machine);
    let came = vectors(&mut *machine, move |access| {
        if is_ready(access) {
            let controller = Arc::clone(&controller);
            later(move || controller.send(message(0x40)));
        }
    });
    assert_eq!(came, [0x40; 3]);
}

pub fn a_message_that_comes_before_sleep_is_not_lost(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::wait_for_interrupts(), 1);
    let controller = controller(&*machine);
    let came = vectors(&mut *machine, move |access| {
        if is_ready(access) {
            controller.send(message(0x40));
        }
    });
    assert_eq!(came, [0x40; 3]);
}

pub fn a_wire_wakes_a_sleeping_guest(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::wait_for_interrupts(), 1);
    let line = controller(&*machine).line(5);
    let came = vectors(&mut *machine, move |access| match access {
        Access::Out(READY, _) => {
            let line = Arc::clone(&line);
            later(move || line.set(true));
        }
        // A device that was served lowers its wire.
        Access::Out(CAME, _) => line.set(false),
        _ => {}
    });
    assert_eq!(came, [0x41; 3]);
}

pub fn a_wire_that_stays_high_interrupts_again(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::wait_for_interrupts(), 1);
    let line = controller(&*machine).line(5);
    let count = AtomicU32::new(0);
    let came = vectors(&mut *machine, move |access| match access {
        Access::Out(READY, _) => line.set(true),
        // Served only the second time.
        Access::Out(CAME, _) => line.set(count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2)),
        _ => {}
    });
    assert_eq!(came, [0x41; 6]);
}

pub fn the_local_timer_keeps_deadlines(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::wait_for_deadlines(), 1);
    assert_eq!(vectors(&mut *machine, |_| {}), [0x40; 3]);
}

pub fn inputs_that_do_not_exist_lead_nowhere(engine: &dyn Engine) {
    let machine = machine_with(engine, code::spin(), 1);
    let controller = controller(&*machine);
    controller.line(24).set(true);
    controller.send(Message {
        address: u64::MAX,
        data: u32::MAX,
    });
}

pub fn doorbells_call_husk_s_kernel_by_its_vector(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::wait_for_interrupts(), 1);
    let bells = machine.doorbells().unwrap();
    let signals = machine.signals().unwrap();
    let page = machine.memory().page::<VcpuPage>(VCPU_PAGES).unwrap();
    page.attention.store(ATTENTION_WAKE, Ordering::SeqCst);
    let came = vectors(&mut *machine, move |access| {
        if is_ready(access) {
            bells.complete(0);
            signals.post(15);
        }
    });
    assert_eq!(came, [guest_abi::bare::VECTOR_MONITOR; 3]);
    assert_eq!(page.signals.load(Ordering::SeqCst), 1 << 14);
}
