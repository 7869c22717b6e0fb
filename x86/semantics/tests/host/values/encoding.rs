//! Instructions whose operands are `rax` (and `al` to `rax` as the result) and `rcx`.

use x86_semantics::Size;

/// The bytes of an instruction of some size.
pub(crate) type Code = Box<dyn Fn(Size) -> Vec<u8>>;

/// Prefixes of the size. `wanted` are those of the instruction, which come before REX.
fn prefixed(size: Size, wanted: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut code = Vec::new();
    if size == Size::Word {
        code.push(0x66);
    }
    code.extend(wanted);
    if size == Size::Quad {
        code.push(0x48);
    }
    code.extend(rest);
    code
}

/// With prefixes and bytes that are the same for all sizes.
pub(crate) fn plain(prefixes: &'static [u8], rest: &[u8]) -> Code {
    let rest = rest.to_vec();
    Box::new(move |size| prefixed(size, prefixes, &rest))
}

/// An opcode whose lowest bit is zero for bytes, with another ModRM byte.
pub(crate) fn legacy_modrm(opcode: u8, modrm: u8) -> Code {
    Box::new(move |size| {
        let opcode = if size == Size::Byte {
            opcode & !1
        } else {
            opcode
        };
        prefixed(size, &[], &[opcode, modrm])
    })
}

/// An opcode of that kind, of `rcx` to `rax`.
pub(crate) fn legacy(opcode: u8) -> Code {
    legacy_modrm(opcode, 0xc8)
}

/// `F3 0F` and an opcode, of `rcx` to `rax`.
pub(crate) fn legacy_f3(opcode: u8) -> Code {
    Box::new(move |size| prefixed(size, &[0xf3], &[0x0f, opcode, 0xc1]))
}

/// `F2 0F 38` and an opcode whose lowest bit is zero for bytes, of `rcx` to `rax`.
pub(crate) fn legacy_f2(opcode: u8) -> Code {
    Box::new(move |size| {
        let opcode = if size == Size::Byte {
            opcode & !1
        } else {
            opcode
        };
        prefixed(size, &[0xf2], &[0x0f, 0x38, opcode, 0xc1])
    })
}

/// `VEX.0F38` with a prefix by its number, an opcode, the register that VEX names, and a ModRM byte.
pub(crate) fn vex(prefix: u8, opcode: u8, register: u8, modrm: u8) -> Code {
    Box::new(move |size| {
        let wide = u8::from(size == Size::Quad) << 7;
        let third = wide | (!register & 0xf) << 3 | prefix;
        vec![0xc4, 0xe2, third, opcode, modrm]
    })
}
