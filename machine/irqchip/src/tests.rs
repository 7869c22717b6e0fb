use super::*;

const FIRST: VcpuId = VcpuId(0);
const SECOND: VcpuId = VcpuId(1);

fn machine() -> (Arc<Controllers>, [Arc<Signal>; 2]) {
    let signals = [Arc::new(Signal::default()), Arc::new(Signal::default())];
    let controllers = Controllers::new(signals.clone());
    for vcpu in [FIRST, SECOND] {
        controllers.write_local(vcpu, 0xf0, 0x1ff, Nanos(0));
    }
    signals.iter().for_each(|signal| {
        signal.take();
    });
    (controllers, signals)
}

/// A fixed interrupt for a local APIC.
const fn message(to: u64, vector: u32) -> Message {
    Message {
        address: 0xfee0_0000 | to << 12,
        data: vector,
    }
}

#[test]
fn a_message_reaches_the_one_that_it_names() {
    let (controllers, [first, second]) = machine();
    Wires(Arc::clone(&controllers)).send(message(1, 0x41));
    assert!(!first.is_set() && second.take());
    assert_eq!(controllers.take(FIRST, Nanos(0)), None);
    assert_eq!(controllers.take(SECOND, Nanos(0)), Some(0x41));
    assert_eq!(controllers.take(SECOND, Nanos(0)), None);
}

#[test]
fn the_timer_is_input_2_of_one_and_0_of_the_other() {
    let (controllers, [first, _]) = machine();
    // Input 2, fixed, vector 0x30, for the first.
    controllers.write_io(0, 0x14);
    controllers.write_io(0x10, 0x30);
    let line = Wires(Arc::clone(&controllers)).line(0);
    line.set(true);
    assert!(first.take());
    assert_eq!(controllers.take(FIRST, Nanos(0)), Some(0x30));
    line.set(true);
    assert!(!first.is_set());
    line.set(false);
}

#[test]
fn a_processor_starts_another() {
    let (controllers, [_, second]) = machine();
    for command in [0x4500, 0x4608, 0x4608] {
        controllers.write_local(FIRST, 0x310, 1 << 24, Nanos(0));
        controllers.write_local(FIRST, 0x300, command, Nanos(0));
    }
    assert!(second.take());
    assert_eq!(controllers.take_event(SECOND), Some(Event::Init));
    assert_eq!(controllers.take_event(SECOND), Some(Event::StartUp(8)));
    assert_eq!(controllers.take_event(SECOND), None);
    assert_eq!(controllers.take_event(FIRST), None);
}

#[test]
fn events_do_not_pile_up() {
    let (controllers, _) = machine();
    for page in 0..200 {
        controllers.write_local(FIRST, 0x310, 1 << 24, Nanos(0));
        controllers.write_local(FIRST, 0x300, 0x4600 | page, Nanos(0));
        controllers.write_local(FIRST, 0x300, 0x4400, Nanos(0));
    }
    let events = std::iter::from_fn(|| controllers.take_event(SECOND));
    assert!(events.count() < 20);
}

#[test]
fn the_timer_of_a_processor_interrupts_it() {
    let (controllers, _) = machine();
    controllers.write_local(FIRST, 0x3e0, 0xb, Nanos(0));
    controllers.write_local(FIRST, 0x320, 0x50, Nanos(0));
    controllers.write_local(FIRST, 0x380, 1000, Nanos(0));
    assert_eq!(controllers.next_event(FIRST, Nanos(0)), Some(Nanos(1000)));
    assert_eq!(controllers.take(FIRST, Nanos(999)), None);
    assert_eq!(controllers.take(FIRST, Nanos(1000)), Some(0x50));
}

#[test]
fn whoever_sleeps_is_woken() {
    let signal = Arc::new(Signal::default());
    let other = Arc::clone(&signal);
    let thread = std::thread::spawn(move || other.sleep(None));
    signal.set();
    thread.join().unwrap();
    assert!(signal.take() && !signal.take());
}
