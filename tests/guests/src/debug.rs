//! Machines in the hands of gdb, and traces: each a script in `../scripts/debug`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use crate::cases::APPEND;
use crate::judge::Wanted;
use crate::kernels::{Kernel, Kernels};
use crate::runner::{Prepared, quoted};
use crate::scenario::{find, word};
use crate::{initrd, tiny};

const SHARED: &str = include_str!("../scripts/debug/shared.sh");
const GUEST: &str = include_str!("../scripts/debug/cloud-guest.sh");
/// `mov al, 42`, `out 0xf4, al`, `hlt`.
const TINY: &[u8] = &[0xb0, 42, 0xe6, 0xf4, 0xf4];

/// A machine, and the script that debugs it.
#[derive(Debug)]
pub(crate) struct Debugged {
    pub(crate) name: &'static str,
    script: &'static str,
    /// Linux is booted.
    is_linux: bool,
    /// By breakpoints and watchpoints.
    has_points: bool,
    /// What no other engine than the interpreter does.
    is_emulated: bool,
    says: &'static [&'static str],
}

/// All of them.
pub(crate) const DEBUGGED: &[Debugged] = &[
    Debugged {
        name: "debug/kernel",
        script: include_str!("../scripts/debug/kernel.sh"),
        is_linux: false,
        has_points: false,
        is_emulated: false,
        says: &[
            "srw-------",
            "virtual CPU 0, 64 bits",
            "_start",
            "xor    %ebp,%ebp",
            "flags 46",
            "efer           0xd01",
            "fctrl          0x37f",
            "mxcsr          0x1f80",
            "0x701000001504 is physical",
            "0000000000000000: ",
            "8548ed31",
            "r15 123456789abcdef0",
            "xmm3 55",
            "cr4            0x220",
            "0x10 leads nowhere",
            "no such command",
            "program: here",
            "exited with code 07",
            "husk: status 7",
            "socket: gone",
        ],
    },
    Debugged {
        name: "debug/kernel-points",
        script: include_str!("../scripts/debug/kernel-points.sh"),
        is_linux: false,
        has_points: true,
        is_emulated: false,
        says: &[
            "Breakpoint 1, 0x",
            "in guest_linux::start::start",
            "in husk_kernel::image::start",
            "Hardware watchpoint 2: *(unsigned long *)",
            "Old value = ",
            "Hardware read watchpoint 3: *(unsigned long *)",
            "Hardware assisted breakpoint 4 at",
            "breakpoint already hit 1 time",
            "hlt",
            "exited with code 011",
            "husk: status 9",
        ],
    },
    Debugged {
        name: "debug/tiny",
        script: include_str!("../scripts/debug/tiny.sh"),
        is_linux: false,
        has_points: false,
        is_emulated: false,
        says: &[
            "eip            0x100020",
            "mov    $0x2a,%al",
            "$1 = 42",
            "exited with code 053",
            "husk: status 43",
        ],
    },
    Debugged {
        name: "debug/endings",
        script: include_str!("../scripts/debug/endings.sh"),
        is_linux: false,
        has_points: false,
        is_emulated: false,
        says: &[
            "husk: status 3",
            "husk: status 137",
            "(process 1) killed",
            "peers: it waits on",
            "virtual CPU 0, ",
            "husk: status 0",
            "use --engine kvm or --engine emulate",
            "paravirt: status 125",
            "there is a file of that name",
            "there: status 125",
        ],
    },
    linux("debug/cloud-2", false),
    linux("debug/cloud-2-points", true),
    Debugged {
        name: "debug/trace",
        script: include_str!("../scripts/debug/trace.sh"),
        is_linux: false,
        has_points: false,
        is_emulated: true,
        says: &[
            "0 0000000000100020: b0 2a ",
            "mov $0x2a,%al",
            " rax=",
            "0 0000000000100022: e6 f4 ",
            "trace: status 42",
            "elsewhere: status 42, 0 lines",
            "use --engine emulate",
            "kvm: status 125",
        ],
    },
];

const fn linux(name: &'static str, has_points: bool) -> Debugged {
    Debugged {
        name,
        script: include_str!("../scripts/debug/cloud.sh"),
        is_linux: true,
        has_points,
        is_emulated: false,
        says: &[
            "begins in 64 bits",
            "waits to be started",
            "SIGINT",
            "Linux version ",
            " is physical 0x",
            "virtual CPU 1, 64 bits",
            "guest: done",
            "exited normally",
            "husk: status 0",
        ],
    }
}

impl Debugged {
    /// What must be seen of it.
    pub(crate) const fn wanted(&self) -> Wanted {
        Wanted {
            status: 0,
            says: self.says,
            // What a debugger holds for a while may well complain about time.
            is_linux: false,
            expected: &[],
        }
    }

    /// Puts its files into `folder`.
    ///
    /// # Errors
    /// When something is missing, or this place cannot do it.
    pub(crate) fn prepare(
        &self,
        kernels: &Kernels,
        folder: &Path,
        (husk, engine, is_nested): (&Path, &str, bool),
    ) -> Result<Prepared> {
        ensure!(
            !(self.has_points && is_nested && engine == "kvm"),
            "the debug registers of QEMU's emulated processor do nothing in a guest"
        );
        ensure!(
            !self.is_emulated || engine == "emulate",
            "only the interpreter does that"
        );
        find(&("gdb", "gdb"))?;
        let work = folder.join("work");
        std::fs::create_dir(&work)?;
        let tiny = folder.join("tiny");
        std::fs::write(&tiny, tiny::kernel(TINY))?;
        let mut variables = vec![
            ("work", word(&work)),
            ("tiny", word(&tiny)),
            ("elf", word(&own_kernel(husk)?)),
            ("append", quoted(APPEND)),
            ("points", quoted(if self.has_points { "yes" } else { "no" })),
        ];
        if self.is_linux {
            let initrd = folder.join("initrd");
            let busybox = kernels.busybox(Kernel::Cloud)?;
            std::fs::write(&initrd, initrd::build(&busybox, GUEST, &[], &[])?)?;
            let kernel = std::path::absolute(kernels.image(Kernel::Cloud)?)?;
            variables.extend([("kernel", word(&kernel)), ("initrd", word(&initrd))]);
        }
        let variables = variables.into_iter();
        let variables: String = variables
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        Ok(Prepared {
            script: format!("{variables}{SHARED}{}", self.script),
            files: Vec::new(),
            needs_host: true,
            busybox: None,
            length: 1,
        })
    }
}

/// The file of Husk's own kernel, with its symbols: the newest that was built beside husk.
fn own_kernel(husk: &Path) -> Result<PathBuf> {
    let build = husk.parent().unwrap_or(husk).join("build");
    let mut found = Vec::new();
    let entries = std::fs::read_dir(&build);
    let entries = entries.with_context(|| format!("{} is missing", build.display()))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("boot-") {
            look(&entry.path().join("out"), &mut found);
        }
    }
    found.sort();
    let newest = found
        .pop()
        .context("Husk's own kernel is not beside husk: build it")?;
    Ok(newest.1)
}

/// Files of that name below a folder, each with when it was made.
fn look(folder: &Path, found: &mut Vec<(SystemTime, PathBuf)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            look(&path, found);
        } else if path.ends_with("kernel/husk-kernel") {
            let made = entry.metadata().and_then(|metadata| metadata.modified());
            found.push((made.unwrap_or(SystemTime::UNIX_EPOCH), path));
        }
    }
}
