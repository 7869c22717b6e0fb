//! Wrong command lines: each ends with 125 and one sentence. They need no KVM: what is wrong is
//! found before a machine is made.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::judge::Outcome;
use crate::tiny;

const STATUS: i32 = 125;

/// Behind `husk boot`, in a folder with a `kernel`, a `large` file, an `empty` one, a `text`, a
/// `folder`, and images: `qcow2` is a beginning only, `cut` ends before its tables, `free` counts its
/// tables as free space, `far` has a table of level 2 behind its end; and what must be said of it.
pub(crate) const TABLE: &[(&str, &[&str])] = &[
    ("", &["--kernel"]),
    ("--kernel none", &["none", "check the path"]),
    ("--kernel folder", &["no regular file"]),
    ("--kernel empty", &["empty"]),
    ("--kernel text", &["unknown kind", "bzImage"]),
    ("--kernel kernel --initrd none", &["--initrd none"]),
    ("--kernel kernel --initrd empty", &["empty"]),
    (
        "--kernel kernel --memory 2M --initrd large",
        &["--initrd large", "--memory"],
    ),
    ("--kernel kernel --memory 1K", &["too little"]),
    ("--kernel kernel --memory 9000T", &["--memory"]),
    ("--kernel kernel --memory much", &["--memory"]),
    ("--kernel kernel --cpus 0", &["1..=64"]),
    ("--kernel kernel --cpus 65", &["1..=64"]),
    (
        "--kernel kernel --engine paravirt",
        &["auto", "kvm", "emulate"],
    ),
    ("--kernel kernel --disk none", &["none", "exist"]),
    ("--kernel kernel --disk folder", &["directory"]),
    ("--kernel kernel --disk empty", &["empty"]),
    ("--kernel kernel --disk qcow2", &["format=qcow2"]),
    (
        "--kernel kernel --disk text,format=qcow2",
        &["cannot be used as a qcow2 image", "does not begin"],
    ),
    (
        "--kernel kernel --disk qcow2,format=qcow2",
        &["cannot be used as a qcow2 image"],
    ),
    (
        "--kernel kernel --disk cut.qcow2,format=qcow2",
        &["cannot be used as a qcow2 image", "outside"],
    ),
    (
        "--kernel kernel --disk free.qcow2,format=qcow2",
        &["cannot be used as a qcow2 image", "free space"],
    ),
    (
        "--kernel kernel --disk far.qcow2,format=qcow2",
        &["cannot be used as a qcow2 image", "outside"],
    ),
    ("--kernel kernel --disk text,format=vhd", &["format=raw"]),
    (
        "--kernel kernel --publish 192.0.2.1:80:80",
        &["--publish 192.0.2.1:80:80", "no address of this host"],
    ),
    ("--kernel kernel --publish 80", &["PORT:PORT"]),
    ("--kernel kernel --publish 80:80/sctp", &["no protocol"]),
    ("--kernel kernel --net bridge", &["tap=NAME"]),
    ("--kernel kernel --net tap=no-such", &["--net tap=no-such"]),
    (
        "--kernel kernel --net none --publish 80:80",
        &["--net user only"],
    ),
    ("--kernel kernel --allow-net 10.0.0.0/33", &["0 to 32"]),
    ("--kernel kernel --mac 01:00:00:00:00:00", &["group"]),
    ("--kernel kernel --gdb 65536", &["--gdb", "no port"]),
    (
        "--kernel kernel --gdb folder",
        &["--gdb folder", "there is a file of that name"],
    ),
    (
        "--kernel kernel --gdb none/there",
        &["--gdb none/there", "No such file"],
    ),
    (
        "--kernel kernel --trace-instructions 2-1",
        &["no range", "or all"],
    ),
    (
        "--kernel kernel --engine kvm --trace-instructions all",
        &["--trace-instructions", "--engine emulate"],
    ),
    (
        "--kernel kernel --engine kvm --deterministic",
        &["--deterministic", "--engine emulate"],
    ),
    (
        "--kernel kernel --deterministic --net user",
        &["--deterministic", "--net none"],
    ),
    (
        "--kernel kernel --deterministic --volume folder:tag",
        &["--deterministic", ":ro"],
    ),
    (
        "--kernel kernel --deterministic --gdb 1",
        &["--deterministic", "--gdb"],
    ),
    // It halts, and its timers do not run.
    (
        "--kernel kernel --deterministic",
        &["an interrupt that nothing can bring"],
    ),
    (
        "--kernel kernel --engine kvm --hypervisor xen",
        &["--hypervisor xen", "--engine emulate"],
    ),
    (
        "--kernel kernel --hypervisor xen",
        &["--kernel kernel", "no PVH entry", "--hypervisor"],
    ),
    ("--kernel kernel --hypervisor hyper-v", &["none, xen"]),
    ("--kernel kernel --seed 1", &["--deterministic"]),
    ("--kernel kernel --volume none:tag", &["none"]),
    ("--kernel kernel --volume folder", &["HOST:TAG"]),
    ("--kernel kernel --no-such-option", &["--no-such-option"]),
    ("kernel", &["kernel"]),
];

/// Tries one.
pub(crate) fn run(husk: &Path, arguments: &str, says: &[&str]) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    fill(folder.path())?;
    let mut command = Command::new(husk);
    command.arg("boot").args(arguments.split_whitespace());
    command.current_dir(folder.path()).stdin(Stdio::null());
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let is_sentence = said.starts_with("husk: ") && said.lines().count() == 1;
    let says_all = says.iter().all(|part| said.contains(part));
    if output.status.code() == Some(STATUS) && is_sentence && says_all {
        return Ok(Outcome::Passed);
    }
    let status = output.status;
    Ok(Outcome::Failed(format!("{status}, and it says:\n{said}")))
}

fn fill(folder: &Path) -> Result<()> {
    std::fs::write(folder.join("kernel"), tiny::kernel(&[0xf4]))?;
    std::fs::write(folder.join("large"), vec![1; 4 << 20])?;
    std::fs::write(folder.join("empty"), "")?;
    std::fs::write(folder.join("text"), "a text ".repeat(1000))?;
    std::fs::write(folder.join("qcow2"), [&b"QFI\xfb"[..], &[0; 1020]].concat())?;
    let cut = image(1, 0);
    std::fs::write(folder.join("cut.qcow2"), &cut[..3 * CLUSTER])?;
    std::fs::write(folder.join("free.qcow2"), image(0, 0))?;
    std::fs::write(folder.join("far.qcow2"), image(1, 1 << 40))?;
    Ok(std::fs::create_dir(folder.join("folder"))?)
}

const CLUSTER: usize = 64 << 10;

/// A qcow2 image of 64 MiB (QEMU's specification, version 2): header, reference counts' table, their
/// block, in which each cluster has this `count`, and the table of level 1 with this first entry.
fn image(count: u16, first: u64) -> Vec<u8> {
    let cluster = CLUSTER as u64;
    let words = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let header = [
        words(0x5146_49fb, 2),
        0,
        words(0, 16),
        64 << 20,
        words(0, 1),
        3 * cluster,
        cluster,
        words(1, 0),
        0,
    ];
    let mut bytes = vec![0; 4 * CLUSTER];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &header.map(u64::to_be_bytes).concat());
    put(CLUSTER, &(2 * cluster).to_be_bytes());
    put(2 * CLUSTER, &[count.to_be_bytes(); 4].concat());
    put(3 * CLUSTER, &first.to_be_bytes());
    bytes
}
