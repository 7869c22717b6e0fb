//! The interpreter and Bochs at the same work: Linux to `init`, then the parts of `interpreted.c`, in the same kernel
//! and files, by turns.
//!
//! What counts is the processor time of the whole monitor between two lines on the serial port: the clock of a machine
//! that is emulated may go as it likes, and the host may have other things to do.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::c;
use crate::options::Options;
use crate::peer::Bench;
use crate::row::median;
use crate::workload::found;

/// What the guest does. The pause lets a slow serial port have its say before the power goes.
const INIT: &str = "#!/bin/busybox sh\necho ready\n/bin/interpreted\n/bin/busybox sleep 3\n/bin/busybox poweroff -f\n";
/// What the kernel is told.
const APPEND: &str = "console=ttyS0 quiet";
/// The name of the time to `init`.
const START: &str = "linux-to-init";
/// The last part.
const LAST: &str = "end avx2";
const PATIENCE: Duration = Duration::from_secs(600);

/// Microseconds of processor time by part.
type Times = BTreeMap<String, u64>;

/// Medians of both sides, and how many times as fast the interpreter is.
///
/// # Errors
/// When something is missing, or a machine does not come to its end.
pub(crate) fn run(bench: &Bench, options: &Options) -> Result<Value> {
    let files = Files::new(bench.folder.path(), options)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..options.runs.max(1) {
        ours.push(files.husk(bench)?);
        theirs.push(files.bochs(options)?);
    }
    let mut rows = Vec::new();
    for name in ours.first().into_iter().flat_map(Times::keys) {
        let of = |all: &[Times]| {
            let times: Vec<u64> = all
                .iter()
                .filter_map(|times| times.get(name))
                .copied()
                .collect();
            (!times.is_empty()).then(|| median(times))
        };
        if let (Some(husk), Some(bochs)) = (of(&ours), of(&theirs)) {
            let ratio = (bochs as f64 / husk.max(1) as f64 * 100.0).round() / 100.0;
            eprintln!("{name:<14} {husk:>10} us, Bochs {bochs:>10} us: {ratio} times as fast");
            rows.push(json!({
                "name": name, "husk_us": husk, "bochs_us": bochs, "times_as_fast": ratio,
            }));
        }
    }
    Ok(Value::Array(rows))
}

/// What both boot.
struct Files {
    kernel: PathBuf,
    initrd: PathBuf,
    disc: PathBuf,
    folder: PathBuf,
}

impl Files {
    fn new(folder: &Path, options: &Options) -> Result<Self> {
        let kernel = kernel(&options.guests)?;
        let initrd = initrd(folder)?;
        let disc = disc(folder, &kernel, &initrd)?;
        Ok(Self {
            kernel,
            initrd,
            disc,
            folder: folder.to_owned(),
        })
    }

    fn husk(&self, bench: &Bench) -> Result<Times> {
        let mut command = Command::new(&bench.husk);
        command.args([
            "boot", "--engine", "emulate", "--memory", "256M", "--kernel",
        ]);
        command.arg(&self.kernel).arg("--initrd").arg(&self.initrd);
        command.args(["--append", APPEND]).stdout(Stdio::piped());
        let mut child = command.stdin(Stdio::null()).spawn().context("husk")?;
        let mut serial = child.stdout.take().context("it has an output")?;
        let times = watch(&mut child, |into| {
            let mut part = [0; 4096];
            let count = serial.read(&mut part)?;
            into.extend(&part[..count]);
            Ok(count > 0)
        });
        end(child);
        times.context("husk")
    }

    fn bochs(&self, options: &Options) -> Result<Times> {
        let program = match &options.bochs {
            Some(program) => fs::canonicalize(program).context("--bochs")?,
            None => found("bochs-bin")?,
        };
        let serial = self.folder.join("serial");
        fs::write(&serial, "")?;
        let lines = [
            "megs: 256".to_owned(),
            "display_library: nogui".to_owned(),
            "cpu: model=ryzen, count=1, ips=400000000, reset_on_triple_fault=0".to_owned(),
            "romimage: file=/usr/share/bochs/BIOS-bochs-latest".to_owned(),
            "vgaromimage: file=/usr/share/vgabios/vgabios.bin".to_owned(),
            format!(
                "ata0-master: type=cdrom, path={}, status=inserted",
                self.disc.display()
            ),
            "boot: cdrom".to_owned(),
            format!("com1: enabled=1, mode=file, dev={}", serial.display()),
            "clock: sync=none".to_owned(),
            "log: log".to_owned(),
            "panic: action=fatal".to_owned(),
        ];
        fs::write(self.folder.join("bochsrc"), lines.join("\n"))?;
        fs::write(self.folder.join("commands"), "c\n")?;
        let mut command = Command::new(program);
        command
            .args(["-q", "-f", "bochsrc"])
            .current_dir(&self.folder);
        if options.bochs.is_none() {
            // Debian's has a debugger, which has to be told to go on, and no display but a terminal.
            command
                .args(["-rc", "commands", "display_library: term"])
                .env("TERM", "vt100");
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().context("Bochs")?;
        let mut seen = 0;
        let times = watch(&mut child, |into| {
            std::thread::sleep(Duration::from_millis(1));
            let all = fs::read(&serial)?;
            into.extend(all.get(seen..).unwrap_or_default());
            seen = all.len();
            Ok(true)
        });
        end(child);
        times.context("Bochs")
    }
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads lines until the last part has ended.
fn watch(child: &mut Child, mut more: impl FnMut(&mut Vec<u8>) -> Result<bool>) -> Result<Times> {
    let deadline = Instant::now() + PATIENCE;
    let (mut times, mut begun) = (Times::new(), BTreeMap::new());
    let mut bytes = Vec::new();
    loop {
        ensure!(
            Instant::now() < deadline,
            "it takes longer than {PATIENCE:?}"
        );
        if !more(&mut bytes)? || child.try_wait()?.is_some() {
            bail!("it has ended early: {}", String::from_utf8_lossy(&bytes));
        }
        let now = processor_time(child.id())?;
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("ready"), None) => {
                    times.insert(START.to_owned(), now);
                }
                (Some("begin"), Some(part)) => {
                    begun.insert(part.to_owned(), now);
                }
                (Some("end"), Some(part)) => {
                    let start = begun.get(part).copied().unwrap_or(now);
                    times.insert(part.to_owned(), now - start);
                }
                _ => {}
            }
            if line.starts_with(LAST) || line.starts_with("part avx2") {
                return Ok(times);
            }
        }
    }
}

/// Of all threads of a process and its descendants, in microseconds.
fn processor_time(process: u32) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(other) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        if other != process && parent(other) == Some(process) {
            sum += processor_time(other)?;
        }
    }
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    for task in tasks.into_iter().flatten() {
        // One that has just ended has none.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let nanoseconds = text
            .split_whitespace()
            .next()
            .and_then(|word| word.parse::<u64>().ok());
        sum += nanoseconds.unwrap_or(0) / 1000;
    }
    Ok(sum)
}

/// Whose child a process is.
fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(1)?.parse().ok()
}

/// Debian's kernel for clouds, which the suite `guests` fetches.
fn kernel(guests: &Path) -> Result<PathBuf> {
    let folder = guests.join("linux-image-cloud-amd64/boot");
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut images =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"));
    let image = images.next().map(|entry| entry.path());
    image.context("no kernel: `cargo run --release -p guests -- --engine emulate --filter linux/cloud` fetches it")
}

/// Busybox and the program.
fn initrd(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    for name in ["bin", "dev", "proc"] {
        fs::create_dir_all(root.join(name))?;
    }
    fs::copy(found("busybox")?, root.join("bin/busybox"))?;
    fs::copy(
        c::build(folder, "interpreted")?,
        root.join("bin/interpreted"),
    )?;
    let init = root.join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    let file = folder.join("initrd");
    let archive = Command::new("sh")
        .args(["-c", "find . | cpio --quiet -o -H newc"])
        .current_dir(&root)
        .output()?;
    ensure!(
        archive.status.success(),
        "cpio fails: install the Debian package cpio"
    );
    fs::write(&file, archive.stdout)?;
    Ok(file)
}

/// A disc that starts the kernel on a PC.
fn disc(folder: &Path, kernel: &Path, initrd: &Path) -> Result<PathBuf> {
    let root = folder.join("disc");
    fs::create_dir_all(root.join("isolinux"))?;
    fs::copy(kernel, root.join("linux"))?;
    fs::copy(initrd, root.join("initrd"))?;
    for (package, file) in [
        ("isolinux", "/usr/lib/ISOLINUX/isolinux.bin"),
        (
            "syslinux-common",
            "/usr/lib/syslinux/modules/bios/ldlinux.c32",
        ),
    ] {
        let name = Path::new(file).file_name().context("a file")?;
        let copied = fs::copy(file, root.join("isolinux").join(name));
        copied
            .with_context(|| format!("{file} is missing: install the Debian package {package}"))?;
    }
    let menu =
        format!("DEFAULT l\nPROMPT 0\nLABEL l\nKERNEL /linux\nAPPEND initrd=/initrd {APPEND}\n");
    fs::write(root.join("isolinux/isolinux.cfg"), menu)?;
    let file = folder.join("disc.iso");
    let made = Command::new(found("xorriso")?)
        .args(["-as", "mkisofs", "-quiet", "-o"])
        .arg(&file)
        .args(["-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat"])
        .args(["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"])
        .arg(&root)
        .output()?;
    ensure!(
        made.status.success(),
        "xorriso: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    Ok(file)
}
