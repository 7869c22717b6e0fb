//! Builds the kernel, which this crate embeds.

fn main() {
    let program = freestanding::Program {
        package: "guest-apps-linux",
        binary: "husk-kernel",
        base: 0x7010_0000_0000,
        physical: Some(0x80_0000),
        sources: &["guest", "host/freestanding"],
    };
    let path = freestanding::build(&program);
    println!("cargo::rustc-env=HUSK_KERNEL={}", path.display());
}
