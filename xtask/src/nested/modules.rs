//! Collects kernel modules with what they depend on.
//!
//! The kernel's package has no `modules.dep`: that file is made at installation. What a module
//! needs stands in the module itself, as `depends=` in its section `.modinfo`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::unpack;

/// A module, unpacked.
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// The modules of these names and all that they need, in the order in which they are to be loaded.
/// `tree` is the kernel's package, unpacked.
pub(crate) fn with_dependencies(tree: &Path, names: &[&str]) -> Result<Vec<Module>> {
    let mut collection = Collection::open(tree)?;
    for name in names {
        collection.add(&normal(name))?;
    }
    Ok(collection.found)
}

struct Collection {
    files: BTreeMap<String, PathBuf>,
    /// Those in the kernel itself, and those already visited.
    done: BTreeSet<String>,
    found: Vec<Module>,
}

impl Collection {
    fn open(tree: &Path) -> Result<Self> {
        let mut collection = Self {
            files: BTreeMap::new(),
            done: BTreeSet::new(),
            found: Vec::new(),
        };
        collection.search(tree)?;
        Ok(collection)
    }

    fn search(&mut self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                self.search(&path)?;
            } else if entry.file_name() == "modules.builtin" {
                let list = fs::read_to_string(&path)?;
                self.done.extend(list.lines().filter_map(module_name));
            } else if let Some(name) = module_name(&path.to_string_lossy()) {
                self.files.insert(name, path);
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str) -> Result<()> {
        if !self.done.insert(name.to_string()) {
            return Ok(());
        }
        let path = self.files.get(name);
        let path = path.with_context(|| format!("the kernel has no module {name}"))?;
        let bytes = fs::read(path)?;
        let bytes = unpack::elf(&bytes).with_context(|| path.display().to_string())?;
        let bytes = bytes.into_owned();
        for needed in dependencies(&bytes) {
            self.add(&needed)?;
        }
        let name = name.to_string();
        self.found.push(Module { name, bytes });
        Ok(())
    }
}

/// `a/b/kvm-amd.ko.xz` is `kvm_amd`; what is no module has no name.
fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let endings = [".ko", ".ko.xz", ".ko.zst"];
    let stem = endings.iter().find_map(|ending| file.strip_suffix(ending));
    stem.map(normal)
}

/// Modules are named with either sign.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// What a module's own description says that it needs.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let start = module.windows(KEY.len()).position(|window| window == KEY);
    let list = start.and_then(|start| module.get(start + KEY.len()..));
    let list = list.unwrap_or_default().split(|byte| *byte == 0).next();
    let list = String::from_utf8_lossy(list.unwrap_or_default());
    let names = list.split(',').filter(|name| !name.is_empty());
    names.map(normal).collect()
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    fn put(tree: &Path, file: &str, depends: &str) {
        let bytes = format!("\x7fELF\0license=GPL\0depends={depends}\0name=x\0");
        fs::write(tree.join(file), bytes).expect("writable");
    }

    fn names(tree: &Path, names: &[&str]) -> Result<Vec<String>> {
        let found = with_dependencies(tree, names)?;
        Ok(found.into_iter().map(|module| module.name).collect())
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let tree = Scratch::new(&std::env::temp_dir(), "modules").expect("writable");
        let tree = tree.path();
        put(tree, "kvm-amd.ko", "kvm,ccp,builtin-one");
        put(tree, "kvm.ko", "irqbypass");
        put(tree, "ccp.ko", "irqbypass,kvm");
        put(tree, "irqbypass.ko", "");
        put(tree, "lonely.ko", "nowhere");
        fs::write(tree.join("modules.builtin"), "kernel/builtin_one.ko\n").expect("writable");
        let found = names(tree, &["kvm-amd"]).expect("complete");
        assert_eq!(found, ["irqbypass", "kvm", "ccp", "kvm_amd"]);
        let found = names(tree, &["kvm", "ccp"]).expect("complete");
        assert_eq!(found, ["irqbypass", "kvm", "ccp"]);
        assert!(names(tree, &["lonely"]).is_err());
        assert!(names(tree, &["kvm", "nowhere"]).is_err());
    }

    #[test]
    fn a_description_that_is_cut_or_missing_names_what_it_names() {
        assert_eq!(dependencies(b""), [""; 0]);
        assert_eq!(dependencies(b"\0depends="), [""; 0]);
        assert_eq!(dependencies(b"\0depends=a,b-c"), ["a", "b_c"]);
        assert_eq!(dependencies(b"soft_depends=a\0"), [""; 0]);
    }

    #[test]
    fn modules_are_told_by_their_endings() {
        assert_eq!(module_name("a/kvm-amd.ko.xz").as_deref(), Some("kvm_amd"));
        assert_eq!(module_name("ccp.ko").as_deref(), Some("ccp"));
        assert_eq!(module_name("a.ko/modules.order"), None);
    }
}
