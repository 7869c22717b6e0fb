//! Several virtual CPUs above Xen.

use engine_contract::{Engine, Vcpu, VcpuId};
use engine_emulate::{EmulateWith, Hypervisor};
use iced_x86::IcedError;
use iced_x86::code_asm::{CodeAssembler, dword_ptr, eax, ecx, edi, esi, qword_ptr, rax};
use machines::harness::{END, Numbers, Recorder, machine, run};

use crate::guest::{CODE, MEMORY, PAGES, put_tables, set_long_mode};

/// A page, and another that takes its place.
const PAGE: u64 = 0x2_2000;
const OTHER: u64 = 0x2_3000;
/// More than a turn has.
const LONG: u32 = 100_000;

fn end(code: &mut CodeAssembler) -> Result<(), IcedError> {
    code.out(END as i32, eax)
}

/// Looks at the page until it is another.
fn looking(code: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut again, mut done) = (code.create_label(), code.create_label());
    code.mov(ecx, 10 * LONG)?;
    code.set_label(&mut again)?;
    code.cmp(dword_ptr(PAGE), 1)?;
    code.jne(done)?;
    code.dec(ecx)?;
    code.jne(again)?;
    code.set_label(&mut done)?;
    end(code)
}

/// Waits, puts the other page in its place, and has all forget the first.
fn changing(code: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = code.create_label();
    code.mov(ecx, LONG)?;
    code.set_label(&mut again)?;
    code.dec(ecx)?;
    code.jne(again)?;
    code.mov(rax, OTHER | 3)?;
    code.mov(qword_ptr(PAGES + (PAGE >> 12) * 8), rax)?;
    code.mov(eax, 34)?;
    code.mov(edi, 5)?;
    code.xor(esi, esi)?;
    code.vmmcall()?;
    end(code)
}

/// All finds its place on one page, so that nobody finds new code meanwhile, which has others look again as well.
fn assembled(at: u64, write: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let mut code = CodeAssembler::new(64).unwrap();
    write(&mut code).unwrap();
    code.assemble(at).unwrap()
}

/// What each virtual CPU has in `ecx` and `rax` in the end.
fn ends(engine: &dyn Engine, codes: &[(u64, Vec<u8>)]) -> Vec<(u64, u64)> {
    let mut machine = machine(engine, MEMORY, codes.len() as u32);
    let memory = machine.memory().clone();
    put_tables(&memory);
    for (at, code) in codes {
        memory.write(*at, code).unwrap();
    }
    memory.write(PAGE, &[1]).unwrap();
    let mut vcpus: Vec<(u64, Box<dyn Vcpu>)> = Vec::new();
    for (id, (at, _)) in (0..).zip(codes) {
        vcpus.push((*at, machine.vcpu(VcpuId(id)).unwrap()));
    }
    let threads = vcpus.into_iter().map(|(at, mut vcpu)| {
        std::thread::spawn(move || {
            let mut state = vcpu.state().unwrap();
            set_long_mode(&mut state);
            state.rip = at;
            state.events.awaits_startup = false;
            vcpu.set_state(&state).unwrap();
            let world = Recorder::new(&*vcpu);
            run(&mut *vcpu, &world);
            let general = vcpu.state().unwrap().general;
            (general[1], general[0])
        })
    });
    let threads: Vec<_> = threads.collect();
    let ended = threads.into_iter().map(|thread| thread.join().unwrap());
    ended.collect()
}

#[test]
fn all_virtual_cpus_forget_their_translations() {
    let codes = [
        (CODE, assembled(CODE, looking)),
        (CODE + 0x800, assembled(CODE + 0x800, changing)),
    ];
    for seed in [Some(0), None] {
        let engine = EmulateWith {
            seed,
            hypervisor: Hypervisor::Xen,
        };
        let ends = ends(&engine, &codes);
        assert_ne!(ends[0].0, 0, "the page was another");
        assert_eq!(ends[1], (0, 0), "the call was served");
    }
}

/// By which Xen tells them apart.
#[test]
fn each_virtual_cpu_has_its_own_number() {
    let asks = |code: &mut CodeAssembler| {
        code.mov(eax, 0x4000_0004)?;
        code.xor(ecx, ecx)?;
        code.cpuid()?;
        code.mov(eax, iced_x86::code_asm::ebx)?;
        end(code)
    };
    let codes = [CODE, CODE + 0x100, CODE + 0x200].map(|at| (at, assembled(at, asks)));
    let engine = EmulateWith {
        seed: Some(Numbers(1).random()),
        hypervisor: Hypervisor::Xen,
    };
    let numbers = ends(&engine, &codes).into_iter().map(|(_, number)| number);
    assert_eq!(numbers.collect::<Vec<_>>(), [0, 1, 2]);
}
