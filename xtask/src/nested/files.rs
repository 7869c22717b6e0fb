//! Writes the first file system of one run: the base, then the program with its libraries, the
//! given files and the command that starts it. With the host's root there, the program and its
//! libraries are there too, and the given files are copied over it.

use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::cpio::Archive;
use super::options::{Copied, Options};
use super::{host_root, image, tools};

const INIT: &str = include_str!("init.sh");
const ENVIRONMENT: &str = "PATH=/program:/bin TERM=dumb";
const STREAMS: &str = "</dev/null >/dev/ttyS1 2>/dev/ttyS2";

/// Writes the base and what the options ask for to one file.
///
/// # Errors
/// Says which file cannot be read, or which library is not there.
pub(crate) fn write_initrd(to: &Path, base: &Path, options: &Options) -> Result<()> {
    let mut out = BufWriter::new(File::create(to)?);
    let mut base = File::open(base).with_context(|| format!("{} is gone", base.display()))?;
    std::io::copy(&mut base, &mut out)?;
    let mut archive = Archive::new(out);
    for (folder, _) in image::FOLDERS {
        archive.know_folder(Path::new(folder));
    }
    add_run(&mut archive, options)?;
    archive.finish()?.flush()?;
    Ok(())
}

fn add_run<W: Write>(archive: &mut Archive<W>, options: &Options) -> Result<()> {
    let command = if options.host_root {
        let program = host_root::Program::of(options)?;
        archive.file(Path::new("/nested/keep"), 0o644, &program.kept())?;
        add_to_host(archive, &options.files)?;
        program.command(&options.arguments)?
    } else {
        let program = add_program(archive, options)?;
        command_line(ENVIRONMENT, &program, &options.arguments)?
    };
    archive.file(Path::new("/init"), 0o755, INIT.as_bytes())?;
    archive.file(Path::new("/nested/command"), 0o644, command.as_bytes())
}

/// Adds the given files where `init.sh` takes them from.
fn add_to_host<W: Write>(archive: &mut Archive<W>, files: &[Copied]) -> Result<()> {
    for Copied { host, guest } in files {
        let guest = Path::new("/nested/files").join(guest.strip_prefix("/").unwrap_or(guest));
        let host = host.clone();
        add(archive, &Copied { host, guest })?;
    }
    Ok(())
}

/// Adds the program, the given files and the libraries of both; returns where the program is.
fn add_program<W: Write>(archive: &mut Archive<W>, options: &Options) -> Result<PathBuf> {
    let name = options.program.file_name();
    let name = name.filter(|_| options.program.is_file());
    let name = name.with_context(|| format!("{} is no file", options.program.display()))?;
    let program = Copied {
        host: options.program.clone(),
        guest: Path::new("/program").join(name),
    };
    let mut libraries = BTreeSet::new();
    for copied in options.files.iter().chain([&program]) {
        add(archive, copied)?;
        libraries.extend(libraries_of(&copied.host)?);
    }
    for library in libraries {
        let host = library.clone();
        add(
            archive,
            &Copied {
                host,
                guest: library,
            },
        )?;
    }
    Ok(program.guest)
}

/// The shell's words for the program with its environment, given as words, and arguments.
pub(crate) fn command_line(
    environment: &str,
    program: &Path,
    arguments: &[String],
) -> Result<String> {
    let program = program
        .to_str()
        .context("the program's name is not UTF-8")?;
    let mut line = format!("exec {STREAMS} env -i {environment} {}", quoted(program));
    for argument in arguments {
        line.push(' ');
        line.push_str(&quoted(argument));
    }
    line.push('\n');
    Ok(line)
}

/// As one word of the shell.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Adds what a path of the host names, following it if it is a link.
fn add<W: Write>(archive: &mut Archive<W>, copied: &Copied) -> Result<()> {
    let Copied { host, guest } = copied;
    let failed = || format!("{} cannot be read", host.display());
    let metadata = fs::metadata(host).with_context(failed)?;
    let permissions = metadata.permissions().mode() & 0o7777;
    if metadata.is_dir() {
        archive.folder(guest, permissions)?;
        return add_entries(archive, copied);
    }
    ensure!(metadata.is_file(), "{} is no file", host.display());
    archive.file(guest, permissions, &fs::read(host).with_context(failed)?)
}

/// Adds what is in a folder; links in it stay links.
fn add_entries<W: Write>(archive: &mut Archive<W>, folder: &Copied) -> Result<()> {
    let mut entries = fs::read_dir(&folder.host)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let host = entry.path();
        let guest = folder.guest.join(entry.file_name());
        if entry.file_type()?.is_symlink() {
            archive.link(&guest, &fs::read_link(&host)?)?;
        } else {
            add(archive, &Copied { host, guest })?;
        }
    }
    Ok(())
}

/// The libraries of a file; folders are not searched for programs.
fn libraries_of(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_dir() {
        return Ok(Vec::new());
    }
    libraries(path)
}

/// The shared libraries and the loader that a program needs; none for one that needs none.
///
/// # Errors
/// Names a library that is not there.
pub(crate) fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = tools::command("ldd")
        .arg(std::path::absolute(program)?)
        .output()
        .context("ldd does not start")?;
    // It fails for what is no dynamic program, which is no failure here.
    let listing = String::from_utf8_lossy(&output.stdout);
    listed(&listing).with_context(|| format!("{} cannot run", program.display()))
}

/// Reads `name => /path (0x1)` and `/path (0x1)`; `name (0x1)` is the kernel's own.
fn listed(listing: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in listing.lines().map(str::trim) {
        let (name, place) = line.split_once(" => ").unwrap_or((line, line));
        if place == "not found" {
            bail!("its library {name} is not found");
        }
        let path = place.rsplit_once(" (0x").map(|(path, _)| path);
        found.extend(path.filter(|path| path.starts_with('/')).map(PathBuf::from));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_listing() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                       \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found = listed(listing).expect("complete");
        let expected = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(listed("\tstatically linked\n").expect("none").is_empty());
        assert!(listed("").expect("none").is_empty());
    }

    #[test]
    fn a_library_that_is_not_there_is_named() {
        let error = listed("\tlibgone.so.1 => not found\n").expect_err("missing");
        assert!(error.to_string().contains("libgone.so.1"));
    }

    #[test]
    fn arguments_reach_the_program_unchanged() {
        let arguments = ["a b", "", "it's", "$HOME `x`", "two\nlines"].map(String::from);
        let line = command_line("A=b", Path::new("/bin/printf"), &arguments).expect("UTF-8");
        let (_, words) = line.split_once("'/bin/printf'").expect("the program");
        let script = format!(
            r#"for word in {}; do printf '%s|' "$word"; done"#,
            words.trim()
        );
        let output = tools::output("sh", &["-c", &script], Path::new("/")).expect("sh runs");
        assert_eq!(output, "a b||it's|$HOME `x`|two\nlines|");
    }
}
