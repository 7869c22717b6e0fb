//! The scenarios.

use crate::cases::PCI;
use crate::kernels::Kernel;
use crate::scenario::Scenario;

/// All of them.
pub(crate) const SCENARIOS: &[Scenario] = &[
    qcow2("qcow2/cloud", Kernel::Cloud, BLOCK),
    qcow2("qcow2/generic", Kernel::Generic, BLOCK_AND_EXT4),
    FILES,
];

const BLOCK: &[&str] = &[PCI[0], PCI[1], PCI[2], PCI[3], PCI[4], "virtio_blk"];
const BLOCK_AND_EXT4: &[&str] = &[
    PCI[0],
    PCI[1],
    PCI[2],
    PCI[3],
    PCI[4],
    "virtio_blk",
    "crc16",
    "crc32c_generic",
    "mbcache",
    "jbd2",
    "ext4",
];

/// ext4 on images of three kinds, whose monitor is killed in the middle of writing.
const fn qcow2(name: &'static str, kernel: Kernel, modules: &'static [&'static str]) -> Scenario {
    Scenario {
        name,
        kernel,
        modules,
        programs: &[],
        guest: include_str!("../scripts/qcow2-guest.sh"),
        script: include_str!("../scripts/qcow2.sh"),
        tools: &[
            ("qemu-img", "qemu-utils"),
            ("mkfs.ext4", "e2fsprogs"),
            ("e2fsck", "e2fsprogs"),
        ],
        nested_modules: &[],
        texts: &[],
        says: &[
            "write: killed, status 137",
            "(vda): recovery complete",
            "(vdb): recovery complete",
            "(vdc): recovery complete",
            "guest: vda has what was synced",
            "guest: vdb has what was synced",
            "guest: vdc has what was synced",
            "find: status 0",
            "backing files: untouched",
            "all images: consistent",
        ],
        expected: &[],
    }
}

/// What a program sees of a folder, on the host and by virtio-fs.
const FILES: Scenario = Scenario {
    name: "files/cloud",
    kernel: Kernel::Cloud,
    modules: &[PCI[0], PCI[1], PCI[2], PCI[3], PCI[4], "fuse", "virtiofs"],
    programs: &["files"],
    guest: include_str!("../scripts/files-guest.sh"),
    script: include_str!("../scripts/files.sh"),
    tools: &[("mkfs.ext4", "e2fsprogs")],
    nested_modules: &["loop"],
    texts: &[("exceptions", include_str!("../scripts/files-exceptions"))],
    says: &["guest: done", "files: the same, save for the exceptions"],
    expected: &[],
};
