//! The instruction that both machines execute next, and how it can end.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register,
};
use machine_debugger::memory;
use machine_memory::GuestMemory;
use x86_listing::bitness;
use x86_state::CpuState;

const CR0_PE: u64 = 1;
const EFER_LMA: u64 = 1 << 10;
const FLAGS_VM: u64 = 1 << 17;

/// An instruction where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Here {
    pub(crate) instruction: Instruction,
    pub(crate) bytes: Vec<u8>,
}

/// Whether interrupts go through a table of far pointers.
fn is_real(state: &CpuState) -> bool {
    state.control.cr0 & CR0_PE == 0
}

pub(crate) const fn is_virtual_8086(state: &CpuState) -> bool {
    state.rflags & FLAGS_VM != 0
}

/// The privilege level (SDM vol. 3, 5.5).
pub(crate) fn level(state: &CpuState) -> u64 {
    if is_real(state) {
        0
    } else if is_virtual_8086(state) {
        3
    } else {
        (state.segments.cs.selector & 3).into()
    }
}

/// Whether code there may write to any port.
pub(crate) fn has_ports(state: &CpuState) -> bool {
    let allowed = state.rflags >> 12 & 3;
    !is_virtual_8086(state) && level(state) <= allowed
}

impl Here {
    /// From its bytes; none: it could not be fetched.
    pub(crate) fn decode(state: &CpuState, bytes: &[u8]) -> Self {
        let mut decoder = Decoder::with_ip(bitness(state), bytes, state.rip, DecoderOptions::AMD);
        Self {
            instruction: decoder.decode(),
            bytes: bytes.to_vec(),
        }
    }

    pub(crate) fn mnemonic(&self) -> Mnemonic {
        self.instruction.mnemonic()
    }

    /// A string instruction that repeats.
    pub(crate) fn repeats(&self) -> bool {
        let instruction = &self.instruction;
        let has_prefix = instruction.has_rep_prefix() || instruction.has_repne_prefix();
        has_prefix && instruction.is_string_instruction()
    }

    /// It loads the stack segment, after which a trap waits for one more instruction (SDM vol. 3, 6.8.3).
    pub(crate) fn loads_stack(&self) -> bool {
        let is_move = matches!(self.mnemonic(), Mnemonic::Mov | Mnemonic::Pop);
        is_move && self.instruction.op0_register() == Register::SS
    }

    /// It loads the stack segment with its pointer, or lets interrupts in; no trap waits after it.
    pub(crate) fn holds_interrupts_alone(&self) -> bool {
        matches!(self.mnemonic(), Mnemonic::Lss | Mnemonic::Sti)
    }

    /// It may load the task register.
    pub(crate) fn may_change_task(&self) -> bool {
        let flow = self.instruction.flow_control();
        self.mnemonic() == Mnemonic::Ltr
            || !matches!(flow, FlowControl::Next | FlowControl::ConditionalBranch)
    }

    /// It stores the flags, the trap flag with them.
    pub(crate) fn stores_flags(&self) -> bool {
        matches!(
            self.mnemonic(),
            Mnemonic::Pushf | Mnemonic::Pushfd | Mnemonic::Pushfq
        )
    }

    /// Whether the state after it shows that it went through a gate, to another task, or into the kernel: where a
    /// trap flag would wait for the way back.
    pub(crate) fn went_away(
        &self,
        memory: &GuestMemory,
        before: &CpuState,
        after: &CpuState,
    ) -> bool {
        let instruction = &self.instruction;
        if instruction.is_invalid() {
            return true;
        }
        let is_other_task = before.segments.tr.selector != after.segments.tr.selector;
        if is_other_task && self.mnemonic() != Mnemonic::Ltr {
            return true;
        }
        let next = wrapped(before, instruction.next_ip());
        match instruction.flow_control() {
            FlowControl::Next => after.rip != next && after.rip != before.rip,
            FlowControl::ConditionalBranch => {
                let target = wrapped(before, instruction.near_branch_target());
                after.rip != next && after.rip != target
            }
            FlowControl::Interrupt | FlowControl::Exception => after.rip != next,
            FlowControl::Call if is_system_call(self.mnemonic()) => true,
            _ => is_handler(memory, before, after),
        }
    }

    /// Where it says which states are in use, if it saves them (SDM vol. 1, 13.4.2).
    pub(crate) fn says_in_use(&self, state: &CpuState) -> Option<u64> {
        const HEADER: u64 = 512;
        use Mnemonic as M;
        let saves = matches!(
            self.mnemonic(),
            M::Xsave | M::Xsave64 | M::Xsaveopt | M::Xsaveopt64 | M::Xsavec | M::Xsavec64
        );
        let image = self.operands(state).first().copied();
        image.filter(|_| saves).map(|image| image + HEADER)
    }

    /// Linear addresses of its memory operands.
    pub(crate) fn operands(&self, state: &CpuState) -> Vec<u64> {
        let instruction = &self.instruction;
        let value = |register: Register, _, _| read_register(state, instruction, register);
        let operands = 0..instruction.op_count();
        let in_memory = operands.filter(|operand| {
            let kind = instruction.op_kind(*operand);
            kind == OpKind::Memory || is_string_operand(kind)
        });
        let addresses =
            in_memory.filter_map(|operand| instruction.virtual_address(operand, 0, value));
        let is_long = state.control.efer & EFER_LMA != 0;
        addresses
            .map(|address| {
                if is_long {
                    address
                } else {
                    address & 0xffff_ffff
                }
            })
            .collect()
    }
}

const fn is_string_operand(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::MemorySegSI
            | OpKind::MemorySegESI
            | OpKind::MemorySegRSI
            | OpKind::MemoryESDI
            | OpKind::MemoryESEDI
            | OpKind::MemoryESRDI
    )
}

fn is_system_call(mnemonic: Mnemonic) -> bool {
    matches!(mnemonic, Mnemonic::Syscall | Mnemonic::Sysenter)
}

/// An instruction pointer as wide as the code is.
fn wrapped(state: &CpuState, pointer: u64) -> u64 {
    match bitness(state) {
        16 => pointer & 0xffff,
        32 => pointer & 0xffff_ffff,
        _ => pointer,
    }
}

/// The value of a register in an address; of a segment, its base.
fn read_register(state: &CpuState, instruction: &Instruction, register: Register) -> Option<u64> {
    let segments = &state.segments;
    let is_64 = instruction.code_size() == iced_x86::CodeSize::Code64;
    let flat = |base: u64| if is_64 { 0 } else { base };
    match register {
        Register::CS => return Some(flat(segments.cs.base)),
        Register::DS => return Some(flat(segments.ds.base)),
        Register::ES => return Some(flat(segments.es.base)),
        Register::SS => return Some(flat(segments.ss.base)),
        Register::FS => return Some(segments.fs.base),
        Register::GS => return Some(segments.gs.base),
        _ => {}
    }
    let value = state.general.get(register.full_register().number())?;
    Some(match register.size() {
        2 => value & 0xffff,
        4 => value & 0xffff_ffff,
        _ => *value,
    })
}

/// Whether the interrupt table as it was before leads where the processor is now.
fn is_handler(memory: &GuestMemory, before: &CpuState, after: &CpuState) -> bool {
    handlers(memory, before, 256).any(|(selector, offset)| {
        offset == after.rip && selector | 3 == after.segments.cs.selector | 3
    })
}

/// Where the first vectors of the interrupt table lead: selector and offset.
fn handlers<'a>(
    machine: &'a GuestMemory,
    state: &'a CpuState,
    count: u64,
) -> impl Iterator<Item = (u16, u64)> + 'a {
    let size: usize = if is_real(state) {
        4
    } else if state.control.efer & EFER_LMA != 0 {
        16
    } else {
        8
    };
    let limit = u64::from(state.idt.limit) + 1;
    (0..count.min(limit / size as u64)).filter_map(move |vector| {
        let mut gate = [0; 16];
        let place = gate.get_mut(..size)?;
        let address = state.idt.base.wrapping_add(vector * size as u64);
        (memory::read(machine, state, address, place) == size).then_some(())?;
        let half = |at: usize| u64::from(u16::from_le_bytes([gate[at], gate[at + 1]]));
        let selector = half(2) as u16;
        Some(match size {
            4 => (selector, half(0)),
            8 if gate[5] & 8 == 0 => (selector, half(0)),
            8 => (selector, half(0) | half(6) << 16),
            _ => (
                selector,
                half(0) | half(6) << 16 | half(8) << 32 | half(10) << 48,
            ),
        })
    })
}

/// `CPUID` leaves whose words are features, of which a guest may use what both have: by leaf and index, which of
/// `eax`, `ebx`, `ecx`, `edx`.
pub(crate) const fn feature_words(leaf: u32, index: u32) -> [bool; 4] {
    match (leaf, index) {
        (1, _) | (0x8000_0001, _) => [false, false, true, true],
        (7, 0) => [false, true, true, true],
        (0xd, 1) => [true, false, true, true],
        (0x4000_0001, _) => [true, false, false, false],
        _ => [false; 4],
    }
}

/// Whether this is `rdmsr`, in all of its forms.
pub(crate) fn reads_register(code: Code) -> bool {
    code == Code::Rdmsr
}
