//! The quick ways and the reference: random programs come to the same end whether the engine goes through blocks or,
//! since a breakpoint is set somewhere else, by one instruction after the other.

use engine_contract::Stop;
use engine_emulate::Emulate;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use machines::harness::{CODE, Numbers, Recorder, first, machine_with};

const PROGRAMS: u32 = 400;
const LENGTH: usize = 120;
/// Where `rbx` points, and the bytes around it that are compared.
pub(crate) const DATA: u64 = 0x40_0800;
pub(crate) const DATA_BYTES: usize = 0x2000;
/// `out 0xf4, al`
const END: [u8; 2] = [0xe6, 0xf4];
/// The first breakpoint is on.
const BREAKPOINT: u64 = 0x401;

/// Those with a quick way.
const QUICK: [Mnemonic; 60] = [
    Mnemonic::Add,
    Mnemonic::Adc,
    Mnemonic::Sub,
    Mnemonic::Sbb,
    Mnemonic::Cmp,
    Mnemonic::And,
    Mnemonic::Or,
    Mnemonic::Xor,
    Mnemonic::Test,
    Mnemonic::Inc,
    Mnemonic::Dec,
    Mnemonic::Neg,
    Mnemonic::Not,
    Mnemonic::Shl,
    Mnemonic::Shr,
    Mnemonic::Sar,
    Mnemonic::Rol,
    Mnemonic::Ror,
    Mnemonic::Imul,
    Mnemonic::Mov,
    Mnemonic::Movzx,
    Mnemonic::Movsx,
    Mnemonic::Movsxd,
    Mnemonic::Lea,
    Mnemonic::Xchg,
    Mnemonic::Cmovb,
    Mnemonic::Cmove,
    Mnemonic::Cmovl,
    Mnemonic::Cmovle,
    Mnemonic::Cmovno,
    Mnemonic::Cmovnp,
    Mnemonic::Cmova,
    Mnemonic::Cmovns,
    Mnemonic::Sete,
    Mnemonic::Setb,
    Mnemonic::Setg,
    Mnemonic::Seto,
    Mnemonic::Setp,
    Mnemonic::Sets,
    Mnemonic::Setae,
    Mnemonic::Bswap,
    Mnemonic::Bt,
    Mnemonic::Bts,
    Mnemonic::Btr,
    Mnemonic::Btc,
    Mnemonic::Bsf,
    Mnemonic::Bsr,
    Mnemonic::Tzcnt,
    Mnemonic::Lzcnt,
    Mnemonic::Popcnt,
    Mnemonic::Xadd,
    Mnemonic::Cmpxchg,
    Mnemonic::Cwde,
    Mnemonic::Cdqe,
    Mnemonic::Cdq,
    Mnemonic::Cqo,
    Mnemonic::Mul,
    Mnemonic::Prefetcht0,
    Mnemonic::Nop,
    Mnemonic::Endbr64,
];

/// Registers by which memory is addressed: they keep their values.
fn is_kept(register: Register) -> bool {
    matches!(
        register.full_register(),
        Register::RBX | Register::RSI | Register::RSP
    )
}

/// The registers that it may change.
fn changed(instruction: &Instruction) -> Vec<Register> {
    let registers = (0..instruction.op_count())
        .filter(|operand| instruction.op_kind(*operand) == OpKind::Register)
        .map(|operand| instruction.op_register(operand));
    let mut changed: Vec<Register> = registers.collect();
    let is_exchange = matches!(instruction.mnemonic(), Mnemonic::Xchg | Mnemonic::Xadd);
    if !is_exchange && instruction.op0_kind() == OpKind::Register {
        changed.truncate(1);
    } else if !is_exchange {
        changed.clear();
    }
    changed
}

/// Whether what it accesses is in the data.
fn is_near(instruction: &Instruction) -> bool {
    let has_segment = instruction.has_segment_prefix();
    !has_segment
        && match instruction.memory_base() {
            // An address is computed, or the whole of it is in the instruction.
            _ if instruction.mnemonic() == Mnemonic::Lea => true,
            Register::RBX => {
                let at = instruction.memory_displacement64().cast_signed();
                at.abs() < 0xc00
                    && matches!(instruction.memory_index(), Register::None | Register::RSI)
            }
            Register::None => !(0..instruction.op_count())
                .any(|operand| instruction.op_kind(operand) == OpKind::Memory),
            _ => false,
        }
}

/// Whether an instruction stays in the data and keeps what it is addressed by.
fn is_tame(instruction: &Instruction) -> bool {
    let is_quick = QUICK.contains(&instruction.mnemonic());
    let only_general = (0..instruction.op_count()).all(|operand| {
        instruction.op_kind(operand) != OpKind::Register
            || instruction.op_register(operand).is_gpr()
    });
    let has_prefix = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    // A bit whose place is in a register may be anywhere.
    let is_far = matches!(
        instruction.mnemonic(),
        Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc
    ) && instruction.op0_kind() == OpKind::Memory
        && instruction.op1_kind() == OpKind::Register;
    is_quick
        && only_general
        && is_near(instruction)
        && !has_prefix
        && !is_far
        && !changed(instruction).into_iter().any(is_kept)
}

/// Whether an instruction on vectors or x87's stack stays in the data, and raises nothing that is not masked.
fn is_tame_vector(instruction: &Instruction) -> bool {
    let mnemonic = instruction.mnemonic();
    let is_other = matches!(
        mnemonic,
        Mnemonic::Maskmovdqu
            | Mnemonic::Maskmovq
            | Mnemonic::Vmaskmovdqu
            | Mnemonic::Ldmxcsr
            | Mnemonic::Vldmxcsr
            | Mnemonic::Fldcw
            | Mnemonic::Fldenv
    );
    let bytes = instruction.memory_size().size();
    let is_free = matches!(
        mnemonic,
        Mnemonic::Movups | Mnemonic::Movupd | Mnemonic::Movdqu | Mnemonic::Lddqu
    );
    let is_aligned = instruction.memory_displacement64().is_multiple_of(32);
    !is_other
        && x86_vector::knows(instruction.code())
        && bytes <= 32
        && (bytes < 16 || is_aligned || is_free)
        && is_near(instruction)
        && !changed(instruction).into_iter().any(is_kept)
}

/// Bytes that are perhaps an instruction.
fn integer(numbers: &mut Numbers) -> [u8; 16] {
    let mut bytes = random(numbers);
    // Some have prefixes for width and registers; some two bytes.
    match numbers.random() % 10 {
        0 => bytes[0] = 0x66,
        1..=3 => bytes[0] = 0x48 | bytes[0] & 7,
        4 => bytes[0] = 0x0f,
        5 => (bytes[0], bytes[1]) = (0x48 | bytes[0] & 7, 0x0f),
        6 => (bytes[0], bytes[1]) = (0xf0, 0x48 | bytes[1] & 7),
        7 => (bytes[0], bytes[1], bytes[2]) = (0xf3, 0x48 | bytes[1] & 7, 0x0f),
        _ => {}
    }
    bytes
}

/// The same of instructions on vectors and x87's stack.
fn vector(numbers: &mut Numbers) -> [u8; 16] {
    let mut bytes = random(numbers);
    match numbers.random() % 8 {
        0 => bytes[0] = 0x0f,
        1 => bytes[..2].copy_from_slice(&[0x66, 0x0f]),
        2 => bytes[..2].copy_from_slice(&[0xf2, 0x0f]),
        3 => bytes[..2].copy_from_slice(&[0xf3, 0x0f]),
        4 => bytes[0] = 0xc5,
        5 => (bytes[0], bytes[1]) = (0xc4, bytes[1] & 0xe3),
        6 => (bytes[0], bytes[1], bytes[2]) = (0xf2, 0x48 | bytes[1] & 7, 0x0f),
        _ => bytes[0] = 0xd8 | bytes[0] & 7,
    }
    bytes
}

fn random(numbers: &mut Numbers) -> [u8; 16] {
    let mut bytes = [0; 16];
    for half in bytes.chunks_exact_mut(8) {
        half.copy_from_slice(&numbers.random().to_le_bytes());
    }
    bytes
}

/// A random program on general registers.
pub(crate) fn program(numbers: &mut Numbers) -> Vec<u8> {
    program_of(numbers, integer, is_tame)
}

/// A random program of such instructions.
fn program_of(
    numbers: &mut Numbers,
    bytes: fn(&mut Numbers) -> [u8; 16],
    is_tame: fn(&Instruction) -> bool,
) -> Vec<u8> {
    let mut code = Vec::new();
    let mut count = 0;
    while count < LENGTH {
        let bytes = bytes(numbers);
        let mut decoder = Decoder::new(64, &bytes, DecoderOptions::AMD);
        let instruction = decoder.decode();
        if !instruction.is_invalid() && is_tame(&instruction) {
            code.extend(&bytes[..instruction.len()]);
            count += 1;
            // Now and then it depends on a condition whether `r9` is counted up.
            let choice = numbers.random();
            if choice.is_multiple_of(3) {
                let jump = 0x70 | (choice >> 32) as u8 & 15;
                code.extend([jump, 3, 0x49, 0xff, 0xc1]);
            }
        }
    }
    code.extend(END);
    code
}

/// With what a program begins.
struct Start {
    general: [u64; 16],
    vector: Vec<u8>,
    data: Vec<u8>,
}

impl Start {
    /// Random, but for what addresses the data.
    fn new(numbers: &mut Numbers) -> Self {
        let mut general = [0; 16].map(|_: u64| numbers.random());
        general[3] = DATA;
        general[6] = numbers.random() % 64 * 32;
        let mut bytes = |count| (0..count).flat_map(|_| number(numbers)).collect();
        let mut vector: Vec<u8> = bytes(IMAGE / 8);
        // x87 as after FNINIT; MXCSR with all masks and random rest; everything in use.
        vector[..32].fill(0);
        vector[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
        let data: Vec<u8> = bytes(DATA_BYTES / 8);
        let choices = [0x1f80_u32, 0x1fa0, 0x1fa0, 0x1fa0, 0x7fbf, 0x9fe0, 0x3f80];
        let mxcsr = choices[numbers.random() as usize % choices.len()];
        vector[24..28].copy_from_slice(&mxcsr.to_le_bytes());
        vector[512..576].fill(0);
        vector[512] = 7;
        Self {
            general,
            vector,
            data,
        }
    }
}

/// Bytes of an image of the vector registers.
const IMAGE: usize = 832;

/// Eight bytes: random ones, or numbers of single or double precision as programs have them.
fn number(numbers: &mut Numbers) -> [u8; 8] {
    let random = numbers.random();
    let small = f64::from(random as i32) / 1024.0;
    match random >> 60 {
        0..8 => small.to_le_bytes(),
        8..12 => {
            let pair = [(small as f32).to_le_bytes(), 1.5f32.to_le_bytes()];
            let mut bytes = [0; 8];
            bytes.copy_from_slice(pair.as_flattened());
            bytes
        }
        12 => [0; 8],
        _ => random.to_le_bytes(),
    }
}

/// What there is after a program.
#[derive(Debug, PartialEq)]
struct End {
    /// Kicked by the world when it has ended, or a fault where an operand is not aligned.
    stop: Stop,
    rip: u64,
    general: [u64; 16],
    flags: u64,
    vector: Vec<u8>,
    data: Vec<u8>,
}

/// Runs a program.
fn end(code: &[u8], start: &Start, by_one: bool) -> End {
    let mut machine = machine_with(&Emulate, code, 1);
    let first_byte = DATA - DATA_BYTES as u64 / 2;
    machine.memory().write(first_byte, &start.data).unwrap();
    let mut vcpu = first(&mut *machine);
    let mut state = vcpu.state().unwrap();
    let stack = state.general[4];
    state.general = start.general;
    state.general[4] = stack;
    state.vector = start.vector.clone();
    // SSE, its exceptions, and AVX.
    state.control.cr4 |= 1 << 9 | 1 << 10 | 1 << 18;
    state.control.xcr0 = 7;
    state.debug[0] = 0x7000;
    state.debug[5] = if by_one { BREAKPOINT } else { 0x400 };
    vcpu.set_state(&state).unwrap();
    let world = Recorder::new(&*vcpu);
    let stop = vcpu.run(&world).unwrap();
    let state = vcpu.state().unwrap();
    let mut data = vec![0; DATA_BYTES];
    machine.memory().read(first_byte, &mut data).unwrap();
    End {
        stop,
        rip: state.rip,
        general: state.general,
        flags: state.rflags,
        vector: state.vector,
        data,
    }
}

/// Nearly all programs have to come to their end.
fn compare(bytes: fn(&mut Numbers) -> [u8; 16], is_tame: fn(&Instruction) -> bool) {
    let mut whole = 0;
    let mut numbers = Numbers(0x0123_4567_89ab_cdef);
    for turn in 0..PROGRAMS {
        let code = program_of(&mut numbers, bytes, is_tame);
        let start = Start::new(&mut numbers);
        let (quick, slow) = (end(&code, &start, false), end(&code, &start, true));
        assert!(
            quick == slow,
            "program {turn}: {code:02x?}\n{quick:x?}\n{slow:x?}"
        );
        whole += u32::from(quick.rip == CODE + code.len() as u64);
    }
    assert!(whole > PROGRAMS / 2, "{whole} programs came to their end");
}

#[test]
fn the_quick_ways_lead_where_the_reference_does() {
    compare(integer, is_tame);
}

#[test]
fn those_of_vectors_do_so_too() {
    compare(vector, is_tame_vector);
}
