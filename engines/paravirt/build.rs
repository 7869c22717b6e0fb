//! Builds the cell's stub, which this crate embeds.

fn main() {
    let program = freestanding::Program {
        package: "engine-paravirt-cell",
        binary: "husk-cell",
        base: 0x7000_0000_0000,
        physical: None,
        sources: &["engines/paravirt/cell", "guest/abi", "host/freestanding"],
    };
    let path = freestanding::build(&program);
    println!("cargo::rustc-env=HUSK_CELL={}", path.display());
}
