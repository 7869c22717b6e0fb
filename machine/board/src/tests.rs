//! The board as a guest sees it.

use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use device_virtio::rng::Rng;
use engine_contract::{Timed, VirtualTime, World};
use machine_bus::{GuestAddress, Nanos, Port};
use machine_memory::GuestMemory;

use crate::places::{self, PCI_ECAM, PCI_MEMORY};
use crate::testing::{FakeClock, FakeController, Sent};
use crate::{Board, Config, Ending, Ends, Parts, Running, VirtualClock, Work};

const SECOND: u64 = 1_000_000_000;

/// A board with what it was given.
struct Fixture {
    board: Running,
    controller: Arc<FakeController>,
    clock: Arc<FakeClock>,
    sent: Sent,
    ends: Arc<Ends>,
}

impl Fixture {
    fn new() -> Self {
        Self::with_devices(0)
    }

    fn with_devices(count: u32) -> Self {
        let (controller, clock) = (
            Arc::new(FakeController::default()),
            Arc::new(FakeClock::default()),
        );
        let (sent, ends) = (Sent::default(), Arc::new(Ends::new()));
        let parts = Parts {
            controller: controller.clone(),
            clock: clock.clone(),
            console: Box::new(sent.clone()),
            input: Vec::new(),
            ends: ends.clone(),
        };
        let mut board = Board::new(config(), parts).unwrap();
        let memory = memory();
        for _ in 0..count {
            board.plug(Box::new(Rng::new()), &memory).unwrap();
        }
        // By hand instead of by a thread: the clock stands.
        let mut board = board.start().unwrap();
        board.timers.stop();
        board.thread.take().unwrap().join().unwrap();
        Self {
            board,
            controller,
            clock,
            sent,
            ends,
        }
    }

    fn read(&self, port: Port) -> u8 {
        let mut data = [0];
        self.board.port_read(port, &mut data);
        let [byte] = data;
        byte
    }

    fn write(&self, port: Port, byte: u8) {
        self.board.port_write(port, &[byte]);
    }

    fn read_32(&self, port: Port) -> u32 {
        let mut data = [0; 4];
        self.board.port_read(port, &mut data);
        u32::from_le_bytes(data)
    }

    fn pass(&self, nanos: u64) {
        self.clock.set(nanos);
        self.board.timers.run_due();
    }

    fn level(&self, interrupt: u32) -> bool {
        self.controller.recorder(interrupt).level()
    }
}

fn config() -> Config {
    Config {
        cpus: 2,
        memory: vec![(0, 3 << 30), (4 << 30, 1 << 30)],
        unix_seconds: 1_700_000_000,
        work: Work::OnThreads,
    }
}

fn memory() -> GuestMemory {
    let file = tempfile::tempfile().unwrap();
    file.set_len(0x10_0000).unwrap();
    GuestMemory::new(file, 0x10_0000).unwrap()
}

const fn at(port: Port, offset: u16) -> Port {
    Port(port.0 + offset)
}

#[test]
fn what_nobody_has_reads_as_ones() {
    let fixture = Fixture::new();
    for port in [0x80, 0x2f8, 0x3e8, 0x1f7, 0x62, 0x606, 0xd00] {
        assert_eq!(fixture.read(Port(port)), 0xff, "{port:#x}");
        fixture.write(Port(port), 0);
    }
    let mut data = [0; 8];
    fixture
        .board
        .mmio_read(GuestAddress(0xf000_0000), &mut data);
    assert_eq!(data, [0xff; 8]);
    assert!(!fixture.ends.is_over());
}

#[test]
fn the_serial_port_sends_and_interrupts_through_its_gate() {
    let fixture = Fixture::new();
    for byte in [0, b'a', 0xff] {
        fixture.write(places::COM1, byte);
    }
    assert_eq!(*fixture.sent.0.lock().unwrap(), [0, b'a', 0xff]);
    fixture.write(at(places::COM1, 1), 2);
    assert!(!fixture.level(4));
    fixture.write(at(places::COM1, 4), 8);
    assert!(fixture.level(4));
    assert_eq!(fixture.read(at(places::COM1, 2)) & 0xf, 2);
    assert!(!fixture.level(4));
}

#[test]
fn serial_input_waits_until_the_guest_is_ready_and_has_room() {
    let fixture = Fixture::new();
    let input = fixture.board.serial_input();
    let sent: Vec<u8> = (0..100).collect();
    let own = sent.clone();
    let thread = thread::spawn(move || input.push(&own));
    // DTR alone, as for a console's output: not yet.
    fixture.write(at(places::COM1, 4), 1);
    assert_eq!(fixture.read(at(places::COM1, 5)) & 1, 0);
    // FIFO on; interrupt for received data; DTR, RTS and OUT2.
    fixture.write(at(places::COM1, 2), 1);
    fixture.write(at(places::COM1, 1), 1);
    fixture.write(at(places::COM1, 4), 0xb);
    let mut got = Vec::new();
    while got.len() < sent.len() {
        if fixture.read(at(places::COM1, 5)) & 1 != 0 {
            assert!(fixture.level(4));
            got.push(fixture.read(places::COM1));
        }
    }
    assert_eq!(got, sent);
    assert!(thread.join().unwrap());
    assert!(!fixture.level(4));
}

#[test]
fn nobody_waits_for_a_board_that_has_stopped() {
    let mut fixture = Fixture::new();
    let input = fixture.board.serial_input();
    let thread = thread::spawn(move || input.push(b"x"));
    fixture.board.stop();
    assert!(!thread.join().unwrap());
}

#[test]
fn the_timer_ticks_on_interrupt_0() {
    let fixture = Fixture::new();
    // Channel 0, low and high byte, rate generator, every 11,932 ticks: 100 Hz.
    fixture.write(at(places::PIT, 3), 0x34);
    fixture.write(places::PIT, 0x9c);
    fixture.write(places::PIT, 0x2e);
    let line = fixture.controller.recorder(0);
    let before = line.rises();
    for tick in 1..=5 {
        fixture.pass(tick * 10_001_000);
    }
    assert_eq!(line.rises() - before, 5);
}

/// What is written to the event timer, at offsets of its registers.
fn write_timer(fixture: &Fixture, offset: u64, value: u64) {
    let place = GuestAddress(places::HPET.0 + offset);
    fixture.board.mmio_write(place, &value.to_le_bytes());
}

#[test]
fn the_event_timer_is_found_where_its_table_says() {
    let fixture = Fixture::new();
    let board = board_alone();
    let table = board.description().hpet.unwrap();
    let mut data = [0; 8];
    fixture.board.mmio_read(table.address, &mut data);
    let capabilities = u64::from_le_bytes(data);
    // Its period in femtoseconds, 100 ns at most, and that it replaces what was before.
    assert_eq!(capabilities >> 32, 10_000_000);
    assert_eq!(capabilities as u32, table.block);
    assert_eq!(table.block & 1 << 15, 1 << 15);
    assert_eq!(places::HPET, GuestAddress(0xfed0_0000));
    let mut data = [0; 4];
    fixture
        .board
        .mmio_read(GuestAddress(0xfed0_0104), &mut data);
    assert_eq!(u32::from_le_bytes(data), 0xf0_0000);
    fixture
        .board
        .mmio_read(GuestAddress(0xfed0_0400), &mut data);
    assert_eq!(data, [0xff; 4]);
}

#[test]
fn the_event_timer_counts_and_interrupts_where_it_is_routed() {
    let fixture = Fixture::new();
    write_timer(&fixture, 0x10, 1);
    // The first timer is level-triggered at input 21, the second edge-triggered at 22.
    write_timer(&fixture, 0x100, 21 << 9 | 6);
    write_timer(&fixture, 0x108, 100);
    write_timer(&fixture, 0x120, 22 << 9 | 4);
    write_timer(&fixture, 0x128, 200);
    fixture.pass(999);
    assert!(!fixture.level(21));
    fixture.pass(1000);
    assert!(fixture.level(21));
    fixture.pass(2000);
    let second = fixture.controller.recorder(22);
    assert_eq!((second.rises(), second.level()), (1, false));
    write_timer(&fixture, 0x20, 1);
    assert!(!fixture.level(21));
    let mut data = [0; 8];
    fixture
        .board
        .mmio_read(GuestAddress(0xfed0_00f0), &mut data);
    assert_eq!(u64::from_le_bytes(data), 200);
}

#[test]
fn the_event_timer_replaces_interval_timer_and_clock_and_gives_back() {
    let fixture = Fixture::new();
    fixture.write(at(places::PIT, 3), 0x34);
    fixture.write(places::PIT, 0x9c);
    fixture.write(places::PIT, 0x2e);
    fixture.write(places::RTC, 0xb);
    fixture.write(at(places::RTC, 1), 0x12);
    let [pit, rtc] = [0, 8].map(|interrupt| fixture.controller.recorder(interrupt));
    // The first timer periodic, as Linux makes it: a whole access sets comparator and period.
    write_timer(&fixture, 0x10, 3);
    write_timer(&fixture, 0x100, 0x4c);
    write_timer(&fixture, 0x108, 100_000);
    write_timer(&fixture, 0x120, 4);
    write_timer(&fixture, 0x128, 200_000_000);
    let before = [pit.rises(), rtc.rises()];
    for tick in 1..=2000 {
        fixture.pass(tick * 1_000_000);
    }
    assert_eq!(
        [pit.rises() - before[0], rtc.rises() - before[1]],
        [2000, 1]
    );
    assert!(!rtc.level(), "the clock's level does not get through");
    write_timer(&fixture, 0x10, 1);
    assert!(rtc.level(), "now it does");
    let before = pit.rises();
    fixture.pass(2_000_000_000 + 10_001_000);
    assert_eq!(pit.rises() - before, 1);
}

#[test]
fn the_system_control_port_has_the_third_channel() {
    let fixture = Fixture::new();
    fixture.write(places::SYSTEM_CONTROL, 1);
    // One shot of 1193 ticks: a millisecond.
    fixture.write(at(places::PIT, 3), 0xb0);
    fixture.write(at(places::PIT, 2), 0xa9);
    fixture.write(at(places::PIT, 2), 0x04);
    assert_eq!(fixture.read(places::SYSTEM_CONTROL) & 0x20, 0);
    fixture.pass(SECOND / 500);
    assert_eq!(fixture.read(places::SYSTEM_CONTROL) & 0x20, 0x20);
}

#[test]
fn the_clock_tells_the_time_and_interrupts_each_second() {
    let fixture = Fixture::new();
    let cmos = |index| {
        fixture.write(places::RTC, index);
        fixture.read(at(places::RTC, 1))
    };
    // 2023-11-14, and 3 GiB below 4 GiB, 1 above.
    assert_eq!([cmos(9), cmos(8), cmos(7)], [0x23, 0x11, 0x14]);
    assert_eq!([cmos(0x34), cmos(0x35)], [0x00, 0xbf]);
    assert_eq!([cmos(0x5b), cmos(0x5c), cmos(0x5d)], [0x00, 0x40, 0]);
    fixture.write(places::RTC, 0xb);
    fixture.write(at(places::RTC, 1), 0x12);
    assert!(!fixture.level(8));
    fixture.pass(SECOND);
    assert!(fixture.level(8));
    assert_eq!(cmos(0xc) & 0x90, 0x90);
    assert!(!fixture.level(8));
}

#[test]
fn the_keyboard_controller_interrupts_and_resets() {
    let fixture = Fixture::new();
    fixture.write(places::KEYBOARD_COMMAND, 0xaa);
    assert_eq!(fixture.read(places::KEYBOARD_DATA), 0x55);
    fixture.write(places::KEYBOARD_COMMAND, 0x60);
    fixture.write(places::KEYBOARD_DATA, 0x45);
    // Echo.
    fixture.write(places::KEYBOARD_DATA, 0xee);
    assert!(fixture.level(1));
    assert_eq!(fixture.read(places::KEYBOARD_DATA), 0xee);
    assert!(!fixture.level(1));
    fixture.write(places::KEYBOARD_COMMAND, 0xfe);
    assert_eq!(fixture.ends.ending(), Some(Ending::Reset));
}

#[test]
fn power_management_counts_interrupts_and_powers_off() {
    let fixture = Fixture::new();
    assert_eq!(fixture.read_32(places::PM_TIMER), 0);
    fixture.pass(SECOND);
    assert_eq!(fixture.read_32(places::PM_TIMER), 3_579_545);
    assert_eq!(fixture.read(at(places::PM_TIMER, 1)), 0x9e);
    // The counter's highest bit changes after 600 s; that interrupts when it is enabled.
    fixture.board.port_write(at(places::PM1, 2), &[1, 0]);
    fixture.pass(600 * SECOND);
    assert!(fixture.level(9));
    fixture.board.port_write(places::PM1, &[1, 0]);
    assert!(!fixture.level(9));
    assert_eq!(fixture.read(places::PM1_CONTROL) & 1, 1, "ACPI mode");
    assert!(!fixture.ends.is_over());
    let off = u16::from(places::PM_OFF) << 10 | 1 << 13;
    fixture
        .board
        .port_write(places::PM1_CONTROL, &off.to_le_bytes());
    assert_eq!(fixture.ends.ending(), Some(Ending::PowerOff));
}

#[test]
fn the_reset_port_resets_and_leaves_configuration_alone() {
    let fixture = Fixture::new();
    fixture
        .board
        .port_write(places::PCI_CONFIG, &0x8000_0000_u32.to_le_bytes());
    assert_eq!(fixture.read_32(at(places::PCI_CONFIG, 4)), 0x0008_1b36);
    fixture.write(places::RESET, places::RESET_VALUE);
    assert_eq!(fixture.ends.ending(), Some(Ending::Reset));
}

#[test]
fn the_debug_port_ends_with_its_status() {
    let fixture = Fixture::new();
    fixture.write(places::DEBUG_EXIT, 42);
    fixture.write(places::DEBUG_EXIT, 43);
    assert_eq!(fixture.ends.ending(), Some(Ending::Exit(42)));
}

#[test]
fn devices_are_found_by_ports_and_by_memory() {
    let fixture = Fixture::with_devices(3);
    for slot in 1..=3_u32 {
        let address = 0x8000_0000 | slot << 11;
        fixture
            .board
            .port_write(places::PCI_CONFIG, &address.to_le_bytes());
        assert_eq!(fixture.read_32(at(places::PCI_CONFIG, 4)), 0x1044_1af4);
        let mut data = [0; 4];
        let place = PCI_ECAM.0 + u64::from(slot << 15) + 0x10;
        fixture.board.mmio_read(GuestAddress(place), &mut data);
        let memory = u64::from(u32::from_le_bytes(data) & !0xf);
        assert!(PCI_MEMORY.contains(&memory), "{memory:#x}");
        // The common configuration: three registers in, the number of queues.
        let mut data = [0; 2];
        fixture
            .board
            .mmio_read(GuestAddress(memory + 18), &mut data);
        assert_eq!(u16::from_le_bytes(data), 1);
    }
}

/// A board that is being put together, and nobody looks at what it was given.
fn board_alone() -> Board {
    let parts = Parts {
        controller: Arc::new(FakeController::default()),
        clock: Arc::new(FakeClock::default()),
        console: Box::new(Sent::default()),
        input: Vec::new(),
        ends: Arc::new(Ends::new()),
    };
    Board::new(config(), parts).unwrap()
}

#[test]
fn the_bus_has_31_slots() {
    let (mut board, memory) = (board_alone(), memory());
    for _ in 0..31 {
        board.plug(Box::new(Rng::new()), &memory).unwrap();
    }
    let error = board.plug(Box::new(Rng::new()), &memory).unwrap_err();
    assert!(error.to_string().contains("fewer"), "{error}");
    let tables = machine_acpi::tables(&board.description()).unwrap();
    assert!(tables.pieces.len() > 4);
}

/// Time that passes when it is told to.
#[derive(Default)]
struct FakeTime {
    now: Mutex<u64>,
    timed: OnceLock<Arc<dyn Timed>>,
}

impl VirtualTime for FakeTime {
    fn now(&self) -> Nanos {
        Nanos(*self.now.lock().unwrap())
    }

    fn beginning(&self) -> u64 {
        0
    }

    fn instructions(&self) -> u64 {
        0
    }

    fn attend(&self, timed: Arc<dyn Timed>) {
        assert!(self.timed.set(timed).is_ok());
    }
}

#[test]
fn input_that_comes_by_itself_waits_for_the_guest_and_for_virtual_time() {
    let time = Arc::new(FakeTime::default());
    let parts = Parts {
        controller: Arc::new(FakeController::default()),
        clock: Arc::new(VirtualClock(time.clone())),
        console: Box::new(Sent::default()),
        input: (0..20).collect(),
        ends: Arc::new(Ends::new()),
    };
    let board = Board::new(config(), parts).unwrap().start().unwrap();
    assert!(board.thread.is_none(), "time calls by itself");
    let timed = time.timed.get().unwrap();
    let read = |offset| {
        let mut data = [0];
        board.port_read(at(places::COM1, offset), &mut data);
        data[0]
    };
    assert_eq!((timed.next(), read(5) & 1), (None, 0));
    // FIFOs on, ready to receive.
    board.port_write(at(places::COM1, 2), &[1]);
    board.port_write(at(places::COM1, 4), &[2]);
    let mut all = Vec::new();
    while let Some(next) = timed.next() {
        *time.now.lock().unwrap() = next.0;
        timed.run_due();
        while read(5) & 1 != 0 {
            all.push(read(0));
        }
    }
    assert_eq!(all, (0..20).collect::<Vec<_>>());
    // Two FIFOs.
    assert!(time.now().0 >= 2_000_000, "{:?}", time.now());
}
