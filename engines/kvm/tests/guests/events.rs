//! Stores that become events.

use std::fs::File;
use std::io::Read as _;

use engine_contract::Place;
use engine_kvm::Kvm;
use machine_bus::{GuestAddress, Port};
use machines::code;
use machines::harness::{Access, Recorder, first, machine_with, run};

use crate::needs_kvm;

#[test]
fn stores_with_an_event_reach_no_device() {
    needs_kvm!("events");
    let mut machine = machine_with(&Kvm, code::events(), 1);
    let events = machine.write_events().expect("the ability");
    let port = Place::Port(Port(0x520));
    let memory = Place::Memory(GuestAddress(0xd000_1000));
    let other = Place::Memory(GuestAddress(0xd000_1010));
    let any = events.event(port, 0, None).unwrap();
    let seven = events.event(memory, 4, Some(7)).unwrap();
    let words = events.event(other, 2, None).unwrap();
    assert!(events.event(port, 0, None).is_err(), "twice the same");
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    run(&mut *vcpu, &world);
    let expected = [Access::Store(0xd000_1000, vec![8, 0, 0, 0])];
    assert_eq!(world.accesses(), expected);
    for (event, times) in [(any, 2), (seven, 1), (words, 1)] {
        let mut count = [0; 8];
        File::from(event).read_exact(&mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), times);
    }
}
