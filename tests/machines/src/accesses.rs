//! Ports and addresses without memory.

use engine_contract::Engine;

use crate::code;
use crate::harness::{Access, Recorder, first, machine_with, run};

pub fn accesses_come_in_order_with_their_width(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::accesses(), 1);
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    run(&mut *vcpu, &world);
    let base = 0xd000_0000;
    let expected = [
        Access::Out(0x510, vec![0x11]),
        Access::Out(0x510, vec![0x22; 2]),
        Access::Out(0x510, vec![0x33; 4]),
        Access::In(0x510, 1),
        Access::In(0x510, 2),
        Access::In(0x510, 4),
        Access::Store(base + 1, vec![0x44]),
        Access::Store(base + 2, vec![0x55; 2]),
        Access::Store(base + 4, vec![0x66; 4]),
        Access::Store(base + 8, vec![0x77; 8]),
        Access::Load(base + 1, 1),
        Access::Load(base + 2, 2),
        Access::Load(base + 4, 4),
        Access::Load(base + 8, 8),
    ];
    assert_eq!(world.accesses(), expected);
    let answers = vcpu.state().unwrap().general;
    let expected = [
        0x01,
        0x0302,
        0x0706_0504,
        0x08,
        0x0a09,
        0x0e0d_0c0b,
        0x1615_1413_1211_100f,
    ];
    assert_eq!(answers[8..15], expected);
}

pub fn strings_come_element_by_element(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::strings(), 1);
    let text = b"byteswoRDs!";
    machine.memory().write(0x3_0000, text).unwrap();
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    run(&mut *vcpu, &world);
    let (bytes, words) = text.split_at(5);
    let out = |element: &[u8]| Access::Out(0x510, element.to_vec());
    let mut expected: Vec<_> = bytes.chunks(1).chain(words.chunks(2)).map(out).collect();
    expected.extend(vec![Access::In(0x510, 4); 4]);
    assert_eq!(world.accesses(), expected);
    let mut found = [0; 17];
    machine.memory().read(0x3_1000, &mut found).unwrap();
    let answers: Vec<u8> = (1..=16).chain([0]).collect();
    assert_eq!(found[..], answers);
}
