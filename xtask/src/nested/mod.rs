//! `cargo xtask nested-kvm`: runs a program where it finds a real `/dev/kvm`.
//!
//! The host may have no usable KVM. QEMU's own translation emulates AMD's SVM well enough that a
//! small Linux in it loads the real `kvm.ko` and `kvm-amd.ko`, nested paging included. The parts:
//! [`image`] makes the kernel and the base file system from Debian packages, once for each version
//! of the kernel ([`bzimage`], [`modules`], [`unpack`]); [`files`] adds the program, its libraries
//! and the given files; both write [`cpio`] archives; [`run`] starts QEMU, and [`log`] reads from
//! the serial console how it ended. `init.sh` is the first process inside. With `--host-root` the
//! program finds the host's files instead of copies of a few: see [`host_root`].
//!
//! The program's standard output and error are our own, byte for byte, though it sees terminals;
//! its standard input is empty. How the two are interleaved is lost. Times say nothing about
//! hardware: all of it is emulated. `tests/nested/kvm_loop.c` shows that it works.

mod bzimage;
mod cpio;
mod files;
mod host_root;
mod image;
mod log;
mod modules;
mod options;
mod run;
mod scratch;
mod tools;
mod unpack;

use std::process::ExitCode;

use anyhow::{Result, anyhow};

use crate::workspace;
use options::Options;
use run::Ending;
use scratch::Scratch;

const USAGE: &str = "\
usage: cargo xtask nested-kvm [OPTION]... PROGRAM [ARGUMENT]...
  --memory SIZE         of the machine, as 512M or 2G (default 1G; half of it holds files)
  --cpus N              of the machine (default 1)
  --timeout SECONDS     end the machine after this time (default 120)
  --file HOST[:GUEST]   copy a file or folder into it, to the same path unless GUEST is given
  --host-root           all files of the host are there; changes stay in the machine's memory
  --append WORDS        words for the kernel's command line
The program runs as root in /tmp with an environment of two variables; with --host-root, in our
own folder with our own environment. Its status becomes ours, 124 after the timeout, and 125 when
the machine fails.";

const TIMED_OUT: u8 = 124;
const FAILED: u8 = 125;

/// Runs the command with these arguments; says on standard error what went wrong.
pub(crate) fn command(arguments: &[String]) -> ExitCode {
    if arguments.first().is_some_and(|first| first == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let status = Options::parse(arguments)
        .map_err(|error| anyhow!("{error:#}\n{USAGE}"))
        .and_then(|options| run_program(&options));
    ExitCode::from(status.unwrap_or_else(|error| {
        eprintln!("nested-kvm: {error:#}");
        FAILED
    }))
}

fn run_program(options: &Options) -> Result<u8> {
    tools::require(tools::TO_RUN)?;
    if options.host_root {
        host_root::require()?;
    }
    let folder = workspace::target_folder()?.join("nested-kvm");
    let image = image::current(&folder)?;
    let scratch = Scratch::new(&folder, "run")?;
    let initrd = scratch.path().join("initrd");
    files::write_initrd(&initrd, &image.base, options)?;
    let ending = run::machine(&image.kernel, &initrd, scratch.path(), options)?;
    Ok(report(&ending, options))
}

/// Says what is not an ordinary ending; returns the status to end with.
fn report(ending: &Ending, options: &Options) -> u8 {
    let (status, sentence, lines) = match ending {
        Ending::Status(status) => return *status,
        Ending::TimedOut(lines) => (TIMED_OUT, time_is_up(options), lines),
        Ending::Panicked(reason, lines) => (
            FAILED,
            format!("the nested kernel gave up: {reason}"),
            lines,
        ),
        Ending::Vanished(lines) => {
            let sentence = "the machine ended before the program did".to_string();
            (FAILED, sentence, lines)
        }
    };
    eprintln!("nested-kvm: {sentence}");
    if lines.is_empty() {
        eprintln!("nested-kvm: nothing stands on its console");
    } else {
        eprintln!("nested-kvm: the last lines of its console:");
    }
    for line in lines {
        eprintln!("    {line}");
    }
    status
}

fn time_is_up(options: &Options) -> String {
    let seconds = options.timeout.as_secs();
    let program = options.program.display();
    format!("{program} did not end within {seconds} s, so the machine was ended")
}
