//! The address space against a plain model: one byte a page.

use guest_abi::layout::PAGE_SIZE;
use guest_hal::{LinearAddress, Protection};
use proptest::prelude::*;

use super::{AddressSpace, FaultError, Place, Source};

const BASE: u64 = 0x1000_0000;
const PAGES: u64 = 64;

fn space() -> AddressSpace {
    guest_hal::initialize_hosted();
    AddressSpace::new(LinearAddress(0x7000_0000), 1 << 30)
}

fn at(page: u64) -> LinearAddress {
    LinearAddress(BASE + page * PAGE_SIZE)
}

/// One step: start page, number of pages, what to do.
#[derive(Clone, Copy, Debug)]
enum Step {
    Map(u64, u64, u64),
    Unmap(u64, u64),
    Protect(u64, u64, u64),
    Drop(u64, u64),
    Move(u64, u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let range = (0..PAGES - 16, 1..16u64);
    prop_oneof![
        (range.clone(), 0..8u64).prop_map(|((start, count), bits)| Step::Map(start, count, bits)),
        range
            .clone()
            .prop_map(|(start, count)| Step::Unmap(start, count)),
        (range.clone(), 0..8u64)
            .prop_map(|((start, count), bits)| Step::Protect(start, count, bits)),
        range
            .clone()
            .prop_map(|(start, count)| Step::Drop(start, count)),
        (range, 0..PAGES - 16).prop_map(|((start, count), to)| Step::Move(start, count, to)),
    ]
}

/// Does a step to both; the model is the rights of each page, if it is mapped.
fn apply(space: &mut AddressSpace, model: &mut [Option<u64>], step: Step) {
    let slice = |start: u64, count: u64| start as usize..(start + count) as usize;
    match step {
        Step::Map(start, count, bits) => {
            let protection = Protection::from_bits(bits);
            let place = Place::Fixed(at(start));
            space
                .map(place, count * PAGE_SIZE, protection, Source::Anonymous)
                .unwrap();
            model[slice(start, count)].fill(Some(bits));
        }
        Step::Unmap(start, count) => {
            space.unmap(at(start), count * PAGE_SIZE).unwrap();
            model[slice(start, count)].fill(None);
        }
        Step::Protect(start, count, bits) => {
            let result = space.protect(at(start), count * PAGE_SIZE, Protection::from_bits(bits));
            let pages = &mut model[slice(start, count)];
            let hole = pages.iter().position(Option::is_none);
            assert_eq!(result.is_err(), hole.is_some());
            let changed = hole.unwrap_or(pages.len());
            pages[..changed].fill(Some(bits));
        }
        Step::Drop(start, count) => {
            let complete = space.drop_content(at(start), count * PAGE_SIZE).unwrap();
            assert_eq!(
                complete,
                model[slice(start, count)].iter().all(Option::is_some)
            );
        }
        Step::Move(start, count, to) => {
            let apart = start + count <= to || to + count <= start;
            if !apart || model[slice(start, count)].iter().any(Option::is_none) {
                return;
            }
            let length = count * PAGE_SIZE;
            space
                .remap(at(start), length, length, true, Some(at(to)))
                .unwrap();
            let moved = model[slice(start, count)].to_vec();
            model[slice(start, count)].fill(None);
            model[slice(to, count)].copy_from_slice(&moved);
        }
    }
}

proptest! {
    #[test]
    fn every_page_is_what_the_model_says(steps in prop::collection::vec(step(), 1..40)) {
        let mut space = space();
        let mut model = alloc::vec![None; PAGES as usize];
        for step in steps {
            apply(&mut space, &mut model, step);
            for (page, rights) in (0..).zip(&model) {
                let area = space.area_at(at(page)).map(|(_, area)| area.protection.bits());
                prop_assert_eq!(area, *rights, "page {}", page);
            }
        }
    }
}

#[test]
fn automatic_placement_never_overlaps() {
    let mut space = space();
    let protection = Protection::READ;
    for pages in [1, 7, 513, 2, 1024] {
        let length = pages * PAGE_SIZE;
        let hint = Place::Anywhere(LinearAddress(0));
        let start = space
            .map(hint, length, protection, Source::Anonymous)
            .unwrap();
        assert!(space.is_mapped(start, length));
    }
    let total: u64 = [1, 7, 513, 2, 1024].iter().sum();
    assert_eq!(space.mapped_bytes(), total * PAGE_SIZE);
}

#[test]
fn faults_say_what_is_the_matter() {
    let mut space = space();
    assert_eq!(space.fault(at(0), 0), Err(FaultError::Unmapped));
    space
        .map(
            Place::Fixed(at(0)),
            PAGE_SIZE,
            Protection::READ,
            Source::Anonymous,
        )
        .unwrap();
    assert_eq!(space.fault(at(0), 2), Err(FaultError::Forbidden));
}

#[test]
fn the_heap_grows_and_shrinks() {
    let mut space = space();
    space.set_brk_start(at(0));
    assert_eq!(space.set_brk(at(3).0 + 5, u64::MAX), at(3).0 + 5);
    assert!(space.is_mapped(at(0), 4 * PAGE_SIZE));
    assert_eq!(space.set_brk(at(1).0, u64::MAX), at(1).0);
    assert!(!space.is_mapped(at(0), 2 * PAGE_SIZE));
    assert_eq!(
        space.set_brk(at(0).0 - 1, u64::MAX),
        at(1).0,
        "below its start"
    );
}

#[test]
fn places_outside_of_the_program_are_refused() {
    let mut space = space();
    let mut map = |place| space.map(place, PAGE_SIZE, Protection::READ, Source::Anonymous);
    assert!(map(Place::Fixed(LinearAddress(0))).is_err());
    assert!(map(Place::Fixed(LinearAddress(0x7000_0000_0000))).is_err());
    assert!(map(Place::Fixed(LinearAddress(u64::MAX - 4095))).is_err());
}
