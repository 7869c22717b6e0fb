//! Memory on both sides of the hole, and which pages of it were written.

use engine_contract::DirtyLog;

use crate::needs_kvm;
use engine_kvm::Kvm;
use machines::code;
use machines::harness::{Recorder, first, load, machine, run};

const GIB: u64 = 1 << 30;
const TABLES: std::ops::RangeInclusive<u64> = 1..=7;

/// Numbers of the pages in a log, without those of the guest's page tables: processors with
/// nested paging count each walk of them as a write.
fn pages(log: &dyn DirtyLog) -> Vec<u64> {
    let words = log.take().unwrap();
    assert_eq!(words.len() as u64, 4 * GIB / 4096 / 64);
    let bits = |(at, word): (usize, u64)| {
        let set = (0..64).filter(move |bit| word >> bit & 1 != 0);
        set.map(move |bit| at as u64 * 64 + bit)
    };
    let all = words.into_iter().enumerate().flat_map(bits);
    all.filter(|page| !TABLES.contains(page)).collect()
}

#[test]
fn exactly_the_pages_that_were_written_are_in_the_log() {
    needs_kvm!("dirty log");
    let mut machine = machine(&Kvm, 4 * GIB, 1);
    load(machine.memory(), code::stores());
    let log = machine.dirty_log().expect("the ability");
    assert!(log.take().is_err(), "nothing is noted yet");
    log.enable(true).unwrap();
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    // KVM counts a page that is touched for the first time as written.
    run(&mut *vcpu, &world);
    // The last of the first store's 8 bytes lie on the next page; 4 GiB is page 3 GiB of the file.
    let high = 3 * GIB / 4096;
    let expected = [0x30, 0x35, 0x36, high - 1, high, high + 5];
    let touched = pages(&*log);
    assert!(expected.iter().all(|page| touched.contains(page)));
    assert!(pages(&*log).is_empty());
    vcpu.set_state(&machines::harness::start()).unwrap();
    run(&mut *vcpu, &world);
    assert_eq!(pages(&*log), expected);
    assert!(pages(&*log).is_empty());
    log.enable(false).unwrap();
    assert!(log.take().is_err());
    let mut byte = [0];
    machine.memory().read(4 * GIB + 0x5123, &mut byte).unwrap();
    assert_eq!(byte, [1]);
}

#[test]
fn only_what_was_touched_exists() {
    needs_kvm!("touched bytes");
    let machine = machine(&Kvm, 4 * GIB, 1);
    assert_eq!(machine.touched_bytes(), 0);
    machine.memory().write(4 * GIB, &[1]).unwrap();
    assert!((4096..=2 << 20).contains(&machine.touched_bytes()));
    assert!(machine.missing_layers().unwrap().is_empty());
}
