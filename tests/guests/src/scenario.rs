//! A guest with several lives: started, killed, started again by a script, which looks at what it
//! leaves behind with the host's programs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cases::APPEND;
use crate::judge::Wanted;
use crate::kernels::{Kernel, Kernels};
use crate::runner::{Prepared, quoted};
use crate::when::When;
use crate::{initrd, programs};

/// What the scripts of all scenarios share.
pub(crate) const SHARED: &str = include_str!("../scripts/shared.sh");

/// A guest, and the script that has it in its hands. The script ends with 0, and says what it saw.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) when: When,
    pub(crate) kernel: Kernel,
    /// Modules in the order of loading.
    pub(crate) modules: &'static [&'static str],
    /// Programs of `../programs`, for the guest and for the script.
    pub(crate) programs: &'static [&'static str],
    /// The script of the guest's first process; `$stage` says in which of its lives it is.
    pub(crate) guest: &'static str,
    /// The script where husk runs, behind [`SHARED`].
    pub(crate) script: &'static str,
    /// Programs that the script uses, each with its Debian package.
    pub(crate) tools: &'static [(&'static str, &'static str)],
    /// Modules for the nested environment, whose kernel is the cloud one. With some, the scenario
    /// runs nowhere else.
    pub(crate) nested_modules: &'static [&'static str],
    /// Files with these contents, where the script works.
    pub(crate) texts: &'static [(&'static str, &'static str)],
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
    pub(crate) fn prepare(
        &self,
        kernels: &Kernels,
        folder: &Path,
        is_nested: bool,
    ) -> Result<Prepared> {
        ensure!(
            is_nested || self.nested_modules.is_empty(),
            "it mounts and loads modules: --nested runs it in a place of its own"
        );
        let kernel = std::path::absolute(kernels.image(self.kernel)?)?;
        let modules = kernels.modules(self.kernel, self.modules)?;
        let programs = self.programs.iter();
        let programs = programs.map(|program| programs::build(program, folder));
        let programs = programs.collect::<Result<Vec<_>>>()?;
        let initrd = folder.join("initrd");
        let busybox = kernels.busybox(self.kernel)?;
        let contents = initrd::build(&busybox, self.guest, &modules, &programs)?;
        std::fs::write(&initrd, contents)?;
        let work = folder.join("work");
        std::fs::create_dir(&work)?;
        for (name, text) in self.texts {
            std::fs::write(work.join(name), text)?;
        }
        let below = self.nested_modules(kernels)?;
        let variables = [
            ("kernel", word(&kernel)),
            ("initrd", word(&initrd)),
            ("append", quoted(APPEND)),
            ("work", word(&work)),
            ("programs", word(folder)),
            ("modules", quoted(&words(&below))),
        ];
        let variables = variables.map(|(name, value)| format!("{name}={value}\n"));
        let mut files = vec![kernel, initrd, work];
        files.extend(programs.into_iter().chain(below));
        for tool in self.tools {
            files.push(find(tool)?);
        }
        Ok(Prepared {
            script: format!("{}{SHARED}{}", variables.concat(), self.script),
            files,
            needs_host: false,
            busybox: Some(kernels.busybox(Kernel::Cloud)?),
            length: 1,
        })
    }

    fn nested_modules(&self, kernels: &Kernels) -> Result<Vec<PathBuf>> {
        let modules = kernels.modules(Kernel::Cloud, self.nested_modules)?;
        let absolute = modules.iter().map(std::path::absolute);
        Ok(absolute.collect::<Result<_, _>>()?)
    }
}

pub(crate) fn word(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn words(paths: &[PathBuf]) -> String {
    let words: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    words.join(" ")
}

/// A program, also of those that only root has in its path.
pub(crate) fn find((name, package): &(&str, &str)) -> Result<PathBuf> {
    let system = || ["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(name));
    let found = vocabulary::find_program(name);
    let found = found.or_else(|| system().into_iter().find(|path| path.is_file()));
    found.with_context(|| format!("{name} is missing: install the Debian package {package}"))
}
