//! What drivers of the 8259A rely on.

use device_legacy::pic::Pic;

const MASTER: u16 = 0;
const MASTER_MASK: u16 = 1;
const SLAVE: u16 = 2;
const SLAVE_MASK: u16 = 3;
const EOI: u8 = 0x20;

/// As Linux's `init_8259A`, with everything unmasked.
fn initialized() -> Pic {
    initialized_with(0x01, 0x01)
}

fn initialized_with(master_icw4: u8, slave_icw4: u8) -> Pic {
    let mut pic = Pic::new();
    for (port, base, cascade, icw4) in [
        (MASTER, 0x30, 0x04, master_icw4),
        (SLAVE, 0x38, 0x02, slave_icw4),
    ] {
        pic.write(port, 0x11);
        pic.write(port + 1, base);
        pic.write(port + 1, cascade);
        pic.write(port + 1, icw4);
        pic.write(port + 1, 0);
    }
    pic
}

fn in_service(pic: &mut Pic, port: u16) -> u8 {
    pic.write(port, 0x0b);
    pic.read(port)
}

fn requests(pic: &mut Pic, port: u16) -> u8 {
    pic.write(port, 0x0a);
    pic.read(port)
}

#[test]
fn linux_finds_it_by_its_mask() {
    let mut pic = Pic::new();
    pic.write(SLAVE_MASK, 0xff);
    pic.write(MASTER_MASK, 0xfb);
    assert_eq!(pic.read(MASTER_MASK), 0xfb);
    assert_eq!(pic.read(SLAVE_MASK), 0xff);
}

#[test]
fn nothing_interrupts_before_it_is_initialized() {
    let mut pic = Pic::new();
    pic.set_line(0, true);
    assert!(!pic.irq());
    pic.write(MASTER, 0x11);
    pic.set_line(1, true);
    assert!(!pic.irq());
}

#[test]
fn an_edge_is_one_request() {
    let mut pic = initialized();
    pic.set_line(4, true);
    assert!(pic.irq());
    assert_eq!(requests(&mut pic, MASTER), 0x10);
    assert_eq!(pic.acknowledge(), 0x34);
    assert!(!pic.irq());
    assert_eq!(requests(&mut pic, MASTER), 0);
    assert_eq!(in_service(&mut pic, MASTER), 0x10);
    pic.write(MASTER, EOI);
    assert!(!pic.irq());
    pic.set_line(4, true);
    assert!(!pic.irq());
    pic.set_line(4, false);
    pic.set_line(4, true);
    assert!(pic.irq());
}

#[test]
fn a_level_requests_as_long_as_it_is_high() {
    let mut pic = initialized();
    pic.write(5, 0xff);
    assert_eq!(pic.read(5), 0xde);
    pic.write(4, 0xff);
    assert_eq!(pic.read(4), 0xf8);
    pic.set_line(9, true);
    for _ in 0..2 {
        assert_eq!(pic.acknowledge(), 0x39);
        assert!(!pic.irq());
        pic.write(SLAVE, EOI);
        pic.write(MASTER, EOI);
        assert!(pic.irq());
    }
    pic.set_line(9, false);
    assert_eq!(pic.acknowledge(), 0x3f);
}

#[test]
fn the_slave_comes_through_the_cascade() {
    let mut pic = initialized();
    pic.set_line(8, true);
    pic.set_line(12, true);
    pic.set_line(3, true);
    assert_eq!(pic.acknowledge(), 0x38);
    assert_eq!(in_service(&mut pic, MASTER), 0x04);
    assert_eq!(in_service(&mut pic, SLAVE), 0x01);
    assert!(!pic.irq());
    pic.write(SLAVE, 0x60);
    pic.write(MASTER, 0x62);
    assert_eq!(pic.acknowledge(), 0x3c);
    pic.write(SLAVE, EOI);
    pic.write(MASTER, EOI);
    assert_eq!(pic.acknowledge(), 0x33);
}

#[test]
fn priorities_nest() {
    let mut pic = initialized();
    pic.set_line(5, true);
    assert_eq!(pic.acknowledge(), 0x35);
    pic.set_line(6, true);
    assert!(!pic.irq());
    pic.set_line(1, true);
    assert_eq!(pic.acknowledge(), 0x31);
    pic.write(MASTER, EOI);
    assert_eq!(in_service(&mut pic, MASTER), 0x20);
    pic.write(MASTER, EOI);
    assert_eq!(pic.acknowledge(), 0x36);
}

#[test]
fn masks_hold_requests_back() {
    let mut pic = initialized();
    pic.write(MASTER_MASK, 0x01);
    pic.set_line(0, true);
    assert!(!pic.irq());
    pic.write(MASTER_MASK, 0x00);
    assert_eq!(pic.acknowledge(), 0x30);
}

#[test]
fn a_request_that_went_away_is_spurious() {
    let mut pic = initialized();
    pic.set_line(4, true);
    pic.set_line(4, false);
    assert!(!pic.irq());
    assert_eq!(pic.acknowledge(), 0x37);
    assert_eq!(in_service(&mut pic, MASTER), 0);
    pic.set_line(14, true);
    pic.set_line(14, false);
    assert!(pic.irq());
    assert_eq!(pic.acknowledge(), 0x3f);
    assert_eq!(in_service(&mut pic, SLAVE), 0);
    assert_eq!(in_service(&mut pic, MASTER), 0x04);
}

#[test]
fn priorities_rotate() {
    let mut pic = initialized();
    pic.write(MASTER, 0xc0 | 3);
    pic.set_line(3, true);
    pic.set_line(4, true);
    assert_eq!(pic.acknowledge(), 0x34);
    pic.write(MASTER, 0xa0);
    assert_eq!(pic.save().master.lowest, 4);
    assert_eq!(pic.acknowledge(), 0x33);
    pic.write(MASTER, 0xe0 | 3);
    assert_eq!(pic.save().master.lowest, 3);
    assert_eq!(in_service(&mut pic, MASTER), 0);
}

#[test]
fn automatic_end_of_interrupt_leaves_nothing_in_service() {
    let mut pic = initialized_with(0x03, 0x03);
    pic.write(MASTER, 0x80);
    pic.set_line(5, true);
    assert_eq!(pic.acknowledge(), 0x35);
    assert_eq!(in_service(&mut pic, MASTER), 0);
    assert_eq!(pic.save().master.lowest, 5);
    pic.write(MASTER, 0x00);
    pic.set_line(1, true);
    assert_eq!(pic.acknowledge(), 0x31);
    assert_eq!(pic.save().master.lowest, 5);
}

#[test]
fn special_mask_mode_lets_lower_priorities_through() {
    let mut pic = initialized();
    pic.set_line(1, true);
    assert_eq!(pic.acknowledge(), 0x31);
    pic.set_line(6, true);
    pic.write(MASTER_MASK, 0x02);
    assert!(!pic.irq());
    pic.write(MASTER, 0x68);
    assert_eq!(pic.acknowledge(), 0x36);
    pic.write(MASTER, EOI);
    assert_eq!(in_service(&mut pic, MASTER), 0x02);
    pic.write(MASTER, 0x48);
    pic.write(MASTER, EOI);
    assert_eq!(in_service(&mut pic, MASTER), 0);
}

#[test]
fn special_fully_nested_mode_lets_the_slave_nest() {
    for (icw4, nests) in [(0x01, false), (0x11, true)] {
        let mut pic = initialized_with(icw4, 0x01);
        pic.set_line(12, true);
        assert_eq!(pic.acknowledge(), 0x3c);
        pic.set_line(8, true);
        assert_eq!(pic.irq(), nests);
    }
}

#[test]
fn a_poll_acknowledges() {
    let mut pic = initialized();
    pic.write(MASTER, 0x0c);
    assert_eq!(pic.read(MASTER) & 0x80, 0);
    pic.set_line(5, true);
    pic.write(MASTER, 0x0c);
    assert_eq!(pic.read(MASTER), 0x85);
    assert_eq!(in_service(&mut pic, MASTER), 0x20);
    assert!(!pic.irq());
}

#[test]
fn initializing_again_needs_new_edges_and_clears_the_mask() {
    let mut pic = initialized();
    pic.write(MASTER_MASK, 0xff);
    pic.set_line(4, true);
    pic.write(MASTER, 0x13);
    assert_eq!(pic.read(MASTER_MASK), 0);
    pic.write(MASTER_MASK, 0x40);
    pic.write(MASTER_MASK, 0x01);
    assert!(!pic.irq());
    pic.set_line(4, false);
    pic.set_line(4, true);
    assert_eq!(pic.acknowledge(), 0x44);
}

#[test]
fn lines_and_ports_that_do_not_exist_do_nothing() {
    let mut pic = initialized();
    let before = pic.save();
    for line in [2, 16, 255] {
        pic.set_line(line, true);
    }
    pic.write(6, 0xff);
    assert_eq!(pic.read(6), 0xff);
    assert_eq!(pic.save(), before);
}

#[test]
fn impossible_states_are_refused_by_name() {
    let refused = |change: fn(&mut device_legacy::pic::PicState)| {
        let mut state = initialized().save();
        change(&mut state);
        Pic::restore(state).expect_err("impossible").field
    };
    assert_eq!(refused(|s| s.master.lowest = 8), "lowest");
    assert_eq!(refused(|s| s.slave.vector_base = 1), "vector_base");
    assert_eq!(refused(|s| s.master.edges = 1), "edges");
    assert_eq!(refused(|s| s.master.lines = 4), "lines");
    assert_eq!(refused(|s| s.slave.level_triggered = 1), "level_triggered");
    assert_eq!(refused(|s| s.cascade = true), "cascade");
}
