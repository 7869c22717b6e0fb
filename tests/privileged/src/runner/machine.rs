//! How Bochs, QEMU and any other machine are started with the image.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use privileged::Cases;
use tempfile::TempDir;

use super::watch::watch;

/// What runs the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    /// Bochs, as an AMD Ryzen.
    Bochs,
    /// QEMU's emulation.
    Qemu,
    /// A command whose standard output is the serial port. `{elf}` and `{disk}` in it are the
    /// image's files.
    Command(Vec<String>),
}

impl Machine {
    /// What the words after `--on` mean.
    pub(crate) fn new(words: &[String]) -> Self {
        match words {
            [word] if word == "bochs" => Self::Bochs,
            [word] if word == "qemu" => Self::Qemu,
            words => Self::Command(words.to_vec()),
        }
    }

    /// What has to be installed for it.
    pub(crate) fn program(&self) -> &str {
        match self {
            Self::Bochs => "bochs-bin",
            Self::Qemu => "qemu-system-x86_64",
            Self::Command(words) => words.first().map_or("", String::as_str),
        }
    }

    /// Runs these cases; what the serial port says, until it says nothing for `patience`.
    pub(crate) fn run(&self, cases: &Cases, patience: Duration) -> Result<String> {
        let folder = TempDir::new()?;
        let folder = folder.path();
        fs::write(folder.join("privileged.elf"), cases.elf())?;
        let disk = cases.disk();
        fs::write(folder.join("privileged.img"), &disk)?;
        let serial = folder.join("serial");
        let printed = File::create(&serial)?;
        let mut command = match self {
            Self::Bochs => bochs(folder, disk.len())?,
            Self::Qemu => qemu(folder),
            Self::Command(words) => other(words, folder)?,
        };
        command.stdin(Stdio::null());
        match self {
            // Bochs draws a screen on its standard output, QEMU complains on standard error.
            Self::Bochs => command.stdout(Stdio::null()).stderr(Stdio::null()),
            _ => command.stdout(printed),
        };
        let context = || format!("{} cannot be started", self.program());
        let child = command.spawn().with_context(context)?;
        watch(child, &serial, patience)
    }
}

/// A cylinder of the disk that the image's boot sector expects.
const CYLINDER: usize = 16 * 63 * 512;

fn bochs(folder: &Path, disk_length: usize) -> Result<Command> {
    let place = folder.display();
    let cylinders = disk_length / CYLINDER;
    let lines = [
        "config_interface: textconfig".to_owned(),
        "display_library: term".to_owned(),
        "megs: 32".to_owned(),
        "cpu: model=ryzen, count=1, ips=50000000, reset_on_triple_fault=0, \
         ignore_bad_msrs=0"
            .to_owned(),
        "romimage: file=/usr/share/bochs/BIOS-bochs-latest".to_owned(),
        "vgaromimage: file=/usr/share/vgabios/vgabios.bin".to_owned(),
        format!(
            "ata0-master: type=disk, path=\"{place}/privileged.img\", mode=flat, \
             cylinders={cylinders}, heads=16, spt=63"
        ),
        "boot: disk".to_owned(),
        format!("com1: enabled=1, mode=file, dev={place}/serial"),
        format!("log: {place}/log"),
        "panic: action=fatal".to_owned(),
        "clock: sync=none".to_owned(),
    ];
    fs::write(folder.join("bochsrc"), lines.join("\n"))?;
    // Debian's Bochs has a debugger, which has to be told to go on.
    fs::write(folder.join("commands"), "c\n")?;
    let mut command = Command::new("bochs-bin");
    let arguments = ["-q", "-f", "bochsrc", "-rc", "commands"];
    command
        .args(arguments)
        .current_dir(folder)
        .env("TERM", "vt100");
    Ok(command)
}

fn qemu(folder: &Path) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command.args([
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-m",
        "64",
        "-nodefaults",
        "-no-reboot",
    ]);
    command.args([
        "-display",
        "none",
        "-serial",
        "stdio",
        "-device",
        "isa-debug-exit,iobase=0xf4",
    ]);
    command.arg("-kernel").arg(folder.join("privileged.elf"));
    command
}

fn other(words: &[String], folder: &Path) -> Result<Command> {
    let file = |word: &str, mark: &str, name: &str| {
        word.replace(mark, &folder.join(name).display().to_string())
    };
    let word = |word: &String| {
        let word = file(word, "{elf}", "privileged.elf");
        file(&word, "{disk}", "privileged.img")
    };
    let words: Vec<String> = words.iter().map(word).collect();
    let [program, arguments @ ..] = words.as_slice() else {
        bail!("there is no command to run");
    };
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_marks() {
        let words = ["husk", "--kernel", "{elf}"].map(str::to_owned);
        let command = other(&words, Path::new("/folder")).expect("there is a program");
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, ["--kernel", "/folder/privileged.elf"]);
    }

    #[test]
    fn a_command_prints_on_its_standard_output() {
        let words = [
            "sh",
            "-c",
            "printf 'privileged: start\\nprivileged: end\\n'",
        ];
        let machine = Machine::new(&words.map(str::to_owned));
        let output = machine.run(&Cases::all(), Duration::from_secs(10));
        assert!(output.expect("it runs").contains(privileged::END));
    }
}
