//! Instructions that the engine does not know.

use std::sync::{Arc, Mutex};

use engine_contract::Stop;
use engine_emulate::Emulate;
use machines::harness::{Recorder, first, machine_with};

/// What was said while this code ran to its triple fault, as nobody handles `#UD`, and what was counted.
fn said(code: &[u8]) -> (Vec<String>, Vec<(String, u64)>) {
    let mut machine = machine_with(&Emulate, code, 1);
    let said = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&said);
    machine.report_to(Arc::new(move |sentence| {
        to.lock().unwrap().push(sentence.to_owned());
    }));
    let mut vcpu = first(&mut *machine);
    let start = vcpu.state().unwrap();
    for _ in 0..3 {
        vcpu.set_state(&start).unwrap();
        let world = Recorder::new(&*vcpu);
        assert_eq!(vcpu.run(&world).unwrap(), Stop::TripleFault);
    }
    let said = said.lock().unwrap().clone();
    (said, vcpu.exits())
}

#[test]
fn one_is_said_once_and_counted() {
    // vaddps zmm0, zmm1, zmm2
    let (said, counts) = said(&[0x62, 0xf1, 0x74, 0x48, 0x58, 0xc2]);
    let sentence =
        "the guest executed vaddps zmm0,zmm1,zmm2, which this engine does not know: it got #UD";
    assert_eq!(said, [sentence]);
    assert_eq!(counts, [("unknown VADDPS".to_owned(), 3)]);
}

#[test]
fn nothing_is_said_of_what_is_meant_to_be_refused() {
    // ud2; ud1 eax, eax; nothing that is an instruction; lock nop, whose prefix is refused
    for code in [
        &[0x0f, 0x0b][..],
        &[0x0f, 0xb9, 0xc0],
        &[0x0f, 0x04],
        &[0xf0, 0x90],
    ] {
        assert_eq!(said(code), (vec![], vec![]));
    }
}
