//! `FXSAVE` and `FXRSTOR`, `LDMXCSR` and `STMXCSR`.

use iced_x86::{Code, Mnemonic};
use x86_semantics::{CodeSize, Exception, linear_address};

use crate::available::Uses;
use crate::mxcsr;
use crate::prepared::Prepared;
use crate::registers::{array, narrow};
use crate::run::Step;
use crate::unit::uses;

/// Bytes of an image of FXSAVE, of which the last belong to the program.
const IMAGE: usize = 512;
const USED: usize = 416;
const ALIGNMENT: u64 = 16;
const MXCSR_AT: usize = 24;
/// `CR4.OSFXSR`.
const OS_FXSR: u64 = 1 << 9;

/// How one of these is done.
pub(crate) fn prepared(code: Code) -> Option<Prepared> {
    use Mnemonic as M;
    let (handler, uses) = match code.mnemonic() {
        M::Fxsave | M::Fxsave64 => (save as crate::prepared::Handler, Uses::Image),
        M::Fxrstor | M::Fxrstor64 => (restore as _, Uses::Image),
        M::Ldmxcsr => (load_mxcsr as _, Uses::Sse),
        M::Stmxcsr => (store_mxcsr as _, Uses::Sse),
        M::Vldmxcsr => (load_mxcsr as _, uses(code)),
        M::Vstmxcsr => (store_mxcsr as _, uses(code)),
        _ => return None,
    };
    Some(Prepared::by_hand(handler, uses))
}

fn load_mxcsr(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    step.read_memory(prepared)?;
    let mxcsr = u32::from_le_bytes(array(&step.vectors.operands.memory));
    if mxcsr & !mxcsr::BITS != 0 {
        return Err(Exception::Protection(0));
    }
    step.vectors.set_mxcsr(mxcsr);
    Ok(())
}

fn store_mxcsr(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let address = step.address(prepared, true)?;
    let mxcsr = step.vectors.mxcsr().to_le_bytes();
    step.write(address, &mxcsr)
}

impl Step<'_> {
    /// The address of an image.
    fn image(&self, writes: bool) -> Result<u64, Exception> {
        let address = linear_address(self.cpu, self.instruction, 0, IMAGE as u64, writes)?;
        if address & (ALIGNMENT - 1) != 0 {
            return Err(Exception::Protection(0));
        }
        Ok(address)
    }

    /// The vector registers that the mode has.
    pub(crate) fn vector_count(&self) -> usize {
        if self.cpu.code_size() == CodeSize::Quad {
            16
        } else {
            8
        }
    }

    fn has_vectors(&self) -> bool {
        self.cpu.control.cr4 & OS_FXSR != 0
    }
}

/// `FXSAVE`. Without `CR4.OSFXSR` the vector registers are left out.
fn save(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let address = step.image(true)?;
    let mut image = [0; IMAGE];
    step.read_for_writing(address, &mut image)?;
    step.vectors.put_x87(&mut image);
    if step.instruction.mnemonic() == Mnemonic::Fxsave {
        narrow(&mut image);
    }
    if step.has_vectors() {
        step.vectors.put_mxcsr(&mut image);
        let mut with_vectors = image;
        step.vectors.put_sse(&mut with_vectors);
        let end = 160 + 16 * step.vector_count();
        image[..end].copy_from_slice(&with_vectors[..end]);
    }
    step.write(address, &image[..USED])
}

/// `FXRSTOR`.
fn restore(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let address = step.image(false)?;
    let mut image = [0; IMAGE];
    step.read(address, &mut image)?;
    let mxcsr = u32::from_le_bytes(array(&image[MXCSR_AT..]));
    if step.has_vectors() && mxcsr & !mxcsr::BITS != 0 {
        return Err(Exception::Protection(0));
    }
    if step.instruction.mnemonic() == Mnemonic::Fxrstor {
        narrow(&mut image);
    }
    step.vectors.take_x87(&image);
    if step.has_vectors() {
        step.vectors.set_mxcsr(mxcsr);
        let count = step.vector_count();
        for (number, vector) in step.vectors.operands.vector[..count].iter_mut().enumerate() {
            vector[..16].copy_from_slice(&image[160 + 16 * number..][..16]);
        }
    }
    Ok(())
}
