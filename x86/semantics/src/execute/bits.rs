//! Single bits and their places.

use iced_x86::{Mnemonic, OpKind};

use super::operand::Place;
use super::{Handler, Step};
use crate::bits::{
    and_not, checksum, count_ones, deposit, extract, gather, leading_zeros, lowest, scan_forward,
    scan_reverse, single, test, trailing_zeros, up_to_lowest, without_lowest, zero_high,
};
use crate::{Exception, Flags, Size};

pub(super) fn handler(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Bt => |step| at(step, None),
        Mnemonic::Bts => |step| at(step, Some(|value, one| value | one)),
        Mnemonic::Btr => |step| at(step, Some(|value, one| value & !one)),
        Mnemonic::Btc => |step| at(step, Some(|value, one| value ^ one)),
        Mnemonic::Bsf => |step| scan(step, scan_forward),
        Mnemonic::Bsr => |step| scan(step, scan_reverse),
        Mnemonic::Tzcnt => |step| of_one(step, trailing_zeros),
        Mnemonic::Lzcnt => |step| of_one(step, leading_zeros),
        Mnemonic::Popcnt => |step| of_one(step, |_, a| count_ones(a)),
        Mnemonic::Blsi => |step| of_one(step, lowest),
        Mnemonic::Blsmsk => |step| of_one(step, up_to_lowest),
        Mnemonic::Blsr => |step| of_one(step, without_lowest),
        Mnemonic::Andn => |step| of_two(step, |s, a, b, _| and_not(s, a, b)),
        Mnemonic::Bextr => |step| of_two(step, |s, a, b, _| extract(s, a, b)),
        Mnemonic::Bzhi => |step| of_two(step, |s, a, b, _| zero_high(s, a, b)),
        Mnemonic::Pdep => |step| of_two(step, |_, a, b, f| (deposit(a, b), f)),
        Mnemonic::Pext => |step| of_two(step, |_, a, b, f| (gather(a, b), f)),
        Mnemonic::Crc32 => |step| {
            let (sum, value, size) = (step.read(0)?, step.read(1)?, step.size(1));
            step.write(0, checksum(size, sum as u32, value).into())
        },
        _ => return None,
    })
}

/// `BT` and its like. A place in a register goes beyond a memory operand, either way.
fn at(step: &mut Step<'_>, change: Option<fn(u64, u64) -> u64>) -> Result<(), Exception> {
    let (size, before) = (step.size(0), step.cpu.flags);
    let number = step.read(1)?;
    let place = find(step, size, number, change.is_some())?;
    let one = single(size, number);
    loop {
        let old = step.load(place, change.is_some())?;
        let flags = test(size, old, number, before);
        if let Some(change) = change {
            let new = change(old, one);
            match place {
                Place::Memory { address, size } if step.instruction.has_lock_prefix() => {
                    if !step.exchange_at(address, size, (old, new))? {
                        continue;
                    }
                }
                _ => step.store(place, new)?,
            }
        }
        step.cpu.flags = flags;
        return Ok(());
    }
}

fn find(step: &Step<'_>, size: Size, number: u64, writes: bool) -> Result<Place, Exception> {
    let instruction = step.instruction;
    let far =
        instruction.op0_kind() == OpKind::Memory && instruction.op1_kind() == OpKind::Register;
    if !far {
        return step.place(0, writes);
    }
    let units = size.signed(number) >> size.bits().trailing_zeros();
    let bytes = units << size.bytes().trailing_zeros();
    let offset = step.offset(0)?.wrapping_add_signed(bytes);
    let offset = offset & step.address_mask();
    let segment = step.memory_segment();
    let address = step.linear(segment, offset, size.bytes().into(), writes)?;
    Ok(Place::Memory { address, size })
}

/// `BSF` and `BSR`: of zero, the destination is as before, and is not written.
fn scan(
    step: &mut Step<'_>,
    function: fn(Size, u64) -> (Option<u64>, Flags),
) -> Result<(), Exception> {
    let value = step.read(1)?;
    let (place, flags) = function(step.size(1), value);
    if let Some(place) = place {
        step.write(0, place)?;
    }
    step.cpu.flags = flags;
    Ok(())
}

/// The first operand becomes a function of the last.
fn of_one(step: &mut Step<'_>, function: fn(Size, u64) -> (u64, Flags)) -> Result<(), Exception> {
    let value = step.read(1)?;
    let (result, flags) = function(step.size(1), value);
    step.write(0, result)?;
    step.cpu.flags = flags;
    Ok(())
}

/// The first operand becomes a function of the other two.
fn of_two(
    step: &mut Step<'_>,
    function: fn(Size, u64, u64, Flags) -> (u64, Flags),
) -> Result<(), Exception> {
    let (a, b) = (step.read(1)?, step.read(2)?);
    let (result, flags) = function(step.size(0), a, b, step.cpu.flags);
    step.write(0, result)?;
    step.cpu.flags = flags;
    Ok(())
}
