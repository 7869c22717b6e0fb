//! The console.

use std::sync::{Arc, Mutex};

use device_virtio::console::{Console, INPUT_MAX, Input, Output};

use crate::access::Access;
use crate::driver::{Driver, EVENT_INDEX, wait_until};

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Output for Sink {
    fn write(&mut self, bytes: &[u8]) {
        self.0.lock().unwrap().extend(bytes);
    }
}

fn console() -> (Console, Input, Sink) {
    let (input, sink) = (Input::default(), Sink::default());
    (
        Console::new(input.clone(), Box::new(sink.clone())),
        input,
        sink,
    )
}

#[test]
fn output_arrives_in_order_and_binary_clean() {
    let (console, _, sink) = console();
    let mut driver = Driver::pci(console, EVENT_INDEX, true);
    let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let expected = [b"a".as_slice(), b"bc", b"d", &bytes].concat();
    driver.call(1, &[b"a", b"bc"], &[]);
    driver.call(1, &[b"d"], &[]);
    driver.call(1, &[&bytes], &[]);
    assert_eq!(*sink.0.lock().unwrap(), expected);
}

#[test]
fn input_waits_for_buffers_and_buffers_for_input() {
    let (console, input, _) = console();
    let mut driver = Driver::mmio(console, 0);
    assert_eq!(input.offer(b"hello world"), 11);
    let sent = driver.add(0, &[], &[5]);
    driver.kick(0);
    assert_eq!(driver.take_used(0), (sent.head, 5));
    assert_eq!(driver.answer(&sent), b"hello");
    let sent = driver.add(0, &[], &[4, 100]);
    driver.kick(0);
    assert_eq!(driver.take_used(0), (sent.head, 6));
    assert_eq!(driver.answer(&sent)[..6], *b" world");
    let sent = driver.add(0, &[], &[10]);
    driver.kick(0);
    input.push(b"!");
    assert_eq!(driver.take_used(0), (sent.head, 1));
    wait_until("an interrupt", || driver.access.interrupted());
}

#[test]
fn input_is_bounded_and_whoever_waits_for_room_is_let_go() {
    let (console, input, _) = console();
    let driver = Driver::mmio(console, 0);
    assert_eq!(input.offer(&vec![0; INPUT_MAX + 5]), INPUT_MAX);
    assert_eq!(input.offer(b"x"), 0);
    let waiter = std::thread::spawn(move || input.push(b"x"));
    drop(driver);
    assert!(!waiter.join().unwrap());
}

#[test]
fn a_new_size_interrupts_and_is_read() {
    let (console, input, _) = console();
    input.resize(80, 25);
    let driver = Driver::mmio(console, 1);
    assert_eq!(driver.config_bytes(0), [80, 0, 25, 0]);
    let generation = driver.access.generation();
    input.resize(300, 40);
    assert!(driver.access.interrupted());
    assert_eq!(driver.access.generation(), generation + 1);
    assert_eq!(driver.config_bytes(0), [44, 1, 40, 0]);
}

#[test]
fn a_driver_may_start_again_and_again() {
    let (console, input, sink) = console();
    let mut driver = Driver::pci(console, 0, true);
    for round in 0..5 {
        driver.start(if round % 2 == 0 { 0 } else { EVENT_INDEX });
        driver.call(1, &[b"x"], &[]);
        let sent = driver.add(0, &[], &[8]);
        input.push(b"y");
        driver.kick(0);
        assert_eq!(driver.take_used(0), (sent.head, 1));
    }
    assert_eq!(*sink.0.lock().unwrap(), b"xxxxx");
}
