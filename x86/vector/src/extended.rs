//! The `XSAVE` family (SDM vol. 1, 13.7 to 13.10): x87, SSE and AVX in the standard and the compacted form.

use iced_x86::{Code, Mnemonic};
use x86_semantics::{CodeSize, Exception, linear_address};

use crate::available::Uses;
use crate::mxcsr;
use crate::prepared::{Handler, Prepared};
use crate::registers::{AVX, HEADER_AT, SSE, UPPER_AT, Vectors, X87, array, narrow};
use crate::run::Step;

/// Bytes up to the end of the header, and with AVX.
const HEADER_END: usize = 576;
const SIZE: usize = 832;
const ALIGNMENT: u64 = 64;
/// Parts of the image.
const X87_LOW: std::ops::Range<usize> = 0..24;
const MXCSR: std::ops::Range<usize> = 24..32;
const X87_DATA: std::ops::Range<usize> = 32..160;
const XMM_AT: usize = 160;
const HALF: usize = 16;
/// Says that the form is compacted.
const COMPACTED: u64 = 1 << 63;
/// `rax` and `rdx`.
const RAX: usize = 0;
const RDX: usize = 2;

/// How one of these is done.
pub(crate) fn prepared(code: Code) -> Option<Prepared> {
    use Mnemonic as M;
    let handler: Handler = match code.mnemonic() {
        M::Xsave | M::Xsave64 => save,
        M::Xsaveopt | M::Xsaveopt64 => save_changed,
        M::Xsavec | M::Xsavec64 => save_compacted,
        M::Xrstor | M::Xrstor64 => restore,
        _ => return None,
    };
    Some(Prepared::by_hand(handler, Uses::ExtendedImage))
}

impl Step<'_> {
    /// The components that are asked for and that there are.
    fn requested(&self) -> u64 {
        let [low, high] = [RAX, RDX].map(|number| self.cpu.general[number] & 0xffff_ffff);
        (high << 32 | low) & self.cpu.control.xcr0
    }

    /// The image's address, and how many bytes of it the components need.
    fn image_of(&self, components: u64, writes: bool) -> Result<(u64, usize), Exception> {
        let size = if components & AVX != 0 {
            SIZE
        } else {
            HEADER_END
        };
        let address = linear_address(self.cpu, self.instruction, 0, size as u64, writes)?;
        if address & (ALIGNMENT - 1) != 0 {
            return Err(Exception::Protection(0));
        }
        Ok((address, size))
    }

    /// All components, in the standard form.
    fn whole_image(&self) -> Vec<u8> {
        let mut image = self.vectors.to_xsave();
        if self.is_narrow() {
            narrow(&mut image);
        }
        image
    }

    /// Whether the pointers of x87 have 32 bits.
    fn is_narrow(&self) -> bool {
        use Mnemonic as M;
        let mnemonic = self.instruction.mnemonic();
        matches!(mnemonic, M::Xsave | M::Xsaveopt | M::Xsavec | M::Xrstor)
    }

    fn write_part(
        &mut self,
        address: u64,
        image: &[u8],
        part: std::ops::Range<usize>,
    ) -> Result<(), Exception> {
        self.write(address.wrapping_add(part.start as u64), &image[part])
    }

    /// Bytes of `xmm0` and those after it that the mode has.
    fn half_bytes(&self) -> usize {
        let is_long = self.cpu.code_size() == CodeSize::Quad;
        HALF * if is_long { 16 } else { 8 }
    }

    /// Writes these components from an image.
    fn write_components(
        &mut self,
        address: u64,
        image: &[u8],
        components: u64,
    ) -> Result<(), Exception> {
        let bytes = self.half_bytes();
        if components & X87 != 0 {
            self.write_part(address, image, X87_LOW)?;
            self.write_part(address, image, X87_DATA)?;
        }
        if components & SSE != 0 {
            self.write_part(address, image, XMM_AT..XMM_AT + bytes)?;
        }
        if components & AVX != 0 {
            self.write_part(address, image, UPPER_AT..UPPER_AT + bytes)?;
        }
        Ok(())
    }
}

/// `XSAVE`.
fn save(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    save_standard(prepared, step, u64::MAX)
}

/// `XSAVEOPT`: what is in its initial state is not written.
fn save_changed(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    let in_use = step.vectors.in_use();
    save_standard(prepared, step, in_use)
}

/// Saves the components that are asked for, of those that are to be written.
fn save_standard(prepared: &Prepared, step: &mut Step<'_>, written: u64) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let requested = step.requested();
    let (address, size) = step.image_of(requested, true)?;
    step.look(address, size)?;
    let image = step.whole_image();
    step.write_components(address, &image, requested & written)?;
    if requested & (SSE | AVX) != 0 {
        step.write_part(address, &image, MXCSR)?;
    }
    let header = address.wrapping_add(HEADER_AT as u64);
    let mut there = [0; 8];
    step.read(header, &mut there)?;
    let there = u64::from_le_bytes(there);
    let in_use = there & !requested | step.vectors.in_use() & requested;
    step.write(header, &in_use.to_le_bytes())
}

/// `XSAVEC`. The components that there can be lie one behind the other in this form, too.
fn save_compacted(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let requested = step.requested();
    let (address, size) = step.image_of(requested, true)?;
    step.look(address, size)?;
    let image = step.whole_image();
    let mut in_use = step.vectors.in_use();
    if step.vectors.mxcsr() != mxcsr::RESET {
        in_use |= SSE;
    }
    let in_use = in_use & requested;
    step.write_components(address, &image, in_use)?;
    if in_use & SSE != 0 {
        step.write_part(address, &image, MXCSR)?;
    }
    let mut header = [0; 16];
    header[..8].copy_from_slice(&in_use.to_le_bytes());
    header[8..].copy_from_slice(&(requested | COMPACTED).to_le_bytes());
    step.write(address.wrapping_add(HEADER_AT as u64), &header)
}

/// `XRSTOR`.
fn restore(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let requested = step.requested();
    let (address, size) = step.image_of(requested, false)?;
    let mut image = [0; SIZE];
    step.read(address, &mut image[..HEADER_END])?;
    let in_use = u64::from_le_bytes(array(&image[HEADER_AT..]));
    let form = u64::from_le_bytes(array(&image[HEADER_AT + 8..]));
    if !is_valid(&image, in_use, form, step.cpu.control.xcr0) {
        return Err(Exception::Protection(0));
    }
    if requested & in_use & AVX != 0 {
        let from = address.wrapping_add(HEADER_END as u64);
        step.read(from, &mut image[HEADER_END..size])?;
    }
    let mxcsr = u32::from_le_bytes(array(&image[MXCSR.start..]));
    let loads_mxcsr = if form & COMPACTED == 0 {
        requested & (SSE | AVX) != 0
    } else {
        requested & in_use & SSE != 0
    };
    if loads_mxcsr && mxcsr & !mxcsr::BITS != 0 {
        return Err(Exception::Protection(0));
    }
    let bytes = step.half_bytes();
    step.vectors
        .replace(&image, requested, in_use, bytes / HALF);
    if loads_mxcsr {
        step.vectors.set_mxcsr(mxcsr);
    } else if requested & SSE != 0 {
        step.vectors.set_mxcsr(mxcsr::RESET);
    }
    Ok(())
}

/// Whether a header is one that can be restored.
fn is_valid(image: &[u8], in_use: u64, form: u64, xcr0: u64) -> bool {
    let reserved = &image[HEADER_AT + 8..HEADER_END];
    if form & COMPACTED == 0 {
        in_use & !xcr0 == 0 && reserved[..16].iter().all(|byte| *byte == 0)
    } else {
        let components = form & !COMPACTED;
        components & !xcr0 == 0
            && in_use & !components == 0
            && reserved[8..].iter().all(|byte| *byte == 0)
    }
}

impl Vectors {
    /// Takes components from an image, or from the initial state where they are not in use there.
    fn replace(&mut self, image: &[u8], requested: u64, in_use: u64, count: usize) {
        let initial = Self::default();
        if requested & X87 != 0 {
            if in_use & X87 != 0 {
                self.take_x87(image);
            } else {
                self.numeric = initial.numeric;
                self.operands.x87 = initial.operands.x87;
            }
        }
        for number in 0..count {
            let vector = &mut self.operands.vector[number];
            let (lower, upper) = vector.split_at_mut(HALF);
            let parts = [(SSE, lower, XMM_AT), (AVX, upper, UPPER_AT)];
            for (component, half, start) in parts {
                match (requested & component != 0, in_use & component != 0) {
                    (true, true) => half.copy_from_slice(&image[start + HALF * number..][..HALF]),
                    (true, false) => half.fill(0),
                    (false, _) => {}
                }
            }
        }
    }
}
