//! Unpacks what the kernel's package holds compressed: the kernel and, in newer ones, the modules.

use std::borrow::Cow;
use std::io::Write;
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use super::tools;

/// What a compressed file starts with, and the program and Debian package that unpack it.
struct Format {
    magic: &'static [u8],
    program: &'static str,
    package: &'static str,
}

const FORMATS: &[Format] = &[
    Format {
        magic: b"\x02\x21\x4c\x18",
        program: "lz4",
        package: "lz4",
    },
    Format {
        magic: b"\xfd7zXZ\0",
        program: "xz",
        package: "xz-utils",
    },
    Format {
        magic: b"\x28\xb5\x2f\xfd",
        program: "zstd",
        package: "zstd",
    },
];

/// The ELF file in these bytes, which are one or a compressed one.
///
/// # Errors
/// When the bytes are neither, or the program that unpacks them is missing or fails.
pub(crate) fn elf(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    if is_elf(bytes) {
        return Ok(Cow::Borrowed(bytes));
    }
    let format = FORMATS
        .iter()
        .find(|format| bytes.starts_with(format.magic));
    let Some(format) = format else {
        bail!("it is compressed in an unknown way");
    };
    let unpacked = filter(format, bytes)?;
    ensure!(is_elf(&unpacked), "what it holds is no ELF file");
    Ok(Cow::Owned(unpacked))
}

fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

fn filter(format: &Format, bytes: &[u8]) -> Result<Vec<u8>> {
    let Format {
        program, package, ..
    } = format;
    let mut child = tools::command(program)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| tools::missing(program, package))?;
    let mut input = child.stdin.take().context("a child without an input")?;
    let output = thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes));
        child.wait_with_output()
    })?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed: {complaint}");
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_elf_file_is_left_as_it_is() {
        assert!(matches!(elf(b"\x7fELF..."), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn what_is_unknown_is_refused() {
        assert!(elf(b"").is_err());
        assert!(elf(b"\x1f\x8b\x08").is_err());
    }
}
