//! Has the memory operands of an instruction lie in the bench's memory, or where nothing is.

use host_processor::{MEMORY, MEMORY_SIZE, Mode};
use iced_x86::{
    Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind,
    Register,
};
use oracle::Numbers;

use super::guest::Side;
use super::harmless::{Trial, bits};
use super::space::{Place, Space};

/// `RCX`, `RSP`, `RBP`, `RSI`, `RDI` in the order of encoding.
const RCX: usize = 1;
const RSP: usize = 4;
const RBP: usize = 5;
const RSI: usize = 6;
const RDI: usize = 7;
/// `DF`.
const DOWN: u64 = 1 << 10;
/// Most repetitions that are tried.
const REPETITIONS: u64 = 48;
/// How often operands are moved before it is given up.
const ATTEMPTS: usize = 4;

/// Bytes of memory that an instruction uses.
#[derive(Clone, Copy, Debug)]
struct Use {
    address: u64,
    bytes: u64,
    /// What moves it.
    base: Register,
}

/// Moves operands until all are where they may be; whether anything was changed.
///
/// # Errors
/// Why that cannot be done.
pub(super) fn arrange(
    space: Space,
    mode: Mode,
    (trial, code): (&mut Trial, &mut [u8]),
    side: &mut Side,
    numbers: &mut Numbers,
) -> Result<bool, &'static str> {
    let mut mover = Mover {
        mode,
        numbers,
        is_changed: false,
    };
    mover.tame(&trial.instruction, side);
    // Rarely, what faults by itself may.
    let may_fault = mover.numbers.below(6) == 0;
    for attempt in 0..ATTEMPTS {
        let uses = uses(mode, &trial.instruction, side)?;
        let is_right = |place: Place| {
            place == Place::Memory || place == Place::Nothing && (may_fault || attempt > 1)
        };
        let wrong = uses
            .iter()
            .find(|used| !is_right(space.place(mode, used.address, used.bytes)));
        let Some(wrong) = wrong else {
            return Ok(mover.is_changed);
        };
        mover.shift(wrong, (trial, code), side)?;
    }
    Err("not tried: memory of others")
}

struct Mover<'n> {
    mode: Mode,
    numbers: &'n mut Numbers,
    is_changed: bool,
}

impl Mover<'_> {
    fn set(&mut self, side: &mut Side, number: usize, value: u64) {
        let general = &mut side.registers.general[number];
        self.is_changed |= *general != value;
        *general = value;
    }

    /// Keeps counts and distances small.
    fn tame(&mut self, instruction: &Instruction, side: &mut Side) {
        let general = side.registers.general;
        if is_string(instruction) && is_repeated(instruction) {
            let mask = address_mask(string_bits(instruction));
            if general[RCX] & mask > REPETITIONS {
                let count = self.numbers.below(REPETITIONS);
                self.set(side, RCX, general[RCX] & !mask | count);
            }
        }
        if let Some(register) = bit_offset(instruction).filter(|_| self.numbers.below(8) != 0) {
            let number = register.full_register().number();
            self.set(side, number, general[number] & 0x7ff);
        }
        if instruction.is_vsib() && self.numbers.below(8) != 0 {
            self.scatter(instruction, side);
        }
    }

    /// Gives each element a place near the base.
    fn scatter(&mut self, instruction: &Instruction, side: &mut Side) {
        let index = instruction.memory_index().number();
        let width = lane(instruction);
        let mut vector = [0; 32];
        for lane in vector.chunks_mut(width) {
            let value = match self.numbers.below(24) {
                0 => 0x1000 / u64::from(instruction.memory_index_scale()),
                1 => self.numbers.below(64).wrapping_neg(),
                _ => self.numbers.below(64),
            };
            lane.copy_from_slice(&value.to_le_bytes()[..width]);
        }
        side.extended.set_vector(index, vector);
        self.is_changed = true;
    }

    /// A place in the middle of the memory, mostly aligned; now and then one at its end.
    fn choose(&mut self, bytes: u64) -> u64 {
        let size = MEMORY_SIZE as u64;
        let at = match self.numbers.below(16) {
            0 => size - 1 - self.numbers.below(bytes.min(64) + 2),
            1 => size - bytes.min(size),
            2 | 3 => size / 2 + self.numbers.below(1024),
            4 => size / 2 - self.numbers.below(64),
            5 => size / 2 + 16 * self.numbers.below(32),
            _ => size / 2 + 64 * self.numbers.below(16),
        };
        MEMORY + at
    }

    /// Moves what is in a wrong place, by its base or its displacement.
    fn shift(
        &mut self,
        wrong: &Use,
        (trial, code): (&mut Trial, &mut [u8]),
        side: &mut Side,
    ) -> Result<(), &'static str> {
        let distance = self.choose(wrong.bytes).wrapping_sub(wrong.address);
        let base = wrong.base;
        if base.is_gpr() && base.size() > 2 {
            let number = base.full_register().number();
            let value = side.registers.general[number].wrapping_add(distance);
            let mask = address_mask(base.size() as u32 * 8);
            self.set(side, number, value & mask);
            return Ok(());
        }
        if trial.is_refused {
            return Err("not tried: memory of others");
        }
        let instruction = trial.instruction;
        let mut decoder =
            Decoder::with_ip(bits(self.mode), code, instruction.ip(), DecoderOptions::AMD);
        let same = decoder.decode();
        let offsets = decoder.get_constant_offsets(&same);
        let (at, size) = (offsets.displacement_offset(), offsets.displacement_size());
        let Some(bytes) = code.get_mut(at..at + size).filter(|_| size >= 4) else {
            return Err("not tried: memory of others");
        };
        let mut value = [0; 8];
        value[..size].copy_from_slice(bytes);
        let value = u64::from_le_bytes(value).wrapping_add(distance);
        bytes.copy_from_slice(&value.to_le_bytes()[..size]);
        trial.instruction = super::harmless::decode(self.mode, code, instruction.ip());
        self.is_changed = true;
        Ok(())
    }
}

/// Bits of an address.
const fn address_mask(bits: u32) -> u64 {
    match bits {
        16 => 0xffff,
        32 => 0xffff_ffff,
        _ => u64::MAX,
    }
}

fn is_string(instruction: &Instruction) -> bool {
    use OpKind as Kind;
    instruction.op_kinds().any(|kind| {
        matches!(
            kind,
            Kind::MemorySegSI
                | Kind::MemorySegESI
                | Kind::MemorySegRSI
                | Kind::MemoryESDI
                | Kind::MemoryESEDI
                | Kind::MemoryESRDI
        )
    })
}

fn is_repeated(instruction: &Instruction) -> bool {
    instruction.has_rep_prefix() || instruction.has_repne_prefix()
}

/// Bits of a string's addresses.
fn string_bits(instruction: &Instruction) -> u32 {
    use OpKind as Kind;
    let kinds: Vec<_> = instruction.op_kinds().collect();
    let has = |wanted: [Kind; 2]| kinds.iter().any(|kind| wanted.contains(kind));
    if has([Kind::MemorySegSI, Kind::MemoryESDI]) {
        16
    } else if has([Kind::MemorySegESI, Kind::MemoryESEDI]) {
        32
    } else {
        64
    }
}

/// The register that says which bit of memory is meant, however far away.
fn bit_offset(instruction: &Instruction) -> Option<Register> {
    use Mnemonic as M;
    let is_bit = matches!(instruction.mnemonic(), M::Bt | M::Bts | M::Btr | M::Btc);
    let is_far =
        instruction.op0_kind() == OpKind::Memory && instruction.op1_kind() == OpKind::Register;
    (is_bit && is_far).then(|| instruction.op1_register())
}

/// Bytes of an index of a gather.
fn lane(instruction: &Instruction) -> usize {
    let name = format!("{:?}", instruction.code());
    if name.contains("vm64") { 8 } else { 4 }
}

/// A register's value; bases of segments are zero.
fn value(side: &Side, register: Register, element: usize, size: usize) -> Option<u64> {
    if register.is_segment_register() {
        return (!matches!(register, Register::FS | Register::GS)).then_some(0);
    }
    if register.is_vector_register() {
        let vector = side.extended.vector(register.number());
        let bytes = vector.get(element * size..element * size + size)?;
        let mut value = [0; 8];
        value[..size].copy_from_slice(bytes);
        let value = u64::from_le_bytes(value);
        // Indexes have signs.
        return Some(if size == 4 {
            value as i32 as u64
        } else {
            value
        });
    }
    let whole = side
        .registers
        .general
        .get(register.full_register().number());
    let whole = whole.filter(|_| register.is_gpr())?;
    Some(match register.size() {
        1 if (Register::AH..=Register::BH).contains(&register) => whole >> 8 & 0xff,
        1 => whole & 0xff,
        2 => whole & 0xffff,
        4 => whole & 0xffff_ffff,
        _ => *whole,
    })
}

/// All memory that it uses.
fn uses(mode: Mode, instruction: &Instruction, side: &Side) -> Result<Vec<Use>, &'static str> {
    if is_string(instruction) {
        return Ok(string_uses(instruction, side));
    }
    if instruction.mnemonic() == Mnemonic::Enter {
        return frame_uses(mode, instruction, side);
    }
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(instruction);
    let mut uses = Vec::new();
    for used in info.used_memory() {
        if used.access() == OpAccess::NoMemAccess || used.access() == OpAccess::None {
            continue;
        }
        let count = match used.index() {
            index if index.is_vector_register() => index.size() / used.vsib_size().max(1) as usize,
            _ => 1,
        };
        let bytes = used.memory_size().size().max(1) as u64;
        for element in 0..count {
            let address = used.virtual_address(element, |register, element, size| {
                value(side, register, element, size)
            });
            let address = address.ok_or("not tried: segments")?;
            uses.push(Use {
                address: address.wrapping_add(bit_distance(instruction, side)),
                bytes: bytes.max(bit_bytes(instruction)),
                base: used.base(),
            });
        }
    }
    Ok(uses)
}

/// How far away the bit is that an instruction means.
fn bit_distance(instruction: &Instruction, side: &Side) -> u64 {
    let Some(register) = bit_offset(instruction) else {
        return 0;
    };
    let offset = value(side, register, 0, 0).unwrap_or(0);
    let (offset, bytes) = match register.size() {
        2 => (i64::from(offset as i16), 2),
        4 => (i64::from(offset as i32), 4),
        _ => (offset as i64, 8),
    };
    (offset.div_euclid(8 * bytes) * bytes) as u64
}

fn bit_bytes(instruction: &Instruction) -> u64 {
    bit_offset(instruction).map_or(1, |register| register.size() as u64)
}

/// Source and destination of a string, from the first to the last element.
fn string_uses(instruction: &Instruction, side: &Side) -> Vec<Use> {
    use OpKind as Kind;
    let size = instruction.memory_size().size().max(1) as u64;
    let bits = string_bits(instruction);
    let mask = address_mask(bits);
    let general = &side.registers.general;
    let count = if is_repeated(instruction) {
        general[RCX] & mask
    } else {
        1
    };
    let length = size.saturating_mul(count.max(1));
    let mut all = Vec::new();
    for kind in instruction.op_kinds() {
        let number = match kind {
            Kind::MemorySegSI | Kind::MemorySegESI | Kind::MemorySegRSI => RSI,
            Kind::MemoryESDI | Kind::MemoryESEDI | Kind::MemoryESRDI => RDI,
            _ => continue,
        };
        let first = general[number] & mask;
        let is_down = side.registers.flags & DOWN != 0;
        let address = if is_down {
            first.wrapping_sub(length - size)
        } else {
            first
        };
        let sized = |word, double, quad| match bits {
            16 => word,
            32 => double,
            _ => quad,
        };
        let base = if number == RSI {
            sized(Register::SI, Register::ESI, Register::RSI)
        } else {
            sized(Register::DI, Register::EDI, Register::RDI)
        };
        all.push(Use {
            address,
            bytes: length,
            base,
        });
    }
    all
}

/// What `ENTER` uses: other frames, and its own down to its end.
fn frame_uses(
    mode: Mode,
    instruction: &Instruction,
    side: &Side,
) -> Result<Vec<Use>, &'static str> {
    /// Bytes of as many pointers as there may be.
    const POINTERS: u64 = 33 * 8;
    let mask = address_mask(bits(mode));
    let [pointer, frame] = [RSP, RBP].map(|number| side.registers.general[number] & mask);
    let length = POINTERS + u64::from(instruction.immediate16());
    let of = |quad, double| if mode == Mode::Long { quad } else { double };
    let below =
        |from: u64, bytes: u64| from.checked_sub(bytes).ok_or("not tried: memory of others");
    Ok(vec![
        Use {
            address: below(pointer, length)?,
            bytes: length,
            base: of(Register::RSP, Register::ESP),
        },
        Use {
            address: below(frame, POINTERS)?,
            bytes: POINTERS,
            base: of(Register::RBP, Register::EBP),
        },
    ])
}

/// The first value that it reads from memory, where that is all there.
pub(super) fn first_value(mode: Mode, instruction: &Instruction, side: &Side) -> Option<u64> {
    let uses = uses(mode, instruction, side).ok()?;
    let at = uses.first()?.address.checked_sub(MEMORY)?;
    let bytes = side.memory.get(usize::try_from(at).ok()?..)?;
    let mut value = [0; 8];
    for (to, byte) in value.iter_mut().zip(bytes) {
        *to = *byte;
    }
    Some(u64::from_le_bytes(value))
}
