//! x87's control instructions, and `EMMS`.

use iced_x86::{Code, Mnemonic, OpKind};
use x86_semantics::Exception;

use crate::available::{TASK_SWITCHED, Uses};
use crate::environment;
use crate::numeric::Numeric;
use crate::prepared::{Handler, Prepared};
use crate::registers::array;
use crate::run::Step;

/// `CR0.MP`.
const MONITOR: u64 = 1 << 1;
/// Where `AX` is.
const RAX: usize = 0;

/// How one of these is done.
pub(crate) fn prepared(code: Code) -> Option<Prepared> {
    use Mnemonic as M;
    let (handler, uses): (Handler, Uses) = match code.mnemonic() {
        M::Fninit => (initialize, Uses::X87),
        M::Fnclex => (clear, Uses::X87),
        M::Fldcw => (load_control, Uses::X87),
        M::Fnstcw => (store_control, Uses::X87),
        M::Fnstsw => (store_status, Uses::X87),
        M::Fnstenv => (environment::store, Uses::X87),
        M::Fldenv => (environment::load, Uses::X87),
        M::Fnsave => (environment::save, Uses::X87),
        M::Frstor => (environment::restore, Uses::X87),
        // What controlled units of old.
        M::Fneni | M::Fndisi | M::Fnsetpm => (nothing, Uses::X87),
        M::Wait => (wait, Uses::Wait),
        M::Emms => (leave_mmx, Uses::Mmx),
        _ => return None,
    };
    Some(Prepared::by_hand(handler, uses))
}

fn nothing(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)
}

/// `WAIT`, which goes on without x87 unless `CR0.MP` says that it counts, too.
fn wait(_: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    const BOTH: u64 = MONITOR | TASK_SWITCHED;
    if step.cpu.control.cr0 & BOTH == BOTH {
        return Err(Exception::DeviceNotAvailable);
    }
    step.deliver()
}

/// `FNINIT`. The data registers keep their contents, but are empty.
fn initialize(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    step.vectors.numeric = Numeric::default();
    Ok(())
}

fn clear(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    step.vectors.numeric.clear_exceptions();
    Ok(())
}

fn load_control(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    step.deliver()?;
    step.read_memory(prepared)?;
    let control = u16::from_le_bytes(array(&step.vectors.operands.memory));
    step.vectors.numeric.set_control(control);
    Ok(())
}

fn store_control(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let control = step.vectors.numeric.control();
    store_word(prepared, step, control)
}

fn store_status(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let status = step.vectors.numeric.status();
    if step.instruction.op0_kind() == OpKind::Register {
        let accumulator = &mut step.cpu.general[RAX];
        *accumulator = *accumulator & !0xffff | u64::from(status);
        return Ok(());
    }
    store_word(prepared, step, status)
}

fn store_word(prepared: &Prepared, step: &mut Step<'_>, word: u16) -> Result<(), Exception> {
    let address = step.address(prepared, true)?;
    step.write(address, &word.to_le_bytes())
}

/// `EMMS`.
fn leave_mmx(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    step.deliver()?;
    step.vectors.numeric.enter_mmx();
    step.vectors.numeric.leave_mmx();
    Ok(())
}
