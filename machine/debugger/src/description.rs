//! How gdb is told which registers there are: a target description ("Target Descriptions" in gdb's manual).

use std::fmt::Write;

use crate::registers::{Feature, Layout};

const FLAGS: [(&str, u32); 17] = [
    ("CF", 0),
    ("PF", 2),
    ("AF", 4),
    ("ZF", 6),
    ("SF", 7),
    ("TF", 8),
    ("IF", 9),
    ("DF", 10),
    ("OF", 11),
    ("NT", 14),
    ("RF", 16),
    ("VM", 17),
    ("AC", 18),
    ("VIF", 19),
    ("VIP", 20),
    ("ID", 21),
    ("", 1),
];
const VECTOR_FLAGS: [(&str, u32); 14] = [
    ("IE", 0),
    ("DE", 1),
    ("ZE", 2),
    ("OE", 3),
    ("UE", 4),
    ("PE", 5),
    ("DAZ", 6),
    ("IM", 7),
    ("DM", 8),
    ("ZM", 9),
    ("OM", 10),
    ("UM", 11),
    ("PM", 12),
    ("FZ", 15),
];
const VECTOR: &str = "\
<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>
<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>
<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>
<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>
<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>
<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>
<union id=\"vec128\">
<field name=\"v4_float\" type=\"v4f\"/>
<field name=\"v2_double\" type=\"v2d\"/>
<field name=\"v16_int8\" type=\"v16i8\"/>
<field name=\"v8_int16\" type=\"v8i16\"/>
<field name=\"v4_int32\" type=\"v4i32\"/>
<field name=\"v2_int64\" type=\"v2i64\"/>
<field name=\"uint128\" type=\"uint128\"/>
</union>
";

/// The description of these registers.
pub(crate) fn describe(layout: Layout) -> String {
    let architecture = match layout {
        Layout::Amd64 => "i386:x86-64",
        Layout::I386 => "i386",
    };
    let features: String = layout.features().iter().map(feature).collect();
    format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n\
         <architecture>{architecture}</architecture>\n<osabi>none</osabi>\n{features}</target>\n"
    )
}

fn feature(feature: &Feature) -> String {
    let uses = |kind| feature.rows.iter().any(|row| row.kind == kind);
    let mut text = format!("<feature name=\"{}\">\n", feature.name);
    if uses("i386_eflags") {
        text.push_str(&flags("i386_eflags", &FLAGS));
    }
    if uses("vec128") {
        text.push_str(VECTOR);
    }
    if uses("i386_mxcsr") {
        text.push_str(&flags("i386_mxcsr", &VECTOR_FLAGS));
    }
    for row in &feature.rows {
        let (name, bits, kind) = (row.name, row.bits, row.kind);
        // It cannot fail.
        let _ = writeln!(
            text,
            "<reg name=\"{name}\" bitsize=\"{bits}\" type=\"{kind}\"/>"
        );
    }
    text.push_str("</feature>\n");
    text
}

fn flags(id: &str, fields: &[(&str, u32)]) -> String {
    let field = |(name, bit): &(&str, u32)| {
        format!("<field name=\"{name}\" start=\"{bit}\" end=\"{bit}\"/>\n")
    };
    let fields: String = fields.iter().map(field).collect();
    format!("<flags id=\"{id}\" size=\"4\">\n{fields}</flags>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_is_described_once_and_types_before_they_are_used() {
        for layout in [Layout::Amd64, Layout::I386] {
            let text = describe(layout);
            let rows = layout.rows();
            assert_eq!(text.matches("<reg ").count(), rows.len());
            for row in rows {
                assert_eq!(
                    text.matches(&format!("<reg name=\"{}\"", row.name)).count(),
                    1
                );
            }
            for kind in ["i386_eflags", "i386_mxcsr", "vec128"] {
                let defined = text.find(&format!("id=\"{kind}\"")).unwrap();
                assert!(defined < text.find(&format!("type=\"{kind}\"")).unwrap());
            }
        }
    }
}
