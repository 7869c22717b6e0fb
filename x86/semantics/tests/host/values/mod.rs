//! The functions of values: special and random operands, all sizes.

mod encoding;
mod oracle;
mod undefined;

use encoding::{Code, legacy, legacy_f2, legacy_f3, legacy_modrm, plain, vex};
use oracle::{Case, Outcome, check};
use undefined::{ADJUST, ALL, CARRY, OVERFLOW, PARITY, SIGN, ZERO, always, shift};
use x86_semantics::{Condition, Flags, Size, arithmetic, bits, decimal, multiply, shift as shifts};

const WIDE: &[Size] = &[Size::Word, Size::Double, Size::Quad];
const WIDEST: &[Size] = &[Size::Double, Size::Quad];

/// What a function of two values says, for `rax`.
fn two(result: (u64, Flags)) -> Outcome {
    Outcome::of(result.0, result.1)
}

/// With operands in `rax` and `rcx` and the result in `rax`.
fn binary(
    name: &'static str,
    code: Code,
    model: fn(Size, u64, u64, Flags) -> (u64, Flags),
) -> Case {
    Case::new(name, code, move |size, [a, b, _], flags| {
        two(model(size, a, b, flags))
    })
}

#[test]
fn sums_and_differences() {
    check(&[
        binary("add", legacy(0x01), |s, a, b, _| arithmetic::add(s, a, b)),
        binary("adc", legacy(0x11), |s, a, b, f| {
            arithmetic::add_with_carry(s, a, b, f.carry())
        }),
        binary("sub", legacy(0x29), |s, a, b, _| {
            arithmetic::subtract(s, a, b)
        }),
        binary("sbb", legacy(0x19), |s, a, b, f| {
            arithmetic::subtract_with_borrow(s, a, b, f.carry())
        }),
        binary("cmp", legacy(0x39), |s, a, b, _| {
            (a, arithmetic::subtract(s, a, b).1)
        }),
        binary("inc", legacy_modrm(0xff, 0xc0), |s, a, _, f| {
            arithmetic::increment(s, a, f)
        }),
        binary("dec", legacy_modrm(0xff, 0xc8), |s, a, _, f| {
            arithmetic::decrement(s, a, f)
        }),
        binary("neg", legacy_modrm(0xf7, 0xd8), |s, a, _, _| {
            arithmetic::negate(s, a)
        }),
        binary(
            "adcx",
            plain(&[0x66], &[0x0f, 0x38, 0xf6, 0xc1]),
            arithmetic::add_carry_only,
        )
        .sizes(WIDEST)
        .needs(is_x86_feature_detected!("adx")),
        binary(
            "adox",
            plain(&[0xf3], &[0x0f, 0x38, 0xf6, 0xc1]),
            arithmetic::add_overflow_only,
        )
        .sizes(WIDEST)
        .needs(is_x86_feature_detected!("adx")),
    ]);
}

#[test]
fn logic() {
    let logic = |size, result| (result, Flags::of_logic(size, result));
    let case = |name, code, model: fn(u64, u64) -> u64| {
        Case::new(name, code, move |size, [a, b, _], _| {
            two(logic(size, model(a, b)))
        })
        .undefined(always(ADJUST))
    };
    check(&[
        case("and", legacy(0x21), |a, b| a & b),
        case("or", legacy(0x09), |a, b| a | b),
        case("xor", legacy(0x31), |a, b| a ^ b),
        Case::new("test", legacy(0x85), |size, [a, b, _], _| {
            Outcome::of(a, Flags::of_logic(size, a & b))
        })
        .undefined(always(ADJUST)),
    ]);
}

#[test]
fn products_and_quotients() {
    let product = |(low, high, flags)| Outcome::of_pair(low, high, flags);
    let quotient = |result: Result<(u64, u64), _>, flags| match result {
        Ok((quotient, remainder)) => Outcome::of_pair(quotient, remainder, flags),
        Err(multiply::DivideError) => Outcome::DivideError,
    };
    let mostly = always(SIGN | ZERO | ADJUST | PARITY);
    check(&[
        Case::new("mul", legacy_modrm(0xf7, 0xe1), move |s, [a, b, _], _| {
            product(multiply::multiply(s, a, b))
        })
        .pairs()
        .undefined(mostly),
        Case::new("imul", legacy_modrm(0xf7, 0xe9), move |s, [a, b, _], _| {
            product(multiply::multiply_signed(s, a, b))
        })
        .pairs()
        .undefined(mostly),
        Case::new(
            "imul of two",
            plain(&[], &[0x0f, 0xaf, 0xc1]),
            |s, [a, b, _], _| {
                let (low, _, flags) = multiply::multiply_signed(s, a, b);
                Outcome::of(low, flags)
            },
        )
        .sizes(WIDE)
        .undefined(mostly),
        Case::new(
            "div",
            legacy_modrm(0xf7, 0xf1),
            move |s, [a, b, c], flags| quotient(multiply::divide(s, c, a, b), flags),
        )
        .pairs()
        .undefined(always(ALL)),
        Case::new(
            "idiv",
            legacy_modrm(0xf7, 0xf9),
            move |s, [a, b, c], flags| quotient(multiply::divide_signed(s, c, a, b), flags),
        )
        .pairs()
        .undefined(always(ALL)),
    ]);
}

#[test]
fn shifts_and_rotations() {
    type Model = fn(Size, u64, u32, Flags) -> (u64, Flags);
    let by_cl = |name, modrm, model: Model| {
        Case::new(
            name,
            legacy_modrm(0xd3, modrm),
            move |size, [a, b, _], flags| two(model(size, a, b as u32 & 0xff, flags)),
        )
    };
    check(&[
        by_cl("shl", 0xe0, shifts::left).undefined(shift(ADJUST)),
        by_cl("shr", 0xe8, shifts::right).undefined(shift(ADJUST)),
        by_cl("sar", 0xf8, shifts::right_signed).undefined(shift(ADJUST)),
        by_cl("rol", 0xc0, shifts::rotate_left).undefined(undefined::rotation),
        by_cl("ror", 0xc8, shifts::rotate_right).undefined(undefined::rotation),
        by_cl("rcl", 0xd0, shifts::rotate_left_carry).undefined(undefined::rotation),
        by_cl("rcr", 0xd8, shifts::rotate_right_carry).undefined(undefined::rotation),
        Case::new(
            "shld",
            plain(&[], &[0x0f, 0xa5, 0xd0]),
            |size, [a, b, c], flags| two(shifts::left_double(size, a, c, b as u32 & 0xff, flags)),
        )
        .sizes(WIDE)
        .undefined(undefined::double_shift),
        Case::new(
            "shrd",
            plain(&[], &[0x0f, 0xad, 0xd0]),
            |size, [a, b, c], flags| two(shifts::right_double(size, a, c, b as u32 & 0xff, flags)),
        )
        .sizes(WIDE)
        .undefined(undefined::double_shift),
    ]);
}

#[test]
fn bits_and_their_places() {
    type Scan = fn(Size, u64) -> (Option<u64>, Flags);
    let scan = |name, opcode: u8, model: Scan| {
        Case::new(
            name,
            plain(&[], &[0x0f, opcode, 0xc1]),
            move |size, [a, b, _], _| {
                let (place, flags) = model(size, b);
                Outcome::of(place.unwrap_or(a), flags)
            },
        )
        .sizes(WIDE)
        .undefined(always(ALL & !ZERO))
    };
    type Test = fn(u64, u64) -> u64;
    let test = |name, opcode: u8, change: Test| {
        Case::new(
            name,
            plain(&[], &[0x0f, opcode, 0xc8]),
            move |size, [a, b, _], flags| {
                let single = bits::single(size, b);
                Outcome::of(change(a, single), bits::test(size, a, b, flags))
            },
        )
        .sizes(WIDE)
        .undefined(always(OVERFLOW | SIGN | ADJUST | PARITY))
    };
    let counts = always(OVERFLOW | SIGN | ADJUST | PARITY);
    check(&[
        scan("bsf", 0xbc, bits::scan_forward),
        scan("bsr", 0xbd, bits::scan_reverse),
        binary("tzcnt", legacy_f3(0xbc), |s, _, b, _| {
            bits::trailing_zeros(s, b)
        })
        .sizes(WIDE)
        .undefined(counts)
        .needs(is_x86_feature_detected!("bmi1")),
        binary("lzcnt", legacy_f3(0xbd), |s, _, b, _| {
            bits::leading_zeros(s, b)
        })
        .sizes(WIDE)
        .undefined(counts)
        .needs(is_x86_feature_detected!("lzcnt")),
        binary("popcnt", legacy_f3(0xb8), |_, _, b, _| bits::count_ones(b))
            .sizes(WIDE)
            .needs(is_x86_feature_detected!("popcnt")),
        test("bt", 0xa3, |a, _| a),
        test("bts", 0xab, |a, one| a | one),
        test("btr", 0xb3, |a, one| a & !one),
        test("btc", 0xbb, |a, one| a ^ one),
        binary("bswap", plain(&[], &[0x0f, 0xc8]), |s, a, _, f| {
            (bits::swap_bytes(s, a), f)
        })
        .sizes(WIDE),
        binary("crc32", legacy_f2(0xf1), |s, a, b, f| {
            (u64::from(bits::checksum(s, a as u32, b)), f)
        })
        .result(Size::Double)
        .needs(is_x86_feature_detected!("sse4.2")),
    ]);
}

#[test]
fn bit_manipulation() {
    let some = always(ADJUST | PARITY);
    let has_both = is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2");
    check(
        &[
            binary("andn", vex(0, 0xf2, 0, 0xc1), |s, a, b, _| {
                bits::and_not(s, a, b)
            })
            .undefined(some),
            binary("bextr", vex(0, 0xf7, 1, 0xc0), |s, a, b, _| {
                bits::extract(s, a, b)
            })
            .undefined(always(ADJUST | SIGN | PARITY)),
            binary("bzhi", vex(0, 0xf5, 1, 0xc0), |s, a, b, _| {
                bits::zero_high(s, a, b)
            })
            .undefined(some),
            binary("blsr", vex(0, 0xf3, 0, 0xc9), |s, _, b, _| {
                bits::without_lowest(s, b)
            })
            .undefined(some),
            binary("blsmsk", vex(0, 0xf3, 0, 0xd1), |s, _, b, _| {
                bits::up_to_lowest(s, b)
            })
            .undefined(some),
            binary("blsi", vex(0, 0xf3, 0, 0xd9), |s, _, b, _| {
                bits::lowest(s, b)
            })
            .undefined(some),
            binary("pdep", vex(3, 0xf5, 0, 0xc1), |_, a, b, f| {
                (bits::deposit(a, b), f)
            }),
            binary("pext", vex(2, 0xf5, 0, 0xc1), |_, a, b, f| {
                (bits::gather(a, b), f)
            }),
        ]
        .map(|case| case.sizes(WIDEST).needs(has_both)),
    );
}

#[test]
fn conditions() {
    let case = |condition: Condition| {
        let code = plain(&[], &[0x0f, 0x90 + condition as u8, 0xc0]);
        Case::new("setcc", code, move |_, _, flags| {
            Outcome::of(u64::from(condition.holds(flags)), flags)
        })
        .sizes(&[Size::Byte])
    };
    check(&Condition::ALL.map(case));
}

#[test]
fn decimal_digits() {
    let case = |name, code: &'static [u8], model: fn(u64, Flags) -> (u64, Flags)| {
        Case::new(name, plain(&[], code), move |_, [a, _, _], flags| {
            two(model(a, flags))
        })
        .protected()
    };
    let byte: &[Size] = &[Size::Byte];
    let word: &[Size] = &[Size::Word];
    let most = always(OVERFLOW | SIGN | ZERO | PARITY);
    let others = always(OVERFLOW | ADJUST | CARRY);
    check(&[
        case("daa", &[0x27], decimal::after_add_packed)
            .sizes(byte)
            .undefined(always(OVERFLOW)),
        case("das", &[0x2f], decimal::after_subtract_packed)
            .sizes(byte)
            .undefined(always(OVERFLOW)),
        case("aaa", &[0x37], decimal::after_add)
            .sizes(word)
            .undefined(most),
        case("aas", &[0x3f], decimal::after_subtract)
            .sizes(word)
            .undefined(most),
        case("aam", &[0xd4, 10], |a, _| {
            decimal::after_multiply(a & 0xff, 10).expect("ten is not zero")
        })
        .sizes(word)
        .undefined(others),
        case("aam 7", &[0xd4, 7], |a, _| {
            decimal::after_multiply(a & 0xff, 7).expect("seven is not zero")
        })
        .sizes(word)
        .undefined(others),
        case("aad", &[0xd5, 10], |a, _| decimal::before_divide(a, 10))
            .sizes(word)
            .undefined(others),
    ]);
}
