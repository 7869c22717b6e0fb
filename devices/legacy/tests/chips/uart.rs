//! What drivers of a 16550A rely on, Linux's 8250 driver first.

use device_legacy::Nanos;
use device_legacy::uart::{LINE_CTS, LINE_RI, Uart};

const T0: Nanos = Nanos(0);
const DATA: u16 = 0;
const IER: u16 = 1;
const IIR: u16 = 2;
const FCR: u16 = 2;
const LCR: u16 = 3;
const MCR: u16 = 4;
const LSR: u16 = 5;
const MSR: u16 = 6;
const SCR: u16 = 7;

fn with_fifo(trigger: u8) -> Uart {
    let mut uart = Uart::new();
    uart.write(FCR, 0x01 | trigger << 6, T0);
    uart
}

#[test]
fn linux_finds_a_16550a() {
    let mut uart = Uart::new();
    uart.write(IER, 0, T0);
    assert_eq!(uart.read(IER, T0) & 0x0f, 0);
    uart.write(IER, 0xff, T0);
    assert_eq!(uart.read(IER, T0), 0x0f);
    uart.write(IER, 0, T0);
    uart.write(MCR, 0x10 | 0x0a, T0);
    assert_eq!(uart.read(MSR, T0) & 0xf0, 0x90);
    uart.write(MCR, 0, T0);
    uart.write(LCR, 0xbf, T0);
    uart.write(2, 0, T0);
    uart.write(LCR, 0, T0);
    uart.write(FCR, 0x01, T0);
    assert_eq!(uart.read(IIR, T0) >> 6, 3);
    // Not a 16650 (a register at 2 behind DLAB) nor a 16750 (64 bytes, bit 5).
    uart.write(LCR, 0x80, T0);
    assert_ne!(uart.read(2, T0), 0);
    uart.write(FCR, 0x21, T0);
    assert_eq!(uart.read(IIR, T0) >> 5, 6);
    uart.write(LCR, 0, T0);
    // Not an XScale (bit 6 of IER).
    uart.write(IER, 0x40, T0);
    assert_eq!(uart.read(IER, T0), 0);
    uart.write(SCR, 0xa5, T0);
    assert_eq!(uart.read(SCR, T0), 0xa5);
}

#[test]
fn linux_trusts_the_transmitter_interrupt() {
    let mut uart = Uart::new();
    for _ in 0..2 {
        uart.write(IER, 0x02, T0);
        assert!(uart.irq());
        assert_eq!(uart.read(LSR, T0) & 0x60, 0x60);
        assert_eq!(uart.read(IIR, T0), 0x02);
        assert_eq!(uart.read(IIR, T0), 0x01);
        assert!(!uart.irq());
        uart.write(IER, 0, T0);
    }
}

#[test]
fn the_divisor_hides_behind_dlab() {
    let mut uart = Uart::new();
    uart.write(LCR, 0x83, T0);
    uart.write(0, 0x34, T0);
    uart.write(1, 0x12, T0);
    assert_eq!([uart.read(0, T0), uart.read(1, T0)], [0x34, 0x12]);
    uart.write(LCR, 0x03, T0);
    assert_eq!(uart.read(IER, T0), 0);
    assert_eq!(uart.save().divisor, 0x1234);
    assert_eq!(uart.take_output(), []);
}

#[test]
fn output_waits_until_it_is_taken_and_then_interrupts() {
    let mut uart = with_fifo(0);
    uart.write(IER, 0x02, T0);
    uart.read(IIR, T0);
    for byte in 0..20 {
        uart.write(DATA, byte, T0);
    }
    assert_eq!(uart.read(LSR, T0) & 0x60, 0);
    assert!(!uart.irq());
    assert_eq!(uart.take_output(), (0..16).collect::<Vec<u8>>());
    assert!(uart.irq());
    assert_eq!(uart.read(LSR, T0) & 0x60, 0x60);
    uart.write(DATA, 0, T0);
    assert!(!uart.irq());
}

#[test]
fn input_has_room_for_a_fifo_and_interrupts_at_the_trigger() {
    for (code, level) in [(0, 1), (1, 4), (2, 8), (3, 14)] {
        let mut uart = with_fifo(code);
        uart.write(IER, 0x01, T0);
        let bytes = [0, 255, 10, 13, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 0];
        assert_eq!(uart.receive(&bytes[..level - 1], T0), level - 1);
        assert!(!uart.irq(), "{level}");
        assert_eq!(uart.receive(&bytes[level - 1..], T0), 17 - level);
        assert_eq!(uart.room(), 0);
        assert_eq!(uart.read(IIR, T0), 0xc4);
        let read: Vec<u8> = (0..16).map(|_| uart.read(DATA, T0)).collect();
        assert_eq!(read, bytes[..16]);
        assert_eq!(uart.read(LSR, T0) & 0x01, 0);
        assert_eq!(uart.read(IIR, T0), 0xc1);
    }
}

#[test]
fn without_fifo_one_byte_fits() {
    let mut uart = Uart::new();
    assert_eq!(uart.receive(b"ab", T0), 1);
    assert_eq!(uart.read(DATA, T0), b'a');
    assert_eq!(uart.room(), 1);
}

#[test]
fn few_bytes_interrupt_after_four_character_times() {
    let mut uart = with_fifo(3);
    uart.write(LCR, 0x80, T0);
    uart.write(0, 1, T0);
    uart.write(LCR, 0x03, T0);
    uart.write(IER, 0x01, T0);
    uart.receive(b"x", Nanos(1000));
    // 115,200 baud, 8N1: 10 bits a character.
    let due = Nanos(1000 + 40 * 1_000_000_000 / 115_200);
    assert_eq!(uart.next_event(Nanos(1000)), Some(due));
    uart.advance(Nanos(due.0 - 1));
    assert!(!uart.irq());
    uart.advance(due);
    assert!(uart.irq());
    assert_eq!(uart.next_event(due), None);
    assert_eq!(uart.read(IIR, due), 0xcc);
    assert_eq!(uart.read(DATA, due), b'x');
    assert!(!uart.irq());
}

#[test]
fn the_most_urgent_source_is_shown_first() {
    let mut uart = with_fifo(0);
    uart.write(IER, 0x0f, T0);
    uart.set_modem_lines(0);
    uart.receive_break(T0);
    assert_eq!(uart.read(IIR, T0), 0xc6);
    assert_eq!(uart.read(LSR, T0), 0xf1);
    assert_eq!(uart.read(LSR, T0), 0x61);
    assert_eq!(uart.read(IIR, T0), 0xc4);
    assert_eq!(uart.read(DATA, T0), 0);
    assert_eq!(uart.read(IIR, T0), 0xc2);
    assert_eq!(uart.read(IIR, T0), 0xc0);
    assert_eq!(uart.read(MSR, T0), 0x0b);
    assert_eq!(uart.read(IIR, T0), 0xc1);
    assert!(!uart.irq());
}

#[test]
fn loopback_receives_what_is_sent_and_overruns() {
    let mut uart = Uart::new();
    uart.write(MCR, 0x10, T0);
    assert_eq!(uart.room(), 0);
    uart.write(DATA, 1, T0);
    uart.write(DATA, 2, T0);
    assert_eq!(uart.read(LSR, T0), 0x63);
    assert_eq!(uart.read(LSR, T0), 0x61);
    assert_eq!(uart.read(DATA, T0), 2);
    assert_eq!(uart.take_output(), []);
    uart.write(MCR, 0x18, T0);
    assert!(!uart.out2());
    uart.write(MCR, 0x08, T0);
    assert!(uart.out2());
}

#[test]
fn modem_lines_leave_deltas_and_ringing_only_its_end() {
    let mut uart = Uart::new();
    assert_eq!(uart.read(MSR, T0), 0xb0);
    uart.set_modem_lines(LINE_RI);
    assert_eq!(uart.read(MSR, T0), LINE_RI | 0x0b);
    uart.set_modem_lines(LINE_CTS);
    assert_eq!(uart.read(MSR, T0), LINE_CTS | 0x05);
    assert_eq!(uart.read(MSR, T0), LINE_CTS);
}

#[test]
fn switching_the_fifos_clears_them() {
    let mut uart = with_fifo(0);
    uart.receive(b"abc", T0);
    uart.write(DATA, b'd', T0);
    uart.write(FCR, 0, T0);
    assert_eq!(uart.read(LSR, T0), 0x60);
    assert_eq!(uart.read(IIR, T0), 0x01);
    assert_eq!(uart.take_output(), []);
}

#[test]
fn offsets_outside_float() {
    let mut uart = Uart::new();
    uart.write(8, 1, T0);
    assert_eq!(uart.read(8, T0), 0xff);
    assert_eq!(uart.save(), Uart::new().save());
}

#[test]
fn impossible_states_are_refused_by_name() {
    let refused = |change: fn(&mut device_legacy::uart::UartState)| {
        let mut state = Uart::new().save();
        change(&mut state);
        Uart::restore(state).expect_err("impossible").field
    };
    assert_eq!(refused(|s| s.transmit = vec![0; 2]), "transmit");
    assert_eq!(refused(|s| s.trigger = 2), "trigger");
    assert_eq!(refused(|s| s.modem_control = 0x20), "modem_control");
    assert_eq!(refused(|s| s.last_activity = Nanos(1)), "last_activity");
}

#[test]
fn ready_to_receive_is_the_guests_rts_but_not_in_loopback() {
    let mut uart = Uart::new();
    for (control, ready) in [
        (0, false),
        (1, false),
        (2, true),
        (0xb, true),
        (0x12, false),
    ] {
        uart.write(4, control, Nanos(0));
        assert_eq!(uart.rts(), ready, "{control:#x}");
    }
}
