//! Random instances of an instruction, and the state that they start with.

use host_processor::{Extended, MEMORY, MEMORY_SIZE, Mode, Registers};
use iced_x86::{Code, Decoder, DecoderOptions, Encoder, Instruction};

use crate::images;
use crate::operands::Maker;
use oracle::Numbers;

/// One instruction, and what it starts with.
pub(crate) struct Case {
    pub(crate) mode: Mode,
    pub(crate) bytes: Vec<u8>,
    pub(crate) instruction: Instruction,
    pub(crate) registers: Registers,
    pub(crate) extended: Extended,
    pub(crate) memory: Vec<u8>,
    /// Where the memory operand is.
    pub(crate) place: u64,
}

/// Attempts to make an instance: some are another instruction with some operands.
const ATTEMPTS: usize = 16;

const fn bits(mode: Mode) -> u32 {
    match mode {
        Mode::Protected => 32,
        Mode::Long => 64,
    }
}

/// A random instance; `None` for an instruction with operands that are not made here.
pub(crate) fn case(code: Code, mode: Mode, numbers: &mut Numbers) -> Option<Case> {
    (0..ATTEMPTS).find_map(|_| attempt(code, mode, numbers))
}

fn attempt(code: Code, mode: Mode, numbers: &mut Numbers) -> Option<Case> {
    let mut extended = oracle::vectors(numbers);
    let mut maker = Maker {
        mode,
        numbers,
        registers: Registers::default(),
        place: MEMORY,
    };
    let instruction = make(&mut maker, code)?;
    let mut encoder = Encoder::new(bits(mode));
    encoder.encode(&instruction, host_processor::CODE).ok()?;
    let bytes = encoder.take_buffer();
    let ip = host_processor::CODE;
    let mut decoder = Decoder::with_ip(bits(mode), &bytes, ip, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let (registers, place) = (maker.registers, maker.place);
    let mut memory = memory(numbers, place);
    images::fill(&instruction, place, &mut memory, numbers);
    if instruction.is_vsib() {
        scatter(&instruction, numbers, &mut extended);
    }
    let is_right = instruction.code() == code && images::is_tried(&instruction, &registers);
    is_right.then_some(Case {
        mode,
        bytes,
        instruction,
        registers,
        extended,
        memory,
        place,
    })
}

fn make(maker: &mut Maker<'_>, code: Code) -> Option<Instruction> {
    for general in &mut maker.registers.general {
        *general = maker.numbers.general();
    }
    images::choose_components(code, maker);
    maker.registers.flags = maker.numbers.random() & 0x8d5;
    let info = code.op_code();
    maker.choose_place(info.memory_size().size().max(1) as u64);
    let mut instruction = Instruction::new();
    instruction.set_code(code);
    for operand in 0..info.op_count() {
        maker.operand(&mut instruction, operand, info.op_kind(operand))?;
    }
    if maker.mode == Mode::Protected {
        let all = &mut maker.registers.general;
        *all = all.map(|value| value & 0xffff_ffff);
    }
    Some(instruction)
}

/// Indexes that lead near, but for some beyond the memory's end, and any mask.
fn scatter(instruction: &Instruction, numbers: &mut Numbers, extended: &mut Extended) {
    let is_wide = format!("{:?}", instruction.code()).contains("vm64");
    let width = if is_wide { 8 } else { 4 };
    let scale = u64::from(instruction.memory_index_scale());
    let mut vector = [0; 32];
    for lane in vector.chunks_mut(width) {
        let index = match numbers.below(24) {
            0 => 0x1800 / scale,
            1 => numbers.below(64).wrapping_neg(),
            _ => numbers.below(64),
        };
        lane.copy_from_slice(&index.to_le_bytes()[..width]);
    }
    extended.set_vector(instruction.memory_index().number(), vector);
}

/// Memory that has numbers where the operand is.
fn memory(numbers: &mut Numbers, place: u64) -> Vec<u8> {
    let mut memory = vec![0x5a; MEMORY_SIZE];
    let start = (place - MEMORY) as usize;
    for at in (start..(start + 1024).min(MEMORY_SIZE)).step_by(16) {
        let half = numbers.half();
        let count = (MEMORY_SIZE - at).min(16);
        memory[at..][..count].copy_from_slice(&half[..count]);
    }
    if numbers.below(2) == 0 && start + 10 <= MEMORY_SIZE {
        memory[start..][..10].copy_from_slice(&numbers.extended());
    }
    memory
}
