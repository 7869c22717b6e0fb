//! What one instruction costs, in nanoseconds: prepared once, executed often, as an interpreter does.
//!
//!     cargo run --release -p x86-vector --example speed
#![expect(clippy::expect_used, reason = "a tool for developers")]

use std::hint::black_box;
use std::time::Instant;

use iced_x86::{Code, Instruction, MemoryOperand, Register};
use x86_paging::{Access, Privilege};
use x86_semantics::{Cpu, Exception, Flags, Memory, Size};
use x86_state::{Control, Segment, Segments};
use x86_vector::{Features, Prepared, Unit, Vectors, execute};

const TIMES: u32 = 20_000;
/// Runs, of which the best counts: short ones, some of which nobody disturbs.
const RUNS: usize = 400;

/// A page at address zero.
struct Page([u8; 4096]);

impl Memory for Page {
    fn read(&mut self, address: u64, _: Size, _: Access) -> Result<u64, Exception> {
        let mut value = [0; 8];
        copy::<8>(&self.0[(address & 0xf00 | 64) as usize..], &mut value);
        Ok(u64::from_le_bytes(value))
    }

    fn write(&mut self, address: u64, _: Size, value: u64, _: Privilege) -> Result<(), Exception> {
        let to = &mut self.0[(address & 0xf00 | 64) as usize..];
        copy::<8>(&value.to_le_bytes(), to);
        Ok(())
    }

    fn exchange(
        &mut self,
        _: u64,
        _: Size,
        _: (u64, u64),
        _: Privilege,
    ) -> Result<bool, Exception> {
        Err(Exception::Protection(0))
    }

    fn read_bytes(&mut self, address: u64, into: &mut [u8], _: Access) -> Result<(), Exception> {
        match into.len() {
            16 => copy::<16>(&self.0[(address & 0xf00 | 64) as usize..], into),
            8 => copy::<8>(&self.0[(address & 0xf00 | 64) as usize..], into),
            _ => return Err(Exception::Protection(0)),
        }
        Ok(())
    }

    fn write_bytes(&mut self, address: u64, bytes: &[u8], _: Privilege) -> Result<(), Exception> {
        match bytes.len() {
            16 => copy::<16>(bytes, &mut self.0[(address & 0xf00 | 64) as usize..]),
            8 => copy::<8>(bytes, &mut self.0[(address & 0xf00 | 64) as usize..]),
            _ => return Err(Exception::Protection(0)),
        }
        Ok(())
    }
}

/// As a memory does that knows the usual lengths.
fn copy<const BYTES: usize>(from: &[u8], to: &mut [u8]) {
    to[..BYTES].copy_from_slice(&from[..BYTES]);
}

/// A program in 64-bit code.
fn cpu() -> Cpu {
    let flat = Segment {
        limit: u32::MAX,
        rights: 0xc0f3,
        ..Segment::default()
    };
    let code = Segment {
        selector: 0x33,
        rights: 0xa0fb,
        ..flat
    };
    Cpu {
        general: [64; 16],
        rip: 0,
        flags: Flags::from_bits(0),
        system_flags: 2,
        segments: Segments {
            cs: code,
            ds: flat,
            ss: flat,
            ..Segments::default()
        },
        control: Control {
            cr0: 0x8000_0033,
            cr4: 1 << 9 | 1 << 10 | 1 << 18,
            efer: 0x500,
            xcr0: 7,
            ..Control::default()
        },
        ..Cpu::default()
    }
}

fn two(code: Code, first: Register, second: Register) -> Instruction {
    Instruction::with2(code, first, second).expect("two operands")
}

fn memory() -> MemoryOperand {
    MemoryOperand::with_base_displ(Register::RBX, 64)
}

fn load(code: Code) -> Instruction {
    Instruction::with2(code, Register::XMM1, memory()).expect("two operands")
}

/// What is measured, and with which MXCSR.
fn list() -> Vec<(Instruction, u32)> {
    use Register::{ST0, ST1, XMM1, XMM2, XMM3, YMM1, YMM2, YMM3};
    let three = |code, first, second, third| {
        Instruction::with3(code, first, second, third).expect("three operands")
    };
    let one = |code| Instruction::with1(code, memory()).expect("one operand");
    let usual = [
        Instruction::with(Code::Wait),
        two(Code::Movaps_xmm_xmmm128, XMM1, XMM2),
        two(Code::Pxor_xmm_xmmm128, XMM1, XMM2),
        two(Code::Paddd_xmm_xmmm128, XMM1, XMM2),
        two(Code::Pmovmskb_r32_xmm, Register::EAX, XMM2),
        two(Code::Addsd_xmm_xmmm64, XMM1, XMM2),
        two(Code::Mulps_xmm_xmmm128, XMM1, XMM2),
        two(Code::Comisd_xmm_xmmm64, XMM1, XMM2),
        two(Code::Cvtsi2sd_xmm_rm32, XMM1, Register::EAX),
        two(Code::Cvttsd2si_r32_xmmm64, Register::EAX, XMM2),
        three(Code::VEX_Vpaddd_ymm_ymm_ymmm256, YMM1, YMM2, YMM3),
        three(Code::VEX_Vaddps_xmm_xmm_xmmm128, XMM1, XMM2, XMM3),
        load(Code::Movups_xmm_xmmm128),
        load(Code::Movsd_xmm_xmmm64),
        load(Code::Paddd_xmm_xmmm128),
        load(Code::Addsd_xmm_xmmm64),
        Instruction::with2(Code::Movups_xmmm128_xmm, memory(), XMM1).expect("two operands"),
        Instruction::with2(Code::Movsd_xmmm64_xmm, memory(), XMM1).expect("two operands"),
        two(Code::Paddd_mm_mmm64, Register::MM1, Register::MM2),
        two(Code::Fxch_st0_sti, ST0, ST1),
        two(Code::Fmul_st0_sti, ST0, ST1),
        one(Code::Fmul_m64fp),
        one(Code::Fst_m64fp),
        Instruction::with(Code::Fsqrt),
    ];
    let mut list: Vec<_> = usual
        .into_iter()
        .map(|instruction| (instruction, 0x1f80))
        .collect();
    list.push((two(Code::Addsd_xmm_xmmm64, XMM1, XMM2), 0x1fa0));
    list.push((
        three(Code::VEX_Vmulps_xmm_xmm_xmmm128, XMM1, XMM2, XMM3),
        0x1fa0,
    ));
    list.push((load(Code::Addsd_xmm_xmmm64), 0x1fa0));
    list.push((two(Code::Addsd_xmm_xmmm64, XMM1, XMM2), 0x9fc0));
    list.push((two(Code::Addsd_xmm_xmmm64, XMM1, XMM2), 0x1d80));
    list
}

/// Some numbers: 1/3, pi, and so on.
fn vectors(mxcsr: u32) -> Vectors {
    let mut image = Vectors::default().to_xsave();
    image[24..28].copy_from_slice(&mxcsr.to_le_bytes());
    image[4] = 0xff;
    for register in image[32..160].chunks_mut(16) {
        register[..10].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f]);
    }
    for half in image[160..416].chunks_mut(8) {
        half.copy_from_slice(&(1.0_f64 / 3.0).to_le_bytes());
    }
    image[512] = 7;
    Vectors::from_xsave(&image)
}

fn measure(prepared: &Prepared, instruction: &Instruction, mxcsr: u32) -> f64 {
    let (mut cpu, mut page) = (cpu(), Page([0; 4096]));
    page.0[64..72].copy_from_slice(&1.0_f64.to_le_bytes());
    let mut vectors = vectors(mxcsr);
    let run = |_| {
        let begin = Instant::now();
        for _ in 0..TIMES {
            let done = execute(
                black_box(prepared),
                &mut vectors,
                &mut cpu,
                &mut page,
                black_box(instruction),
            );
            // An exception ends it, as the last of the list.
            if done.is_err() {
                return f64::NAN;
            }
        }
        begin.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES)
    };
    (0..RUNS).map(run).fold(f64::INFINITY, f64::min)
}

fn main() {
    let mut unit = Unit::new(Features::of_host()).expect("memory for code");
    for (instruction, mxcsr) in list() {
        let Some(prepared) = unit.prepare(&instruction) else {
            println!("{instruction}: not on this host");
            continue;
        };
        let time = measure(&prepared, &instruction, mxcsr);
        println!("{time:7.1} ns  {instruction} (mxcsr {mxcsr:x})");
    }
    let begin = Instant::now();
    let instruction = load(Code::Paddd_xmm_xmmm128);
    for _ in 0..100_000 {
        black_box(unit.prepare(black_box(&instruction)));
    }
    println!(
        "{:7.1} ns  to prepare one",
        begin.elapsed().as_secs_f64() * 1e4
    );
    println!("{} bytes for one", size_of::<Prepared>());
}
