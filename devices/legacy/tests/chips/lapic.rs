//! What drivers of a local APIC rely on, Linux's first.

use device_legacy::Nanos;
use device_legacy::ioapic::IoApic;
use device_legacy::lapic::{Action, Deadline, Destination, Ipi, LocalApic, LocalApicState, Mode};
use machine_bus::Message;

const T0: Nanos = Nanos(0);

fn write(apic: &mut LocalApic, offset: u16, value: u32) {
    assert_eq!(apic.write(offset, value, T0), None);
}

fn enabled() -> LocalApic {
    let mut apic = LocalApic::new(3);
    write(&mut apic, 0xf0, 0x1ff);
    apic
}

#[test]
fn linux_finds_an_integrated_apic() {
    let mut apic = LocalApic::new(3);
    assert_eq!(apic.read(0x20, T0), 3 << 24);
    assert_eq!(apic.read(0x30, T0), 0x5_0014);
    assert_eq!((apic.read(0xe0, T0), apic.read(0xf0, T0)), (u32::MAX, 0xff));
    for offset in (0x320..=0x370).step_by(0x10) {
        assert_eq!(apic.read(offset, T0), 0x1_0000);
        // As long as it is disabled, entries stay masked.
        write(&mut apic, offset, 0x31);
        assert_eq!(apic.read(offset, T0), 0x1_0031);
    }
    assert!(!apic.passes_external());
    write(&mut apic, 0xf0, 0x1ff);
    write(&mut apic, 0x350, 0x700);
    assert!(apic.passes_external());
    write(&mut apic, 0xf0, 0xff);
    assert!(!apic.passes_external());
}

#[test]
fn the_highest_vector_above_the_priority_is_next() {
    let mut apic = enabled();
    for vector in [0x31, 0x52, 0x41] {
        apic.request(vector, false);
    }
    assert_eq!(
        (apic.pending(), apic.acknowledge()),
        (Some(0x52), Some(0x52))
    );
    assert_eq!((apic.pending(), apic.read(0xa0, T0)), (None, 0x50));
    // The same class waits, a higher one does not.
    apic.request(0x5f, false);
    assert_eq!(apic.pending(), None);
    apic.request(0x60, false);
    assert_eq!(apic.acknowledge(), Some(0x60));
    assert_eq!(apic.write(0xb0, 0, T0), None);
    assert_eq!(apic.write(0xb0, 0, T0), None);
    write(&mut apic, 0x80, 0x52);
    assert_eq!(
        (apic.pending(), apic.read(0xa0, T0), apic.task_class()),
        (None, 0x52, 5)
    );
    apic.set_task_class(4);
    assert_eq!(apic.acknowledge(), Some(0x5f));
    assert_eq!(apic.read(0x120, T0), 1 << 31);
    assert_eq!(apic.read(0x210, T0), 1 << 17);
    // Nothing more: spurious.
    assert_eq!(apic.acknowledge(), Some(0xff));
}

#[test]
fn only_levels_are_ended_elsewhere() {
    let mut apic = enabled();
    apic.request(0x40, true);
    assert_eq!(apic.read(0x1a0, T0), 1);
    apic.acknowledge();
    assert_eq!(apic.write(0xb0, 0, T0), Some(Action::End(0x40)));
    assert_eq!(apic.write(0xb0, 0, T0), None);
    apic.request(0x40, false);
    apic.acknowledge();
    assert_eq!(apic.write(0xb0, 0, T0), None);
}

#[test]
fn linux_starts_another_processor() {
    let mut apic = enabled();
    let named = Destination::Named {
        id: 1,
        logical: false,
    };
    let send = |mode, vector| {
        let destination = named;
        Some(Action::Send(Ipi {
            mode,
            vector,
            level: false,
            destination,
        }))
    };
    write(&mut apic, 0x310, 1 << 24);
    assert_eq!(apic.write(0x300, 0xc500, T0), send(Mode::Init, 0));
    assert_eq!(apic.read(0x300, T0) & 1 << 12, 0);
    assert_eq!(apic.write(0x300, 0x8500, T0), None);
    assert_eq!(apic.write(0x300, 0x0699, T0), send(Mode::StartUp, 0x99));
    assert_eq!(apic.write(0x300, 0x0400, T0), send(Mode::Nmi, 0));
    let others = Some(Action::Send(Ipi {
        mode: Mode::Fixed,
        vector: 0xfb,
        level: false,
        destination: Destination::Others,
    }));
    assert_eq!(apic.write(0x300, 0xc00fb, T0), others);
    assert_eq!(apic.write(0x300, 0x400fb, T0), None);
    assert_eq!(apic.pending(), Some(0xfb));
}

#[test]
fn an_io_apics_message_arrives_and_its_end_goes_back() {
    let (mut apic, mut io) = (enabled(), IoApic::new());
    for (index, value) in [(0x19, 3 << 24), (0x18, 0x8041)] {
        assert_eq!((io.write(0, index), io.write(0x10, value)), (None, None));
    }
    let message = io.set_line(4, true).expect("it is not masked");
    let ipi = Ipi::from_message(message).expect("it is for local APICs");
    let Destination::Named { id, logical } = ipi.destination else {
        panic!("{ipi:?}");
    };
    assert!(apic.is_meant(id, logical));
    assert_eq!((apic.deliver(ipi), apic.acknowledge()), (None, Some(0x41)));
    assert_eq!(apic.write(0xb0, 0, T0), Some(Action::End(0x41)));
    assert_eq!(io.eoi(0x41), [message]);
}

#[test]
fn messages_that_make_no_sense_are_none() {
    let message = |address, data| Ipi::from_message(Message { address, data });
    assert_eq!(message(0xfed0_0000, 0x41), None);
    assert_eq!(message(1 << 32 | 0xfee0_0000, 0x41), None);
    assert_eq!(message(0xfee0_0000, 0x341), None);
    let nmi = message(0xfee0_0000, 0x400).expect("it makes sense");
    assert_eq!(LocalApic::new(0).deliver(nmi), Some((Mode::Nmi, 0)));
}

#[test]
fn destinations_are_physical_flat_or_clusters() {
    let mut apic = enabled();
    assert!(apic.is_meant(3, false) && apic.is_meant(0xff, false) && !apic.is_meant(2, false));
    write(&mut apic, 0xd0, 0x0400_0000);
    assert!(apic.is_meant(6, true) && !apic.is_meant(3, true));
    write(&mut apic, 0xe0, 0);
    assert_eq!(apic.read(0xe0, T0), 0x0fff_ffff);
    write(&mut apic, 0xd0, 0x2400_0000);
    assert!(apic.is_meant(0x2c, true) && !apic.is_meant(0x3c, true) && !apic.is_meant(0x21, true));
}

#[test]
fn errors_are_shown_after_a_write() {
    let mut apic = enabled();
    write(&mut apic, 0x370, 0xfe);
    apic.request(5, false);
    assert_eq!(apic.acknowledge(), Some(0xfe));
    write(&mut apic, 0x300, 3);
    apic.read(0x40, T0);
    assert_eq!(apic.read(0x280, T0), 0);
    write(&mut apic, 0x280, 0);
    assert_eq!(apic.read(0x280, T0), 0xe0);
    write(&mut apic, 0x280, 0);
    assert_eq!(apic.read(0x280, T0), 0);
}

#[test]
fn the_timer_counts_once_or_again_and_again() {
    let mut apic = enabled();
    write(&mut apic, 0x3e0, 0x3);
    write(&mut apic, 0x320, 0xec);
    write(&mut apic, 0x380, 1000);
    assert_eq!(apic.next_event(T0), Some(Nanos(16_000)));
    assert_eq!(apic.read(0x390, Nanos(8000)), 500);
    // Divided by 1 from here on.
    assert_eq!(apic.write(0x3e0, 0xb, Nanos(8000)), None);
    assert_eq!(apic.next_event(T0), Some(Nanos(8500)));
    apic.advance(Nanos(8500));
    assert_eq!(
        (apic.acknowledge(), apic.next_event(T0)),
        (Some(0xec), None)
    );
    assert_eq!(apic.read(0x390, Nanos(9000)), 0);
    write(&mut apic, 0xb0, 0);
    write(&mut apic, 0x320, 0x2_00ec);
    write(&mut apic, 0x380, 100);
    for due in [9100, 9200, 9300] {
        assert_eq!(apic.next_event(T0), Some(Nanos(due)));
        apic.advance(Nanos(due));
        assert_eq!(apic.acknowledge(), Some(0xec));
        write(&mut apic, 0xb0, 0);
    }
    // Many at once are one, in step.
    apic.advance(Nanos(u64::from(u32::MAX)));
    assert_eq!(apic.acknowledge(), Some(0xec));
    let next = apic.next_event(T0).expect("it is periodic").0;
    assert!(next.is_multiple_of(100) && next - u64::from(u32::MAX) <= 100);
    write(&mut apic, 0x380, 0);
    assert_eq!(apic.next_event(T0), None);
}

#[test]
fn a_deadline_fires_once() {
    let mut apic = enabled();
    let deadline = |tsc, at| Some(Deadline { tsc, at: Nanos(at) });
    apic.write_deadline(deadline(5, 5), T0);
    assert_eq!(apic.next_event(T0), None);
    write(&mut apic, 0x320, 0x4_00ec);
    write(&mut apic, 0x380, 7);
    assert_eq!(apic.next_event(T0), None);
    apic.write_deadline(deadline(3000, 1000), T0);
    assert_eq!(
        (apic.deadline(), apic.next_event(T0)),
        (3000, Some(Nanos(1000)))
    );
    apic.advance(Nanos(1000));
    assert_eq!(
        (apic.deadline(), apic.next_event(T0), apic.acknowledge()),
        (0, None, Some(0xec))
    );
    write(&mut apic, 0xb0, 0);
    // One in the past fires at once, and zero disarms.
    apic.write_deadline(deadline(1, 1), T0);
    assert_eq!(apic.acknowledge(), Some(0xec));
    apic.write_deadline(deadline(9000, 3000), T0);
    apic.write_deadline(None, T0);
    assert_eq!((apic.deadline(), apic.next_event(T0)), (0, None));
}

#[test]
fn pins_mean_what_the_table_says() {
    let mut apic = enabled();
    assert_eq!(
        (apic.raise(0), apic.raise(1), apic.raise(2)),
        (None, None, None)
    );
    write(&mut apic, 0x350, 0x33);
    write(&mut apic, 0x360, 0x400);
    assert_eq!(
        (apic.raise(0), apic.raise(1)),
        (Some(Mode::Fixed), Some(Mode::Nmi))
    );
    assert_eq!(apic.pending(), Some(0x33));
    apic.set_on(false);
    assert_eq!(
        (apic.raise(0), apic.pending()),
        (Some(Mode::External), None)
    );
    assert!(apic.passes_external());
}

#[test]
fn init_forgets_all_but_the_identity() {
    let mut apic = enabled();
    apic.request(0x40, false);
    write(&mut apic, 0x380, 5);
    apic.init();
    assert_eq!(apic.save(), LocalApic::new(3).save());
}

#[test]
fn impossible_states_are_refused_by_name() {
    let refused = |change: fn(&mut LocalApicState)| {
        let mut state = LocalApic::new(0).save();
        change(&mut state);
        LocalApic::restore(state).expect_err("impossible").field
    };
    assert_eq!(refused(|s| s.requested.set(3, true)), "requested");
    assert_eq!(refused(|s| s.in_service.set(3, true)), "in_service");
    assert_eq!(refused(|s| s.table[0] = 1 << 20), "table");
    assert_eq!(refused(|s| s.table[0] = 0), "table");
    assert_eq!(refused(|s| s.spurious = 1 << 12), "spurious");
    assert_eq!(refused(|s| s.format = 0), "format");
    assert_eq!(refused(|s| s.command = 1 << 40), "command");
    assert_eq!(refused(|s| s.divide = 4), "divide");
    assert_eq!(refused(|s| s.due = Some(T0)), "due");
    assert_eq!(refused(|s| s.deadline = 1), "deadline");
}
