//! What is booted, and what must be seen.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::judge::Wanted;
use crate::kernels::{Kernel, Kernels};
use crate::runner::{Prepared, quoted};
use crate::when::When;
use crate::{initrd, tiny};

/// What every Linux is told: where its console is; to reset at once when it fails; and, for the
/// nested environment, to leave `xsave` alone, which QEMU 7.2 does not restore from a signal's
/// frame in a guest of a guest, whoever runs it.
pub(crate) const APPEND: &str = "console=ttyS0 panic=-1 noxsave";

/// A guest.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) when: When,
    system: System,
    /// Behind `husk boot`.
    options: &'static [&'static str],
    /// As printf(1) takes it.
    input: &'static str,
    status: i32,
    says: &'static [&'static str],
}

#[derive(Debug)]
enum System {
    /// A kernel, a script of its first process, modules in the order of loading.
    Linux(Kernel, &'static str, &'static [&'static str]),
    /// Code in protected mode.
    Tiny(&'static [u8]),
}

const LOOK: &str = "
echo guest: $(grep -c ^processor /proc/cpuinfo) processors, $(ls /sys/bus/pci/devices | wc -l) functions
cat /proc/interrupts
hwclock -r >/dev/null && echo guest: clock
cat /sys/devices/system/clocksource/clocksource0/available_clocksource
poweroff -f
";

const TALK: &str = "
exec 0</dev/console
echo guest: ready
read line
echo \"guest: heard $line\"
poweroff -f
";

const DISK: &str = "
if [ \"$(dd if=/dev/vda bs=8 count=1 2>/dev/null)\" = lastlife ]; then
    echo guest: second life
    poweroff -f
fi
echo guest: first life
printf lastlife | dd of=/dev/vda conv=fsync 2>/dev/null
reboot -f
";

const VOLUME: &str = "
mount -t virtiofs data /mnt && cat /mnt/given
echo \"guest wrote\" > /mnt/written
dd if=/dev/hwrng bs=16 count=1 2>/dev/null | wc -c
umount /mnt
poweroff -f
";

pub(crate) const PCI: [&str; 5] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
];
const BLOCK: &[&str] = &[PCI[0], PCI[1], PCI[2], PCI[3], PCI[4], "virtio_blk"];
const FILES: &[&str] = &[
    PCI[0],
    PCI[1],
    PCI[2],
    PCI[3],
    PCI[4],
    "virtio-rng",
    "fuse",
    "virtiofs",
];

const ONE: &[&str] = &["--no-reboot"];
const TWO: &[&str] = &["--no-reboot", "--cpus", "2"];
const SEES_ONE: &[&str] = &[
    "guest: 1 processors, 3 functions",
    "guest: clock",
    "acpi_pm",
];
const SEES_TWO: &[&str] = &[
    "guest: 2 processors, 3 functions",
    "guest: clock",
    "acpi_pm",
];

/// 32-bit kernels do without ACPI's timer when the host lets them wait while they measure it.
const SEES_ONE_32: &[&str] = &["guest: 1 processors, 3 functions", "guest: clock", "hpet"];
const SEES_TWO_32: &[&str] = &["guest: 2 processors, 3 functions", "guest: clock", "hpet"];

/// All of them.
pub(crate) const CASES: &[Case] = &[
    tiny("tiny/debug-exit", &[0xb0, 42, 0xe6, 0xf4, 0xf4], 42, &[]),
    // out 0xcf9, 6
    tiny(
        "tiny/reset",
        &[0x66, 0xba, 0xf9, 0x0c, 0xb0, 6, 0xee, 0xf4],
        123,
        &[],
    ),
    // out 0x64, 0xfe
    tiny(
        "tiny/keyboard-reset",
        &[0xb0, 0xfe, 0xe6, 0x64, 0xf4],
        123,
        &[],
    ),
    // outw 0x604, S5
    tiny(
        "tiny/power-off",
        &[0x66, 0xba, 4, 6, 0x66, 0xb8, 0, 0x34, 0x66, 0xef, 0xf4],
        0,
        &[],
    ),
    // An empty interrupt table, then an exception.
    tiny(
        "tiny/triple-fault",
        &[0x6a, 0, 0x6a, 0, 0x0f, 0x01, 0x1c, 0x24, 0x0f, 0x0b],
        124,
        &["husk: the guest:", "triple fault", "rip"],
    ),
    // Says `ok` at COM1.
    tiny(
        "tiny/serial",
        &[
            0x66, 0xba, 0xf8, 3, 0xb0, b'o', 0xee, 0xb0, b'k', 0xee, 0x31, 0xc0, 0xe6, 0xf4, 0xf4,
        ],
        0,
        &["ok"],
    ),
    linux("linux/cloud", Kernel::Cloud, ONE, SEES_ONE),
    linux("linux/cloud-2", Kernel::Cloud, TWO, SEES_TWO),
    linux("linux/pvh-2", Kernel::CloudElf, TWO, SEES_TWO),
    linux("linux/generic", Kernel::Generic, ONE, SEES_ONE),
    linux("linux/686-pae", Kernel::Pae, ONE, SEES_ONE_32).at(When::NotNested),
    linux("linux/686-pae-2", Kernel::Pae, TWO, SEES_TWO_32).at(When::Slow),
    linux("linux/686", Kernel::NoPae, ONE, SEES_ONE_32).at(When::NotNested),
    Case {
        name: "linux/input",
        when: When::Always,
        system: System::Linux(Kernel::Cloud, TALK, &[]),
        options: &[],
        input: "good morning\\n",
        status: 0,
        says: &["guest: heard good morning"],
    },
    disk("linux/disk-and-reboot", Kernel::Cloud),
    disk("linux/disk-and-reboot-generic", Kernel::Generic).at(When::Slow),
    disk("linux/disk-and-reboot-686-pae", Kernel::Pae).at(When::Slow),
    disk("linux/disk-and-reboot-686", Kernel::NoPae).at(When::Slow),
    Case {
        name: "linux/volume",
        when: When::Always,
        system: System::Linux(Kernel::Cloud, VOLUME, FILES),
        options: &["--volume", "FOLDER/data:data"],
        input: "",
        status: 0,
        says: &["given by the host", "host: guest wrote", "\n16"],
    },
];

const fn tiny(
    name: &'static str,
    code: &'static [u8],
    status: i32,
    says: &'static [&'static str],
) -> Case {
    Case {
        name,
        when: When::Always,
        system: System::Tiny(code),
        options: &["--no-reboot"],
        input: "",
        status,
        says,
    }
}

const fn linux(
    name: &'static str,
    kernel: Kernel,
    options: &'static [&'static str],
    says: &'static [&'static str],
) -> Case {
    Case {
        name,
        when: When::Always,
        system: System::Linux(kernel, LOOK, &[]),
        options,
        input: "",
        status: 0,
        says,
    }
}

const fn disk(name: &'static str, kernel: Kernel) -> Case {
    Case {
        name,
        when: When::Always,
        system: System::Linux(kernel, DISK, BLOCK),
        options: &["--disk", "FOLDER/disk"],
        input: "",
        status: 0,
        says: &["guest: first life", "guest: second life"],
    }
}

impl Case {
    const fn at(self, when: When) -> Self {
        Self { when, ..self }
    }

    /// What must be seen of it.
    pub(crate) const fn wanted(&self) -> Wanted {
        Wanted {
            status: self.status,
            says: self.says,
            is_linux: matches!(self.system, System::Linux(..)),
            expected: &[],
        }
    }

    /// Puts its files into `folder`.
    ///
    /// # Errors
    /// When something is missing.
    pub(crate) fn prepare(&self, kernels: &Kernels, folder: &Path) -> Result<Prepared> {
        let mut line = Line::default();
        match &self.system {
            System::Tiny(code) => {
                let kernel = folder.join("kernel");
                std::fs::write(&kernel, tiny::kernel(code))?;
                line.add_file("--kernel", kernel);
            }
            System::Linux(kernel, script, modules) => {
                line.add_file("--kernel", std::path::absolute(kernels.image(*kernel)?)?);
                let modules = kernels.modules(*kernel, modules)?;
                let busybox = kernels.busybox(*kernel)?;
                let initrd = folder.join("initrd");
                std::fs::write(&initrd, initrd::build(&busybox, script, &modules, &[])?)?;
                line.add_file("--initrd", initrd);
                line.add(&["--append", APPEND]);
            }
        }
        let after = self.add_options(&mut line, folder)?;
        let words: Vec<String> = line.words.iter().map(|word| quoted(word)).collect();
        let (input, words) = (self.input, words.join(" "));
        Ok(Prepared {
            // The input goes through a pipe, so that every place has the same.
            script: format!(
                "printf '{input}' | \"$husk\" boot --engine \"$engine\" {words}; status=$?; {after}exit $status"
            ),
            files: line.files,
            needs_host: false,
            busybox: None,
            length: 1,
        })
    }

    /// Those that name the folder have a disk, or a folder with a file. Returns what is to be run
    /// afterwards.
    fn add_options(&self, line: &mut Line, folder: &Path) -> Result<String> {
        line.add(&["--memory", "256M"]);
        for option in self.options {
            line.add(&[&option.replace("FOLDER", &folder.to_string_lossy())]);
        }
        if self.options.contains(&"--disk") {
            let disk = folder.join("disk");
            std::fs::write(&disk, vec![0; 1 << 20])?;
            line.files.push(disk);
        }
        if !self.options.contains(&"--volume") {
            return Ok(String::new());
        }
        let data = folder.join("data");
        std::fs::create_dir(&data)?;
        std::fs::write(data.join("given"), "given by the host\n")?;
        let written = data.join("written");
        line.files.push(data);
        Ok(format!("echo \"host: $(cat {})\"; ", written.display()))
    }
}

/// The command line behind `husk boot`.
#[derive(Default)]
struct Line {
    words: Vec<String>,
    /// What the words name.
    files: Vec<PathBuf>,
}

impl Line {
    fn add(&mut self, words: &[&str]) {
        self.words.extend(words.iter().map(|&word| word.to_owned()));
    }

    fn add_file(&mut self, option: &str, file: PathBuf) {
        self.add(&[option, &file.to_string_lossy()]);
        self.files.push(file);
    }
}
