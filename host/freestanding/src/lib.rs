//! Builds the workspace's freestanding programs from a build script.
//!
//! The kernel and the cell's stub are ordinary packages, compiled for the host's own
//! target with flags that make the result run without an operating system below it: no
//! SSE (so that the program's vector registers survive a system call untouched), no red
//! zone, no unwinding, linked at a fixed address by a linker script. A build script of
//! the package that embeds the result calls [`build`]; cargo inside cargo works as long
//! as it has a target directory of its own and none of the outer one's settings.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

/// What to build.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Package.
    pub package: &'a str,
    /// Its binary.
    pub binary: &'a str,
    /// Linear address to link it at.
    pub base: u64,
    /// Physical address to load it at, for whoever loads it as a kernel.
    pub physical: Option<u64>,
    /// Folders, from the workspace's root, on whose content the result depends.
    pub sources: &'a [&'a str],
}

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds, and returns the path of the executable. For build scripts only: prints
/// cargo's directives, and panics with the compiler's words when the build fails.
///
/// # Panics
/// When the program cannot be built.
#[must_use]
pub fn build(program: &Program<'_>) -> PathBuf {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("a build script has OUT_DIR"));
    let root = workspace_root();
    for source in program.sources {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    for file in ["Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
    }
    let script = out.join(format!("{}.ld", program.binary));
    fs::write(&script, linker_script(program.base, program.physical)).expect("OUT_DIR is writable");
    let target = out.join("freestanding");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    scrub(&mut command);
    command
        .current_dir(&root)
        .args([
            "build",
            // What only freestanding programs need, the outer cargo has not fetched.
            "--locked",
            "--profile",
            "kernel",
            "--target",
            TARGET,
        ])
        .args(["--package", program.package, "--bin", program.binary])
        .arg("--target-dir")
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&script).join("\u{1f}"));
    let output = command.output().expect("cargo can be started");
    assert!(
        output.status.success(),
        "building {} failed:\n{}",
        program.package,
        String::from_utf8_lossy(&output.stderr)
    );
    target.join(TARGET).join("kernel").join(program.binary)
}

fn workspace_root() -> PathBuf {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("run by cargo"));
    let root = manifest
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").exists());
    root.expect("the workspace has a Cargo.lock").to_owned()
}

/// Removes what the outer cargo and the user's environment would add.
fn scrub(command: &mut Command) {
    const PREFIXES: [&str; 5] = [
        "CARGO_PROFILE_",
        "CARGO_FEATURE_",
        "CARGO_CFG_",
        "CARGO_BUILD_",
        "CARGO_TARGET_",
    ];
    const NAMES: [&str; 6] = [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_MAKEFLAGS",
        "RUSTC_LINKER",
    ];
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if NAMES.contains(&text.as_ref()) || PREFIXES.iter().any(|p| text.starts_with(p)) {
            command.env_remove(&name);
        }
    }
}

fn flags(script: &std::path::Path) -> Vec<String> {
    let link = |argument: &str| format!("-Clink-arg={argument}");
    let mut flags: Vec<String> = [
        "-Cno-redzone=yes",
        "-Cforce-unwind-tables=no",
        "-Cforce-frame-pointers=no",
        "-Ctarget-feature=-sse,-sse2,-mmx,+soft-float",
        "-Crelocation-model=pic",
        "-Ctarget-cpu=x86-64",
        "--cfg=kernel_build",
    ]
    .map(str::to_owned)
    .into();
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
        flags.push(link(argument));
    }
    for option in [
        "--build-id=none",
        "--gc-sections",
        // No code of ours compares functions by their address.
        "--icf=all",
        "-z,noexecstack",
        "-z,norelro",
        "-z,max-page-size=4096",
    ] {
        flags.push(link(&format!("-Wl,{option}")));
    }
    flags.push(link(&format!("-Wl,-T,{}", script.display())));
    flags
}

/// Text, read-only data and data in segments of their own (W^X), each on its own pages; notes,
/// where a loader of kernels looks for its entry, are read-only data too.
fn linker_script(base: u64, physical: Option<u64>) -> String {
    let at = physical.map_or(String::new(), |physical| {
        format!(" : AT(ADDR({{}}) - {:#x})", base - physical)
    });
    let section = |name: &str| {
        let at = at.replace("{}", name);
        if at.is_empty() {
            format!("{name} :")
        } else {
            format!("{name}{at}")
        }
    };
    format!(
        "ENTRY(_start)
PHDRS {{ text PT_LOAD FLAGS(5); rodata PT_LOAD FLAGS(4); data PT_LOAD FLAGS(6); note PT_NOTE FLAGS(4); }}
SECTIONS {{
  . = {base:#x};
  husk_text_start = .;
  {text} {{ *(.text .text.*) }} :text
  husk_text_end = .;
  . = ALIGN(4096);
  {note} {{ KEEP(*(.note.Xen)) }} :rodata :note
  {rodata} {{ *(.rodata .rodata.*) *(.got .got.*) *(.data.rel.ro .data.rel.ro.*) }} :rodata
  husk_constants_end = .;
  . = ALIGN(4096);
  {data} {{ *(.data .data.*) }} :data
  {bss} {{ *(.bss .bss.*) *(COMMON) }} :data
  . = ALIGN(4096);
  husk_image_end = .;
  /DISCARD/ : {{ *(.eh_frame .eh_frame_hdr .note.* .comment .gcc_except_table*) }}
}}
",
        text = section(".text"),
        note = section(".note.Xen"),
        rodata = section(".rodata"),
        data = section(".data"),
        bss = section(".bss"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_places_the_program_and_separates_writable_from_executable() {
        let script = linker_script(0x7000_0000_0000, None);
        assert!(script.contains(". = 0x700000000000;"));
        assert!(
            script.contains("text PT_LOAD FLAGS(5)") && script.contains("data PT_LOAD FLAGS(6)")
        );
    }

    #[test]
    fn a_kernel_has_physical_addresses_as_well() {
        let script = linker_script(0x7000_0000_0000, Some(0x10_0000));
        assert!(
            script.contains(".data : AT(ADDR(.data) - 0x6ffffff00000)"),
            "{script}"
        );
    }
}
