//! Which instructions may run on the host's processor, and are the same there and here.
//!
//! What iced decodes may if it stays where it is, calls nobody and touches nothing but registers and the memory of its
//! operands, which [`reach`](super::reach) sees to. What iced refuses may where the processor could do no harm if it
//! did not refuse it, too ([`refused`]).

use host_processor::{Mode, stub};
use iced_x86::{
    Code, CodeSize, Decoder, DecoderOptions, EncodingKind, FlowControl, Instruction, Mnemonic,
    OpKind, Register,
};

/// Longest instruction (SDM vol. 2, 2.3.11).
pub(super) const LONGEST: usize = 15;
/// With so many bytes one with `VEX` may be taken for another that is too long.
const SHORT: usize = 10;
/// Most bytes that are looked at: some are too long.
pub(super) const LOOKED_AT: usize = 24;

/// Width of code as iced has it.
pub(super) const fn bits(mode: Mode) -> u32 {
    match mode {
        Mode::Protected => 32,
        Mode::Long => 64,
    }
}

/// What is to be tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    /// As it is, or, of one that is refused, what it would be without that for which it is.
    pub(super) instruction: Instruction,
    /// Its bytes; those of one that is refused are as many as anybody looks at.
    pub(super) length: usize,
    pub(super) is_refused: bool,
    /// Whether it is so long that this may be refused first, or what it is.
    pub(super) is_open: bool,
}

/// Decodes one as this processor would.
pub(super) fn decode(mode: Mode, bytes: &[u8], ip: u64) -> Instruction {
    Decoder::with_ip(bits(mode), bytes, ip, DecoderOptions::AMD).decode()
}

/// What the bytes are.
///
/// # Errors
/// Why they are not tried.
pub(super) fn look(mode: Mode, bytes: &[u8], ip: u64) -> Result<Trial, &'static str> {
    let instruction = decode(mode, bytes, ip);
    if instruction.is_invalid() {
        return refused(mode, bytes, ip);
    }
    check(&instruction, bytes)?;
    let others = Decoder::with_ip(bits(mode), bytes, ip, DecoderOptions::NONE).decode();
    if others.code() != instruction.code() || others.len() != instruction.len() {
        return Err("not tried: makers differ");
    }
    Ok(Trial {
        instruction,
        length: instruction.len(),
        is_refused: false,
        is_open: false,
    })
}

/// Whether a decoded instruction may run.
fn check(instruction: &Instruction, bytes: &[u8]) -> Result<(), &'static str> {
    let code = instruction.code();
    let mnemonic = instruction.mnemonic();
    let stays = match instruction.flow_control() {
        FlowControl::Next | FlowControl::Exception => true,
        FlowControl::Interrupt => matches!(mnemonic, Mnemonic::Int3 | Mnemonic::Into),
        _ => false,
    };
    if !stays {
        return Err("not tried: it goes elsewhere");
    }
    if x86_semantics::needs_system(mnemonic) {
        return Err("not tried: a system's");
    }
    let encoding = code.op_code().encoding();
    let is_known = x86_vector::knows(code) || x86_semantics::knows(mnemonic);
    if !is_known || !matches!(encoding, EncodingKind::Legacy | EncodingKind::VEX) {
        return Err("not tried: not known here");
    }
    if !host_has(code) {
        return Err("not tried: the host has it not");
    }
    if uses_segments(instruction) {
        return Err("not tried: segments");
    }
    if has_choice(instruction, bytes) {
        return Err("not tried: which prefix counts is open");
    }
    if is_exchange(instruction, bytes) {
        return Err("not tried: PAUSE with REX.B");
    }
    if is_wide(instruction, bytes) || is_different(instruction) {
        return Err("not tried: makers differ");
    }
    Ok(())
}

/// Whether the host has it, or what it then takes it for is the same.
fn host_has(code: Code) -> bool {
    use iced_x86::CpuidFeature as Feature;
    if x86_vector::knows(code) {
        return stub::host_has(code);
    }
    let has = |feature: &Feature| match feature {
        Feature::BMI1 => is_x86_feature_detected!("bmi1"),
        Feature::BMI2 => is_x86_feature_detected!("bmi2"),
        Feature::LZCNT => is_x86_feature_detected!("lzcnt"),
        Feature::POPCNT => is_x86_feature_detected!("popcnt"),
        Feature::MOVBE => is_x86_feature_detected!("movbe"),
        Feature::ADX => is_x86_feature_detected!("adx"),
        Feature::SSE4_2 => is_x86_feature_detected!("sse4.2"),
        Feature::CMPXCHG16B => is_x86_feature_detected!("cmpxchg16b"),
        _ => true,
    };
    code.cpuid_features().iter().all(has)
}

/// Whether it loads a segment register, asks about segments, or has memory where threads of the host have theirs.
fn uses_segments(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    let names = [
        M::Lar,
        M::Lsl,
        M::Verr,
        M::Verw,
        M::Lds,
        M::Les,
        M::Lss,
        M::Lfs,
        M::Lgs,
    ];
    let loads = matches!(instruction.mnemonic(), M::Mov | M::Pop)
        && instruction.op0_kind() == OpKind::Register
        && instruction.op0_register().is_segment_register();
    let threads = matches!(instruction.segment_prefix(), Register::FS | Register::GS);
    names.contains(&instruction.mnemonic()) || loads || threads
}

/// Whether it has both `F2` and `F3` where opcodes are shared with instructions of systems: which of them counts is not
/// said (SDM vol. 2, 2.1.1).
fn has_choice(instruction: &Instruction, bytes: &[u8]) -> bool {
    let bytes = bytes.get(..instruction.len()).unwrap_or(bytes);
    let count = prefixes(bytes);
    let (before, rest) = bytes.split_at(count);
    let rest = match rest {
        [0x40..=0x4f, rest @ ..] => rest,
        _ => rest,
    };
    before.contains(&0xf2)
        && before.contains(&0xf3)
        && matches!(rest, [0x0f, 0x01 | 0x09 | 0x18..=0x1f | 0xae | 0xc7, ..])
}

/// Whether it is `XCHG` with a prefix of `PAUSE`, which it is taken for here.
fn is_exchange(instruction: &Instruction, bytes: &[u8]) -> bool {
    let before = bytes.get(instruction.len().wrapping_sub(2));
    let has_rex = before.is_some_and(|byte| byte & 0xf0 == 0x40);
    instruction.mnemonic() == Mnemonic::Pause && has_rex
}

/// Whether it moves a general register by `VEX.W` in code that has no wide ones: AMD's refuse some of these.
fn is_wide(instruction: &Instruction, bytes: &[u8]) -> bool {
    use Mnemonic as M;
    let moves = matches!(
        instruction.mnemonic(),
        M::Vpextrd | M::Vpinsrd | M::Vmovd | M::Vpextrb | M::Vpextrw | M::Vpinsrb | M::Vpinsrw
    );
    let rest = bytes.get(prefixes(bytes)..).unwrap_or_default();
    moves
        && instruction.code_size() == CodeSize::Code32
        && matches!(rest, [0xc4, _, 0x80..=0xff, ..])
}

/// What is not the same on all processors, or whose image has more than ours.
fn is_different(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    let codes = [
        Code::Movsxd_r16_rm16,
        Code::Reservednop_rm16_r16_0F0D,
        Code::Reservednop_rm32_r32_0F0D,
        Code::Reservednop_rm64_r64_0F0D,
    ];
    let images = [
        M::Fxsave,
        M::Fxsave64,
        M::Fxrstor,
        M::Fxrstor64,
        M::Xsave,
        M::Xsave64,
        M::Xsavec,
        M::Xsavec64,
        M::Xsaveopt,
        M::Xsaveopt64,
        M::Xrstor,
        M::Xrstor64,
    ];
    codes.contains(&instruction.code()) || images.contains(&instruction.mnemonic())
}

/// How many bytes in front are prefixes of the old kind.
fn prefixes(bytes: &[u8]) -> usize {
    let is_prefix = |byte: &u8| {
        matches!(
            byte,
            0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3
        )
    };
    bytes.iter().take_while(|byte| is_prefix(byte)).count()
}

/// What iced refuses. It is tried
///
/// - where it would be harmless without what is wrong with it, were the processor to overlook that: a `LOCK` where
///   none is allowed; prefixes that make it longer than 15 bytes; prefixes before `VEX`, and bits of it;
/// - where it works on x87's registers alone;
/// - where manuals have nothing of that opcode in 64-bit code, and `LEA` of a register.
fn refused(mode: Mode, bytes: &[u8], ip: u64) -> Result<Trial, &'static str> {
    let first = prefixes(bytes);
    let (before, rest) = bytes.split_at(first);
    if before.contains(&0x64) || before.contains(&0x65) {
        return Err("not tried: segments");
    }
    let (rex, opcode) = match (mode, rest) {
        (Mode::Long, [0x40..=0x4f, opcode @ ..]) => (1, opcode),
        _ => (0, rest),
    };
    let length = first + rex;
    // It has no memory, so any other does.
    let nothing = |bytes: usize| Trial {
        instruction: decode(mode, &[0x90], ip),
        length: (length + bytes).min(LONGEST),
        is_refused: true,
        // Some have 12 bytes behind their prefixes.
        is_open: length + 12 > LONGEST,
    };
    match opcode {
        [0xd8..=0xdf, 0xc0..=0xff, ..] => return Ok(nothing(2)),
        [0x8d, 0xc0..=0xff, ..] => return Ok(nothing(2)),
        [
            0x06 | 0x07 | 0x0e | 0x16 | 0x17 | 0x1e | 0x1f | 0x27 | 0x2f | 0x37 | 0x3f | 0x60
            | 0x61 | 0x82 | 0x9a | 0xce | 0xd4 | 0xd6 | 0xea,
            ..,
        ] if mode == Mode::Long => return Ok(nothing(LONGEST)),
        _ => {}
    }
    for milder in milder(before, rest) {
        let instruction = decode(mode, &milder, ip);
        if instruction.is_invalid() || check(&instruction, &milder).is_err() {
            continue;
        }
        let length = instruction.len() + bytes.len() - milder.len();
        let is_vex = instruction.code().op_code().encoding() == EncodingKind::VEX;
        return Ok(Trial {
            instruction,
            length,
            is_refused: true,
            is_open: is_vex && length > SHORT || is_nothing(&instruction) && length > LONGEST,
        });
    }
    Err("not tried: no instruction, and not surely harmless")
}

/// Whether it is there to be refused.
fn is_nothing(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    matches!(instruction.mnemonic(), M::Ud0 | M::Ud1 | M::Ud2)
}

/// The bytes without what may be wrong with them: `LOCK`, prefixes that come again, all prefixes before `VEX`, and its
/// bits, one after the other.
fn milder(before: &[u8], rest: &[u8]) -> Vec<Vec<u8>> {
    let mut once = Vec::new();
    for (at, byte) in before.iter().enumerate() {
        if *byte != 0xf0 && !before[at + 1..].contains(byte) {
            once.push(*byte);
        }
    }
    let mut all = vec![[&once, rest].concat()];
    let rest = match rest {
        [0x40..=0x4f, rest @ ..] if matches!(rest, [0xc4 | 0xc5, ..]) => rest,
        _ => rest,
    };
    // The byte with `vvvv` and `L`. AMD's do not look at `W` where manuals have one value of it alone.
    let at = match rest {
        [0xc4, _, _, _, ..] => 2,
        [0xc5, _, _, ..] => 1,
        _ => return all,
    };
    for flips in [0, 4] {
        for any in [0, 0x78] {
            let mut bytes = rest.to_vec();
            bytes[at] = (bytes[at] | any) ^ flips;
            all.push(bytes);
        }
    }
    all
}
