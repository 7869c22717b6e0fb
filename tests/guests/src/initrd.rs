//! A first file system: busybox, a script, and the modules it loads.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cpio::Archive;

/// What every script finds done.
const PRELUDE: &str = "#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do [ -e \"$module\" ] && insmod \"$module\"; done
";

/// Builds it. Modules are loaded in this order; programs are static, and found by name.
pub(crate) fn build(
    busybox: &Path,
    script: &str,
    modules: &[PathBuf],
    programs: &[PathBuf],
) -> Result<Vec<u8>> {
    let busybox = std::fs::read(busybox)?;
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "proc", "sys", "mnt", "modules"] {
        archive.folder(folder);
    }
    archive.file("bin/busybox", &busybox);
    archive.link("bin/sh", "busybox");
    archive.file("init", format!("{PRELUDE}{script}").as_bytes());
    for (number, module) in modules.iter().enumerate() {
        let contents = std::fs::read(module);
        let contents = contents.with_context(|| format!("{} is missing", module.display()))?;
        archive.file(&format!("modules/{number:02}.ko"), &contents);
    }
    for program in programs {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("bin/{name}"), &std::fs::read(program)?);
    }
    Ok(archive.finish())
}

/// The file of a module below a kernel's folder.
pub(crate) fn module(tree: &Path, name: &str) -> Option<PathBuf> {
    let wanted = format!("{name}.ko");
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).ok()?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else if entry.file_name() == wanted.as_str() {
                return Some(entry.path());
            }
        }
    }
    None
}
