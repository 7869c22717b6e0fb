//! Sums, differences, logic, products, quotients, decimal digits.

use iced_x86::{Mnemonic, Register};

use super::{Handler, Step};
use crate::arithmetic::{
    add, add_carry_only, add_overflow_only, add_with_carry, decrement, increment, negate, subtract,
    subtract_with_borrow,
};
use crate::multiply::{DivideError, divide, divide_signed, multiply, multiply_signed};
use crate::{Exception, Flags, Size, decimal};

impl From<DivideError> for Exception {
    fn from(_: DivideError) -> Self {
        Self::Divide
    }
}

pub(super) fn handler(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Add => |step| two(step, |s, a, b, _| add(s, a, b)),
        Mnemonic::Adc => |step| two(step, |s, a, b, f| add_with_carry(s, a, b, f.carry())),
        Mnemonic::Sub => |step| two(step, |s, a, b, _| subtract(s, a, b)),
        Mnemonic::Sbb => |step| two(step, |s, a, b, f| subtract_with_borrow(s, a, b, f.carry())),
        Mnemonic::And => |step| two(step, |s, a, b, _| logic(s, a & b)),
        Mnemonic::Or => |step| two(step, |s, a, b, _| logic(s, a | b)),
        Mnemonic::Xor => |step| two(step, |s, a, b, _| logic(s, a ^ b)),
        Mnemonic::Adcx => |step| two(step, add_carry_only),
        Mnemonic::Adox => |step| two(step, add_overflow_only),
        Mnemonic::Cmp => |step| flags_of_two(step, |s, a, b| subtract(s, a, b).1),
        Mnemonic::Test => |step| flags_of_two(step, |s, a, b| Flags::of_logic(s, a & b)),
        Mnemonic::Inc => |step| one(step, increment),
        Mnemonic::Dec => |step| one(step, decrement),
        Mnemonic::Neg => |step| one(step, |s, a, _| negate(s, a)),
        Mnemonic::Not => |step| one(step, |s, a, f| (s.cut(!a), f)),
        Mnemonic::Mul => |step| product(step, multiply),
        Mnemonic::Imul => product_signed,
        Mnemonic::Mulx => product_without_flags,
        Mnemonic::Div => |step| quotient(step, divide),
        Mnemonic::Idiv => |step| quotient(step, divide_signed),
        Mnemonic::Daa => |step| adjust(step, Register::AL, decimal::after_add_packed),
        Mnemonic::Das => |step| adjust(step, Register::AL, decimal::after_subtract_packed),
        Mnemonic::Aaa => |step| adjust(step, Register::AX, decimal::after_add),
        Mnemonic::Aas => |step| adjust(step, Register::AX, decimal::after_subtract),
        Mnemonic::Aam => |step| {
            let (al, base) = (step.register(Register::AL), step.instruction.immediate(0));
            let (ax, flags) = decimal::after_multiply(al, Size::Byte.cut(base))?;
            step.set_register(Register::AX, ax);
            step.cpu.flags = flags;
            Ok(())
        },
        Mnemonic::Aad => |step| {
            let (ax, base) = (step.register(Register::AX), step.instruction.immediate(0));
            let (ax, flags) = decimal::before_divide(ax, Size::Byte.cut(base));
            step.set_register(Register::AX, ax);
            step.cpu.flags = flags;
            Ok(())
        },
        _ => return None,
    })
}

fn logic(size: Size, result: u64) -> (u64, Flags) {
    (result, Flags::of_logic(size, result))
}

/// The first operand becomes what the function makes of it and the last one.
pub(super) fn two(
    step: &mut Step<'_>,
    function: impl Fn(Size, u64, u64, Flags) -> (u64, Flags),
) -> Result<(), Exception> {
    let other = step.read(1)?;
    let before = step.cpu.flags;
    step.cpu.flags = step.update(0, |size, value| function(size, value, other, before))?;
    Ok(())
}

pub(super) fn one(
    step: &mut Step<'_>,
    function: impl Fn(Size, u64, Flags) -> (u64, Flags),
) -> Result<(), Exception> {
    let before = step.cpu.flags;
    step.cpu.flags = step.update(0, |size, value| function(size, value, before))?;
    Ok(())
}

fn flags_of_two(
    step: &mut Step<'_>,
    function: impl Fn(Size, u64, u64) -> Flags,
) -> Result<(), Exception> {
    let (value, other) = (step.read(0)?, step.read(1)?);
    step.cpu.flags = function(step.size(0), value, other);
    Ok(())
}

/// The registers of a pair's halves, the low one first.
fn halves(size: Size) -> (Register, Register) {
    match size {
        Size::Byte => (Register::AL, Register::AH),
        Size::Word => (Register::AX, Register::DX),
        Size::Double => (Register::EAX, Register::EDX),
        Size::Quad => (Register::RAX, Register::RDX),
    }
}

fn product(
    step: &mut Step<'_>,
    function: fn(Size, u64, u64) -> (u64, u64, Flags),
) -> Result<(), Exception> {
    let (factor, size) = (step.read(0)?, step.size(0));
    let (low, high) = halves(size);
    let (product_low, product_high, flags) = function(size, step.register(low), factor);
    step.set_register(low, product_low);
    step.set_register(high, product_high);
    step.cpu.flags = flags;
    Ok(())
}

fn product_signed(step: &mut Step<'_>) -> Result<(), Exception> {
    let count = step.instruction.op_count();
    if count == 1 {
        return product(step, multiply_signed);
    }
    let (a, b) = (step.read(count - 2)?, step.read(count - 1)?);
    let (low, _, flags) = multiply_signed(step.size(0), a, b);
    step.write(0, low)?;
    step.cpu.flags = flags;
    Ok(())
}

/// `MULX`: of both results in one register, the high one stays.
fn product_without_flags(step: &mut Step<'_>) -> Result<(), Exception> {
    let (factor, size) = (step.read(2)?, step.size(0));
    let other = step.register(if size == Size::Quad {
        Register::RDX
    } else {
        Register::EDX
    });
    let (low, high, _) = multiply(size, other, factor);
    step.write(1, low)?;
    step.write(0, high)
}

/// Quotient and remainder of a high half, a low half and a divisor.
type Divide = fn(Size, u64, u64, u64) -> Result<(u64, u64), DivideError>;

fn quotient(step: &mut Step<'_>, function: Divide) -> Result<(), Exception> {
    let (divisor, size) = (step.read(0)?, step.size(0));
    let (low, high) = halves(size);
    let dividend = (step.register(high), step.register(low));
    let (quotient, remainder) = function(size, dividend.0, dividend.1, divisor)?;
    step.set_register(low, quotient);
    step.set_register(high, remainder);
    Ok(())
}

fn adjust(
    step: &mut Step<'_>,
    register: Register,
    function: fn(u64, Flags) -> (u64, Flags),
) -> Result<(), Exception> {
    let (result, flags) = function(step.register(register), step.cpu.flags);
    step.set_register(register, result);
    step.cpu.flags = flags;
    Ok(())
}
