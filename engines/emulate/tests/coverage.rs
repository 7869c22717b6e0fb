//! The table in `docs/instructions.md` is what the code says.
//!
//! Run with `HUSK_BLESS=1` to write it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use iced_x86::{Code, EncodingKind};

const HEAD: &str = "# Instructions of the interpreter

Generated from `x86/semantics` and `x86/vector` by `HUSK_BLESS=1 cargo test -p engine-emulate --test coverage`; a test fails when it is
out of date. Encodings are counted as iced-x86 tells them apart, by the bit of CPUID that says whether a processor has them. A guest that meets one
that is not known gets `#UD`, and the monitor says so once (docs/emulate.md). What is known beyond what the virtual CPU shows (docs/emulate.md) works, too; vectors only as far as the host has them.

Not listed: encodings of AVX-512 (EVEX), XOP, 3DNow! and those of other makers, none of which is known or shown.

| feature | known | of |
|---|---|---|
";

fn is_listed(code: Code) -> bool {
    let info = code.op_code();
    let is_ours = matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX);
    // With the byte before, those are two instructions.
    info.is_instruction() && is_ours && !info.fwait()
}

fn is_known(code: Code) -> bool {
    x86_vector::knows(code) || x86_semantics::knows(code.mnemonic())
}

fn feature(code: Code) -> String {
    let features = code.cpuid_features().iter();
    let names: Vec<_> = features.map(|feature| format!("{feature:?}")).collect();
    names.join(" and ")
}

fn generate() -> String {
    let mut counts: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let mut missing: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for code in Code::values().filter(|code| is_listed(*code)) {
        let (known, all) = counts.entry(feature(code)).or_default();
        *all += 1;
        if is_known(code) {
            *known += 1;
        } else {
            let name = format!("{:?}", code.mnemonic()).to_uppercase();
            missing.entry(feature(code)).or_default().insert(name);
        }
    }
    let mut text = HEAD.to_owned();
    for (feature, (known, all)) in counts.iter().filter(|(_, (known, _))| *known > 0) {
        writeln!(text, "| {feature} | {known} | {all} |").unwrap();
    }
    text.push_str("\n## Not known\n\n");
    for (feature, names) in missing {
        let names: Vec<_> = names.into_iter().collect();
        writeln!(text, "* {feature}: {}", names.join(", ")).unwrap();
    }
    text
}

#[test]
fn the_table_is_up_to_date() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/instructions.md");
    let text = generate();
    if std::env::var_os("HUSK_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "run with HUSK_BLESS=1");
}
