//! The four formats of x87's environment.

use iced_x86::{Code, Instruction, MemoryOperand, Register};
use x86_semantics::Cpu;
use x86_vector::{Features, Unit, Vectors, execute};

use crate::machine::{Bytes, cpu, real};

/// Addresses of the last instruction and its operand.
const INSTRUCTION: u32 = 0x000c_def0;
const DATA: u32 = 0x0007_6540;

/// A state with a number in one register, and pointers.
fn state() -> Vectors {
    let mut image = Vectors::default().to_xsave();
    // Top 5; of the registers 5 and 6 are not empty: one has the number 1, the other 0.
    image[2..4].copy_from_slice(&(5_u16 << 11).to_le_bytes());
    image[4] = 1 << 5 | 1 << 6;
    image[6..8].copy_from_slice(&0x345_u16.to_le_bytes());
    image[8..12].copy_from_slice(&INSTRUCTION.to_le_bytes());
    image[16..20].copy_from_slice(&DATA.to_le_bytes());
    image[32..42].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f]);
    image[512] = 1;
    Vectors::from_xsave(&image)
}

fn run(code: Code, vectors: &mut Vectors, cpu: &mut Cpu, memory: &mut Bytes) {
    let mut unit = Unit::new(Features::of_host()).expect("memory for code");
    let operand = MemoryOperand::with_base_displ(Register::BX, 16);
    let instruction = Instruction::with1(code, operand).expect("it has an operand");
    let prepared = unit.prepare(&instruction).expect("it is known");
    execute(&prepared, vectors, cpu, memory, &instruction).expect("there is memory");
}

/// Stores the environment, which has to have these words, and loads it again.
fn check(mut cpu: Cpu, [store, load]: [Code; 2], words: [u32; 7], width: usize) {
    let mut memory = Bytes(vec![0; 256]);
    let mut vectors = state();
    run(store, &mut vectors, &mut cpu, &mut memory);
    let stored = memory.0[16..].chunks(width).take(7).map(|bytes| {
        let mut word = [0; 4];
        word[..width].copy_from_slice(bytes);
        u32::from_le_bytes(word)
    });
    let mask = u32::MAX >> (32 - 8 * width);
    let stored: Vec<u32> = stored.collect();
    assert_eq!(stored, words.map(|word| word & mask), "{store:?}");
    let mut restored = state();
    run(load, &mut restored, &mut cpu, &mut memory);
    // What the selectors stand for is not remembered, nor the opcode in the smallest format.
    let (before, after) = (state().to_xsave(), restored.to_xsave());
    assert_eq!(before[..6], after[..6], "{load:?}");
    let bits = if width == 2 && words[4] == 0 {
        0xffff
    } else {
        u32::MAX
    };
    let pointers = [8..12, 16..20].map(|range| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&after[range]);
        u32::from_le_bytes(bytes)
    });
    assert_eq!(pointers, [INSTRUCTION & bits, DATA & bits], "{load:?}");
}

/// The tags of `state`: one number, one zero, six empty.
const TAGS: u32 = 0xffff_d3ff;
const CONTROL: u32 = 0xffff_037f;
const STATUS: u32 = 0xffff_2800;

#[test]
fn protected_mode_has_addresses() {
    let codes = [Code::Fnstenv_m28byte, Code::Fldenv_m28byte];
    let pointers = [INSTRUCTION, 0x345 << 16, DATA, 0xffff_0000];
    let [first, second, third, fourth] = pointers;
    let words = [CONTROL, STATUS, TAGS, first, second, third, fourth];
    check(cpu(), codes, words, 4);
    let codes = [Code::Fnstenv_m14byte, Code::Fldenv_m14byte];
    let words = [CONTROL, STATUS, TAGS, first, 0, third, 0];
    check(cpu(), codes, words, 2);
}

#[test]
fn real_mode_has_linear_addresses_and_the_opcode() {
    let codes = [Code::Fnstenv_m28byte, Code::Fldenv_m28byte];
    let pointers = [0xffff_def0, 0xc345, 0xffff_6540, 0x7000];
    let [first, second, third, fourth] = pointers;
    let words = [CONTROL, STATUS, TAGS, first, second, third, fourth];
    check(real(), codes, words, 4);
    let codes = [Code::Fnstenv_m14byte, Code::Fldenv_m14byte];
    check(real(), codes, words, 2);
}

#[test]
fn what_is_saved_is_restored() {
    let codes = [
        (Code::Fnsave_m94byte, Code::Frstor_m94byte),
        (Code::Fnsave_m108byte, Code::Frstor_m108byte),
    ];
    for (save, restore) in codes {
        for mut cpu in [cpu(), real()] {
            let mut memory = Bytes(vec![0; 256]);
            let mut vectors = state();
            run(save, &mut vectors, &mut cpu, &mut memory);
            assert_eq!(
                vectors.to_xsave()[..32],
                Vectors::default().to_xsave()[..32]
            );
            run(restore, &mut vectors, &mut cpu, &mut memory);
            let (before, after) = (state().to_xsave(), vectors.to_xsave());
            assert_eq!(before[..6], after[..6]);
            assert_eq!(before[32..160], after[32..160]);
        }
    }
}

#[test]
fn pointers_are_offsets_or_linear_addresses() {
    let pointers = |mut cpu: Cpu| {
        let mut memory = Bytes(vec![0; 0x2000]);
        let mut vectors = Vectors::default();
        cpu.segments.cs.base = 0x500;
        cpu.segments.ds.base = 0x1000;
        run(Code::Fld_m32fp, &mut vectors, &mut cpu, &mut memory);
        let image = vectors.to_xsave();
        (
            u16::from_le_bytes([image[8], image[9]]),
            u16::from_le_bytes([image[16], image[17]]),
        )
    };
    assert_eq!(pointers(real()), (0x500, 0x1010));
    let mut protected = cpu();
    // 32-bit code.
    protected.segments.cs.rights = 0xc0fb;
    assert_eq!(pointers(protected), (0, 16));
}
