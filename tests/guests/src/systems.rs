//! Systems that packages of Debian's bring whole, each with a script that watches and ends it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::initrd;
use crate::judge::Wanted;
use crate::kernels::{Kernel, Kernels};
use crate::packages::Architecture;
use crate::runner::{Prepared, quoted};
use crate::scenario::SHARED;
use crate::when::When;

/// A system, and the script that has it in its hands.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) name: &'static str,
    pub(crate) when: When,
    kernel: Source,
    /// At most two.
    modules: &'static [Module],
    append: &'static str,
    memory: &'static str,
    /// How many times as long as others it may take.
    length: u32,
    /// The script where husk runs, behind [`SHARED`]. It ends with 0, and says what it saw.
    script: &'static str,
    says: &'static [&'static str],
}

/// Where a kernel comes from.
#[derive(Debug)]
enum Source {
    Package(File),
    /// Somebody built it ([`Given`]).
    PvhXen,
}

/// What the suite is given for systems.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    /// An unpacked Xen that can be a guest of another.
    pub(crate) pvh_xen: Option<&'a Path>,
    /// The engine that is asked for.
    pub(crate) engine: &'a str,
}

/// A file of a package.
#[derive(Debug)]
struct File {
    package: &'static str,
    path: &'static str,
}

/// What a kernel is given.
#[derive(Debug)]
enum Module {
    File(File),
    /// Another kernel.
    Kernel(Kernel),
    /// A first file system for it, with this script.
    Initrd(Kernel, &'static str),
}

/// All of them.
pub(crate) const SYSTEMS: &[System] = &[
    memtest("memtest/x64", X64, When::NotNested),
    memtest("memtest/ia32", IA32, When::NotNested),
    memtest("memtest/x64-pass", X64, When::Slow),
    memtest("memtest/ia32-pass", IA32, When::Slow),
    System {
        name: "xen/no-dom0",
        when: When::NotNested,
        kernel: Source::Package(XEN),
        modules: &[],
        append: XEN_APPEND,
        memory: "256M",
        length: 1,
        script: include_str!("../scripts/xen.sh"),
        says: &["Bootloader: husk", "dom0 kernel not specified"],
    },
    System {
        name: "xen/dom0",
        when: When::Slow,
        kernel: Source::Package(XEN),
        modules: DOM0_MODULES,
        append: XEN_APPEND,
        memory: "1G",
        length: 2,
        script: include_str!("../scripts/xen.sh"),
        says: &["guest: xen", "Entering ACPI S5 state", "xen: status 0"],
    },
    System {
        name: "xen/pvh",
        when: When::Slow,
        kernel: Source::PvhXen,
        modules: &[],
        append: XEN_PVH_APPEND,
        memory: "256M",
        length: 1,
        script: include_str!("../scripts/xen-pvh.sh"),
        says: &[
            "Bootloader: PVH Directboot",
            "Running on Xen",
            "dom0 kernel not specified",
        ],
    },
    System {
        name: "xen/pvh-dom0",
        when: When::Slow,
        kernel: Source::PvhXen,
        modules: DOM0_MODULES,
        append: XEN_PVH_APPEND,
        memory: "1G",
        length: 2,
        script: include_str!("../scripts/xen-pvh.sh"),
        says: &[
            "[0000000000100000, 000000003fffffff] (usable)",
            "Platform timer is 1000.000MHz XEN PV CLOCK",
            "guest: xen",
            "Entering ACPI S5 state",
            "xen: status 0",
        ],
    },
    installer("installer/amd64", INSTALLER_64, DISK_64),
    installer("installer/i386", INSTALLER_32, DISK_32),
];

const X64: &str = "boot/memtest86+x64.bin";
const IA32: &str = "boot/memtest86+ia32.bin";
const BEGINS: &str = include_str!("../scripts/memtest-begins.sh");
const PASSES: &str = include_str!("../scripts/memtest-passes.sh");

/// Its beginning, or slowly, a whole pass.
const fn memtest(name: &'static str, path: &'static str, when: When) -> System {
    let (length, script) = match when {
        When::Slow => (5, PASSES),
        _ => (1, BEGINS),
    };
    System {
        name,
        when,
        kernel: Source::Package(File {
            package: "memtest86+",
            path,
        }),
        modules: &[],
        append: "console=ttyS0,115200",
        memory: "64M",
        length,
        script,
        says: &["memtest: no errors"],
    }
}

const XEN: File = File {
    package: "xen-hypervisor-4.17-amd64",
    path: "boot/xen-4.17-amd64.gz",
};
/// There is no firmware that Xen could ask in real mode; what is behind the dashes is for Linux.
const XEN_APPEND: &str = "no-real-mode com1=115200,8n1 console=com1 -- console=hvc0 panic=-1";
const XEN_PVH_APPEND: &str = "com1=115200,8n1 console=com1 -- console=hvc0 panic=-1";
const DOM0_MODULES: &[Module] = &[
    Module::Kernel(Kernel::Generic),
    Module::Initrd(Kernel::Generic, DOM0),
];
const DOM0: &str = "
echo \"guest: $(cat /sys/hypervisor/type)\"
poweroff -f
";

const INSTALLER_64: File = File {
    package: "debian-installer-12-netboot-amd64",
    path: "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/linux",
};
const DISK_64: &[Module] = &[Module::File(File {
    package: INSTALLER_64.package,
    path: "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/initrd.gz",
})];
const INSTALLER_32: File = File {
    package: "debian-installer-12-netboot-i386",
    path: "usr/lib/debian-installer/images/12/i386/text/debian-installer/i386/linux",
};
const DISK_32: &[Module] = &[Module::File(File {
    package: INSTALLER_32.package,
    path: "usr/lib/debian-installer/images/12/i386/text/debian-installer/i386/initrd.gz",
})];

const fn installer(name: &'static str, kernel: File, modules: &'static [Module]) -> System {
    System {
        name,
        when: When::Slow,
        kernel: Source::Package(kernel),
        modules,
        append: "console=ttyS0 noxsave cryptomgr.notests",
        memory: "1G",
        length: 3,
        script: include_str!("../scripts/installer.sh"),
        says: &["installer: languages", "installer: locations"],
    }
}

impl Source {
    fn found(&self, kernels: &Kernels, given: Given<'_>) -> Result<PathBuf> {
        match self {
            Self::Package(file) => file.fetched(kernels),
            Self::PvhXen => given.pvh_xen(),
        }
    }
}

impl Given<'_> {
    fn pvh_xen(self) -> Result<PathBuf> {
        ensure!(
            self.engine != "kvm",
            "a machine of KVM's has no Xen below its guest: --engine emulate"
        );
        let file = self.pvh_xen.context(
            "no Xen with a PVH entry: --pvh-xen FILE (docs/guests.md says how it is built)",
        )?;
        ensure!(file.is_file(), "{} is no file", file.display());
        Ok(std::path::absolute(file)?)
    }
}

impl File {
    fn fetched(&self, kernels: &Kernels) -> Result<PathBuf> {
        let tree = kernels.packages().tree(self.package, Architecture::Host);
        let file = std::path::absolute(tree?.join(self.path))?;
        ensure!(file.is_file(), "{} has no {}", self.package, self.path);
        Ok(file)
    }
}

impl Module {
    fn prepare(&self, kernels: &Kernels, folder: &Path) -> Result<PathBuf> {
        match self {
            Self::File(file) => file.fetched(kernels),
            Self::Kernel(kernel) => Ok(std::path::absolute(kernels.image(*kernel)?)?),
            Self::Initrd(kernel, script) => {
                let place = folder.join("initrd");
                let busybox = kernels.busybox(*kernel)?;
                std::fs::write(&place, initrd::build(&busybox, script, &[], &[])?)?;
                Ok(place)
            }
        }
    }
}

impl System {
    /// What must be seen of it.
    pub(crate) const fn wanted(&self) -> Wanted {
        Wanted {
            status: 0,
            says: self.says,
            is_linux: false,
            expected: &[],
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
        given: Given<'_>,
    ) -> Result<Prepared> {
        let kernel = self.kernel.found(kernels, given)?;
        let modules = self.modules.iter();
        let modules = modules.map(|module| module.prepare(kernels, folder));
        let modules = modules.collect::<Result<Vec<_>>>()?;
        let work = folder.join("work");
        std::fs::create_dir(&work)?;
        let word = |path: Option<&PathBuf>| {
            let path = path.map(|path| path.to_string_lossy());
            quoted(&path.unwrap_or_default())
        };
        let variables = [
            ("kernel", word(Some(&kernel))),
            ("initrd", word(modules.first())),
            ("second", word(modules.get(1))),
            ("append", quoted(self.append)),
            ("memory", quoted(self.memory)),
            ("work", word(Some(&work))),
        ];
        let variables = variables.map(|(name, value)| format!("{name}={value}\n"));
        let mut files = vec![kernel, work];
        files.extend(modules);
        Ok(Prepared {
            script: format!("{}{SHARED}{}", variables.concat(), self.script),
            files,
            needs_host: false,
            busybox: Some(kernels.busybox(Kernel::Cloud)?),
            length: self.length,
        })
    }
}
