//! A guest with several lives: started, killed, started again by a script, which looks at what it
//! leaves behind with the host's programs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cases::append;
use crate::initrd;
use crate::judge::Wanted;
use crate::kernels::{Kernel, Kernels};
use crate::runner::{Prepared, quoted};

/// What the scripts of all scenarios share.
const SHARED: &str = include_str!("../scripts/shared.sh");

/// A guest, and the script that has it in its hands. The script ends with 0, and says what it saw.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) kernel: Kernel,
    /// Modules in the order of loading.
    pub(crate) modules: &'static [&'static str],
    /// The script of the guest's first process; `$stage` says in which of its lives it is.
    pub(crate) guest: &'static str,
    /// The script where husk runs, behind [`SHARED`].
    pub(crate) script: &'static str,
    /// Programs that the script uses, each with its Debian package.
    pub(crate) tools: &'static [(&'static str, &'static str)],
    pub(crate) says: &'static [&'static str],
    /// What the guest's kernel says about that which is done to it.
    pub(crate) expected: &'static [&'static str],
}

impl Scenario {
    /// What must be seen of it.
    pub(crate) const fn wanted(&self) -> Wanted {
        Wanted {
            status: 0,
            says: self.says,
            is_linux: true,
            expected: self.expected,
        }
    }

    /// Puts its files into `folder`.
    ///
    /// # Errors
    /// When something is missing.
    pub(crate) fn prepare(&self, kernels: &Kernels, folder: &Path) -> Result<Prepared> {
        let kernel = std::path::absolute(kernels.image(self.kernel)?)?;
        let modules = kernels.modules(self.kernel, self.modules)?;
        let initrd = folder.join("initrd");
        std::fs::write(&initrd, initrd::build(self.guest, &modules, &[])?)?;
        let work = folder.join("work");
        std::fs::create_dir(&work)?;
        let variables = [
            ("kernel", kernel.to_string_lossy()),
            ("initrd", initrd.to_string_lossy()),
            ("append", append(self.kernel).into()),
            ("work", work.to_string_lossy()),
        ];
        let variables = variables.map(|(name, value)| format!("{name}={}\n", quoted(&value)));
        let mut files = vec![kernel, initrd, work];
        for tool in self.tools {
            files.push(find(tool)?);
        }
        Ok(Prepared {
            script: format!("{}{SHARED}{}", variables.concat(), self.script),
            files,
        })
    }
}

/// A program, also of those that only root has in its path.
fn find((name, package): &(&str, &str)) -> Result<PathBuf> {
    let system = || ["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(name));
    let found = vocabulary::find_program(name);
    let found = found.or_else(|| system().into_iter().find(|path| path.is_file()));
    found.with_context(|| format!("{name} is missing: install the Debian package {package}"))
}
