//! How two memories differ.

use anyhow::Result;
use machine_memory::GuestMemory;

const PAGE: usize = 4096;
/// Bytes that are compared at a time.
const PIECE: usize = 1 << 20;
/// Differences that are shown.
const SHOWN: usize = 12;

/// The bytes that differ, but for the page of KVM's clock.
pub(crate) fn differences(
    one: &GuestMemory,
    other: &GuestMemory,
    clock: Option<u64>,
) -> Result<Vec<String>> {
    let (mut mine, mut theirs) = (vec![0; PIECE], vec![0; PIECE]);
    let mut found = Vec::new();
    for region in one.regions() {
        let end = region.guest + region.length;
        let mut at = region.guest;
        while at < end {
            let count = (end - at).min(PIECE as u64) as usize;
            one.read(at, &mut mine[..count])?;
            other.read(at, &mut theirs[..count])?;
            if mine[..count] != theirs[..count] {
                let pages = mine[..count].chunks(PAGE).zip(theirs[..count].chunks(PAGE));
                for (address, (mine, theirs)) in (at..).step_by(PAGE).zip(pages) {
                    let may = Some(address) == clock;
                    if mine != theirs && !may {
                        found.push(first_difference(address, mine, theirs));
                    }
                }
            }
            at += count as u64;
        }
    }
    found.truncate(SHOWN);
    Ok(found)
}

fn first_difference(address: u64, mine: &[u8], theirs: &[u8]) -> String {
    let pairs = mine.iter().zip(theirs);
    let count = pairs.clone().filter(|(one, other)| one != other).count();
    let first = pairs
        .clone()
        .take_while(|(one, other)| one == other)
        .count();
    let end = mine.len().min(first + 16);
    format!(
        "{:#x}: emulate {:02x?}, kvm {:02x?} ({count} bytes of the page)",
        address + first as u64,
        mine.get(first..end).unwrap_or_default(),
        theirs.get(first..end).unwrap_or_default()
    )
}
