//! Machines that do the same in every run, whatever the host does beside.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use engine_contract::{Stop, Vcpu, VcpuId};
use engine_emulate::EmulateWith;
use iced_x86::IcedError;
use iced_x86::code_asm::{CodeAssembler, dword_ptr, eax, ecx, edx, qword_ptr, r8, r9, rax};
use machines::harness::{Access, CODE, END, Recorder, first, machine_with, run, start};
use x86_state::CpuState;

/// Where the virtual CPUs count together.
const COUNTER: u64 = 0x3_0000;
/// Where the guest says what it has seen.
const SEEN: u32 = 0x510;
/// Registers of the local APIC: how spurious interrupts come, which also turns it on, and its timer.
const SPURIOUS: u64 = 0xfee0_00f0;
const TIMER: u64 = 0xfee0_0320;
const TIMER_DEADLINE: u32 = 2 << 17;
const DEADLINE: u32 = 0x6e0;

fn deterministic(seed: u64) -> EmulateWith {
    EmulateWith {
        seed: Some(seed),
        ..EmulateWith::default()
    }
}

fn assembled(write: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let mut code = CodeAssembler::new(64).unwrap();
    write(&mut code).unwrap();
    code.assemble(CODE).unwrap()
}

/// Says `r9`, and ends.
fn end(code: &mut CodeAssembler) -> Result<(), IcedError> {
    code.mov(edx, SEEN)?;
    code.mov(rax, r9)?;
    code.out(iced_x86::code_asm::dx, eax)?;
    code.shr(rax, 32)?;
    code.out(iced_x86::code_asm::dx, eax)?;
    code.mov(edx, u32::from(END))?;
    code.out(iced_x86::code_asm::dx, eax)
}

/// Takes numbers in turn with others, and mixes them with the time and random numbers into `r9`.
fn counting() -> Vec<u8> {
    assembled(|code| {
        let mut again = code.create_label();
        code.mov(ecx, 50_000)?;
        code.set_label(&mut again)?;
        code.mov(r8, 1_i64)?;
        code.lock().xadd(qword_ptr(COUNTER), r8)?;
        code.add(r9, r8)?;
        code.rdtsc()?;
        code.add(r9, rax)?;
        code.rdrand(rax)?;
        code.add(r9, rax)?;
        code.imul_3(r9, r9, 31)?;
        code.dec(ecx)?;
        code.jne(again)?;
        end(code)
    })
}

/// What each virtual CPU said and came to, and how many instructions there were.
type Seen = (Vec<(Vec<Access>, CpuState)>, u64);

fn counted(seed: u64) -> Seen {
    let mut machine = machine_with(&deterministic(seed), &counting(), 3);
    let all: Vec<_> = (0..3)
        .map(|id| {
            let mut vcpu = machine.vcpu(VcpuId(id)).unwrap();
            vcpu.set_state(&start()).unwrap();
            vcpu.prepare().unwrap();
            vcpu
        })
        .collect();
    let one = |mut vcpu: Box<dyn Vcpu>| {
        let world = Recorder::new(&*vcpu);
        run(&mut *vcpu, &world);
        (world.accesses(), vcpu.state().unwrap())
    };
    let ends = thread::scope(|scope| {
        let threads: Vec<_> = all
            .into_iter()
            .map(|vcpu| scope.spawn(|| one(vcpu)))
            .collect();
        threads.into_iter().map(|one| one.join().unwrap()).collect()
    });
    (ends, machine.virtual_time().unwrap().instructions())
}

#[test]
fn virtual_cpus_take_turns_in_the_same_order() {
    let undisturbed = counted(0);
    let over = AtomicBool::new(false);
    let disturbed = thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let seen = counted(0);
        over.store(true, Ordering::Relaxed);
        seen
    });
    assert!(undisturbed == disturbed, "two runs differ");
    let said = |seen: &Seen| seen.0.iter().map(|one| one.0.clone()).collect::<Vec<_>>();
    assert_ne!(said(&undisturbed), said(&counted(1)));
}

#[test]
fn time_goes_on_at_once_while_all_wait() {
    let code = assembled(|code| {
        code.mov(rax, SPURIOUS)?;
        code.mov(dword_ptr(rax), 0x1ff)?;
        code.mov(rax, TIMER)?;
        code.mov(dword_ptr(rax), TIMER_DEADLINE | 0x40)?;
        code.rdtsc()?;
        code.add(eax, 1_000_000_000)?;
        code.mov(ecx, DEADLINE)?;
        code.wrmsr()?;
        code.sti()?;
        code.hlt()?;
        code.cli()?;
        code.rdtsc()?;
        code.mov(r9, rax)?;
        end(code)
    });
    let said = || {
        let mut machine = machine_with(&deterministic(0), &code, 1);
        let mut vcpu = first(&mut *machine);
        let world = Recorder::new(&*vcpu);
        run(&mut *vcpu, &world);
        let time = machine.virtual_time().unwrap();
        assert!(time.instructions() < 100, "{}", time.instructions());
        assert!((1_000_000_000..1_000_001_000).contains(&time.now().0));
        world.accesses()
    };
    assert_eq!(said(), said());
}

#[test]
fn who_waits_for_what_cannot_come_is_told() {
    let code = assembled(|code| code.hlt());
    let mut machine = machine_with(&deterministic(0), &code, 1);
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    assert_eq!(vcpu.run(&world).unwrap(), Stop::Halted);
    // Once more it is the same.
    assert_eq!(vcpu.run(&world).unwrap(), Stop::Halted);
}
